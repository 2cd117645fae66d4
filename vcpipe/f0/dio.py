"""DIO with StoneMask of WORLD: the fast one of the two, with more holes and octave errors than Harvest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcpipe.f0.track import Limits, Track, check, lead_in, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(20.0, 3600.0)
THRESHOLD: float | None = None
OFFSET_S = 0.0
"""Added to WORLD's times. Measured as `tests/f0/test_methods.py` does, on glides with vibrato at 60 dB: -0.1 ms."""


def track(
    wave: NDArray[np.float32], rate: int, *, floor_hz: float = 50.0, ceil_hz: float = 1100.0, frame_s: float = 0.01
) -> Track:
    """F0 of a mono recording by DIO, refined by StoneMask (Morise 2009, 2010), frame i at `(i + 0.5) * frame_s`.

    Args:
        wave: `(N,)` float32 in [-1, 1].
        rate: samples per second.
        floor_hz: lowest f0.
        ceil_hz: highest f0.
        frame_s: seconds from frame to frame.
    """
    import pyworld

    check("dio", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    x, lead_s = lead_in(wave, rate, frame_s)
    coarse, times_s = pyworld.dio(x, rate, f0_floor=floor_hz, f0_ceil=ceil_hz, frame_period=1000 * frame_s)
    f0_hz = pyworld.stonemask(x, coarse, times_s, rate)
    return tidy(times_s[1:] - lead_s + OFFSET_S, f0_hz[1:], f0_hz[1:] > 0, floor_hz, ceil_hz)
