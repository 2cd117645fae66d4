"""The tensors of public WavLM and HuBERT files under torchaudio's names, every one of both sides accounted for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.weights import read_pickle_checkpoint, read_safetensors

Names = Callable[[str], list[str]]
"""From torchaudio's name of a tensor to a file's name of it, or its three names where torchaudio stacks q, k and v."""

Table = list[tuple[str, str]]
POSITIONS: Table = [
    (r"parametrizations\.weight\.original0", "weight_g"),
    (r"parametrizations\.weight\.original1", "weight_v"),
]
FAIRSEQ: Table = [
    *POSITIONS,
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv_layers.\1.0."),
    (r"^encoder\.feature_projection\.layer_norm\.", "layer_norm."),
    (r"^encoder\.feature_projection\.projection\.", "post_extract_proj."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
    (r"^(encoder\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
    (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
    (r"\.feed_forward\.output_dense\.", ".fc2."),
    (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
    (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
    (r"\.attention\.gru_rel_pos_const", ".self_attn.grep_a"),
    (r"\.attention\.(attention\.)?", ".self_attn."),
]
FAIRSEQ_GROUP_NORM = (r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"feature_extractor.conv_layers.\1.2.")
FAIRSEQ_LAYER_NORM = (FAIRSEQ_GROUP_NORM[0], r"feature_extractor.conv_layers.\1.2.1.")
HUGGING_FACE: Table = [
    *POSITIONS,
    (r"^encoder\.feature_projection\.", "feature_projection."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"\.attention\.attention\.", ".attention."),
]
BSHALL: Table = [
    *POSITIONS,
    (r"^feature_extractor\.conv_layers\.(\d+)\.conv\.", r"feature_extractor.conv\1."),
    (r"^feature_extractor\.conv_layers\.(\d+)\.layer_norm\.", r"feature_extractor.norm\1."),
    (r"^encoder\.feature_projection\.layer_norm\.", "feature_projection.norm."),
    (r"^encoder\.feature_projection\.", "feature_projection."),
    (r"^encoder\.transformer\.pos_conv_embed\.", "positional_embedding."),
    (r"^encoder\.transformer\.layer_norm\.", "norm."),
    (r"^encoder\.transformer\.layers\.(\d+)\.layer_norm\.", r"encoder.layers.\1.norm1."),
    (r"^encoder\.transformer\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.norm2."),
    (r"^encoder\.transformer\.", "encoder."),
    (r"\.feed_forward\.intermediate_dense\.", ".linear1."),
    (r"\.feed_forward\.output_dense\.", ".linear2."),
    (r"\.attention\.", ".self_attn."),
]


def names(table: Table) -> Names:
    """The translation of a layout, its patterns applied in order."""

    def theirs(name: str) -> list[str]:
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        stacked = re.fullmatch(r"(.*attn|.*attention)\.in_proj_(weight|bias)", name)
        return [f"{stacked[1]}.{p}_proj.{stacked[2]}" for p in "qkv"] if stacked else [name]

    return theirs


def fairseq(group_norm: bool) -> Names:
    """The layout of fairseq and of Microsoft's WavLM; where the front end's norms stand depends on their kind."""
    return names([FAIRSEQ_GROUP_NORM if group_norm else FAIRSEQ_LAYER_NORM, *FAIRSEQ])


def plain(tensors: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tensors without a wrapper's prefix (`module.`, and one more), and weight norm under its older name."""
    out = {}
    for key, value in tensors.items():
        key = key.removeprefix("module.").removeprefix(prefix)
        for pattern, older in POSITIONS:
            key = re.sub(pattern, older, key)
        out[key] = value
    return out


def fill(network: nn.Module, given: Mapping[str, Any], theirs: Names, unused: str, where: str, what: str) -> None:
    """Gives a network (on the `meta` device) its tensors in float32; its own names are torchaudio's.

    Args:
        network: torchaudio's, without tensors yet.
        given: the tensors of the file, `plain`.
        theirs: the file's names.
        unused: a pattern of names that a file may have and no network needs.
        where: the file, to be named in errors.
        what: the kind of file that is expected, in words.

    Raises:
        InputError: for tensors that are missing, unknown, or of another shape than the network's.
    """
    ours = network.state_dict()
    sources = {name: theirs(name) for name in ours}
    wanted = {source for parts in sources.values() for source in parts}
    missing = sorted(wanted - set(given))
    unknown = sorted(name for name in set(given) - wanted if not re.fullmatch(unused, name))
    if missing or unknown:
        raise InputError(
            f"{where}: tensors do not fit; missing {missing[:3] or 'none'} ({len(missing)}), unknown "
            f"{unknown[:3] or 'none'} ({len(unknown)}); expected {what}"
        )
    state = {}
    for name, parts in sources.items():
        found = [tensor(given, part, where, what) for part in parts]
        joined = torch.cat(found) if len(found) > 1 else found[0]
        if joined.shape != ours[name].shape:
            raise InputError(f"{where}: {parts[0]}: expected {tuple(ours[name].shape)}, found {tuple(joined.shape)}")
        state[name] = joined
    network.load_state_dict(state, strict=True, assign=True)


def tensor(given: Mapping[str, Any], name: str, where: str, what: str) -> Tensor:
    """A tensor of a file by its name, in float32."""
    value = given.get(name)
    if not isinstance(value, Tensor):
        raise InputError(f"{where}: {name} is not a tensor; expected {what}")
    return value.float()


def read_weights(path: Path) -> dict[str, Any]:
    """The content of a `.safetensors` file, or of a pickled checkpoint of tensors."""
    return dict(read_safetensors(path)[0]) if path.suffix == ".safetensors" else read_pickle_checkpoint(path)


FIXED: dict[str, Any] = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "layer_norm_eps": 1e-5,
}
NUMBERS = {
    "hidden_size": "encoder_embed_dim",
    "num_hidden_layers": "encoder_num_layers",
    "num_attention_heads": "encoder_num_heads",
    "intermediate_size": "encoder_ff_interm_features",
    "num_conv_pos_embeddings": "encoder_pos_conv_kernel",
    "num_conv_pos_embedding_groups": "encoder_pos_conv_groups",
}
NORMS = {"layer": "layer_norm", "group": "group_norm"}


def hugging_face_config(weights: Path, model_type: str) -> dict[str, Any]:
    """The `config.json` beside a Hugging Face weight file.

    Raises:
        InputError: when there is none, or it is of another type of model.
    """
    path = weights.parent / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected the configuration of {weights.name}, found none that can be read "
            f"({type(error).__name__}); put the config.json of the same download beside it"
        ) from None
    found = config.get("model_type") if isinstance(config, Mapping) else None
    if found != model_type:
        raise InputError(f"{path}: expected model_type '{model_type}', found {found!r}; use the kind of feature for it")
    return dict(config)


def hugging_face_architecture(config: Mapping[str, Any], where: str, more: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of torchaudio's network from a `config.json`; what cannot be built is refused by name.

    Args:
        config: of transformers' `HubertModel` or `WavLMModel`.
        where: the file, to be named in errors.
        more: further numbers, their name to torchaudio's.
    """
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise InputError(f"{where}: {key} = {config[key]!r} is not supported, only {value!r}")
    out: dict[str, Any] = {"extractor_mode": choice(config, "feat_extract_norm", NORMS, f"{where}: ")}
    out |= {ours: number(config.get(key), f"{where}: {key}") for key, ours in {**NUMBERS, **more}.items()}
    out["encoder_layer_norm_first"] = switch(config, "do_stable_layer_norm", f"{where}: ")
    out["extractor_conv_bias"] = switch(config, "conv_bias", f"{where}: ")
    lists = [config.get(key) for key in ("conv_dim", "conv_kernel", "conv_stride")]
    if not all(isinstance(part, list) and len(part) == len(lists[0] or []) > 0 for part in lists):
        raise InputError(f"{where}: conv_dim, conv_kernel and conv_stride: expected lists of one length")
    shapes = list(zip(*[part for part in lists if part is not None], strict=True))
    out["extractor_conv_layer_config"] = [
        tuple(number(value, f"{where}: a number of the convolutions") for value in shape) for shape in shapes
    ]
    check_heads(out, where)
    return out


def choice(config: Mapping[str, Any], key: str, known: Mapping[str, str], where: str) -> str:
    """Our word for a setting that is one of a few words; else an InputError that begins with `where` and the key."""
    if config.get(key) not in known:
        raise InputError(f"{where}{key} = {config.get(key)!r} is not one of {sorted(known)}")
    return known[config[key]]


def number(value: object, what: str) -> int:
    """A positive number below 65536, or an InputError that begins with `what`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 16:
        raise InputError(f"{what}: expected a positive whole number, found {value!r}")
    return value


def switch(config: Mapping[str, Any], key: str, where: str) -> bool:
    """A setting that is true or false; else an InputError that begins with `where` and the key."""
    value = config.get(key)
    if not isinstance(value, bool):
        raise InputError(f"{where}{key}: expected true or false, found {value!r}")
    return value


def check_heads(arguments: Mapping[str, Any], where: str) -> None:
    """The width must be a multiple of the heads; else an InputError."""
    width, heads = arguments["encoder_embed_dim"], arguments["encoder_num_heads"]
    if width % heads:
        raise InputError(f"{where}: a width of {width} is not a multiple of {heads} attention heads")
