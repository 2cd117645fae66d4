"""Linear and mel spectrograms on the project's grid: one frame for every whole hop, N // hop of them."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Centre = Literal["cell", "start", "end"]
Padding = Literal["reflect", "zeros"]
Log = Literal["ln", "db", "none"]


class Spectrogram(nn.Module):
    """`(B, N)` samples to `(B, n_fft // 2 + 1, N // hop)`, magnitudes or powers under a Hann window.

    Where frame i is centred is what published definitions differ in:

    - `cell`: on `(i + 1/2) hop`, the middle of its own cell: `(n_fft - hop) / 2` of padding, no centring (HiFi-GAN).
    - `start`: on `i hop`: the first N // hop frames of librosa's and torch's centred transform, which has one more.
    - `end`: on `(i + 1) hop`: the last N // hop frames of the same, where N is a whole number of hops (FasterSVC).

    Differentiable; silence has a zero gradient.

    Args:
        n_fft, win, hop: samples, `hop <= win <= n_fft`; a window shorter than the transform stands in its middle.
        centre: see above.
        pad: what is heard beyond the ends of a recording, its mirror image or nothing.
        power: 1 for magnitudes, 2 for powers.
        epsilon: added to the powers before the root is taken.
        pre_emphasis: a of `y[n] = x[n] - a x[n - 1]`, 0 for none; the sample before the first is 0.
    """

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        win: int,
        hop: int,
        *,
        centre: Centre = "cell",
        pad: Padding = "reflect",
        power: int = 1,
        epsilon: float = 0.0,
        pre_emphasis: float = 0.0,
    ):
        super().__init__()
        self.n_fft, self.win, self.hop = n_fft, win, hop
        self.pad, self.power, self.epsilon, self.pre_emphasis = pad, power, epsilon, pre_emphasis
        self.left = {"cell": (n_fft - hop) // 2, "start": n_fft // 2, "end": n_fft // 2 - hop}[centre]
        self.right = n_fft - hop - self.left  # with which exactly N // hop frames fit, whatever N is
        self.register_buffer("window", torch.hann_window(win), persistent=False)

    def forward(self, wave: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, N)` float to `(B, n_fft // 2 + 1, N // hop)` float32.

        Args:
            wave: samples in [-1, 1], N >= hop.
            lengths: `(B,)` samples of each row where they differ: every row is then padded at its own end, and its
                first `lengths // hop` frames are those that it has alone. The frames beyond mean nothing.
        """
        with torch.autocast(wave.device.type, enabled=False):
            wave = wave.to(self.window.dtype)
            if self.pre_emphasis:
                wave = wave - self.pre_emphasis * F.pad(wave, (1, 0))[:, :-1]
            padded = self._reflected(wave, lengths) if self.pad == "reflect" else self._silent(wave, lengths)
            spectrum = torch.stft(
                padded, self.n_fft, self.hop, self.win, self.window, center=False, onesided=True, return_complex=True
            )
            if self.epsilon:
                powers = spectrum.real.square() + spectrum.imag.square() + self.epsilon
                return powers if self.power == 2 else powers.sqrt()
            return spectrum.abs().square() if self.power == 2 else spectrum.abs()

    def _reflected(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        """Reflects at the ends. A recording shorter than the padding is reflected again and again, as numpy does."""
        n = wave.shape[1]
        if lengths is None and n > max(self.left, self.right) and min(self.left, self.right) >= 0:
            return F.pad(wave[:, None], (self.left, self.right), mode="reflect")[:, 0]
        if lengths is None:
            lengths = torch.full((len(wave),), n, device=wave.device)
        position = torch.arange(-self.left, n + self.right, device=wave.device)
        period = (2 * (lengths - 1)).clamp(min=1)[:, None]
        folded = position % period
        return wave.gather(1, torch.minimum(folded, period - folded))

    def _silent(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None:
            wave = wave * (torch.arange(wave.shape[1], device=wave.device) < lengths[:, None])
        return F.pad(wave, (self.left, self.right))


class LogMel(nn.Module):
    """`(B, N)` samples to `(B, mels, N // hop)`; unless told otherwise, the natural logarithm of magnitudes.

    By default reflect padding of `(n_fft - hop) / 2` on both sides and no centring, a Hann window, magnitude (not
    power), the Slaney mel scale with Slaney's area normalisation, `ln(max(x, floor))`: the mel of kNN-VC's vocoder
    loss and, but for an epsilon, of HiFi-GAN (Kong et al., 2020). Differentiable; silence has a zero gradient.

    Args:
        rate: samples per second.
        n_fft, win, hop, centre, pad, power, epsilon, pre_emphasis: see `Spectrogram`.
        mels: bands between `fmin` and `fmax` Hz; `fmax=None` is `rate / 2`.
        floor: smallest value before the logarithm.
        log: `ln` for ln(x), `db` for 20 log10(x) of magnitudes and 10 log10(x) of powers, `none` for x itself, which
            is not floored.
        ref_db: subtracted from decibels.
        symmetric: largest value a of a linear map of decibels, from [-100, 0] dB onto [-a, a], beyond which they are
            cut off; None leaves decibels as they are.
    """

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
        *,
        centre: Centre = "cell",
        pad: Padding = "reflect",
        power: int = 1,
        epsilon: float = 0.0,
        pre_emphasis: float = 0.0,
        log: Log = "ln",
        ref_db: float = 0.0,
        symmetric: float | None = None,
    ):
        super().__init__()
        self.spectrogram = Spectrogram(
            n_fft, win, hop, centre=centre, pad=pad, power=power, epsilon=epsilon, pre_emphasis=pre_emphasis
        )
        self.floor, self.log, self.ref_db, self.symmetric = floor, log, ref_db, symmetric
        self.decibels = 20.0 / power
        filters = mel_filters(rate, n_fft, mels, fmin, rate / 2 if fmax is None else fmax)
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, wave: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`(B, N)` float to `(B, mels, N // hop)` float32; the arguments are those of `Spectrogram.forward`."""
        with torch.autocast(wave.device.type, enabled=False):
            mel = self.filters @ self.spectrogram(wave, lengths)
            if self.log == "none":
                return mel
            mel = mel.clamp(min=self.floor)
            if self.log == "ln":
                return mel.log()
            db = self.decibels * mel.log10() - self.ref_db
            if self.symmetric is None:
                return db
            return (2 * self.symmetric * (db + 100) / 100 - self.symmetric).clamp(-self.symmetric, self.symmetric)


def mel_filters(rate: int, n_fft: int, mels: int, fmin: float, fmax: float) -> Tensor:
    """Triangular filters `(mels, n_fft // 2 + 1)` float32, Slaney's scale and area normalisation.

    Source: M. Slaney, Auditory Toolbox (1998); the same numbers as `librosa.filters.mel`.
    """
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * rate / n_fft
    edges = mel_edges(mels, fmin, fmax)
    width = edges.diff()
    slope = edges[:, None] - bins
    rising, falling = -slope[:-2] / width[:-1, None], slope[2:] / width[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (torch.minimum(rising, falling).clamp(min=0) * area[:, None]).float()


def mel_edges(mels: int, fmin: float, fmax: float) -> Tensor:
    """`(mels + 2,)` Hz, float64, equally far apart on Slaney's scale: band i rises from i to i + 1, falls to i + 2."""
    ends = torch.tensor([fmin, fmax], dtype=torch.float64)
    low, high = _hz_to_mel(ends).tolist()
    return _mel_to_hz(torch.linspace(low, high, mels + 2, dtype=torch.float64))


# Slaney's scale is linear (3 mel per 200 Hz) up to 1 kHz, which is 15 mel, and 27 mel per factor 6.4 above.
_KNEE_HZ, _KNEE_MEL, _HZ_PER_MEL = 1000.0, 15.0, 200.0 / 3
_LOG_STEP = math.log(6.4) / 27


def _hz_to_mel(hz: Tensor) -> Tensor:
    log = _KNEE_MEL + (hz.clamp(min=_KNEE_HZ) / _KNEE_HZ).log() / _LOG_STEP
    return torch.where(hz < _KNEE_HZ, hz / _HZ_PER_MEL, log)


def _mel_to_hz(mel: Tensor) -> Tensor:
    exp = _KNEE_HZ * ((mel - _KNEE_MEL) * _LOG_STEP).exp()
    return torch.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, exp)
