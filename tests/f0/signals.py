"""Recordings whose f0 is known at every instant, and how estimates are judged against it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.grid import Grid

FORMANTS = ((1.0, 600, 120), (0.6, 1300, 150), (0.3, 2500, 250))
"""Of the voice: amplitude, centre and bandwidth in Hz."""
EDGE_S = 0.1
"""Seconds at both ends that are not judged."""


class Signal(NamedTuple):
    wave: NDArray[np.float32]
    f0: Callable[[NDArray[np.float64]], NDArray[np.float64]]


@functools.cache
def sweep(rate: int, *, falling: bool = False, seconds: float = 2.0) -> Signal:
    """A sine from 100 to 400 Hz, or back, at a constant number of Hz a second."""
    f0 = _line(falling, seconds, depth=0.0)
    return Signal((0.5 * np.sin(_phase(f0, rate, seconds))).astype(np.float32), f0)


@functools.cache
def voice(rate: int, *, falling: bool = False, seconds: float = 2.0) -> Signal:
    """Harmonics as of a sawtooth, coloured by three formants, on the same way with 3 % of vibrato at 5 Hz."""
    f0 = _line(falling, seconds, depth=0.03)
    phase, now = _phase(f0, rate, seconds), f0(np.arange(round(seconds * rate)) / rate)
    top = 0.95 * min(rate / 2, 8000)
    wave = np.zeros(len(phase))
    for h in range(1, int(top / 90)):
        colour = 0.05 + sum(a / (1 + ((h * now - centre) / width) ** 2) for a, centre, width in FORMANTS)
        wave += np.where(h * now < top, colour / h, 0) * np.sin(h * phase)
    return Signal((0.5 * wave / np.abs(wave).max()).astype(np.float32), f0)


def noisy(wave: NDArray[np.float32], snr_db: float, seed: int = 0) -> NDArray[np.float32]:
    """White noise on top, `snr_db` weaker."""
    noise = np.random.default_rng(seed).normal(size=len(wave))
    return (wave + noise * np.sqrt((wave**2).mean() / 10 ** (snr_db / 10))).astype(np.float32)


class Score(NamedTuple):
    offset_ms: float
    """How much earlier than it is true an estimate is given."""
    gross: float
    """Share of voiced frames that deviate by more than 20 %."""
    voiced: float
    """Share of frames that are voiced; all are."""


def score(estimates: list[NDArray[np.float32]], signals: list[Signal], grid: Grid) -> Score:
    """Judges `(T, 2)` frames against the truth at the centres of their cells.

    What is estimated d seconds early deviates in log-f0 by d times its slope. So d is the slope of the regression
    of the deviations on the slopes of the truth; a constant bias goes into its intercept. Rising and falling glides
    are pooled, so that what depends on f0 itself doesn't count as time.
    """
    ratios, slopes, n = [], [], 0
    for found, signal in zip(estimates, signals, strict=True):
        t = (np.arange(len(found)) + 0.5) * grid.hop / grid.rate
        judged = (t > EDGE_S) & (t < len(signal.wave) / grid.rate - EDGE_S)
        n += int(judged.sum())
        t, f0 = t[judged & (found[:, 1] > 0)], found[judged & (found[:, 1] > 0), 0]
        ratios.append(f0 / signal.f0(t))
        slopes.append((np.log(signal.f0(t + 1e-4)) - np.log(signal.f0(t - 1e-4))) / 2e-4)
    ratio, slope = np.concatenate(ratios), np.concatenate(slopes)
    fine = np.abs(ratio - 1) <= 0.2
    y, design = np.log(ratio[fine]), np.stack([np.ones(fine.sum()), slope[fine]], 1)
    kept = np.ones(len(y), bool)
    for _ in range(3):
        line = np.linalg.lstsq(design[kept], y[kept], rcond=None)[0]
        rest = np.abs(y - design @ line)
        kept = rest <= 3 * max(float(rest[kept].std()), 1e-6)
    return Score(1000 * float(line[1]), 1 - float(fine.mean()), len(ratio) / n)


def _line(falling: bool, seconds: float, depth: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    start, stop = (400.0, 100.0) if falling else (100.0, 400.0)
    return lambda t: (start + (stop - start) * t / seconds) * (1 + depth * np.sin(2 * np.pi * 5 * t))


def _phase(f0: Callable[[NDArray[np.float64]], NDArray[np.float64]], rate: int, seconds: float) -> NDArray[np.float64]:
    """Radians at every sample: the integral of f0, each step by the f0 in its middle."""
    return 2 * np.pi * np.cumsum(f0((np.arange(round(seconds * rate)) - 0.5) / rate)) / rate
