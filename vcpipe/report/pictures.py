"""Pictures of sound: mel-spaced spectrograms, all drawn on the same axes so that they can be laid side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.manifest import atomic_path

TOP_HZ = 8000.0
ROWS = 160  # pixels of frequency
HOP_S = 0.008  # seconds that one pixel covers
WINDOW_S = 0.032
RANGE_DB = 70.0  # below its loudest point, a picture is dark
SHADES = 64
TICKS_HZ = (0, 1000, 2000, 4000, 8000)  # what a page writes beside a picture


def spectrogram(wave: Wave, rate: int, seconds: float, path: str | Path) -> None:
    """Draws a recording as a PNG without axes: time to the right, frequency upwards from 0 to 8 kHz, mel-spaced.

    Args:
        wave: `(N,)` float32 mono in [-1, 1].
        rate: samples per second.
        seconds: what the width stands for; the part after the recording's end is transparent.
        path: the file to write, whole or not at all.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.image import imsave

    level = levels_db(wave, rate)
    shade = np.round(np.clip(1 + level / RANGE_DB, 0, 1) * (SHADES - 1)) / (SHADES - 1)
    width = max(round(seconds / HOP_S), shade.shape[1])
    pixels = np.zeros((ROWS, width, 4), np.uint8)
    pixels[:, : shade.shape[1]] = mpl.colormaps["magma"](shade, bytes=True)
    with atomic_path(path) as tmp:
        imsave(tmp, pixels, format="png", origin="lower")


def levels_db(wave: Wave, rate: int) -> NDArray[np.float32]:
    """The power of a recording in dB below its loudest point: `(ROWS, pixels)`, lowest frequency first.

    Silence is -inf-free: everything is `-RANGE_DB`.
    """
    size, hop = round(WINDOW_S * rate), max(round(HOP_S * rate), 1)
    n_fft = 4 * size
    padded = np.pad(wave, (size // 2, size - size // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][: max(len(wave) // hop, 1)]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), n_fft)) ** 2  # (T, n_fft // 2 + 1)
    bins = mel_spaced_hz() * n_fft / rate
    below = np.minimum(bins.astype(int), power.shape[1] - 2)
    share = bins - below
    rows = ((1 - share) * power[:, below] + share * power[:, below + 1]).T * (bins <= n_fft / 2)[:, None]
    loudest = float(rows.max())
    if loudest <= 0:
        return np.full(rows.shape, -RANGE_DB, np.float32)
    return (10 * np.log10(np.maximum(rows / loudest, 10 ** (-RANGE_DB / 10)))).astype(np.float32)


def mel_spaced_hz() -> NDArray[np.float64]:
    """The frequency of every row of a picture, `(ROWS,)` in Hz, evenly spaced in mel (O'Shaughnessy's formula)."""
    mel = np.linspace(0, _mel(TOP_HZ), ROWS)
    return 700 * (10 ** (mel / 2595) - 1)


def height_of(hz: float) -> float:
    """Where a frequency stands in a picture, from 0 (bottom) to 1 (top)."""
    return float(_mel(hz) / _mel(TOP_HZ))


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))
