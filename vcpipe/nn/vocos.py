"""Vocos: frames of features to a waveform through one inverse STFT (arXiv 2306.00814). Cheap enough for a CPU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_LOG_MAGNITUDE = 4.6  # a magnitude of 100


class Vocos(nn.Module):
    """`(B, T, D)` features to `(B, 1, hop * T)` samples.

    Args:
        in_dim: D.
        hop: samples per frame.
        width, depth: channels and number of the ConvNeXt blocks.
        expand: hidden width of a block, in widths.
        overlap: frames of the inverse STFT that cover a sample; its length is `overlap * hop`.
    """

    def __init__(
        self, in_dim: int, *, hop: int = 320, width: int = 224, depth: int = 6, expand: int = 3, overlap: int = 4
    ):
        super().__init__()
        self.lin_pre = nn.Linear(in_dim, width)
        self.embed = nn.Conv1d(width, width, 7, padding=3)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(ConvNeXt(width, expand, scale=1 / depth) for _ in range(depth))
        self.last_norm = nn.LayerNorm(width)
        self.head = SpectrumHead(width, hop, overlap)
        self.apply(initialise)

    def forward(self, units: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, 1, hop * T)`."""
        x = self.embed(self.lin_pre(units).transpose(1, 2)).transpose(1, 2)
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.last_norm(x)).unsqueeze(1)
        return out


class ConvNeXt(nn.Module):
    """`(B, T, D)` to the same: a depthwise convolution over 7 frames, then a two-layer perceptron per frame."""

    def __init__(self, width: int, expand: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, expand * width)
        self.narrow = nn.Linear(expand * width, width)
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, T, D)`."""
        y = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        return x + self.scale * self.narrow(F.gelu(self.widen(y)))


class SpectrumHead(nn.Module):
    """`(B, T, D)` to `(B, hop * T)`: a log-magnitude and an angle for every bin, then the inverse STFT.

    Frame i is centred on the middle of its cell `[i*hop, (i+1)*hop)`, as the frames of the features are. Who makes the
    spectrum in another way asks `out` for another number of values a bin, and calls `out` and `invert` alone.
    """

    window: Tensor

    def __init__(self, width: int, hop: int, overlap: int, values: int = 2):
        super().__init__()
        self.hop, self.overlap = hop, overlap
        self.n_fft = hop * overlap
        self.bins = self.n_fft // 2 + 1
        self.out = nn.Linear(width, values * self.bins)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, hop * T)`."""
        x = self.out(x).to(self.window.dtype)  # there is no transform in half precision
        log_magnitude, angle = x.chunk(2, dim=-1)
        magnitude = log_magnitude.clamp(max=MAX_LOG_MAGNITUDE).exp()
        return self.invert(torch.complex(magnitude * angle.cos(), magnitude * angle.sin()))

    def invert(self, spectrum: Tensor) -> Tensor:
        """`(B, T, n_fft / 2 + 1)` complex to `(B, hop * T)`: windowed overlap-add, divided by the windows' energy."""
        frames = torch.fft.irfft(spectrum, n=self.n_fft, dim=-1) * self.window
        energy = self.window.square().expand(1, frames.shape[1], -1)
        sides = (self.n_fft - self.hop) // 2
        total = self.overlap_add(frames)[:, sides:-sides]
        return total / self.overlap_add(energy)[:, sides:-sides].clamp(min=1e-5)

    def overlap_add(self, frames: Tensor) -> Tensor:
        """`(B, T, n_fft)` to `(B, hop * (T + overlap - 1))`; sums of whole hops, which is faster than a fold."""
        pieces = frames.unflatten(-1, (self.overlap, self.hop)).unbind(2)
        padded = [F.pad(p, (0, 0, i, self.overlap - 1 - i)) for i, p in enumerate(pieces)]
        return torch.stack(padded).sum(0).flatten(1)


def initialise(module: nn.Module) -> None:
    """First weights of a linear layer or a convolution, for `Module.apply`."""
    if isinstance(module, nn.Linear | nn.Conv1d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
