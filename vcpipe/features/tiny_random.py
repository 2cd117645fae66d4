"""A WavLM of a few thousand seeded random weights: nothing to fetch, fast, and shaped like the real one. For tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vcpipe.features.base import Extractor
from vcpipe.features.ssl import GRID, check_window
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch


CFG: dict[str, Any] = {
    "extractor_mode": "layer_norm",
    "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2",
    "conv_bias": False,
    "layer_norm_first": True,
    "encoder_attention_heads": 4,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "num_buckets": 320,
    "max_distance": 800,
}
"""What is not a setting, in the words of a WavLM checkpoint."""


class Settings(FeatureSettings):
    """The size of the network and the seed of its weights."""

    REVISION: ClassVar[int] = 1

    kind: Literal["tiny_random"] = "tiny_random"
    seed: NonNegativeInt = Field(0, description="of the weights")
    layers: PositiveInt = Field(2, description="transformer layers")
    layer: NonNegativeInt = Field(2, description="the layer that is given out; 0 is the transformer's input")
    width: PositiveInt = Field(64, description="columns, a multiple of 16")
    window_s: PositiveFloat = Field(30.0, description="longer recordings are encoded in windows of this many seconds")
    margin_s: NonNegativeFloat = Field(1.5, description="context at a window's ends; the first layer needs 1.28 s")

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        check_window(self.window_s, self.margin_s)
        if self.layer > self.layers:
            raise ValueError(f"layer {self.layer} is above the {self.layers} layers")
        if self.width % 16:
            raise ValueError(f"width {self.width} is not a multiple of 16")
        return self

    @property
    def grid(self) -> Grid:
        """16 kHz, 50 frames a second."""
        return GRID

    @property
    def dim(self) -> int:
        """The width of the network."""
        return self.width


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor with the weights of its seed; the global random state is left as it was."""
    import torch

    from vcpipe.features.ssl import SpeechFrames
    from vcpipe.nn.ssl import SpeechTransformer
    from vcpipe.nn.wavlm import architecture, build

    size = {"encoder_layers": settings.layers, "encoder_embed_dim": settings.width}
    arguments = architecture({**CFG, **size, "encoder_ffn_embed_dim": 2 * settings.width}, "tiny_random")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build(arguments)
    model = SpeechTransformer(network, settings.layer).eval().requires_grad_(False)
    return SpeechFrames(settings, device, model, settings.window_s, settings.margin_s)
