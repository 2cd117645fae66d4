"""The shape of the acoustic model. Torch-free: read at every start of snakemake."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from vcpipe.settings import Settings, of_preset


class ModelSettings(Settings):
    """As it stands, and as `preset: softvc`: the published model, whose checkpoints fit it."""

    prenet: PositiveInt = Field(256, description="width of the layers in front of encoder and decoder")
    prenet_layers: PositiveInt = Field(2, le=2, description="1: linear and nothing else; 2: with ReLU and dropout")
    dropout: float = Field(0.5, ge=0, lt=1, description="in these layers, while training")
    channels: PositiveInt = Field(512, description="of the encoder's convolutions")
    kernel: PositiveInt = Field(5, description="of its convolutions; odd")
    convs: int = Field(2, ge=0, le=2, description="convolutions after the frames were doubled")
    lstm: PositiveInt = Field(768, description="width of the decoder's layers")
    decoder: Literal["lstm", "parallel"] = Field(
        "lstm", description="lstm: frame after frame, each hearing the one before, as published; parallel: all at once"
    )
    depth: PositiveInt = Field(4, description="blocks of a parallel decoder")
    lstm_layers: PositiveInt = Field(3, description="all but the first are added to what they read")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return of_preset(values, MODELS)

    @model_validator(mode="after")
    def _odd(self) -> ModelSettings:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel}: must be odd, else the length drifts")
        return self


MODELS: dict[str, dict[str, Any]] = {
    "softvc": {},
    "tiny": {"prenet_layers": 1, "dropout": 0.0, "kernel": 9, "convs": 0, "lstm_layers": 1},
    "small": {"prenet": 128, "channels": 224, "convs": 1, "decoder": "parallel"},
}
"""Presets: the published model, the smallest of its ablation (one LSTM, no dropout), and one for a CPU."""
