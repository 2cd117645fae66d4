"""The colour of a voice: mean and spread of its spectrum over time, and a recording brought to them band by band.

Averaged frames and a vocoder that also hears the source leave a trace of the source's colour, and of all colours take
the mean. One gain for every band gives back the mean; gains that follow the level of the band give back the spread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.nn.mel import mel_edges
from vcpipe.nn.source_filter import band_interpolation

BANDS = 64
"""Mel bands, in which the spectra of voices are compared."""
HOP_S, OVERLAP = 0.016, 4
"""Of windows: from one to the next, and how many of them a sample lies in."""
HEARD_DB, LOUD_DB = 60.0, 30.0
"""Below the loudest window: as far down windows count for the mean, and for the spread, which pauses would fill."""
LEAST_SPREAD = 1e-2
"""In ln of power; a band that moves less keeps its spread."""
BLOCK = 4000
"""Windows that are transformed at once, a minute's: spectra take 500 times the memory of the samples."""
MOST_DB = 18.0
"""Of a gain at the most, up or down: where a recording has nothing, nothing is made of its noise."""
MOST_SPREAD = 2.0
"""By what factor the spread of a band, or of a pitch, grows or shrinks at the most."""
TINY = 1e-30
"""Of power: what a band is said to have where all is digital silence."""

Floats = NDArray[np.float64]


class Spectrum(NamedTuple):
    """Of ln power in mel bands, both `(BANDS,)`: `mean`, less its own mean, and `spread`."""

    mean: Floats
    spread: Floats


def long_term(waves: Iterable[Wave], rate: int) -> Spectrum:
    """The colour of recordings `(N,)` float32 of one voice; zeros where all is silent.

    Recordings may be of different levels; each of their windows that are loud enough counts the same.
    """
    mean, spread = _Moments(), _Moments()
    for wave in waves:
        logs, level = _logs(wave, rate)
        mean.add(logs[level > -HEARD_DB])
        spread.add(logs[level > -LOUD_DB])
    return Spectrum(mean.mean, spread.spread)


class _Moments:
    """Sums over windows, each recording's less its level."""

    def __init__(self) -> None:
        self.total, self.squares, self.count = np.zeros(BANDS), np.zeros(BANDS), 0

    def add(self, logs: Floats) -> None:
        """Windows `(T, BANDS)` of one recording, or none."""
        if len(logs):
            logs = logs - logs.mean()
            self.total, self.squares = self.total + logs.sum(axis=0), self.squares + (logs**2).sum(axis=0)
            self.count += len(logs)

    @property
    def mean(self) -> Floats:
        return self.total / max(self.count, 1)

    @property
    def spread(self) -> Floats:
        return np.sqrt((self.squares / max(self.count, 1) - self.mean**2).clip(min=0))


def bring_to(wave: Wave, rate: int, target: Spectrum, spread: float = 0.0) -> Wave:
    """`(N,)` float32 in [-1, 1] filtered so that its long-term spectrum is the target's; the same, at its level.

    Where that would leave [-1, 1] the whole is softer.

    Args:
        target: of `long_term`, at the same rate.
        spread: of the way, in ratios, to the target's spread too: 0 is one filter for the whole recording, with more
            it follows the level of each band from window to window. Pauses get the one filter alone.
    """
    if not len(wave):
        return wave
    own, hop = long_term([wave], rate), _hop(rate)
    padded = np.pad(wave, (_n_fft(rate) - hop, _n_fft(rate)))  # every sample lies in as many windows
    change = target.mean - own.mean
    if spread:
        logs, level = _logs(padded, rate)
        loud = level > -LOUD_DB
        moves = np.minimum(own.spread, target.spread) > LEAST_SPREAD
        ratio = np.divide(target.spread, own.spread, out=np.ones(BANDS), where=moves)
        growth = ratio.clip(1 / MOST_SPREAD, MOST_SPREAD) ** spread
        middle = logs[loud].mean(axis=0) if loud.any() else 0.0
        change = change + np.where(loud[:, None], (growth - 1) * (logs - middle), 0.0)
    most = MOST_DB * np.log(10) / 10
    made = _filtered(padded, rate, change.clip(-most, most))[_n_fft(rate) - hop :][: len(wave)]
    level_before, level_after = (float(np.sqrt(np.mean(np.square(w), dtype=np.float64))) for w in (wave, made))
    gain = level_before / level_after if level_after else 1.0
    return made * np.float32(min(gain, 1 / max(float(np.abs(made).max()), 1e-9)))


def _filtered(wave: Wave, rate: int, change: Floats) -> Wave:
    """Windows that overlap, each with its change `(T, BANDS)`, or all with one `(BANDS,)`, in ln power; `(N',)`."""
    window, hop = _window(rate), _hop(rate)
    frames = _frames(wave, rate)
    to_bins = band_interpolation(rate, BANDS, _n_fft(rate) // 2 + 1).numpy()
    out = np.zeros((len(frames) + OVERLAP - 1, hop))
    for block in _blocks(len(frames)):
        gains = np.exp(0.5 * (change if change.ndim == 1 else change[block]) @ to_bins)
        changed = np.fft.irfft(np.fft.rfft(frames[block] * window) * gains, OVERLAP * hop) * window
        pieces = changed.reshape(-1, OVERLAP, hop)
        for part in range(OVERLAP):
            out[block.start + part : block.start + part + len(pieces)] += pieces[:, part]
    return np.asarray(out.ravel() / (window**2).reshape(OVERLAP, hop).sum(axis=0).mean(), np.float32)


def _logs(wave: Wave, rate: int) -> tuple[Floats, Floats]:
    """Of windows within a recording ln power `(T, BANDS)`, and their level in dB below the loudest `(T,)`; or -inf."""
    frames = _frames(np.pad(wave, (0, max(0, _n_fft(rate) - len(wave)))), rate)
    window, filters = _window(rate), _filters(rate).T
    spectra = (np.fft.rfft(frames[block] * window) for block in _blocks(len(frames)))
    power = np.concatenate([np.abs(spectrum) ** 2 @ filters for spectrum in spectra])
    level = power.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.nan_to_num(10 * np.log10(level / level.max()), nan=-np.inf, neginf=-np.inf)
    return np.log(power + max(1e-10 * level.max(), TINY)), below


def _frames(wave: Wave, rate: int) -> Wave:
    """The windows' samples `(T, OVERLAP * hop)`, not copied."""
    return np.lib.stride_tricks.sliding_window_view(wave, _n_fft(rate))[:: _hop(rate)]


def _blocks(n_frames: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n_frames)) for start in range(0, n_frames, BLOCK))


def _hop(rate: int) -> int:
    return round(HOP_S * rate)


def _n_fft(rate: int) -> int:
    return OVERLAP * _hop(rate)


def _window(rate: int) -> Wave:
    """Hann's, periodic: the squares of overlapping ones add up to the same everywhere."""
    return np.hanning(_n_fft(rate) + 1)[:-1].astype(np.float32)


@lru_cache
def _filters(rate: int) -> Floats:
    """`(BANDS, n_fft / 2 + 1)` triangles, each with the sum 1: a band's power is the mean of its bins'."""
    bins = np.arange(_n_fft(rate) // 2 + 1) * rate / _n_fft(rate)
    edges = np.asarray(mel_edges(BANDS, 0.0, rate / 2).numpy(), np.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(0)
    return np.asarray(triangles / triangles.sum(axis=1, keepdims=True), np.float64)
