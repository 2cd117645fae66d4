"""The spectral envelope of WORLD: the shape of the vocal tract without the pitch, as mel-cepstrum or in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from vcpipe.features.signal import SignalExtractor
from vcpipe.features.world import WorldExtractor, WorldSettings, spectral_envelope

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Settings(WorldSettings):
    """CheapTrick's envelope: `dims` mel-cepstral coefficients (WORLD's coding), or the natural log of the power."""

    REVISION: ClassVar[int] = 1

    kind: Literal["world_envelope"] = "world_envelope"
    dtype: Literal["float16", "float32"] = "float32"
    dims: int | None = Field(60, ge=2, description="mel-cepstral coefficients; empty: every frequency, ln of power")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.dims is not None and self.dims > self.fft_size // 2 + 1:
            raise ValueError(f"{self.dims} dims of {self.fft_size // 2 + 1} frequencies; ask for fewer, or for all")
        return self

    @property
    def dim(self) -> int:
        """Coefficients, or frequencies from 0 to half the rate."""
        return self.fft_size // 2 + 1 if self.dims is None else self.dims


def load(settings: Settings, device: torch.device | None = None) -> SignalExtractor:
    """The extractor of WORLD's envelope; it needs no device."""
    return WorldEnvelope(settings)


class WorldEnvelope(WorldExtractor):
    """`(N,)` samples to `(N // hop, dims)`; frame i is analysed at the centre of its cell."""

    settings: Settings

    def analyse(
        self, wave: NDArray[np.float64], f0_hz: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """`(n,)` samples and f0 `(T,)` at `times_s (T,)` to `(T, D)`."""
        import numpy as np
        import pyworld

        s = self.settings
        power = spectral_envelope(wave, s.rate, f0_hz, times_s, s.fft_size)
        coded = np.log(power) if s.dims is None else pyworld.code_spectral_envelope(power, s.rate, s.dims)
        return coded.astype(np.float32)


def decode(settings: Settings, frames: NDArray[np.floating]) -> NDArray[np.float64]:
    """`(T, D)` as extracted to the power envelope `(T, fft_size // 2 + 1)` that `world.synthesize` reads."""
    import numpy as np
    import pyworld

    values = np.ascontiguousarray(frames, np.float64)
    if settings.dims is None:
        return np.exp(values)
    return pyworld.decode_spectral_envelope(values, settings.rate, settings.fft_size)
