"""How loud each frame is, as one number: RMS in decibels or linear, the peak, or WORLD's c0."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from vcpipe.features.signal import SignalExtractor
from vcpipe.features.world import WorldExtractor, WorldSettings, spectral_envelope

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

WINDOW_S = 60
"""Seconds that are measured at once. It decides memory, not numbers."""


class Settings(WorldSettings):
    """What is measured, and over which samples.

    `rms_db` and `rms` are over `win` samples, `peak` over the cell's own samples (FasterSVC's energy at 24000/480).
    `world_c0` is the 0th mel-cepstral coefficient of WORLD's envelope at the centre of the cell: the mean of its log
    power over the mel scale, whose f0 is looked for between `floor_hz` and `ceil_hz`. hubert-pitdyn's loudness, of
    librosa's centred frames, is `{measure: rms, win: 1024, hop: 320, centre: start, pad: zeros}`.
    """

    REVISION: ClassVar[int] = 1

    kind: Literal["energy"] = "energy"
    dtype: Literal["float16", "float32"] = "float32"
    hop: PositiveInt = Field(320, description="samples per frame")
    measure: Literal["rms_db", "rms", "peak", "world_c0"] = Field("rms_db", description="what is measured")
    win: PositiveInt = Field(1024, description="samples of the window of an RMS")
    centre: Literal["cell", "start"] = Field("cell", description="where in its hop that window is centred")
    pad: Literal["reflect", "zeros"] = Field("reflect", description="what it hears beyond the ends")
    floor_db: float = Field(-100.0, le=0, description="rms_db only: the least that is answered, 0 is a square wave")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if self.measure in ("rms_db", "rms") and self.win < self.hop:
            raise ValueError(f"win {self.win} leaves samples between windows out; expected at least hop, {self.hop}")
        return self

    @property
    def dim(self) -> int:
        """One number."""
        return 1


def load(settings: Settings, device: torch.device | None = None) -> SignalExtractor:
    """The extractor of a measure of energy; it needs no device."""
    return WorldC0(settings) if settings.measure == "world_c0" else Energy(settings)


class Energy(SignalExtractor):
    """`(N,)` samples to `(N // hop, 1)`. A window's margin covers every sample that its inner frames hear."""

    settings: Settings

    def __init__(self, settings: Settings):
        hop = settings.hop
        margin = -(-settings.win // hop) * hop
        super().__init__(settings, max(WINDOW_S * settings.rate // hop * hop, 3 * margin), margin)

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(n,)` to `(n // hop, 1)`."""
        import numpy as np

        s, n_frames = self.settings, self.grid.frames(len(wave))
        if s.measure == "peak":
            cells = wave[: self.grid.samples(n_frames)].reshape(n_frames, s.hop)
            return np.abs(cells).max(axis=1, keepdims=True)
        rms = self._rms(wave.astype(np.float64))[:n_frames, None]
        if s.measure == "rms":
            return rms.astype(np.float32)
        return (20 * np.log10(np.maximum(rms, 10 ** (s.floor_db / 20)))).astype(np.float32)

    def _rms(self, wave: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        s = self.settings
        left = (s.win - s.hop) // 2 if s.centre == "cell" else s.win // 2
        padded = np.pad(wave, (left, s.win), mode="reflect" if s.pad == "reflect" else "constant")
        windows = np.lib.stride_tricks.sliding_window_view(padded, s.win)[:: s.hop]
        return np.sqrt(np.einsum("tw,tw->t", windows, windows) / s.win)


class WorldC0(WorldExtractor):
    """`(N,)` samples to `(N // hop, 1)`; frame i is analysed at the centre of its cell."""

    settings: Settings

    def analyse(
        self, wave: NDArray[np.float64], f0_hz: NDArray[np.float64], times_s: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """`(n,)` samples and f0 `(T,)` at `times_s (T,)` to `(T, 1)`."""
        import numpy as np
        import pyworld

        power = spectral_envelope(wave, self.settings.rate, f0_hz, times_s, self.settings.fft_size)
        return pyworld.code_spectral_envelope(power, self.settings.rate, 2)[:, :1].astype(np.float32)
