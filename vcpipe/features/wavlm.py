"""Layers of WavLM (Large, Base, Base+), as kNN-VC trains on them: the wave as it is, 50 frames a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcpipe import weights
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import LayerSettings, SpeechFrames, check_precision

if TYPE_CHECKING:
    import torch


class Settings(LayerSettings):
    """Which layers of which weights. Base and Base+ have a width of 768 and 12 layers, Large 1024 and 24."""

    REVISION: ClassVar[int] = 1

    kind: Literal["wavlm"] = "wavlm"
    weights: str = Field(
        "WavLM-Large.pt",
        description="a file (Microsoft's .pt; Hugging Face's model.safetensors or pytorch_model.bin with its "
        "config.json beside it), or a known name that is fetched once",
    )
    normalize: bool = Field(
        False, description="bring each window to mean 0 and variance 1; kNN-VC's weights want false"
    )


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read.

    Raises:
        InputError: when the weights are missing, not WavLM, without that layer, or of another width.
    """
    from vcpipe.nn import wavlm

    check_precision(settings.kind, settings.precision, device)
    model = wavlm.load(weights.find(settings.weights, settings.sha256), settings.mix)
    s = settings
    return SpeechFrames(s, device, model, s.window_s, s.margin_s, s.normalize, s.precision)
