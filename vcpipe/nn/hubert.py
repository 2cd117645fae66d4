"""HuBERT and its relatives from their public files: ContentVec, and the content encoders of Soft-VC.

Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of Hidden Units" (2021);
Qian et al., "ContentVec" (2022); van Niekerk et al., "A Comparison of Discrete and Soft Speech Units for Improved
Voice Conversion" (2022). Four layouts are read: torchaudio's, fairseq's, Hugging Face's and bshall's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.nn import ssl_weights
from vcpipe.nn.ssl import LayerMix, SpeechTransformer

STRIDES = {10: 5, 3: 2, 2: 2}
"""Of the convolutions of every public HuBERT, by kernel."""
HEADS = {1280: 16}
"""Attention heads by width, where a head is not 64 wide (X-Large)."""
FAIRSEQ_OBJECT = "fairseq.data.dictionary.Dictionary"
UNIT_VECTORS = "label_embedding.weight"
"""Of bshall's layout."""


class Layout(NamedTuple):
    """A form in which HuBERT is published."""

    what: str
    sign: str
    """A tensor that only this layout has, without prefix."""
    theirs: ssl_weights.Names
    unused: str
    """A pattern of the tensors that are not of the encoder."""
    head: str = ""
    """The projection of the last layer, if any."""
    configured: bool = False
    """Whether a `config.json` beside the file says what the network is."""


def _layouts(group_norm: bool) -> list[Layout]:
    return [
        Layout(
            "HuBERT as torchaudio publishes it",
            "encoder.transformer.pos_conv_embed.conv.bias",
            ssl_weights.names(ssl_weights.POSITIONS),
            r"aux\..*",
        ),
        Layout(
            "HuBERT or ContentVec as fairseq saves it",
            "encoder.pos_conv.0.bias",
            ssl_weights.fairseq(group_norm),
            r"mask_emb|label_embs_concat|final_proj\..*",
            "final_proj",
        ),
        Layout(
            "HuBERT or ContentVec as transformers saves it",
            "encoder.pos_conv_embed.conv.bias",
            ssl_weights.names(ssl_weights.HUGGING_FACE),
            r"masked_spec_embed|(lm_head|classifier|projector|final_proj)\..*|layer_weights",
            "final_proj",
            configured=True,
        ),
        Layout(
            "the content encoder of Soft-VC as bshall publishes it",
            "positional_embedding.conv.bias",
            ssl_weights.names(ssl_weights.BSHALL),
            r"masked_spec_embed|label_embedding\.weight|proj\..*",
            "proj",
        ),
    ]


def load(path: Path, layers: int | Mapping[int, float], head: bool = False) -> SpeechTransformer:
    """The network of a public file, up to the last layer wanted; frames are centred on their samples.

    Args:
        path: of the file; one of Hugging Face has its `config.json` beside it.
        layers: the layer that comes out, or the weights of the layers that are summed.
        head: apply the file's own projection to what the layers gave (ContentVec's, Soft-VC's: 768 to 256).

    Raises:
        InputError: for a file of another kind, incomplete, without that head, or without these layers.
    """
    where = str(path)
    content, given = _read(path)
    layout = _layout(given, where)
    if layout.configured:
        config = ssl_weights.hugging_face_config(path, "hubert")
        arguments = ssl_weights.hugging_face_architecture(config, f"{path.parent / 'config.json'}", {})
    else:
        arguments = architecture(given, layout.theirs, where, layout.what)
        _check_against(content.get("cfg"), arguments, where)
    LayerMix(layers).check(arguments["encoder_num_layers"], where)
    with torch.device("meta"):
        network = build(arguments)
    ssl_weights.fill(network, given, layout.theirs, layout.unused, where, layout.what)
    projection = _head(given, layout, arguments["encoder_embed_dim"], where) if head else None
    return SpeechTransformer(network, layers, centred=True, head=projection).eval().requires_grad_(False)


def unit_vectors(path: Path) -> Tensor:
    """The vectors `(K, D)` of the discrete units that HuBERT-Soft was trained to tell: the nearest by angle is meant.

    Raises:
        InputError: for a file without them.
    """
    given = _read(path)[1]
    if UNIT_VECTORS not in given:
        raise InputError(f"{path}: has no {UNIT_VECTORS}, the vectors of the units; use a file of HuBERT-Soft")
    return ssl_weights.tensor(given, UNIT_VECTORS, str(path), "HuBERT-Soft").float()


def build(arguments: Mapping[str, Any]) -> nn.Module:
    """The network of torchaudio with random weights, dropouts off."""
    from torchaudio.models import wav2vec2_model

    dropouts = ["projection_dropout", "attention_dropout", "ff_interm_dropout", "dropout", "layer_drop"]
    network: nn.Module = wav2vec2_model(**arguments, **{f"encoder_{d}": 0.0 for d in dropouts}, aux_num_out=None)
    return network


def architecture(given: Mapping[str, Any], theirs: ssl_weights.Names, where: str, what: str) -> dict[str, Any]:
    """The arguments of `build` from the tensors alone, for files that don't say.

    Shapes tell all but three things, which all public HuBERTs have in common: the strides follow the kernels, the
    heads the width, and layers normalise first where the front end has layer norm (Large, X-Large).

    Args:
        given: the tensors of the file.
        theirs: from torchaudio's names to the file's.
        where, what: the file, and what it should be, to be named in errors.
    """

    def shape(name: str) -> tuple[int, ...]:
        return tuple(ssl_weights.tensor(given, theirs(name)[0], where, what).shape)

    def there(name: str) -> bool:
        return theirs(name)[0] in given

    def count(pattern: str) -> int:
        return next(n for n in range(1 << 16) if not there(pattern.format(n)))

    front = "feature_extractor.conv_layers.{}.conv.weight"
    kernels = [shape(front.format(n)) for n in range(count(front))]
    if not kernels or any(len(k) != 3 or k[2] not in STRIDES for k in kernels):
        raise InputError(f"{where}: convolutions of shapes {kernels} are not HuBERT's; expected {what}")
    width = shape("encoder.feature_projection.projection.weight")[0]
    if width % 64:
        raise InputError(f"{where}: a width of {width} is not HuBERT's, a multiple of 64; expected {what}")
    positions = shape("encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original1")
    layer_norm = there("feature_extractor.conv_layers.1.layer_norm.weight")
    return {
        "extractor_mode": "layer_norm" if layer_norm else "group_norm",
        "extractor_conv_layer_config": [(k[0], k[2], STRIDES[k[2]]) for k in kernels],
        "extractor_conv_bias": there("feature_extractor.conv_layers.0.conv.bias"),
        "encoder_embed_dim": width,
        "encoder_pos_conv_kernel": positions[2],
        "encoder_pos_conv_groups": width // positions[1],
        "encoder_num_layers": count("encoder.transformer.layers.{}.layer_norm.weight"),
        "encoder_num_heads": HEADS.get(width, width // 64),
        "encoder_ff_interm_features": shape("encoder.transformer.layers.0.feed_forward.intermediate_dense.weight")[0],
        "encoder_layer_norm_first": layer_norm,
    }


def _read(path: Path) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """What a file holds, and the tensors of the network in it."""
    with torch.serialization.safe_globals([(_Inert, FAIRSEQ_OBJECT)]):
        content = ssl_weights.read_weights(path)
    return content, _separated(ssl_weights.plain(_tensors(content), "hubert."))


def _tensors(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state dict of a checkpoint: itself, or what stands under fairseq's `model` or bshall's `hubert`."""
    for key in ("model", "hubert", "state_dict"):
        if isinstance(content.get(key), Mapping):
            inner: Mapping[str, Any] = content[key]
            return inner
    return content


def _layout(given: Mapping[str, Any], where: str) -> Layout:
    layouts = _layouts("feature_extractor.conv_layers.0.2.weight" in given)
    for layout in layouts:
        if layout.sign in given:
            return layout
    forms = ", ".join(layout.what for layout in layouts)
    raise InputError(f"{where}: expected {forms}; found {sorted(map(str, given))[:3]}")


def _separated(given: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors with bshall's stacked projections (`torch.nn.MultiheadAttention`) one by one."""
    out: dict[str, Any] = {}
    for name, value in given.items():
        stem, stacked, kind = name.rpartition(".in_proj_")
        if stacked and isinstance(value, Tensor) and value.ndim and len(value) % 3 == 0:
            out |= {f"{stem}.{p}_proj.{kind}": part for p, part in zip("qkv", value.chunk(3), strict=True)}
        else:
            out[name] = value
    return out


def _check_against(cfg: object, arguments: Mapping[str, Any], where: str) -> None:
    """What fairseq's configuration says must be what the shapes were taken to mean; else an InputError."""
    model = cfg.get("model") if isinstance(cfg, Mapping) else None
    if not isinstance(model, Mapping):
        return
    meant = {
        "encoder_attention_heads": arguments["encoder_num_heads"],
        "layer_norm_first": arguments["encoder_layer_norm_first"],
        "activation_fn": "gelu",
    }
    for key, value in meant.items():
        if model.get(key, value) != value:
            raise InputError(f"{where}: cfg.model.{key} = {model[key]!r} is not supported here, only {value!r}")


def _head(given: Mapping[str, Any], layout: Layout, width: int, where: str) -> nn.Linear:
    if not layout.head or f"{layout.head}.weight" not in given:
        raise InputError(
            f"{where}: has no projection{f' {layout.head}' if layout.head else ''}; use a file of ContentVec or "
            "HuBERT-Soft, or leave the projection out"
        )
    weight, bias = (ssl_weights.tensor(given, f"{layout.head}.{k}", where, layout.what) for k in ("weight", "bias"))
    if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
        raise InputError(f"{where}: {layout.head}.weight: expected (columns, {width}), found {tuple(weight.shape)}")
    head = nn.Linear(width, len(weight), device="meta")
    head.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return head


class _Inert:
    """Stands for fairseq's table of labels, which its checkpoints carry and nobody needs: it does nothing."""

    def __setstate__(self, state: object) -> None:
        """Drops what was saved."""
