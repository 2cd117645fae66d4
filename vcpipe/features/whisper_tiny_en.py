"""Content units from the encoder of Whisper tiny.en: 384 numbers, 50 times a second; the weights come in a package."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from vcpipe.config import FeatureSettings
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_WINDOW_S = 30.0


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
    """The extractor behind the settings, with its weights.

    Raises:
        InputError: when the package with the weights is not installed, or carries others.
    """
    grid = settings.grid
    window, margin = (grid.samples(round(s * grid.fps)) for s in (settings.window_s, settings.margin_s))
    return WhisperTinyEn(settings, device, window, margin)


class WhisperTinyEn(Extractor):
    """Frame i is centred on its samples `[320 i, 320 (i + 1))`, that is on `320 i + 160`.

    Whisper's own frames are centred on `320 i`, half a frame earlier: the mel frames start 160 samples later here.
    The convolutions see 25 ms + 30 ms around that centre, the transformer layers the whole window. A recording's
    loudness scales nothing: each window's log-mel is normalised by its own maximum.
    """

    settings: Settings

    def __init__(self, settings: Settings, device: torch.device, window: int, margin: int):
        from vcpipe.nn.whisper import load_encoder

        super().__init__(settings, device, window, margin)
        self.encoder = load_encoder(device)

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32 in [-1, 1] at 16 kHz, `lengths (B,)` at least 320, to `(B, max(lengths) // 320, 384)`."""
        from vcpipe.nn.whisper import MEL_HOP, log_mel

        mel = log_mel(waves, lengths, delay=MEL_HOP)
        frames: Tensor = self.encoder(mel, lengths // self.grid.hop, self.settings.layer, self.settings.positions)
        return frames
