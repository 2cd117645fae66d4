"""The x-vector head of public WavLM speaker verifiers, over our own WavLM.

Source: Snyder et al., "X-Vectors" (2018), as in transformers' `WavLMForXVector`; the public weights are Microsoft's
`wavlm-base-plus-sv`. All tensors of the file are accounted for; the classifier of training is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn import ssl_weights, wavlm
from vcpipe.nn.ssl import SpeechTransformer

WHAT = "a WavLM with the x-vector head of its config.json"
TRAINING_ONLY = r"classifier\..*|objective\..*"
SMALLEST_VARIANCE = 1e-7  # of the public feature extractor


class XVector(nn.Module):
    """`(N,)` samples at 16 kHz to one vector: layers of WavLM, summed; a narrow net over time; mean and deviation.

    Args:
        frames: the network up to the sum of its layers.
        head: the layers above it.
        normalize: bring the wave to mean 0 and variance 1 first.
    """

    def __init__(self, frames: SpeechTransformer, head: Head, normalize: bool):
        super().__init__()
        self.frames, self.head, self.normalize = frames, head, normalize

    @property
    def shortest(self) -> int:
        """Samples that give two frames above the head's context, so that there is a deviation."""
        return self.frames.field + (self.head.context + 1) * self.frames.hop

    def forward(self, wave: Tensor) -> Tensor:
        """`(N,)` float32, N at least `shortest`, to `(D,)` float32 of any length."""
        assert len(wave) >= self.shortest, f"{len(wave)} samples, expected at least {self.shortest}"
        if self.normalize:
            wave = (wave - wave.mean()) / (wave.var(correction=0) + SMALLEST_VARIANCE).sqrt()
        frames = self.frames(wave[None], torch.tensor([len(wave)]), pad=False)
        vector: Tensor = self.head(frames)[0]
        return vector


class Head(nn.Module):
    """`(B, T, D)` to `(B, E)`: a projection, convolutions over time with ReLU, their mean and deviation, a projection.

    Convolutions stand as the public files have them: matrices over the taps of a frame, tap by tap.
    """

    def __init__(self, width: int, channels: list[int], kernels: list[int], dilations: list[int], dim: int):
        super().__init__()
        self.projector = nn.Linear(width, channels[0])
        inputs = [channels[0], *channels[:-1]]
        self.tdnn = nn.ModuleList(
            nn.ModuleDict({"kernel": nn.Linear(c_in * kernel, c_out)})
            for c_in, c_out, kernel in zip(inputs, channels, kernels, strict=True)
        )
        self.feature_extractor = nn.Linear(2 * channels[-1], dim)
        self.shapes = list(zip(kernels, dilations, strict=True))
        self.context = sum((kernel - 1) * dilation for kernel, dilation in self.shapes)
        """Frames that the convolutions cost."""

    def forward(self, x: Tensor) -> Tensor:
        """T at least `context + 2`."""
        x = self.projector(x)
        for layer, (kernel, dilation) in zip(self.tdnn, self.shapes, strict=True):
            linear: Any = layer["kernel"]  # type: ignore[index]
            weight = linear.weight.unflatten(1, (kernel, -1)).transpose(1, 2)
            x = F.relu(F.conv1d(x.transpose(1, 2), weight, linear.bias, dilation=dilation)).transpose(1, 2)
        vector: Tensor = self.feature_extractor(torch.cat([x.mean(1), x.std(1)], 1))
        return vector


def load(path: Path) -> XVector:
    """The network of a public file, with `config.json` and `preprocessor_config.json` beside it, ready for inference.

    Args:
        path: `model.safetensors` or `pytorch_model.bin`, of which tensors are read and nothing is run.

    Raises:
        InputError: for a file that is no such network, or does not fit the two beside it.
    """
    tensors = ssl_weights.plain(ssl_weights.read_weights(path))
    config = ssl_weights.hugging_face_config(path, "wavlm")
    inner = {key: value for key, value in tensors.items() if key.startswith("wavlm.")}
    own = {key: value for key, value in tensors.items() if key not in inner}
    frames = wavlm.from_hugging_face(inner, config, _layers(own, config, path), str(path))
    where = f"{path}: config.json"
    with torch.device("meta"):
        head = _head(config, where)
    own.pop("layer_weights", None)
    ssl_weights.fill(head, own, lambda name: [name], TRAINING_ONLY, str(path), WHAT)
    return XVector(frames, head, _normalize(path)).eval().requires_grad_(False)


def _layers(own: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> dict[int, float]:
    """The weight of each layer of WavLM, its input first; the last layer alone where none are trained."""
    n_layers = ssl_weights.number(config.get("num_hidden_layers"), f"{path}: config.json: num_hidden_layers")
    if ssl_weights.switch(config, "do_stable_layer_norm", f"{path}: config.json: "):
        raise InputError(f"{path}: config.json: do_stable_layer_norm is not supported under an x-vector; take a Base")
    if not ssl_weights.switch(config, "use_weighted_layer_sum", f"{path}: config.json: "):
        return {n_layers: 1.0}
    weights = ssl_weights.tensor(own, "layer_weights", str(path), WHAT)
    if tuple(weights.shape) != (n_layers + 1,):
        raise InputError(f"{path}: layer_weights: expected {(n_layers + 1,)}, found {tuple(weights.shape)}")
    return dict(enumerate(weights.softmax(0).tolist()))


def _head(config: Mapping[str, Any], where: str) -> Head:
    lists = [config.get(key) for key in ("tdnn_dim", "tdnn_kernel", "tdnn_dilation")]
    if not all(isinstance(part, list) and 0 < len(part) == len(lists[0] or []) <= 32 for part in lists):
        raise InputError(f"{where}: tdnn_dim, tdnn_kernel and tdnn_dilation: expected lists of one length, up to 32")
    channels, kernels, dilations = (
        [ssl_weights.number(value, f"{where}: a number of the tdnn layers") for value in part or []] for part in lists
    )
    width = ssl_weights.number(config.get("hidden_size"), f"{where}: hidden_size")
    dim = ssl_weights.number(config.get("xvector_output_dim"), f"{where}: xvector_output_dim")
    return Head(width, channels, kernels, dilations, dim)


def _normalize(path: Path) -> bool:
    """Whether the network was trained on waves of mean 0 and variance 1."""
    beside = path.parent / "preprocessor_config.json"
    try:
        given = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{beside}: expected how {path.name} wants its recordings, found none that can be read "
            f"({type(error).__name__}); put the preprocessor_config.json of the same download beside it"
        ) from None
    if not isinstance(given, dict) or given.get("sampling_rate") != 16000:
        raise InputError(f"{beside}: expected a JSON object with sampling_rate 16000, found another; download it again")
    return ssl_weights.switch(given, "do_normalize", f"{beside}: ")
