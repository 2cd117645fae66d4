"""How much of a source's melody, rhythm and stress is left in its conversion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.evaluated import REVISIONS
from vcpipe.evaluation import cepstra
from vcpipe.evaluation.cepstra import GRID, Frames

REVISION = REVISIONS["prosody"]
"""Raised whenever a number changes."""

MIN_VOICED = 20
"""Frames voiced in both, 0.2 s, below which nothing is said of f0."""
MOST_CENTS = 600.0
"""Half an octave: what a frame adds to the RMSE at most."""
ASIDE = 2.0
"""Of `cepstra.align`: what a step that stays in one recording costs more than one through both."""


def compare(source: Wave, converted: Wave, rate: int = GRID.rate) -> dict[str, float | None]:
    """What a conversion kept of its source's prosody, of two recordings `(N,)` float32 in [-1, 1].

    Frames of 10 ms are always aligned, also where both recordings are equally long, so that systems that keep the
    timing and systems that don't are measured alike; see `_match`. A recording against itself is exactly 1, 0, 0, 1, 1.

    Returns:
        `f0_corr`: Pearson correlation of log-f0 over aligned frames that are voiced in both.
        `f0_rmse_cents`: root mean square of the difference of f0 in cents over the same frames, after its median was
        taken off: another speaker's register is no error, another melody is. A frame counts 600 cents at most: octave
        jumps of the estimator in 1 % of the frames make 116 of 100 cents, not 156.
        `vuv_error`: share of aligned frames, silence included, that only one calls voiced.
        `energy_corr`: Pearson correlation of the level in dB, silence all at one level.
        `duration_ratio`: length of the conversion over that of the source.
        None where it can't be said: fewer than 20 frames voiced in both, or a contour that does not move.

    Raises:
        InputError: for another rate than 16 kHz, or a recording that cannot be measured.
    """
    a, b = cepstra.analyse(source, rate), cepstra.analyse(converted, rate)
    i, j = _match(a, b)
    f0_a, f0_b = a.f0_hz[i], b.f0_hz[j]
    both = (f0_a > 0) & (f0_b > 0)
    log_a, log_b = np.log2(f0_a[both]), np.log2(f0_b[both])
    enough = len(log_a) >= MIN_VOICED
    return {
        "f0_corr": _pearson(log_a, log_b) if enough else None,
        "f0_rmse_cents": _rmse_cents(log_b - log_a) if enough else None,
        "vuv_error": float(np.mean((f0_a > 0) != (f0_b > 0))),
        "energy_corr": _pearson(_loudness(a)[i], _loudness(b)[j]),
        "duration_ratio": len(converted) / len(source),
    }


def _match(a: Frames, b: Frames) -> cepstra.Path:
    """Aligned frames of two voices that say the same.

    By the mel-cepstrum c1 to c24 around its mean over speech, which takes off the voice and the channel, and the
    level, which finds the pauses. A step aside costs double. Of speech given another voice by WORLD, and of kNN
    conversions, whose timing is the source's, frames are off by 0.01 to 0.07 on the mean, and f0_corr by 0.000 to
    0.005; plain warping is off by 0.3 to 0.6. Of speech stretched unevenly by 0.7 to 1.5 it is off by 1.5 frames,
    plain warping by 1.3.
    """
    return cepstra.align(_position(a), _position(b), ASIDE)


def _position(frames: Frames) -> NDArray[np.float64]:
    """`(T, 25)`: the level as log amplitude in nepers, then c1 to c24, each around its mean over speech."""
    level = _loudness(frames) / 20 * np.log(10)
    values = np.concatenate([level[:, None], frames.cepstra[:, 1:]], axis=1)
    speech = frames.speech
    return values - values[speech].mean(axis=0) if speech.any() else values


def _loudness(frames: Frames) -> NDArray[np.float64]:
    return np.maximum(frames.level_db, frames.floor_db)


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / scale, -1, 1)) if scale > 1e-9 else None


def _rmse_cents(octaves: NDArray[np.float64]) -> float:
    cents = 1200 * (octaves - np.median(octaves))
    return float(np.sqrt(np.mean(np.clip(cents, -MOST_CENTS, MOST_CENTS) ** 2)))


def identity() -> dict[str, Any]:
    """What decides the numbers beyond `cepstra.identity()`, for the protocol."""
    return {
        "revision": REVISION,
        "min_voiced": MIN_VOICED,
        "register": "median difference",
        "most_cents": MOST_CENTS,
        "aside": ASIDE,
    }
