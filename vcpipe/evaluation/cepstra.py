"""How far two recordings of one text are apart in timbre: mel-cepstral distortion, and the alignment under it.

What is measured of a recording is measured here once, on frames of 10 ms: f0 (which WORLD's envelope needs), level and
mel-cepstrum. `vcpipe.evaluation.prosody` reads the same frames.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.evaluated import REVISIONS
from vcpipe.f0 import praat
from vcpipe.f0.grid import on_grid
from vcpipe.f0.track import Track
from vcpipe.features import energy, world
from vcpipe.grid import Grid

REVISION = REVISIONS["mcd"]
"""Raised whenever a number changes."""

GRID = Grid(16000, 160)
ORDER, ALPHA = 24, 0.42
"""Of the mel-cepstrum: coefficients after c0, and the warping that is nearest to the mel scale at 16 kHz."""
FFT_SIZE = 1024
FLOOR_HZ, CEIL_HZ = 60.0, 600.0
BELOW_Q1, ABOVE_Q3 = 0.75, 1.9
"""The range of f0 that is searched the second time, as multiples of the first and third quartile."""
LEVEL_WIN = 400
"""Samples: 25 ms."""
SPEECH_DB, LOUD_PERCENTILE = 40.0, 95.0
"""Frames farther below the loud ones of the same recording are silence."""
FLOOR_DB = -90.0
"""dBFS: what digital silence counts as. A recording that is nowhere louder is all silence."""
MIN_FRAMES = 10
"""Frames of speech below which nothing is said of a recording's spectrum: 0.1 s."""

Path = tuple[NDArray[np.int64], NDArray[np.int64]]


class Frames(NamedTuple):
    """A recording every 10 ms, each frame at the centre of its cell.

    `f0_hz (T,)` (0 = unvoiced), `level_db (T,)` in dBFS, `cepstra (T, 25)`: c0 to c24 of the log amplitude in nepers.
    """

    f0_hz: NDArray[np.float64]
    level_db: NDArray[np.float64]
    cepstra: NDArray[np.float64]

    @property
    def floor_db(self) -> float:
        """Level in dBFS below which a frame is silence: 40 dB under the loud frames (their 95th percentile)."""
        return max(float(np.percentile(self.level_db, LOUD_PERCENTILE)) - SPEECH_DB, FLOOR_DB)

    @property
    def speech(self) -> NDArray[np.bool_]:
        """`(T,)`, where there is more than silence."""
        return np.asarray(self.level_db > self.floor_db)


def mcd(converted: Wave, parallel: Wave, rate: int = GRID.rate) -> float | None:
    """Mel-cepstral distortion in dB of two recordings `(N,)` float32 of one text; None where one has no speech.

    `10 / ln 10 * sqrt(2 * sum of (difference)^2)` over c1 to c24, without the level c0, on the mean over the path of
    plain dynamic time warping (Kubichek 1993, as the voice conversion challenges use it). Silence is left out before
    it. One recording and itself are exactly 0 dB; three voices of espeak are 8 to 12 dB apart with one text,
    14 to 16 dB with two.

    Raises:
        InputError: for another rate than 16 kHz, or a recording that cannot be measured.
    """
    a, b = (frames.cepstra[frames.speech, 1:] for frames in (analyse(converted, rate), analyse(parallel, rate)))
    if min(len(a), len(b)) < MIN_FRAMES:
        return None
    i, j = align(a, b)
    return float(10 / np.log(10) * np.sqrt(2 * np.sum((a[i] - b[j]) ** 2, axis=1)).mean())


def align(a: NDArray[np.float64], b: NDArray[np.float64], aside: float = 1.0) -> Path:
    """Frames `(T, D)` and `(U, D)` matched by dynamic time warping on their Euclidean distance: two arrays `(K,)`.

    Both ends meet, every frame is used, and equal frames are matched with themselves. It takes about 20 bytes a pair
    of frames while it runs: 250 MB for two recordings of 35 s.

    Args:
        a: of the first recording, T >= 1.
        b: of the second, U >= 1.
        aside: what a step along one recording only costs, as a multiple of its distance. 1 is plain; with more,
            recordings of the same timing keep it.
    """
    import librosa

    _, path = librosa.sequence.dtw(a.T, b.T, weights_mul=np.array([1.0, aside, aside]))
    return path[::-1, 0], path[::-1, 1]


def analyse(wave: Wave, rate: int = GRID.rate) -> Frames:
    """A recording `(N,)` in [-1, 1] to its frames, T = N // 160; the last few recordings are remembered by content.

    Raises:
        InputError: for another rate than 16 kHz, and for a recording shorter than 10 ms or not of finite floats.
    """
    if rate != GRID.rate:
        raise InputError(f"cepstra: expected a recording at {GRID.rate} samples/s, found {rate}; resample it first")
    if wave.ndim != 1 or wave.dtype.kind != "f" or GRID.frames(len(wave)) < 1:
        raise InputError(
            f"cepstra: expected a recording (N,) of floats of {GRID.hop} samples at least, found {wave.dtype} "
            f"{wave.shape}; convert it again"
        )
    return _analyse(wave.astype(np.float32).tobytes())


@functools.lru_cache(maxsize=8)
def _analyse(samples: bytes) -> Frames:
    """One source stands in many trials, and one conversion in two measures."""
    wave = np.frombuffer(samples, np.float32)
    f0_hz = on_grid(pitch(wave), GRID, len(wave))[:, 0].astype(np.float64)
    level = energy.load(energy.Settings(rate=GRID.rate, hop=GRID.hop, win=LEVEL_WIN, floor_db=FLOOR_DB))
    times_s = (np.arange(len(f0_hz)) + 0.5) * GRID.hop / GRID.rate
    power = world.spectral_envelope(wave.astype(np.float64), GRID.rate, f0_hz, times_s, FFT_SIZE)
    frames = Frames(f0_hz, level(wave)[:, 0].astype(np.float64), mel_cepstra(power))
    for values in frames:
        values.setflags(write=False)
    return frames


def pitch(wave: Wave) -> Track:
    """F0 of `(N,)` at 16 kHz by Praat's autocorrelation, twice: the second time within the speaker's own range.

    The range is taken from the quartiles of the first time (De Looze and Hirst 2008, with a higher ceiling). Of speech
    whose f0 was set anew by WORLD it leaves a third to two thirds of the octave errors of one pass from 60 to 600 Hz.
    """
    found = praat.track(wave, GRID.rate, floor_hz=FLOOR_HZ, ceil_hz=CEIL_HZ)
    if found.voiced.sum() < MIN_FRAMES:
        return found
    low, high = np.percentile(found.f0_hz[found.voiced], [25, 75])
    return praat.track(
        wave, GRID.rate, floor_hz=max(FLOOR_HZ, BELOW_Q1 * float(low)), ceil_hz=min(CEIL_HZ, ABOVE_Q3 * float(high))
    )


def mel_cepstra(power: NDArray[np.float64], order: int = ORDER, alpha: float = ALPHA) -> NDArray[np.float64]:
    """Power envelopes `(T, K)` to `(T, order + 1)` mel-cepstral coefficients of the log amplitude.

    The cepstrum of the minimum-phase filter with that envelope, its frequencies warped; SPTK's `sp2mc`.
    """
    cepstra = np.fft.irfft(np.log(power))[:, : power.shape[1]]
    cepstra[:, 0] /= 2
    return np.asarray(cepstra @ warping(power.shape[1], order, alpha))


@functools.lru_cache(maxsize=4)
def warping(size: int, order: int, alpha: float) -> NDArray[np.float64]:
    """`(size, order + 1)`: a cepstrum of `size` coefficients times this is the cepstrum of the warped spectrum.

    The recursion of Oppenheim and Johnson (1972), SPTK's `freqt`, which takes coefficients from the last to the
    first: row m is what becomes of a single 1 there after the m steps that are left.
    """
    rows = np.zeros((size, order + 1))
    rows[0, 0] = 1
    for m in range(1, size):
        before, row = rows[m - 1], rows[m]
        row[0] = alpha * before[0]
        row[1] = (1 - alpha**2) * before[0] + alpha * before[1]
        for k in range(2, order + 1):
            row[k] = before[k - 1] + alpha * (before[k] - row[k - 1])
    return rows


def identity() -> dict[str, Any]:
    """What decides the numbers, for the protocol."""
    return {
        "revision": REVISION,
        "f0": {"method": "praat", "floor_hz": FLOOR_HZ, "ceil_hz": CEIL_HZ, "quartiles": [BELOW_Q1, ABOVE_Q3]},
        "envelope": {"method": "cheaptrick", "fft_size": FFT_SIZE, "hop_s": GRID.hop / GRID.rate},
        "mel_cepstrum": {"order": ORDER, "alpha": ALPHA, "c0": False},
        "speech_db": SPEECH_DB,
        "alignment": "dtw",
    }
