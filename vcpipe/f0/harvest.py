"""Harvest of WORLD: reliable on speech and slow; nearly everything that could be voiced is called voiced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vcpipe.f0.track import Limits, Track, check, lead_in, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(20.0, 3600.0)
"""It works on 8 kHz inside, and looks a tenth above the ceiling."""
THRESHOLD: float | None = None
OFFSET_S = 0.0
"""Added to WORLD's times. Measured as `tests/f0/test_methods.py` does, on glides with vibrato at 60 dB: 0.1 ms."""


def track(
    wave: NDArray[np.float32], rate: int, *, floor_hz: float = 50.0, ceil_hz: float = 1100.0, frame_s: float = 0.01
) -> Track:
    """F0 of a mono recording by Harvest (Morise, Interspeech 2017), frame i at `(i + 0.5) * frame_s`.

    Args:
        wave: `(N,)` float32 in [-1, 1].
        rate: samples per second.
        floor_hz: lowest f0.
        ceil_hz: highest f0.
        frame_s: seconds from frame to frame; estimates are rounded to the nearest millisecond inside.
    """
    import pyworld

    check("harvest", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    x, lead_s = lead_in(wave, rate, frame_s)
    f0_hz, times_s = pyworld.harvest(x, rate, f0_floor=floor_hz, f0_ceil=ceil_hz, frame_period=1000 * frame_s)
    return tidy(times_s[1:] - lead_s + OFFSET_S, f0_hz[1:], f0_hz[1:] > 0, floor_hz, ceil_hz)
