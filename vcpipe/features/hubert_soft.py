"""Soft-VC's soft units: HuBERT-Base fine-tuned to predict discrete units, before the softmax; 256 columns, 50 Hz."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcpipe import weights
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import SpeechFrames, WeightsSettings, check_precision

if TYPE_CHECKING:
    import torch

LAYER = 12
DIM = 256


class Settings(WeightsSettings):
    """Which of bshall's releases; the wave is never normalised."""

    REVISION: ClassVar[int] = 1

    kind: Literal["hubert_soft"] = "hubert_soft"
    weights: str = Field("hubert-soft-35d9f29f.pt", description="a file, or a known name that is fetched once")

    @property
    def dim(self) -> int:
        """Columns of a soft unit."""
        return DIM


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read; frame i is centred on its samples.

    Raises:
        InputError: when the weights are missing, or not HuBERT-Soft.
    """
    from vcpipe.nn import hubert

    check_precision(settings.kind, settings.precision, device)
    model = hubert.load(weights.find(settings.weights, settings.sha256), LAYER, head=True)
    return SpeechFrames(settings, device, model, settings.window_s, settings.margin_s, precision=settings.precision)
