"""The long-term spectrum of a voice, and a recording brought to it by one filter that stays the same throughout.

Averaged frames and a vocoder that also hears the source leave a trace of the source's colour; its mean is taken off.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.nn.mel import mel_edges

BANDS = 64
"""Mel bands, in which the spectra of voices are compared."""
WINDOW_S, HOP_S = 0.064, 0.016
LOUD_DB = 30.0
"""Frames as far below the loudest are pauses, and are left out."""
BLOCK_S = 60
"""Seconds that are looked at at once: memory does not grow with a recording."""
MOST_DB = 18.0
"""The filter's gain at the most, up or down: where a recording has nothing, nothing is made of its noise."""

Spectrum = NDArray[np.float64]


def long_term(waves: Iterable[Wave], rate: int) -> Spectrum:
    """The mean over loud frames of ln power in mel bands, `(BANDS,)`, of recordings `(N,)` float32, less its own mean.

    Recordings may be of different levels; each of their loud frames counts the same. Zeros where all is silent.
    """
    total, count = np.zeros(BANDS), 0
    for wave in waves:
        parts = [_bands(wave[start : start + BLOCK_S * rate], rate) for start in range(0, len(wave), BLOCK_S * rate)]
        power = np.concatenate(parts) if parts else np.zeros((0, BANDS))
        level = power.mean(axis=1)
        if not len(level) or level.max() <= 0:
            continue
        loud = np.log(power[level > level.max() * 10 ** (-LOUD_DB / 10)] + 1e-10 * level.max())
        total += (loud - loud.mean()).sum(axis=0)
        count += len(loud)
    return total / max(count, 1)


def bring_to(wave: Wave, rate: int, target: Spectrum) -> Wave:
    """`(N,)` float32 filtered so that its long-term spectrum is `target`; `(N,)`, of about the same level.

    Args:
        target: of `long_term`, at the same rate.
    """
    from scipy.signal import oaconvolve

    most = MOST_DB * np.log(10) / 10
    change = np.clip(target - long_term([wave], rate), -most, most)
    n_fft = _n_fft(rate)
    gain = np.exp(0.5 * np.interp(_bins_hz(rate), _edges_hz(rate)[1:-1], change))
    taps = np.roll(np.fft.irfft(gain), n_fft // 2) * np.hanning(n_fft + 1)[:-1]  # linear phase; peak at n_fft / 2
    return np.asarray(oaconvolve(wave, taps)[n_fft // 2 : n_fft // 2 + len(wave)], np.float32)


def _bands(wave: Wave, rate: int) -> Spectrum:
    """Power `(T, BANDS)` of windows that lie wholly within the recording, which is made long enough for one."""
    n_fft, hop = _n_fft(rate), round(HOP_S * rate)
    padded = np.pad(wave, (0, max(0, n_fft - len(wave))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(n_fft).astype(np.float32))) ** 2
    return np.asarray(power @ _filters(rate).T, np.float64)


def _n_fft(rate: int) -> int:
    return 2 * round(WINDOW_S * rate / 2)


def _bins_hz(rate: int) -> Spectrum:
    return np.arange(_n_fft(rate) // 2 + 1) * rate / _n_fft(rate)


def _edges_hz(rate: int) -> Spectrum:
    """`(BANDS + 2,)`: a band reaches from one edge to the next but one, and is centred on that between."""
    return np.asarray(mel_edges(BANDS, 0.0, rate / 2).numpy(), np.float64)


@lru_cache
def _filters(rate: int) -> Spectrum:
    """`(BANDS, n_fft / 2 + 1)` triangles, each with the sum 1: a band's power is the mean of its bins'."""
    bins, edges = _bins_hz(rate), _edges_hz(rate)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(0)
    return np.asarray(triangles / triangles.sum(axis=1, keepdims=True), np.float64)
