"""What WavLM and HuBERT share: a convolutional front end and a transformer, driven so that long batches are cheap.

The networks are torchaudio's; here are their framing, their front end, and the choice of layers that come out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn.longconv import LongConv

CHUNK_FRAMES = {"cpu": 100, "cuda": 16000}
"""Output frames, over the whole batch, that the front end makes at once: its first layers are 64 times as long."""


class SpeechTransformer(nn.Module):
    """`(B, N)` samples to one layer, or a weighted sum of layers, `(B, N // hop, D)`.

    Layer n is the output after the n-th transformer layer without the encoder's final norm (which transformers applies
    to the last hidden state of Large networks); layer 0 is the input of the first. There are two framings, both with
    exactly `N // hop` frames:

    - `centred=False`, kNN-VC's training: zeros on the right up to a whole hop beyond the last frame; frame i sees
      samples `[i * hop, i * hop + 400)`.
    - `centred=True`, Soft-VC's: 40 zeros on each side; frame i sees `[i * hop - 40, i * hop + 360)`.

    Args:
        network: torchaudio's WavLM or HuBERT; layers beyond the last one wanted are dropped from it.
        layers: the layer that `forward` gives, or the weights of the layers of which it gives the sum.
        centred: the framing.
        head: a projection of what the layers gave.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: int | Mapping[int, float],
        centred: bool = False,
        head: nn.Linear | None = None,
    ):
        super().__init__()
        net = cast(Any, network)
        blocks = net.feature_extractor.conv_layers
        self.hop = math.prod(b.stride for b in blocks)
        self.field = 1 + sum(
            (b.kernel_size - 1) * math.prod(c.stride for c in blocks[:i]) for i, b in enumerate(blocks)
        )
        self.group_norm = isinstance(blocks[0].layer_norm, nn.GroupNorm)
        """Its front end then normalises over all of time: only recordings of equal length may go together."""
        self.mix = LayerMix(layers)
        self.edge = (self.field - self.hop) // 2 if centred else 0
        """Zeros before the first sample, and as many after the last."""
        self.front: nn.Module = net.feature_extractor if self.group_norm else FrontEnd(net.feature_extractor)
        self.projection = net.encoder.feature_projection
        transformer = net.encoder.transformer
        positions = transformer.pos_conv_embed.conv
        torch.nn.utils.parametrize.remove_parametrizations(positions, "weight")
        self.positions = LongConv(positions)
        self.norm = transformer.layer_norm if transformer.layer_norm_first else nn.Identity()
        self.first_attention = transformer.layers[0].attention
        self.relative = hasattr(self.first_attention, "rel_attn_embed")
        """Whether attention has WavLM's bias by relative position."""
        self.layers = transformer.layers[: self.mix.last]
        self.head = head

    @property
    def width(self) -> int:
        """D, the columns that come out."""
        return int(self.first_attention.embed_dim) if self.head is None else self.head.out_features

    def forward(self, waves: Tensor, lengths: Tensor, pad: bool = True) -> Tensor:
        """`(B, N)` float32, zero beyond `lengths (B,)`, to `(B, max T, D)`; frames beyond a row's own mean nothing.

        `pad=False` is the framing of the authors and of kNN-VC's inference: no zeros, `T = (N - 80) // 320`.
        """
        frames = lengths // self.hop if pad else (lengths - self.field) // self.hop + 1
        n = int(frames.max())
        if pad:
            after = self.edge or max(0, (n + 1) * self.hop - waves.shape[1])
            waves = F.pad(waves, (self.edge, after))
        x = self.projection(self._front(waves, n))
        mask = None
        if int(frames.min()) < n:
            beyond = torch.arange(n, device=x.device) >= frames[:, None]
            x = x.masked_fill(beyond[..., None], 0.0)
            mask = torch.zeros(beyond.shape, device=x.device).masked_fill(beyond, -math.inf)
        x = self.norm(x + F.gelu(self.positions(x)))
        context = self._context(mask, n)
        out = self.mix.add(None, 0, x)
        for number, layer in enumerate(self.layers, 1):
            x, _ = layer(x, **context)
            out = self.mix.add(out, number, x)
        assert out is not None
        return out if self.head is None else self.head(out)

    def _context(self, mask: Tensor | None, n: int) -> dict[str, Tensor | None]:
        """What every layer is told beside its input; `mask (B, n)` is added to the scores of keys."""
        if self.relative:
            return {"position_bias": position_bias(self.first_attention, n), "key_padding_mask": mask}
        return {"attention_mask": None if mask is None else mask[:, None, None].expand(-1, 1, n, n)}

    def _front(self, waves: Tensor, n: int) -> Tensor:
        """Samples that hold n frames to `(B, n, C)`, in pieces of time where frames do not depend on each other."""
        if self.group_norm:
            whole: Tensor = self.front(waves, None)[0]
            return whole
        step = max(1, CHUNK_FRAMES.get(waves.device.type, 100) // len(waves))
        ends = [(a, min(a + step, n)) for a in range(0, n, step)]
        return torch.cat([self.front(waves[:, a * self.hop : (b - 1) * self.hop + self.field]) for a, b in ends], 1)


class LayerMix:
    """One layer, or the weighted sum of some, gathered while the layers are computed."""

    def __init__(self, layers: int | Mapping[int, float]):
        self.weights = {layers: 1.0} if isinstance(layers, int) else dict(layers)
        self.last = max(self.weights)
        """The last layer that is needed; none after it is computed."""

    def check(self, n_layers: int, where: str) -> None:
        """An InputError for a layer that a network of `n_layers` has not; `where` is its file."""
        if wrong := [n for n in self.weights if not 0 <= n <= n_layers]:
            raise InputError(f"{where}: has layers 0 to {n_layers}, not {wrong[0]}; change `layer` or `layers`")

    def add(self, total: Tensor | None, number: int, x: Tensor) -> Tensor | None:
        """The sum so far with the output `x` of a layer in it, where that layer is wanted."""
        if number not in self.weights:
            return total
        weight = self.weights[number]
        part = x if weight == 1 else weight * x
        return part if total is None else total + part


class FrontEnd(nn.Module):
    """The convolutions with layer norm, as matrix products over `(B, T, C)`: no transposes, half the time on a CPU.

    A kernel longer than its stride is cut into stretches of at most a stride, so that each reads its input in place.
    """

    def __init__(self, extractor: nn.Module):
        super().__init__()
        self.blocks = cast(Any, extractor).conv_layers

    def forward(self, waves: Tensor) -> Tensor:
        """`(B, N)` samples to `(B, frames, C)`."""
        x = waves[..., None]
        for block in self.blocks:
            x = _convolve(x, block.conv.weight, block.conv.bias, block.stride)
            norm = block.layer_norm
            x = F.gelu(F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        return x


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """A convolution of `(B, T, C)` with `(C_out, C, k)`, without padding, to `(B, T', C_out)`."""
    rows, length, channels = x.shape
    kernel = weight.shape[2]
    n = (length - kernel) // stride + 1
    if channels == 1:
        return F.linear(x[..., 0].unfold(1, kernel, stride), weight[:, 0], bias)
    x = x.contiguous()
    out: Tensor | None = None
    for at in range(0, kernel, stride):
        part = weight[:, :, at : at + stride]
        taps = part.permute(2, 1, 0).reshape(-1, len(weight))
        size = (rows, n, len(taps))
        seen = x.as_strided(size, (length * channels, stride * channels, 1), x.storage_offset() + at * channels)
        if out is None:
            out = torch.bmm(seen, taps.expand(rows, -1, -1))
        else:
            out = torch.baddbmm(out, seen, taps.expand(rows, -1, -1))
    assert out is not None
    return out if bias is None else out + bias


def position_bias(attention: Any, n: int) -> Tensor:
    """WavLM's relative position bias `(1, heads, n, n)` that all layers gate, from 2n - 1 numbers a head."""
    table = attention.rel_attn_embed.weight
    distance = torch.arange(1 - n, n, device=table.device)  # key - query
    half, exact = attention.num_buckets // 2, attention.num_buckets // 4
    far = distance.abs().float().clamp(min=1) / exact
    scaled = far.log() / math.log(attention.max_distance / exact) * (half - exact)
    bucket = torch.where(distance.abs() < exact, distance.abs(), (exact + scaled.long()).clamp(max=half - 1))
    values = table[bucket + half * (distance > 0)].T.contiguous()  # (heads, 2n - 1)
    return values.unfold(1, n, 1).flip(1)[None]  # row q: the n numbers from n - 1 - q on
