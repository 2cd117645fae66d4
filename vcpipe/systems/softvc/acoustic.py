"""The acoustic model of Soft-VC: units to the mel spectrogram of a voice, frame after frame.

Source: van Niekerk et al., "A Comparison of Discrete and Soft Speech Units for Improved Voice Conversion", arXiv
2111.02392. Names of modules are those of the published checkpoints. Beside them a voice and a condition may be added
to what the decoder hears; both begin at zero, so that a published model begins as it is.

They are added behind the encoder's last instance norm, which would take the mean of every channel over the recording
away, and with it most of a register or of a steady pitch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.nn.vocos import ConvNeXt
from vcpipe.systems.softvc.model_settings import ModelSettings

EPSILON = 1e-5  # of the instance norm, as published


class Acoustic(nn.Module):
    """`(B, n, D)` soft units, or `(B, n)` numbers of discrete ones, to log-mels `(B, 2n, mels)`.

    Args:
        settings: its shape.
        in_dim: D; of discrete units the width of their embedding.
        mels: bands.
        n_units: how many discrete units there are; 0 for soft units.
        condition: module that makes `(B, 2n, channels)` of what the decoder is told beside the units, of whom, and of a
            mask `(B, 2n, 1)` of the frames that count, or None.
        n_voices: how many voices the model speaks with.
    """

    def __init__(
        self,
        settings: ModelSettings,
        in_dim: int,
        mels: int,
        n_units: int = 0,
        condition: nn.Module | None = None,
        n_voices: int = 1,
    ):
        super().__init__()
        self.encoder = Encoder(settings, in_dim, n_units)
        self.decoder: Decoder | Parallel = (Decoder if settings.decoder == "lstm" else Parallel)(settings, mels)
        self.condition = condition
        self.voices = None if n_voices < 2 else nn.Embedding(n_voices, settings.channels)
        if self.voices is not None:
            nn.init.zeros_(self.voices.weight)

    def forward(
        self,
        units: Tensor,
        mels: Tensor,
        lengths: Tensor,
        condition: Tensor | None = None,
        voice: Tensor | None = None,
    ) -> Tensor:
        """Every frame from the recording's own frame before it; what lies beyond a row's end changes nothing in it.

        Args:
            units: see above.
            mels: `(B, 2n, mels)` of the recording.
            lengths: `(B,)` units of each row.
            condition: `(B, 2n, C)` as `condition` reads it.
            voice: `(B,)` number of the voice of each row; the one after the last stands for anybody else, and is the
                mean of all.

        Returns:
            `(B, 2n, mels)`; a row's frames beyond its end mean nothing.
        """
        heard = self.heard(units, lengths, condition, voice)
        made: Tensor = self.decoder(heard, F.pad(mels, (0, 0, 1, -1)), 2 * lengths)
        return made

    def heard(self, units: Tensor, lengths: Tensor | None, condition: Tensor | None, voice: Tensor | None) -> Tensor:
        """What the decoder hears, `(B, 2n, channels)`."""
        heard: Tensor = self.encoder(units, lengths)
        if self.voices is not None:
            assert voice is not None, "the model speaks with several voices: which one?"
            table = torch.cat([self.voices.weight, self.voices.weight.mean(dim=0, keepdim=True)])
            heard = heard + F.embedding(voice, table)[:, None]
        if self.condition is not None:
            assert condition is not None, "the model reads a condition"
            assert voice is not None, "the model reads a condition: of which voice?"
            mask = None if lengths is None else _mask(condition.shape[1], 2 * lengths)[..., None]
            heard = heard + self.condition(condition, voice, mask)
        return heard

    @torch.inference_mode()
    def generate(self, units: Tensor, condition: Tensor | None = None, voice: Tensor | None = None) -> Tensor:
        """`(B, n, D)` units of recordings of one length to `(B, 2n, mels)`, every frame from the one made before it."""
        mels: Tensor = self.decoder.generate(self.heard(units, None, condition, voice))
        return mels


class PreNet(nn.Module):
    """`(..., in_dim)` to `(..., out_dim)`: one linear layer, or two with ReLU and dropout."""

    def __init__(self, in_dim: int, settings: ModelSettings):
        super().__init__()
        width = settings.prenet
        if settings.prenet_layers == 1:
            self.net = nn.Sequential(nn.Linear(in_dim, width))
            return
        parts: list[nn.Module] = []
        for dim in (in_dim, width):
            parts += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(settings.dropout)]
        self.net = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., in_dim)` to `(..., out_dim)`."""
        out: Tensor = self.net(x)
        return out


class Encoder(nn.Module):
    """Units to `(B, 2n, channels)`: convolutions, and a transposed one that doubles the frames."""

    def __init__(self, settings: ModelSettings, in_dim: int, n_units: int):
        super().__init__()
        width, kernel = settings.channels, settings.kernel
        self.embedding = nn.Embedding(n_units + 1, in_dim) if n_units else None  # the last one: no unit
        self.prenet = PreNet(in_dim, settings)
        parts: list[nn.Module] = [
            nn.Conv1d(settings.prenet, width, kernel, padding=kernel // 2),
            nn.ReLU(),
            InstanceNorm(),
            nn.ConvTranspose1d(width, width, 4, 2, 1),
        ]
        if not settings.convs:
            parts += [nn.ReLU(), InstanceNorm()]
        for _ in range(settings.convs):
            parts += [nn.Conv1d(width, width, kernel, padding=kernel // 2), nn.ReLU(), InstanceNorm()]
        self.convs = nn.Sequential(*parts)

    def forward(self, units: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, n, D)` or `(B, n)`, of which `lengths (B,)` count, to `(B, 2n, channels)`."""
        x = self.prenet(units if self.embedding is None else self.embedding(units))
        x = x.transpose(1, 2)
        mask = None if lengths is None else _mask(x.shape[2], lengths)[:, None]
        for layer in self.convs:
            if isinstance(layer, InstanceNorm):
                x = layer(x, mask)
            else:
                if mask is not None and not isinstance(layer, nn.ReLU):
                    x = x * mask
                x = layer(x)
                if mask is not None and isinstance(layer, nn.ConvTranspose1d):
                    mask = mask.repeat_interleave(2, dim=2)
        return x.transpose(1, 2)


class InstanceNorm(nn.Module):
    """`(B, C, T)` to mean 0 and variance 1 of each channel of a row, over the frames that count."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, C, T)` with `mask (B, 1, T)` to the same."""
        if mask is None:
            return F.instance_norm(x, eps=EPSILON) if x.shape[2] > 1 else x * 0
        count = mask.sum(dim=2, keepdim=True)
        mean = (x * mask).sum(dim=2, keepdim=True) / count
        variance = ((x - mean).square() * mask).sum(dim=2, keepdim=True) / count
        return (x - mean) * (variance + EPSILON).rsqrt()


class Decoder(nn.Module):
    """What the encoder gave, and the frame before each, to the frames `(B, T, mels)`."""

    def __init__(self, settings: ModelSettings, mels: int):
        super().__init__()
        self.n_layers, self.mels = settings.lstm_layers, mels
        self.prenet = PreNet(mels, settings)
        width = settings.prenet + settings.channels
        for number in range(1, self.n_layers + 1):
            self.add_module(f"lstm{number}", nn.LSTM(width, settings.lstm, batch_first=True))
            width = settings.lstm
        self.proj = nn.Linear(settings.lstm, mels, bias=False)

    def forward(self, heard: Tensor, before: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, T, channels)` and the frames before, `(B, T, mels)`, to `(B, T, mels)`."""
        return self._step(heard, before, [None] * self.n_layers)[0]

    def _step(
        self, heard: Tensor, before: Tensor, states: list[tuple[Tensor, Tensor] | None]
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor] | None]]:
        x = torch.cat([heard, self.prenet(before)], dim=2)
        left: list[tuple[Tensor, Tensor] | None] = []
        for number, state in enumerate(states, start=1):
            out, after = self.get_submodule(f"lstm{number}")(x, state)
            x = out if number == 1 else out + x
            left.append(after)
        return self.proj(x), left

    def generate(self, heard: Tensor) -> Tensor:
        """`(B, T, channels)` to `(B, T, mels)`: every frame from the one that was made before it; zeros at first."""
        frame = heard.new_zeros(len(heard), 1, self.mels)
        states: list[tuple[Tensor, Tensor] | None] = [None] * self.n_layers
        out = []
        for at in range(heard.shape[1]):
            frame, states = self._step(heard[:, at : at + 1], frame, states)
            out.append(frame)
        return torch.cat(out, dim=1)


class Parallel(nn.Module):
    """What the encoder gave to the frames `(B, T, mels)`, all at once, by the blocks of ConvNeXt: none hears another.

    Not published: a fraction of the published decoder's time, and nothing in it to drift. For little data and a CPU.
    Its blocks see two frames, those of one unit, as one. T is even.
    """

    def __init__(self, settings: ModelSettings, mels: int):
        super().__init__()
        width, depth = settings.channels, settings.depth
        self.fold = nn.Linear(2 * width, width)
        self.blocks = nn.ModuleList(ConvNeXt(width, 3, scale=1 / depth) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.proj = nn.Linear(width, 2 * mels)

    def forward(self, heard: Tensor, before: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, T, channels)`, of which `lengths (B,)` frames count, to `(B, T, mels)`."""
        x = self.fold(heard.unflatten(1, (-1, 2)).flatten(2))
        mask = None if lengths is None else _mask(x.shape[1], lengths // 2)[..., None]
        for block in self.blocks:
            x = block(x if mask is None else x * mask)
        out: Tensor = self.proj(self.norm(x)).unflatten(2, (2, -1)).flatten(1, 2)
        return out

    def generate(self, heard: Tensor) -> Tensor:
        """`(B, T, channels)` to `(B, T, mels)`."""
        return self(heard, heard)


def _mask(size: int, lengths: Tensor) -> Tensor:
    """`(B, size)`, true where frames count."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
