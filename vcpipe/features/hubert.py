"""Layers of HuBERT (Base, Large, X-Large, and relatives such as rinna's Japanese one), 50 frames a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from vcpipe import weights
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import LayerSettings, SpeechFrames, check_precision

if TYPE_CHECKING:
    import torch


class Settings(LayerSettings):
    """Which layers of which weights. Base has a width of 768 and 12 layers, Large 1024 and 24."""

    REVISION: ClassVar[int] = 1

    kind: Literal["hubert"] = "hubert"
    weights: str = Field(
        "hubert_fairseq_base_ls960.pth",
        description="a file (torchaudio's .pth; fairseq's .pt; Hugging Face's model.safetensors or pytorch_model.bin "
        "with its config.json beside it), or a known name that is fetched once",
    )
    width: PositiveInt = Field(768, description="columns of the layer; checked against the weights")
    normalize: bool = Field(
        False, description="bring each window to mean 0 and variance 1: Large was trained so, Base was not"
    )


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read; frame i is centred on its samples.

    Raises:
        InputError: when the weights are missing, not HuBERT, without that layer, or of another width.
    """
    from vcpipe.nn import hubert

    check_precision(settings.kind, settings.precision, device)
    model = hubert.load(weights.find(settings.weights, settings.sha256), settings.mix)
    s = settings
    return SpeechFrames(s, device, model, s.window_s, s.margin_s, s.normalize, s.precision)
