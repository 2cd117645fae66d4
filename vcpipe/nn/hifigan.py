"""HiFi-GAN: frames of features to a waveform by transposed convolutions (arXiv 2010.05646; over units: 2305.18975)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1
LAST_SLOPE = 0.01  # before `conv_post` the published weights were trained with the library's default slope


class HifiGan(nn.Module):
    """`(B, T, D)` features to `(B, 1, hop * T)` samples in [-1, 1], where hop is the product of `rates`.

    Module names are those of the published checkpoints. Every convolution is weight-normalised, `lin_pre` is not.

    Args:
        in_dim: D.
        rates, kernels: of each upsampling stage; every `kernel - rate` must be even, or lengths would drift.
        channels: of the first stage's input, halved by every stage.
        pre_dim: width of a linear layer in front; None for none.
        resblock: 1 (dilated and plain convolutions in pairs) or 2 (dilated only).
        resblock_kernels, dilations: one residual block each, averaged, after every stage.
        normed: False builds plain convolutions, for fused weights.
    """

    def __init__(
        self,
        in_dim: int,
        *,
        rates: Sequence[int] = (10, 8, 2, 2),
        kernels: Sequence[int] = (20, 16, 4, 4),
        channels: int = 512,
        pre_dim: int | None = 512,
        resblock: int = 1,
        resblock_kernels: Sequence[int] = (3, 7, 11),
        dilations: Sequence[Sequence[int]] = ((1, 3, 5), (1, 3, 5), (1, 3, 5)),
        normed: bool = True,
    ):
        super().__init__()
        block = {1: PairedBlock, 2: PlainBlock}[resblock]
        self.n_blocks = len(resblock_kernels)
        self.lin_pre = None if pre_dim is None else nn.Linear(in_dim, pre_dim)
        self.conv_pre = nn.Conv1d(pre_dim or in_dim, channels, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(rates, kernels, strict=True):
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2))
            channels //= 2
            self.resblocks.extend(block(channels, k, d) for k, d in zip(resblock_kernels, dilations, strict=True))
        self.conv_post = nn.Conv1d(channels, 1, 7, padding=3)
        if normed:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                    weight_norm(module)

    def forward(self, units: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, 1, hop * T)` in [-1, 1]."""
        x = units if self.lin_pre is None else self.lin_pre(units)
        x = self.conv_pre(x.transpose(1, 2))
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            blocks = self.resblocks[i * self.n_blocks : (i + 1) * self.n_blocks]
            x = sum(block(x) for block in blocks) / self.n_blocks
        out: Tensor = self.conv_post(F.leaky_relu(x, LAST_SLOPE)).tanh()
        return out


class PairedBlock(nn.Module):
    """Residual block type 1, `(B, C, T)` to the same: per dilation a dilated and a plain convolution."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs1 = nn.ModuleList(same_conv(channels, kernel, d) for d in dilations)
        self.convs2 = nn.ModuleList(same_conv(channels, kernel, 1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to `(B, C, T)`."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class PlainBlock(nn.Module):
    """Residual block type 2, `(B, C, T)` to the same: one dilated convolution per dilation."""

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.convs = nn.ModuleList(same_conv(channels, kernel, d) for d in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to `(B, C, T)`."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, SLOPE))
        return x


def same_conv(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    """A convolution that keeps channels and length (odd `kernel`)."""
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=dilation * (kernel - 1) // 2)


def fused_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state of a model with weight norms multiplied out: of the same model built without them."""
    weights = {key: value for key, value in model.state_dict().items() if "parametrizations." not in key}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            weights[f"{name}.weight"] = module.weight.detach()
    return weights
