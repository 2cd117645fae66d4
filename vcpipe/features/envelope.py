"""WORLD's envelope in mel bands at several instants of a frame: a voice without its pitch, which can be averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from vcpipe.errors import InputError
from vcpipe.features.signal import SignalExtractor
from vcpipe.features.world import WorldExtractor, WorldSettings, f0_at_cells, spectral_envelope
from vcpipe.grid import Grid

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

FLOOR = 1e-10
"""Power below which a band counts as silent: the logarithm stays where half floats are fine."""


class Settings(WorldSettings):
    """CheapTrick's envelope, natural log of the power in mel bands, `parts` times a frame.

    F0 only says how wide to smooth here, so that `dio` is enough; it takes a thirtieth of the time of `harvest`.
    """

    REVISION: ClassVar[int] = 1

    kind: Literal["envelope"] = "envelope"
    hop: PositiveInt = Field(320, description="samples per frame")
    method: Literal["dio", "harvest"] = Field("dio", description="of the f0 that the smoothing needs")
    bands: int = Field(64, ge=2, description="mel bands from 0 to half the rate")
    parts: PositiveInt = Field(4, description="instants in a frame, equally far apart; each has its own bands")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.hop % self.parts:
            raise ValueError(f"{self.parts} parts do not divide a hop of {self.hop} samples; choose a divisor")
        return self

    @property
    def torch(self) -> bool:
        """For the bands' triangles, which the generator that hears them takes from the same place."""
        return True

    @property
    def fine(self) -> Grid:
        """The grid of the parts."""
        return Grid(self.rate, self.hop // self.parts)

    @property
    def dim(self) -> int:
        """All bands of the first part, then those of the second, and so on."""
        return self.parts * self.bands


def load(settings: Settings, device: torch.device | None = None) -> SignalExtractor:
    """The extractor of the envelope in bands; it needs no device."""
    return Envelope(settings)


class Envelope(WorldExtractor):
    """`(N,)` samples to `(N // hop, parts * bands)`, at least `ln FLOOR`; a band is the mean power under its triangle.

    Part p of frame i is analysed at `(i + (p + 0.5) / parts) * hop` samples.

    Raises:
        InputError: for bands so narrow that one holds no frequency of the transform.
    """

    settings: Settings

    def __init__(self, settings: Settings):
        from vcpipe.nn.mel import mel_filters

        super().__init__(settings)
        s = settings
        triangles = mel_filters(s.rate, s.fft_size, s.bands, 0.0, s.rate / 2).double().numpy()
        area = triangles.sum(1, keepdims=True)
        if not area.all():
            raise InputError(
                f"feature envelope: band {int(area[:, 0].argmin())} of {s.bands} holds none of the "
                f"{s.fft_size // 2 + 1} frequencies; ask for fewer bands, or a lower floor_hz"
            )
        self.bands = triangles / area

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n,)` to `(n // hop, parts * bands)`."""
        s, n_frames = self.settings, self.grid.frames(len(wave))
        f0_hz, times_s = f0_at_cells(wave, s.fine, s.floor_hz, s.ceil_hz, s.method)
        cells = n_frames * s.parts  # the last part of a frame begins before the frame ends: there may be more
        return self.analyse(wave.astype("float64"), f0_hz[:cells], times_s[:cells]).reshape(n_frames, s.dim)

    def analyse(
        self, wave: NDArray[np.float64], f0_hz: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """`(n,)` samples and f0 `(T,)` at `times_s (T,)` to `(T, bands)`."""
        import numpy as np

        s = self.settings
        power = spectral_envelope(wave, s.rate, f0_hz, times_s, s.fft_size) @ self.bands.T
        return np.log(np.maximum(power, FLOOR)).astype(np.float32)
