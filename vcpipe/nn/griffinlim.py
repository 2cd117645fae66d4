"""Log-mels to sound without a trained vocoder: magnitudes of least error, and phases by Griffin and Lim's iteration.

Sources: Griffin and Lim, "Signal estimation from modified short-time Fourier transform" (1984), with the momentum of
Perraudin, Balazs and Sondergaard, "A fast Griffin-Lim algorithm" (2013); the magnitudes by the multiplicative updates
of Lee and Seung (2001). Its harmonics lie where the mel has them, so that the pitch of a mel can be told by it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from vcpipe.nn.mel import mel_filters

MAGNITUDE_STEPS = 30
MOMENTUM = 0.9
TINY = 1e-9
LEAST_ENERGY = 1e-3  # of the overlapping windows, at the ends


@torch.inference_mode()
def griffin_lim(
    mel: Tensor,
    rate: int,
    hop: int,
    n_fft: int = 1024,
    fmin: float = 0.0,
    fmax: float | None = None,
    steps: int = 32,
    seed: int = 0,
) -> Tensor:
    """`(T, mels)` natural logarithms of magnitudes, centred on their cells, to `(hop * T,)` samples on the CPU.

    Args:
        mel: as `vcpipe.nn.mel.LogMel` has it by default, with a window as long as the transform.
        rate: samples per second.
        hop: samples per frame.
        n_fft: samples of the transform.
        fmin, fmax: edges of the bands in Hz; fmax None is half the rate.
        steps: of the iteration.
        seed: of the first phases.
    """
    filters = mel_filters(rate, n_fft, mel.shape[1], fmin, rate / 2 if fmax is None else fmax)
    magnitude = _magnitudes(mel.cpu().float().exp().T, filters)
    window = torch.hann_window(n_fft)
    phases = torch.rand(magnitude.shape, generator=torch.Generator().manual_seed(seed))
    spectrum, before = torch.polar(magnitude, 2 * math.pi * phases), torch.zeros((), dtype=torch.complex64)
    for _ in range(steps):
        wave = _overlapped(spectrum, window, hop)
        found = torch.stft(wave, n_fft, hop, window=window, center=False, return_complex=True)
        ahead = found + MOMENTUM * (found - before)
        spectrum, before = magnitude * ahead / (ahead.abs() + TINY), found
    left = (n_fft - hop) // 2
    return _overlapped(spectrum, window, hop)[left : left + hop * mel.shape[0]]


def _magnitudes(mel: Tensor, filters: Tensor) -> Tensor:
    """`(mels, T)` magnitudes in bands to `(bins, T)`, none below 0, whose bands come near."""
    found = (torch.linalg.pinv(filters) @ mel).clamp(min=0) + TINY
    for _ in range(MAGNITUDE_STEPS):
        found = found * (filters.T @ mel) / (filters.T @ (filters @ found) + TINY)
    return found


def _overlapped(spectrum: Tensor, window: Tensor, hop: int) -> Tensor:
    """`(bins, T)` to the samples that all windows together reach."""
    n_fft, frames = len(window), spectrum.shape[1]
    pieces = torch.fft.irfft(spectrum, n=n_fft, dim=0) * window[:, None]
    energy = window.square()[:, None].expand(-1, frames)
    size, shape = (1, (frames - 1) * hop + n_fft), (1, n_fft)
    wave, total = (F.fold(x[None], size, shape, stride=(1, hop))[0, 0, 0] for x in (pieces, energy))
    return wave / total.clamp(min=LEAST_ENERGY)
