"""Pictures of sound: mel-spaced spectrograms, all drawn on the same axes so that they can be laid side by side."""

from __future__ import annotations

import functools
import io
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

SMALL_ROWS, SMALL_COLUMNS = 96, 256  # pixels of a small picture, at the most
SMALL_HOP_S = 0.016
SMALL_SHADES = 15  # and one colour for the pitch: 4 bits a pixel
PITCH_HZ = (50.0, 800.0)  # the axis of the pitch, spaced in octaves over the whole height
PITCH_TICKS_HZ = (100, 200, 400)
PITCH_FLOOR_HZ, PITCH_CEIL_HZ = 65.0, 600.0
PITCH_RATE = 3200  # samples per second that are enough for it
PITCH_COLOUR = (125, 249, 255)


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


def small(wave: Wave, rate: int, mark: str = "") -> bytes:
    """A recording as a PNG of at most 15 kB, the pitch drawn over its spectrogram: a whole width is its whole length.

    Of recordings longer than `SMALL_COLUMNS * SMALL_HOP_S` a pixel covers more. The pitch is Praat's (Boersma 1993) and
    has an axis of its own, `PITCH_HZ`, for on that of the spectrogram a voice would move by a few pixels.

    Args:
        wave: `(N,)` float32 mono in [-1, 1].
        rate: samples per second.
        mark: ASCII, kept in the file, where `marked` finds it.
    """
    from PIL import Image, PngImagePlugin

    hop_s = max(SMALL_HOP_S, len(wave) / rate / SMALL_COLUMNS)
    level = levels_db(wave, rate, SMALL_ROWS, hop_s)
    pixels = np.round(np.clip(1 + level / RANGE_DB, 0, 1) * (SMALL_SHADES - 1)).astype(np.uint8)
    _draw_pitch(pixels, _pitch_rows(wave, rate, hop_s, pixels.shape[1]))
    image = Image.frombytes("P", (pixels.shape[1], SMALL_ROWS), np.ascontiguousarray(pixels[::-1]).tobytes())
    image.putpalette(_palette())
    about = PngImagePlugin.PngInfo()
    about.add_text("mark", f"{mark};")
    out = io.BytesIO()
    image.save(out, "png", bits=4, pnginfo=about)
    return out.getvalue()


@functools.cache
def _palette() -> list[int]:
    import matplotlib as mpl

    shades = mpl.colormaps["magma"](np.linspace(0, 1, SMALL_SHADES), bytes=True)[:, :3]
    return [*shades.ravel().tolist(), *PITCH_COLOUR]


def marked(picture: bytes, mark: str) -> bool:
    """Whether `small` made this picture with this mark, and it is whole."""
    return f"mark\0{mark};".encode() in picture[:400] and picture[-8:-4] == b"IEND"


def pitch_height_of(hz: float) -> float:
    """Where a pitch stands in a small picture, from 0 (bottom) to 1 (top)."""
    low, high = PITCH_HZ
    return float(np.log(hz / low) / np.log(high / low))


def _pitch_rows(wave: Wave, rate: int, hop_s: float, width: int) -> NDArray[np.float64]:
    """The row of the pitch at every pixel of time, `(width,)`, NaN where there is no voice."""
    import soxr

    from vcpipe.f0 import praat

    low = np.asarray(soxr.resample(wave, rate, PITCH_RATE, quality="LQ"), np.float32)
    rows = np.full(width, np.nan)
    if not len(low):
        return rows
    found = praat.track(low, PITCH_RATE, floor_hz=PITCH_FLOOR_HZ, ceil_hz=PITCH_CEIL_HZ, frame_s=hop_s)
    n = min(width, len(found.f0_hz))
    bottom, top = np.log(PITCH_HZ)
    height = (np.log(np.where(found.voiced, found.f0_hz, np.nan)) - bottom) / (top - bottom)
    rows[:n] = height[:n] * (SMALL_ROWS - 1)
    return rows


def _draw_pitch(pixels: NDArray[np.uint8], rows: NDArray[np.float64]) -> None:
    """A line through the rows, two pixels thick, with a dark edge so that it is seen on bright and dark."""
    before = np.where(np.isnan(rows[:-1]), rows[1:], rows[:-1])
    before = np.concatenate([rows[:1], before])
    lowest, highest = np.fmin(rows, before), np.fmax(rows, before)
    grid = np.arange(len(pixels))[:, None]
    with np.errstate(invalid="ignore"):
        line = (grid >= np.floor(lowest)) & (grid <= np.floor(highest) + 1)
    edge = line.copy()
    edge[1:] |= line[:-1]
    edge[:-1] |= line[1:]
    pixels[edge] = 0
    pixels[line] = SMALL_SHADES


def levels_db(wave: Wave, rate: int, n_rows: int = ROWS, hop_s: float = HOP_S) -> NDArray[np.float32]:
    """The power of a recording in dB below its loudest point: `(n_rows, pixels)`, lowest frequency first.

    Silence is -inf-free: everything is `-RANGE_DB`.
    """
    size, hop = round(max(WINDOW_S, hop_s) * rate), max(round(hop_s * rate), 1)
    n_fft = 1 << (2 * size - 1).bit_length()
    padded = np.pad(wave, (size // 2, size - size // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][: max(len(wave) // hop, 1)]
    spectrum = np.fft.rfft(frames * np.hanning(size).astype(np.float32), n_fft)  # (T, n_fft // 2 + 1)
    power = spectrum.real**2 + spectrum.imag**2
    bins = mel_spaced_hz(n_rows) * n_fft / rate
    below = np.minimum(bins.astype(int), power.shape[1] - 2)
    share = bins - below
    rows = ((1 - share) * power[:, below] + share * power[:, below + 1]).T * (bins <= n_fft / 2)[:, None]
    loudest = float(rows.max())
    if loudest <= 0:
        return np.full(rows.shape, -RANGE_DB, np.float32)
    return (10 * np.log10(np.maximum(rows / loudest, 10 ** (-RANGE_DB / 10)))).astype(np.float32)


def mel_spaced_hz(n_rows: int = ROWS) -> NDArray[np.float64]:
    """The frequency of every row of a picture, `(n_rows,)` in Hz, evenly spaced in mel (O'Shaughnessy's formula)."""
    mel = np.linspace(0, _mel(TOP_HZ), n_rows)
    return 700 * (10 ** (mel / 2595) - 1)


def height_of(hz: float) -> float:
    """Where a frequency stands in a picture, from 0 (bottom) to 1 (top)."""
    return float(_mel(hz) / _mel(TOP_HZ))


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))
