"""What the features of WavLM, HuBERT and Whisper share: which weights, which layers, which windows. Free of torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vcpipe import weights
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings, Slice

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vcpipe.nn.ssl import SpeechTransformer

GRID = Grid(16000, 320)
Precision = Literal["float32", "bfloat16", "float16"]


class WeightsSettings(FeatureSettings):
    """An encoder at 50 frames a second, from a weight file. Everything here decides the numbers."""

    weights: str = Field(description="a file, or a known name that is fetched once")
    sha256: str = Field("", description="of the weights; checked when given; known names bring their own")
    window_s: PositiveFloat = Field(30.0, description="longer recordings are encoded in windows of this many seconds")
    margin_s: NonNegativeFloat = Field(1.5, description="context at a window's ends; the first layer needs 1.28 s")
    precision: Precision = Field("float32", description="others need a CUDA device")

    @model_validator(mode="after")
    def _whole(self) -> WeightsSettings:
        check_window(self.window_s, self.margin_s)
        return self

    @property
    def grid(self) -> Grid:
        """16 kHz, 50 frames a second."""
        return GRID

    def content(self) -> Slice:
        """The settings, with the digest of known weights filled in."""
        return {**super().content(), "sha256": self.sha256.lower() or weights.known_sha256(self.weights)}


class LayerSettings(WeightsSettings):
    """One layer of an encoder, or a weighted sum of layers."""

    layer: NonNegativeInt = Field(6, description="0 is the transformer's input, n the output of its n-th layer")
    layers: dict[NonNegativeInt, float] | None = Field(
        None, description="instead of `layer`: {layer: weight} to be summed, or a list of layers to be averaged"
    )
    width: PositiveInt = Field(1024, description="columns that come out; checked against the weights")

    @field_validator("layers", mode="before")
    @classmethod
    def _average(cls, value: object) -> object:
        if isinstance(value, list) and value:
            if len({str(n) for n in value}) != len(value):
                raise ValueError("a layer is named twice")
            return {n: 1 / len(value) for n in value}
        return value

    @model_validator(mode="after")
    def _one_choice(self) -> LayerSettings:
        if self.layers is None:
            return self
        if "layer" in self.model_fields_set:
            raise ValueError("`layer` and `layers` are both given; leave one out")
        if not self.layers or not all(math.isfinite(w) and w for w in self.layers.values()):
            raise ValueError("layers: expected weights that are numbers other than 0, for one layer at least")
        return self

    @property
    def dim(self) -> int:
        """The columns that come out."""
        return self.width

    @property
    def mix(self) -> dict[int, float]:
        """The weight of each layer that is wanted."""
        return {self.layer: 1.0} if self.layers is None else self.layers

    def content(self) -> Slice:
        """The settings with either `layer` or `layers`: a slice without `layers` is what it was before that key."""
        content = super().content()
        if self.layers is None:
            del content["layers"]
        else:
            del content["layer"]
            content["layers"] = {str(n): weight for n, weight in self.layers.items()}
        return content


def check_window(window_s: float, margin_s: float) -> None:
    """Windows and margins are whole frames, and a window is longer than its margins; else a ValueError."""
    for key, seconds in {"window_s": window_s, "margin_s": margin_s}.items():
        if abs(seconds * 50 - round(seconds * 50)) > 1e-6:
            raise ValueError(f"{key} {seconds:g} is not a whole number of frames of 0.02 s")
    if window_s <= 2 * margin_s:
        raise ValueError(f"window_s {window_s:g} must be longer than two margins of {margin_s:g} s")


def check_precision(kind: str, precision: str, device: torch.device) -> None:
    """Half precision needs a CUDA device; else an InputError."""
    if precision != "float32" and device.type != "cuda":
        raise InputError(f"feature {kind}: precision {precision} needs a CUDA device; set it to float32 here")


def autocast(device: torch.device, precision: str) -> Any:
    """The context in which matrix products have this precision."""
    import torch

    half = precision != "float32"
    return torch.autocast(device.type, getattr(torch, precision) if half else None, enabled=half)


class SpeechFrames(Extractor):
    """`(N,)` samples at 16 kHz to `(N // 320, D)`: what WavLM or HuBERT makes of them.

    Args:
        settings: of the feature.
        device: where it runs.
        model: the network, ready to run.
        window_s, margin_s: seconds.
        normalize: layer-normalise each wave over time first.
        precision: of the matrix products on a CUDA device.
        width: columns that the network must have; those of the feature by default.
    """

    def __init__(
        self,
        settings: FeatureSettings,
        device: torch.device,
        model: SpeechTransformer,
        window_s: float,
        margin_s: float,
        normalize: bool = False,
        precision: str = "float32",
        width: int = 0,
    ):
        hop = GRID.hop
        super().__init__(settings, device, round(window_s * 50) * hop, round(margin_s * 50) * hop)
        check_precision(settings.kind, precision, device)
        width = width or settings.dim
        if model.width != width:
            raise InputError(f"feature {settings.kind}: width is {width}, the weights have {model.width}; change it")
        if model.hop != hop or not hop < model.field <= 2 * hop:
            raise InputError(
                f"feature {settings.kind}: weights with hop {model.hop} and field {model.field}, expected 320, 400"
            )
        self.model, self.normalize, self.precision = model.to(device), normalize, precision
        self.ragged = not model.group_norm

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32, zero beyond `lengths (B,)`, to `(B, max T, D)`; the waves may be normalised in place."""
        import torch

        if self.normalize:
            for wave, n in zip(waves, lengths.tolist(), strict=True):
                wave[:n] = torch.nn.functional.layer_norm(wave[:n], (n,))
        with autocast(self.device, self.precision):
            frames: Tensor = self.model(waves, lengths)
        return frames
