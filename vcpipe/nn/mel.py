"""Log-mel spectrograms on the project's grid: frame i is centred on its own cell, and there are N // hop of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LogMel(nn.Module):
    """`(B, N)` samples to `(B, mels, N // hop)`, the natural logarithm of a magnitude mel spectrogram.

    Reflect padding of `(n_fft - hop) / 2` on both sides and no centring, a Hann window, magnitude (not power), the
    Slaney mel scale with Slaney's area normalisation, `ln(max(x, floor))`: the mel of kNN-VC's vocoder loss and of
    HiFi-GAN (Kong et al., 2020). Differentiable; silence has a zero gradient.

    Args:
        rate: samples per second.
        n_fft, win, hop: samples, `hop <= win <= n_fft`.
        mels: bands between `fmin` and `fmax` Hz; `fmax=None` is `rate / 2`.
        floor: smallest magnitude before the logarithm.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        rate: int,
        n_fft: int,
        win: int,
        hop: int,
        mels: int,
        fmin: float = 0.0,
        fmax: float | None = None,
        floor: float = 1e-5,
    ):
        super().__init__()
        self.n_fft, self.win, self.hop, self.floor = n_fft, win, hop, floor
        self.left = (n_fft - hop) // 2
        self.right = n_fft - hop - self.left
        self.register_buffer("window", torch.hann_window(win), persistent=False)
        filters = mel_filters(rate, n_fft, mels, fmin, rate / 2 if fmax is None else fmax)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, wave: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, N)` float to `(B, mels, N // hop)` float32.

        Args:
            wave: samples in [-1, 1], N >= hop.
            lengths: `(B,)` samples of each row where they differ: every row is then reflected at its own end, and
                its first `lengths // hop` frames are those that it has alone. The frames beyond mean nothing.
        """
        with torch.autocast(wave.device.type, enabled=False):
            padded = self._reflect(wave.float(), lengths)
            spectrum = torch.stft(
                padded, self.n_fft, self.hop, self.win, self.window, center=False, onesided=True, return_complex=True
            )
            return (self.filters @ spectrum.abs()).clamp(min=self.floor).log()

    def _reflect(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        """Reflects at the ends. A recording shorter than the padding is reflected again and again, as numpy does."""
        n = wave.shape[1]
        if lengths is None and n > max(self.left, self.right):
            return F.pad(wave[:, None], (self.left, self.right), mode="reflect")[:, 0]
        if lengths is None:
            lengths = torch.full((len(wave),), n, device=wave.device)
        position = torch.arange(-self.left, n + self.right, device=wave.device)
        period = (2 * (lengths - 1)).clamp(min=1)[:, None]
        folded = position % period
        return wave.gather(1, torch.minimum(folded, period - folded))


def mel_filters(rate: int, n_fft: int, mels: int, fmin: float, fmax: float) -> Tensor:
    """Triangular filters `(mels, n_fft // 2 + 1)` float32, Slaney's scale and area normalisation.

    Source: M. Slaney, Auditory Toolbox (1998); the same numbers as `librosa.filters.mel`.
    """
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
    ends = torch.tensor([fmin, fmax], dtype=torch.float64)
    low, high = _hz_to_mel(ends).tolist()
    edges = _mel_to_hz(torch.linspace(low, high, mels + 2, dtype=torch.float64))
    width = edges.diff()
    slope = edges[:, None] - bins
    rising, falling = -slope[:-2] / width[:-1, None], slope[2:] / width[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (torch.minimum(rising, falling).clamp(min=0) * area[:, None]).float()


# Slaney's scale is linear (3 mel per 200 Hz) up to 1 kHz, which is 15 mel, and 27 mel per factor 6.4 above.
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: Tensor) -> Tensor:
    log = _KNEE_MEL + (hz.clamp(min=_KNEE_HZ) / _KNEE_HZ).log() / _LOG_STEP
    return torch.where(hz < _KNEE_HZ, hz / _HZ_PER_MEL, log)


def _mel_to_hz(mel: Tensor) -> Tensor:
    exp = _KNEE_HZ * ((mel - _KNEE_MEL) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, exp)
