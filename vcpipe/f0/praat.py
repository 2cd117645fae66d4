"""Praat's autocorrelation method: quick, exact, and the one with the strictest idea of voicing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vcpipe.f0.track import Limits, Track, centres, check, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(20.0, 3600.0)
THRESHOLD: float | None = 0.45
PERIODS = 3
"""Periods of the floor that Praat's Hann window spans: at 50 Hz, 60 ms."""
OFFSET_S = 0.0
"""Added to Praat's times. Measured as `tests/f0/test_methods.py` does, on glides with vibrato at 60 dB: 0.0 ms."""


def track(
    wave: NDArray[np.float32],
    rate: int,
    *,
    floor_hz: float = 50.0,
    ceil_hz: float = 1100.0,
    frame_s: float = 0.01,
    threshold: float = 0.45,
) -> Track:
    """F0 of a mono recording by autocorrelation (Boersma 1993), frame i at `(i + 0.5) * frame_s`.

    Praat leaves half a window at both ends without frames and centres the rest. With as much silence around the
    recording as makes up for that, there is a frame at every cell's centre.

    Args:
        wave: `(N,)` float32 in [-1, 1].
        rate: samples per second.
        floor_hz: lowest f0; three periods of it are the window.
        ceil_hz: highest f0.
        frame_s: seconds from frame to frame.
        threshold: of voicing, 0 to 1: the least strength of a voiced frame; Grad-SVC uses 0.5.
    """
    import numpy as np
    import parselmouth

    check("praat", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    n_frames = len(centres(len(wave), rate, frame_s))
    length = round(n_frames * frame_s * rate)
    around = max(0, math.ceil((PERIODS / floor_hz - frame_s) / 2 * rate) + 1)
    x = np.zeros(length + 2 * around)
    x[around : around + len(wave)] = wave[: len(x) - around]
    pitch = parselmouth.Sound(x, rate).to_pitch_ac(
        time_step=frame_s, pitch_floor=floor_hz, pitch_ceiling=ceil_hz, voicing_threshold=threshold
    )
    f0_hz = pitch.selected_array["frequency"]
    return tidy(pitch.xs() - around / rate + OFFSET_S, f0_hz, f0_hz > 0, floor_hz, ceil_hz)
