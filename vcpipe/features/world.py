"""What the kinds of WORLD share: the f0 at the centres of cells, the size of the transform, and the way back to sound.

Source: Morise, Yokomori, Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system" (2016), by pyworld.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vcpipe.errors import InputError
from vcpipe.features.signal import SignalExtractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW_S, MARGIN_S = 60, 2
"""Seconds that are looked at at once, and on each side only for context; those of the feature `f0`."""
SILENCE = 1e-16
"""Power below which WORLD's envelope is only its own safeguard against zero."""


class WorldSettings(FeatureSettings):
    """Grid and f0 range. F0 is Harvest's, as the feature `f0` of the same rate, hop and range has it."""

    rate: PositiveInt = Field(16000, description="samples per second that it reads")
    hop: PositiveInt = Field(80, description="samples per frame; WORLD's own are 5 ms")
    floor_hz: PositiveFloat = Field(50.0, description="lowest f0; it also decides the size of the transform")
    ceil_hz: PositiveFloat = Field(1100.0, description="highest f0")

    @model_validator(mode="after")
    def _f0_range(self) -> WorldSettings:
        from vcpipe.f0.harvest import LIMITS
        from vcpipe.f0.track import check_range

        try:
            check_range("harvest", LIMITS, self.rate, self.floor_hz, self.ceil_hz)
        except InputError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def torch(self) -> bool:
        """Never."""
        return False

    @property
    def grid(self) -> Grid:
        """One frame a hop, analysed at the centre of the hop."""
        return Grid(self.rate, self.hop)

    @property
    def fft_size(self) -> int:
        """Of the envelope: the smallest power of two above three periods of the lowest f0, WORLD's own rule."""
        return int(2 ** (1 + int(math.log2(3 * self.rate / self.floor_hz + 1))))


class WorldExtractor(SignalExtractor):
    """Frames of WORLD. A kind answers `analyse`; the f0 that all of WORLD's estimates need is found here.

    Harvest decides on voicing over a whole window: of speech cut after 10 s, 2 % of the frames are voiced otherwise
    than in one piece. Up to a minute a recording is one piece.
    """

    settings: Any

    def __init__(self, settings: FeatureSettings):
        hop, rate = settings.grid.hop, settings.grid.rate
        margin = -(-MARGIN_S * rate // hop) * hop
        super().__init__(settings, max(WINDOW_S * rate // hop * hop, 3 * margin), margin)

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n,)` to `(n // hop, D)`."""
        f0_hz, times_s = f0_at_cells(wave, self.grid, self.settings.floor_hz, self.settings.ceil_hz)
        return self.analyse(wave.astype("float64"), f0_hz, times_s)

    def analyse(
        self, wave: NDArray[np.float64], f0_hz: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """`(n,)` samples and f0 `(T,)` at `times_s (T,)` to `(T, D)`."""
        raise NotImplementedError


def f0_at_cells(
    wave: NDArray[np.float32],
    grid: Grid,
    floor_hz: float,
    ceil_hz: float,
    method: Literal["harvest", "dio"] = "harvest",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The f0 `(T,)` in Hz (0 = unvoiced) at the centres `(T,)`, in seconds, of the cells of `(N,)` samples."""
    import numpy as np

    from vcpipe.f0 import dio, harvest
    from vcpipe.f0.grid import on_grid

    hop_s = grid.hop / grid.rate
    module = {"harvest": harvest, "dio": dio}[method]
    track = module.track(wave, grid.rate, floor_hz=floor_hz, ceil_hz=ceil_hz, frame_s=hop_s)
    f0_hz = on_grid(track, grid, len(wave))[:, 0].astype(np.float64)
    return f0_hz, np.asarray((np.arange(len(f0_hz)) + 0.5) * hop_s, np.float64)


def spectral_envelope(
    wave: NDArray[np.float64], rate: int, f0_hz: NDArray[np.float64], times_s: NDArray[np.float64], fft_size: int
) -> NDArray[np.float64]:
    """CheapTrick's power envelope, `(T, fft_size // 2 + 1)`, at least `SILENCE`."""
    import numpy as np
    import pyworld

    return np.maximum(pyworld.cheaptrick(wave, f0_hz, times_s, rate, fft_size=fft_size), SILENCE)


def synthesize(f0_hz: Any, power: Any, aperiodicity: Any, grid: Grid) -> NDArray[np.float32]:
    """A voice from its parts on a grid: `(T,)` Hz, twice `(T, fft_size // 2 + 1)`, to `(T hop,)` in about [-1, 1].

    Frames stand at the centres of cells, where WORLD has its first at 0 s: one more frame is put before and after,
    and the half hop before the recording is cut off.

    Raises:
        InputError: when the parts are not of one length, or envelope and aperiodicity not of one transform.
    """
    import numpy as np
    import pyworld

    parts = [np.asarray(part, np.float64) for part in (f0_hz, power, aperiodicity)]
    if len({len(part) for part in parts}) != 1 or parts[1].shape != parts[2].shape or parts[0].ndim != 1:
        found = ", ".join(str(part.shape) for part in parts)
        raise InputError(
            f"world: expected f0 (T,), envelope and aperiodicity (T, K), found {found}; "
            "make them with the same rate, hop and floor_hz"
        )
    f0, envelope, noise = (np.concatenate([part[:1], part, part[-1:]]) for part in parts)
    n_samples, half = grid.samples(len(parts[0])), grid.hop // 2
    wave = pyworld.synthesize(f0, envelope, noise, grid.rate, 1000 * grid.hop / grid.rate)[half : half + n_samples]
    return np.pad(wave, (0, n_samples - len(wave))).astype(np.float32)
