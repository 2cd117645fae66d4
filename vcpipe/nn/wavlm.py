"""WavLM from its public files: Large, Base and Base+, in Microsoft's form and in that of Hugging Face.

Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing" (2022). Microsoft's
files are `{"cfg": ..., "model": ...}`; Hugging Face's are the tensors of `WavLMModel` with a `config.json` beside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vcpipe.errors import InputError
from vcpipe.nn import ssl_weights
from vcpipe.nn.ssl import LayerMix, SpeechTransformer

Layers = int | Mapping[int, float]
WHAT = "a WavLM checkpoint as its authors released it"
WHAT_HUGGING_FACE = "the WavLM of its config.json"


def load(path: Path, layers: Layers) -> SpeechTransformer:
    """The network of a public file, up to the last layer wanted.

    Args:
        path: `.pt` of Microsoft; `model.safetensors` or `pytorch_model.bin` of Hugging Face.
        layers: the layer that comes out, or the weights of the layers that are summed.

    Raises:
        InputError: for a file that is not WavLM, is incomplete, or has not these layers.
    """
    content = ssl_weights.read_weights(path)
    if any(isinstance(value, torch.Tensor) for value in content.values()):
        config = ssl_weights.hugging_face_config(path, "wavlm")
        return from_hugging_face(content, config, layers, str(path))
    return from_checkpoint(content, layers, str(path))


def from_checkpoint(checkpoint: Mapping[str, Any], layers: Layers, where: str) -> SpeechTransformer:
    """Builds the network of a file in Microsoft's form.

    Args:
        checkpoint: `{"cfg": ..., "model": ...}`.
        layers: 0 (the transformer's input) to the number of its layers, or weights of such.
        where: the file, to be named in errors.

    Raises:
        InputError: for a configuration that is not supported, and for tensors that are missing, unknown or of
            another shape than the configuration says.
    """
    if not isinstance(checkpoint.get("cfg"), Mapping) or not isinstance(checkpoint.get("model"), Mapping):
        raise InputError(f"{where}: expected a WavLM checkpoint with `cfg` and `model`, found {sorted(checkpoint)[:8]}")
    arguments = architecture(checkpoint["cfg"], where)
    theirs = ssl_weights.fairseq(arguments["extractor_mode"] == "group_norm")
    return _filled(arguments, ssl_weights.plain(checkpoint["model"]), theirs, layers, where, WHAT)


def from_hugging_face(
    tensors: Mapping[str, Any], config: Mapping[str, Any], layers: Layers, where: str
) -> SpeechTransformer:
    """Builds the network of the tensors of transformers' `WavLMModel` and its `config.json`; errors as above."""
    more = {"num_buckets": "encoder_num_buckets", "max_bucket_distance": "encoder_max_distance"}
    arguments = ssl_weights.hugging_face_architecture(config, f"{where}: config.json", more)
    given = ssl_weights.plain(tensors, "wavlm.")
    theirs = ssl_weights.names(ssl_weights.HUGGING_FACE)
    return _filled(arguments, given, theirs, layers, where, WHAT_HUGGING_FACE)


def _filled(
    arguments: Mapping[str, Any],
    given: Mapping[str, Any],
    theirs: ssl_weights.Names,
    layers: Layers,
    where: str,
    what: str,
) -> SpeechTransformer:
    LayerMix(layers).check(arguments["encoder_num_layers"], where)
    with torch.device("meta"):
        network = build(arguments)
    ssl_weights.fill(network, given, theirs, TRAINING_ONLY, where, what)
    return SpeechTransformer(network, layers).eval().requires_grad_(False)


def build(arguments: Mapping[str, Any]) -> nn.Module:
    """The network of torchaudio with random weights, dropouts off."""
    from torchaudio.models import wavlm_model

    dropouts = ["projection_dropout", "attention_dropout", "ff_interm_dropout", "dropout", "layer_drop"]
    network: nn.Module = wavlm_model(**arguments, **{f"encoder_{d}": 0.0 for d in dropouts}, aux_num_out=None)
    return network


TRAINING_ONLY = r"mask_emb|masked_spec_embed|(lm_head|classifier|projector)\..*|layer_weights"
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
    mode = ssl_weights.choice(cfg, "extractor_mode", MODES, f"{where}: cfg.")
    out = {
        **{ours: ssl_weights.number(cfg.get(key), f"{where}: cfg.{key}") for key, ours in NUMBERS.items()},
        "extractor_mode": mode,
        "extractor_conv_layer_config": _conv_layers(cfg.get("conv_feature_layers"), where),
        "extractor_conv_bias": ssl_weights.switch(cfg, "conv_bias", f"{where}: cfg."),
        "encoder_layer_norm_first": ssl_weights.switch(cfg, "layer_norm_first", f"{where}: cfg."),
    }
    ssl_weights.check_heads(out, f"{where}: cfg")
    return out


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
