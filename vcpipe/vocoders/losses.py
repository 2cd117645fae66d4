"""What a vocoder is told about its waveform. Every term is a scalar; lower is better."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcpipe.nn.mel import LogMel
from vcpipe.vocoders.config import MelScale

STFT_SCALES = ((512, 128), (1024, 256), (2048, 512))
FLOOR = 1e-5


class MelLoss(nn.Module):
    """Mean absolute difference of log-mel spectrograms, averaged over the scales.

    With the one scale (1024, 320, 80) it is the loss of HiFi-GAN and kNN-VC.
    """

    def __init__(self, rate: int, scales: Sequence[MelScale]):
        super().__init__()
        self.mels = nn.ModuleList(LogMel(rate, s.n_fft, s.n_fft, s.hop, s.mels, 0.0, rate / 2) for s in scales)

    def forward(self, wave_hat: Tensor, wave: Tensor) -> Tensor:
        """`(B, N)` both; no gradient flows to `wave`."""
        losses = []
        for mel in self.mels:
            with torch.no_grad():
                target = mel(wave)
            losses.append(F.l1_loss(mel(wave_hat), target))
        return torch.stack(losses).mean()


class StftLoss(nn.Module):
    """Spectral convergence and L1 of log-magnitudes at three window lengths (arXiv 1910.11480), averaged.

    The convergence is a mean over the waves, so that a batch may be dealt to several processes.
    """

    def __init__(self) -> None:
        super().__init__()
        for n_fft, _ in STFT_SCALES:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, wave_hat: Tensor, wave: Tensor) -> Tensor:
        """`(B, N)` both; no gradient flows to `wave`."""
        losses = []
        for n_fft, hop in STFT_SCALES:
            with torch.no_grad():
                target = self._magnitude(wave, n_fft, hop)
            magnitude = self._magnitude(wave_hat, n_fft, hop)
            distance = (target - magnitude).square().sum((1, 2)).clamp(min=FLOOR**2).sqrt()
            convergence = distance / target.square().sum((1, 2)).sqrt().clamp(min=FLOOR)
            losses.append(convergence.mean() + F.l1_loss(magnitude.log(), target.log()))
        return torch.stack(losses).mean()

    def _magnitude(self, wave: Tensor, n_fft: int, hop: int) -> Tensor:
        window = getattr(self, f"window_{n_fft}")
        spectrum = torch.stft(wave.to(window.dtype), n_fft, hop, window=window, return_complex=True)
        return (spectrum.real.square() + spectrum.imag.square() + FLOOR**2).sqrt()


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """Least squares: scores of recordings to 1, of generated ones to 0; summed over sub-discriminators."""
    return torch.stack([(1 - r).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True)]).sum()


def adversarial_loss(fake: Sequence[Tensor]) -> Tensor:
    """Least squares: scores of generated waves to 1; summed over sub-discriminators."""
    return torch.stack([(1 - f).square().mean() for f in fake]).sum()


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """L1 between the layers' outputs, scores included; summed over layers and sub-discriminators."""
    pairs = [(r, f) for rs, fs in zip(real, fake, strict=True) for r, f in zip(rs, fs, strict=True)]
    return torch.stack([F.l1_loss(f, r.detach()) for r, f in pairs]).sum()
