"""Content units from the encoder of Whisper tiny.en: 384 numbers, 50 times a second; the weights come in a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcpipe.features.base import Extractor
from vcpipe.features.whisper import MAX_WINDOW_S, WhisperFrames
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch


class Settings(FeatureSettings):
    """Which layer, and how long recordings are cut up."""

    REVISION: ClassVar[int] = 1

    kind: Literal["whisper_tiny_en"] = "whisper_tiny_en"
    layer: int = Field(2, ge=0, le=4, description="0 = the transformer's input, n = the output of its n-th layer")
    positions: bool = Field(True, description="add the sinusoidal positions that the model was trained with")
    window_s: float = Field(
        28.0, gt=0, le=MAX_WINDOW_S, description="longer recordings are encoded in windows of this, margins included"
    )
    margin_s: float = Field(2.0, ge=0, description="context at each end of a window, thrown away")

    @property
    def grid(self) -> Grid:
        """50 frames per second."""
        return Grid(16000, 320)

    @property
    def dim(self) -> int:
        """Columns, the same for every layer."""
        return 384


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor behind the settings, with its weights; frames as in `vcpipe.features.whisper`.

    Raises:
        InputError: when the package with the weights is not installed, or carries others.
    """
    from vcpipe.nn.whisper_weights import load_tiny_en

    mix = {settings.layer: 1.0}
    return WhisperFrames(
        settings, device, load_tiny_en(), settings.window_s, settings.margin_s, mix, settings.positions
    )
