"""ContentVec: a HuBERT that was trained to forget the speaker; 768 columns, or 256 through its projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vcpipe import weights
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import LayerSettings, SpeechFrames, check_precision

if TYPE_CHECKING:
    import torch


class Settings(LayerSettings):
    """What singing-voice systems call v1 is `{layer: 9, projected: true, width: 256}`; v2 is the default here."""

    REVISION: ClassVar[int] = 1

    kind: Literal["contentvec"] = "contentvec"
    weights: str = Field(
        "contentvec_legacy_500.pt",
        description="a file (fairseq's checkpoint_best_legacy_500.pt; Hugging Face's model.safetensors or "
        "pytorch_model.bin with its config.json beside it), or a known name that is fetched once",
    )
    layer: NonNegativeInt = Field(12, description="0 is the transformer's input, n the output of its n-th layer")
    projected: bool = Field(False, description="through the file's own projection (768 to 256)")
    width: PositiveInt = Field(768, description="columns that come out; checked against the weights")


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read; frame i is centred on its samples.

    Raises:
        InputError: when the weights are missing, not ContentVec, without that layer or projection, or of another width.
    """
    from vcpipe.nn import hubert

    check_precision(settings.kind, settings.precision, device)
    path = weights.find(settings.weights, settings.sha256)
    model = hubert.load(path, settings.mix, head=settings.projected)
    return SpeechFrames(settings, device, model, settings.window_s, settings.margin_s, precision=settings.precision)
