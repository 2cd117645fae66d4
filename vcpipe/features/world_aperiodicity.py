"""The aperiodicity of WORLD: which part of each band is noise, coded in a few bands or in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from vcpipe.features.signal import SignalExtractor
from vcpipe.features.world import WorldExtractor, WorldSettings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

BAND_HZ, HIGHEST_HZ = 3000, 15000
"""WORLD's bands are centred on multiples of 3 kHz up to 15 kHz, each 3 kHz below half the rate or lower."""


class Settings(WorldSettings):
    """D4C's aperiodicity: decibels in bands of 3 kHz (WORLD's coding; 1 at 16 kHz, 5 at 48 kHz), or in full."""

    REVISION: ClassVar[int] = 1

    kind: Literal["world_aperiodicity"] = "world_aperiodicity"
    dtype: Literal["float16", "float32"] = "float32"
    coding: Literal["bands", "full"] = Field(
        "bands", description="bands: decibels (0 = all noise); full: amplitudes in (0, 1) at every frequency"
    )
    threshold: float = Field(0.85, ge=0, le=1, description="of D4C's own voicing; 0 trusts the f0 alone")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.dim < 1:
            raise ValueError(f"WORLD has no band below 12000 samples/s, found rate {self.rate}; set coding: full")
        return self

    @property
    def dim(self) -> int:
        """Bands, or frequencies from 0 to half the rate."""
        if self.coding == "full":
            return self.fft_size // 2 + 1
        return int(min(HIGHEST_HZ, self.rate / 2 - BAND_HZ) / BAND_HZ)


def load(settings: Settings, device: torch.device | None = None) -> SignalExtractor:
    """The extractor of WORLD's aperiodicity; it needs no device."""
    return WorldAperiodicity(settings)


class WorldAperiodicity(WorldExtractor):
    """`(N,)` samples to `(N // hop, D)`; frame i is analysed at the centre of its cell."""

    settings: Settings

    def analyse(
        self, wave: NDArray[np.float64], f0_hz: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """`(n,)` samples and f0 `(T,)` at `times_s (T,)` to `(T, D)`."""
        import numpy as np
        import pyworld

        s = self.settings
        noise = pyworld.d4c(wave, f0_hz, times_s, s.rate, threshold=s.threshold, fft_size=s.fft_size)
        return (noise if s.coding == "full" else pyworld.code_aperiodicity(noise, s.rate)).astype(np.float32)


def decode(settings: Settings, frames: NDArray[np.floating]) -> NDArray[np.float64]:
    """`(T, D)` as extracted to the aperiodicity `(T, fft_size // 2 + 1)` that `world.synthesize` reads."""
    import numpy as np
    import pyworld

    values = np.ascontiguousarray(frames, np.float64)
    if settings.coding == "full":
        return values
    return pyworld.decode_aperiodicity(values, settings.rate, settings.fft_size)
