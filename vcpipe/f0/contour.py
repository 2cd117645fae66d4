"""What is made of estimates: contours without gaps, a speaker's range, and how well two methods agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vcpipe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROSS = 0.2
"""A gross error deviates by more than this share (Rabiner et al. 1976)."""


def log_f0(f0_hz: NDArray[np.floating], voiced: NDArray[np.generic]) -> NDArray[np.float32]:
    """`(T,)` float32: the natural logarithm of f0 in Hz without gaps.

    Interpolated linearly through unvoiced frames and held before the first and after the last voiced one. Without any
    voiced frame there is no pitch to hold: all zeros, which no voice reaches (ln 1 Hz) and which stand beside a
    voicing that is 0 everywhere.
    """
    import numpy as np

    known = np.flatnonzero(_voiced(f0_hz, voiced))
    if len(known) == 0:
        return np.zeros(len(f0_hz), np.float32)
    return np.interp(np.arange(len(f0_hz)), known, np.log(np.asarray(f0_hz, np.float64)[known])).astype(np.float32)


def semitones(log_f0: NDArray[np.floating], median: float) -> NDArray[np.float32]:
    """`(T,)` float32: semitones above a speaker's median; both arguments are logarithms of Hz."""
    import numpy as np

    return (12 / np.log(2) * (np.asarray(log_f0, np.float64) - median)).astype(np.float32)


def speaker_statistics(utterances: Sequence[tuple[NDArray[np.floating], NDArray[np.generic]]]) -> dict[str, float]:
    """A speaker's range, from the f0 in Hz and the voicing of each recording.

    Returns:
        `median_log_f0`, `mean_log_f0`, `std_log_f0` (ln Hz), `p05_hz`, `p95_hz`, all over voiced frames;
        `voiced_share` and `frames` over all.

    Raises:
        InputError: when no frame is voiced.
    """
    import numpy as np

    found = [np.asarray(f0, np.float64)[_voiced(f0, voiced)] for f0, voiced in utterances]
    frames = sum(len(f0) for f0, _ in utterances)
    values = np.concatenate(found) if found else np.zeros(0)
    if len(values) == 0:
        raise InputError(
            f"f0 statistics: expected voiced frames, found none in {len(utterances)} recordings ({frames} frames); "
            "lower floor_hz or the threshold, or leave the speaker out"
        )
    logs = np.log(values)
    low, high = np.percentile(values, [5, 95])
    return {
        "median_log_f0": float(np.median(logs)),
        "mean_log_f0": float(logs.mean()),
        "std_log_f0": float(logs.std()),
        "p05_hz": float(low),
        "p95_hz": float(high),
        "voiced_share": len(values) / frames,
        "frames": float(frames),
    }


def agreement(a: NDArray[np.floating], b: NDArray[np.floating]) -> dict[str, float]:
    """How two estimates of one recording, each `(T, 2)` of f0 in Hz and voiced, agree.

    Returns:
        Over all frames: `both_voiced`, and `voicing_disagreement`, where one says voiced and the other does not.
        Over the frames that both call voiced: `within_50_cents`; `octave_errors`, within 100 cents of a whole
        number of octaves that is not none; `gross_errors`, where b deviates by more than 20 % of a. These three are 0
        where `both_voiced` is 0.

    Raises:
        InputError: when their frames are not as many.
    """
    import numpy as np

    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) == 0:
        raise InputError(
            f"f0 agreement: expected two arrays (T, 2) of as many frames, found {a.shape} and {b.shape}; put both on "
            "one grid"
        )
    in_a, in_b = _voiced(a[:, 0], a[:, 1]), _voiced(b[:, 0], b[:, 1])
    both = in_a & in_b
    shares = {"both_voiced": float(both.mean()), "voicing_disagreement": float((in_a != in_b).mean())}
    if not both.any():
        return {**shares, "within_50_cents": 0.0, "octave_errors": 0.0, "gross_errors": 0.0}
    ratio = b[both, 0].astype(np.float64) / a[both, 0]
    cents = 1200 * np.log2(ratio)
    octaves = np.round(cents / 1200)
    return {
        **shares,
        "within_50_cents": float((np.abs(cents) <= 50).mean()),
        "octave_errors": float(((octaves != 0) & (np.abs(cents - 1200 * octaves) <= 100)).mean()),
        "gross_errors": float((np.abs(ratio - 1) > GROSS).mean()),
    }


def _voiced(f0_hz: NDArray[np.floating], voiced: NDArray[np.generic]) -> NDArray[np.bool_]:
    import numpy as np

    return (np.asarray(voiced) > 0) & (np.asarray(f0_hz) > 0)
