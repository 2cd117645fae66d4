"""SwiftF0: a small convolutional network whose weights come with its package; the fastest of all."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vcpipe.f0.track import Limits, Track, check, missing, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(46.875, 2093.75)
THRESHOLD: float | None = 0.5
OFFSET_S = 0.0
"""Added to its times, frame i at 16 * i ms. Measured as `tests/f0/test_methods.py` does, on glides with vibrato at
60 dB: 0.0 ms on the mean."""


def track(
    wave: NDArray[np.float32],
    rate: int,
    *,
    floor_hz: float = 50.0,
    ceil_hz: float = 1100.0,
    frame_s: float = 0.016,
    threshold: float = 0.5,
) -> Track:
    """F0 of a mono recording by SwiftF0 (Nieradzik 2025), a frame every 16 ms whatever `frame_s` says.

    Args:
        wave: `(N,)` float32 in [-1, 1]; another rate than 16 kHz is resampled first.
        rate: samples per second.
        floor_hz: lowest f0.
        ceil_hz: highest f0.
        frame_s: not used: the network's frames are what they are.
        threshold: of voicing, 0 to 1, against the network's confidence.
    """
    check("swift", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    found = _network().detect(wave, rate, floor_hz, ceil_hz)
    times_s = found.timestamps + OFFSET_S
    return tidy(times_s, found.pitch_hz, found.confidence >= threshold, floor_hz, ceil_hz)


@functools.cache
def _network() -> Any:
    """Once a process. One thread, which does not spin: several processes share a computer."""
    try:
        from swift_f0 import SwiftF0
    except ImportError:
        raise missing("swift", "swift_f0", "swift-f0") from None
    return SwiftF0(threads=1, spin=False)
