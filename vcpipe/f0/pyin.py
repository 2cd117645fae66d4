"""Probabilistic YIN with Viterbi decoding, from librosa: steady, slow, and only a tenth of a semitone fine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vcpipe.f0.track import Limits, Track, check, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(20.0, 3600.0)
THRESHOLD: float | None = None
PERIODS = 3.2
"""Periods of the floor in a frame: at 50 Hz, 64 ms. YIN compares two of them at least."""
OFFSET_S = 0.0
"""Added to the centres of the frames. Measured as `tests/f0/test_methods.py` does, on glides with vibrato at 60 dB:
0.0 ms on the mean, +0.9 ms on a rising and -0.9 ms on a falling sine."""


def track(
    wave: NDArray[np.float32], rate: int, *, floor_hz: float = 50.0, ceil_hz: float = 1100.0, frame_s: float = 0.01
) -> Track:
    """F0 of a mono recording by pYIN (Mauch and Dixon, ICASSP 2014), a frame every whole number of samples.

    The rate is handed on: librosa would else take 22,050 samples per second, and every value would be wrong by it.

    Args:
        wave: `(N,)` float32 in [-1, 1].
        rate: samples per second.
        floor_hz: lowest f0.
        ceil_hz: highest f0.
        frame_s: seconds from frame to frame, rounded to whole samples.
    """
    import librosa
    import numpy as np

    check("pyin", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    hop = round(frame_s * rate)
    length = 2 * math.ceil(PERIODS * rate / floor_hz / 2)
    before = (length - hop) // 2 if length > hop else 0
    n_frames = math.ceil(len(wave) / hop)
    x = np.zeros((n_frames - 1) * hop + length, np.float32)
    x[before : before + len(wave)] = wave[: len(x) - before]
    f0_hz, voiced, _ = librosa.pyin(
        x,
        fmin=floor_hz,
        fmax=ceil_hz,
        sr=rate,
        frame_length=length,
        hop_length=hop,
        fill_na=None,
        center=False,
    )
    times_s = (np.arange(n_frames) * hop + length / 2 - before) / rate
    return tidy(times_s + OFFSET_S, f0_hz, voiced, floor_hz, ceil_hz)
