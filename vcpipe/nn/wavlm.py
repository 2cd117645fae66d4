"""WavLM behind public checkpoints: torchaudio's network, driven so that long batches on a CPU are cheap.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing" (2022). Checkpoints
have the form `{"cfg": ..., "model": ...}` of the authors' release.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn.longconv import LongConv

CHUNK_FRAMES = {"cpu": 100, "cuda": 16000}
"""Output frames, over the whole batch, that the front end makes at once: its first layers are 64 times as long."""


class WavLM(nn.Module):
    """`(B, N)` samples to the output of one transformer layer `(B, N // hop, D)`.

    The framing is that of kNN-VC's training: zeros on the right up to a whole hop beyond the last frame, so that
    exactly `N // hop` frames come out and frame i sees samples `[i * hop, i * hop + 400)`. Layer n is the output
    after the n-th transformer layer without the encoder's final norm; layer 0 is the input of the first.

    Args:
        network: torchaudio's WavLM; layers after `layer` are dropped from it.
        layer: the only layer that `forward` gives.
    """

    def __init__(self, network: nn.Module, layer: int):
        super().__init__()
        net = cast(Any, network)
        blocks = net.feature_extractor.conv_layers
        self.hop = math.prod(b.stride for b in blocks)
        self.field = 1 + sum(
            (b.kernel_size - 1) * math.prod(c.stride for c in blocks[:i]) for i, b in enumerate(blocks)
        )
        self.group_norm = isinstance(blocks[0].layer_norm, nn.GroupNorm)
        """Its front end then normalises over all of time: only recordings of equal length may go together."""
        self.layer = layer
        self.front: nn.Module = net.feature_extractor if self.group_norm else FrontEnd(net.feature_extractor)
        self.projection = net.encoder.feature_projection
        transformer = net.encoder.transformer
        positions = transformer.pos_conv_embed.conv
        torch.nn.utils.parametrize.remove_parametrizations(positions, "weight")
        self.positions = LongConv(positions)
        self.norm = transformer.layer_norm if transformer.layer_norm_first else nn.Identity()
        self.first_attention = transformer.layers[0].attention
        self.layers = transformer.layers[:layer]

    @property
    def width(self) -> int:
        """D, the columns of every layer."""
        return int(self.first_attention.embed_dim)

    def forward(self, waves: Tensor, lengths: Tensor, pad: bool = True) -> Tensor:
        """`(B, N)` float32, zero beyond `lengths (B,)`, to `(B, max T, D)`; frames beyond a row's own mean nothing.

        `pad=False` is the framing of the authors and of kNN-VC's inference: no zeros, `T = (N - 80) // 320`.
        """
        frames = lengths // self.hop if pad else (lengths - self.field) // self.hop + 1
        n = int(frames.max())
        waves = F.pad(waves, (0, max(0, (n + 1) * self.hop - waves.shape[1] if pad else 0)))
        x = self.projection(self._front(waves, n))
        mask = None
        if int(frames.min()) < n:
            beyond = torch.arange(n, device=x.device) >= frames[:, None]
            x = x.masked_fill(beyond[..., None], 0.0)
            mask = torch.zeros(beyond.shape, device=x.device).masked_fill(beyond, -math.inf)
        x = self.norm(x + F.gelu(self.positions(x)))
        bias = position_bias(self.first_attention, n)
        for layer in self.layers:
            x, _ = layer(x, position_bias=bias, key_padding_mask=mask)
        out: Tensor = x
        return out

    def _front(self, waves: Tensor, n: int) -> Tensor:
        """Samples that hold n frames to `(B, n, C)`, in pieces of time where frames do not depend on each other."""
        if self.group_norm:
            whole: Tensor = self.front(waves, None)[0]
            return whole
        step = max(1, CHUNK_FRAMES.get(waves.device.type, 100) // len(waves))
        ends = [(a, min(a + step, n)) for a in range(0, n, step)]
        return torch.cat([self.front(waves[:, a * self.hop : (b - 1) * self.hop + self.field]) for a, b in ends], 1)


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
    """The relative position bias `(1, heads, n, n)` that all layers gate, from 2n - 1 numbers a head."""
    table = attention.rel_attn_embed.weight
    distance = torch.arange(1 - n, n, device=table.device)  # key - query
    half, exact = attention.num_buckets // 2, attention.num_buckets // 4
    far = distance.abs().float().clamp(min=1) / exact
    scaled = far.log() / math.log(attention.max_distance / exact) * (half - exact)
    bucket = torch.where(distance.abs() < exact, distance.abs(), (exact + scaled.long()).clamp(max=half - 1))
    values = table[bucket + half * (distance > 0)].T.contiguous()  # (heads, 2n - 1)
    return values.unfold(1, n, 1).flip(1)[None]  # row q: the n numbers from n - 1 - q on


def from_checkpoint(checkpoint: Mapping[str, Any], layer: int, where: str) -> WavLM:
    """Builds the network of a public checkpoint, up to a layer.

    Args:
        checkpoint: `{"cfg": ..., "model": ...}`.
        layer: 0 (the transformer's input) to the number of its layers.
        where: the file, to be named in errors.

    Raises:
        InputError: for a configuration that is not supported, and for tensors that are missing, unknown or of
            another shape than the configuration says.
    """
    if not isinstance(checkpoint.get("cfg"), Mapping) or not isinstance(checkpoint.get("model"), Mapping):
        raise InputError(f"{where}: expected a WavLM checkpoint with `cfg` and `model`, found {sorted(checkpoint)[:8]}")
    arguments = architecture(checkpoint["cfg"], where)
    if not 0 <= layer <= arguments["encoder_num_layers"]:
        raise InputError(f"{where}: has layers 0 to {arguments['encoder_num_layers']}, not {layer}; change `layer`")
    with torch.device("meta"):
        network = build(arguments)
    network.load_state_dict(_renamed(checkpoint["model"], network.state_dict(), where), strict=True, assign=True)
    return WavLM(network, layer).eval().requires_grad_(False)


def build(arguments: Mapping[str, Any]) -> nn.Module:
    """The network of torchaudio with random weights, dropouts off."""
    from torchaudio.models import wavlm_model

    dropouts = ["projection_dropout", "attention_dropout", "ff_interm_dropout", "dropout", "layer_drop"]
    network: nn.Module = wavlm_model(**arguments, **{f"encoder_{d}": 0.0 for d in dropouts}, aux_num_out=None)
    return network


MODES = {"layer_norm": "layer_norm", "default": "group_norm"}
FIXED: dict[str, Any] = {
    "activation_fn": "gelu",
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "deep_norm": False,
    "expand_attention_head_size": -1,
}
NUMBERS = {
    "encoder_embed_dim": "encoder_embed_dim",
    "encoder_layers": "encoder_num_layers",
    "encoder_attention_heads": "encoder_num_heads",
    "encoder_ffn_embed_dim": "encoder_ff_interm_features",
    "conv_pos": "encoder_pos_conv_kernel",
    "conv_pos_groups": "encoder_pos_conv_groups",
    "num_buckets": "encoder_num_buckets",
    "max_distance": "encoder_max_distance",
}


def architecture(cfg: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of `build` from a checkpoint's `cfg`; what cannot be built is refused by name."""
    for key, value in FIXED.items():
        if cfg.get(key, value) != value:
            raise InputError(f"{where}: cfg.{key} = {cfg[key]!r} is not supported, only {value!r}")
    if cfg.get("extractor_mode") not in MODES:
        raise InputError(f"{where}: cfg.extractor_mode = {cfg.get('extractor_mode')!r} is not one of {sorted(MODES)}")
    for key in NUMBERS:
        if not isinstance(cfg.get(key), int) or not 0 < cfg[key] < 1 << 16:
            raise InputError(f"{where}: cfg.{key}: expected a positive whole number, found {cfg.get(key)!r}")
    for key in ["layer_norm_first", "conv_bias"]:
        if not isinstance(cfg.get(key), bool):
            raise InputError(f"{where}: cfg.{key}: expected true or false, found {cfg.get(key)!r}")
    if cfg["encoder_embed_dim"] % cfg["encoder_attention_heads"]:
        raise InputError(f"{where}: cfg.encoder_embed_dim is not a multiple of cfg.encoder_attention_heads")
    return {
        **{ours: cfg[theirs] for theirs, ours in NUMBERS.items()},
        "extractor_mode": MODES[cfg["extractor_mode"]],
        "extractor_conv_layer_config": _conv_layers(cfg.get("conv_feature_layers"), where),
        "extractor_conv_bias": cfg["conv_bias"],
        "encoder_layer_norm_first": cfg["layer_norm_first"],
    }


def _conv_layers(text: object, where: str) -> list[tuple[int, int, int]]:
    """Reads `[(512,10,5)] + [(512,3,2)] * 4`: (channels, kernel, stride) of each layer."""
    layers: list[tuple[int, int, int]] = []
    for term in str(text).replace(" ", "").split("+"):
        match = re.fullmatch(r"\[((?:\(\d{1,5},\d{1,5},\d{1,5}\),?)+)\](?:\*(\d{1,2}))?", term)
        if match is None:
            raise InputError(f"{where}: cfg.conv_feature_layers {text!r} cannot be read")
        triples = re.findall(r"\((\d+),(\d+),(\d+)\)", match[1])
        layers += [(int(c), int(k), int(s)) for c, k, s in triples] * int(match[2] or 1)
    return layers


# torchaudio's name of a tensor -> the checkpoint's, applied in order.
NAMES = [
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"^encoder\.feature_projection\.layer_norm\.", "layer_norm."),
    (r"^encoder\.feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0", "encoder.pos_conv.0.weight_g"),
    (r"^encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", "encoder.pos_conv.0.weight_v"),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
    (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
    (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
    (r"\.attention\.gru_rel_pos_const", ".self_attn.grep_a"),
    (r"\.attention\.attention\.", ".self_attn."),
]
TRAINING_ONLY = {"mask_emb"}


def _renamed(theirs: Mapping[str, Any], ours: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The checkpoint's tensors under torchaudio's names; every tensor of both sides is accounted for."""
    given = {_plain(key): value for key, value in theirs.items()}
    group_norm = "feature_extractor.conv_layers.1.layer_norm.weight" not in ours
    sources = {name: _their_names(name, group_norm) for name in ours}
    wanted = {source for names in sources.values() for source in names}
    missing, unknown = sorted(wanted - set(given)), sorted(set(given) - wanted - TRAINING_ONLY)
    if missing or unknown:
        raise InputError(
            f"{where}: tensors do not fit its cfg; missing {missing[:3] or 'none'} ({len(missing)}), unknown "
            f"{unknown[:3] or 'none'} ({len(unknown)}); expected a WavLM checkpoint as its authors released it"
        )
    out = {}
    for name, names in sources.items():
        parts = [given[source] for source in names]
        if not all(isinstance(part, Tensor) for part in parts):
            raise InputError(f"{where}: {names[0]} is not a tensor; expected a WavLM checkpoint")
        tensor = torch.cat([part.float() for part in parts]) if len(parts) > 1 else parts[0].float()
        if tensor.shape != ours[name].shape:
            raise InputError(f"{where}: {names[0]}: expected {tuple(ours[name].shape)}, found {tuple(tensor.shape)}")
        out[name] = tensor
    return out


def _plain(key: str) -> str:
    """A key without a wrapper's prefix, and weight norm under its older name."""
    key = key.removeprefix("module.")
    key = key.replace("parametrizations.weight.original0", "weight_g")
    return key.replace("parametrizations.weight.original1", "weight_v")


def _their_names(name: str, group_norm: bool) -> list[str]:
    """The checkpoint's names of one tensor: three for a stacked projection, else one."""
    norm = r"feature_extractor.conv_layers.\1.2." if group_norm else r"feature_extractor.conv_layers.\1.2.1."
    for pattern, replacement in [(r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", norm), *NAMES]:
        name = re.sub(pattern, replacement, name)
    stacked = re.fullmatch(r"(.*\.self_attn)\.in_proj_(weight|bias)", name)
    return [f"{stacked[1]}.{p}_proj.{stacked[2]}" for p in "qkv"] if stacked else [name]
