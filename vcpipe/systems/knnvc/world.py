"""Conversion before there were neural vocoders: WORLD, with pitch and envelope moved to the target's statistics.

Sources: Morise, Yokomori, Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system" (2016), by pyworld. Log
F0 is mapped to the target's middle and spread, the classical rule. The envelope moves by the means of its mel-cepstrum,
a filter that stays the same, as in conversion by spectral differences (Kobayashi et al., Interspeech 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.features import world
from vcpipe.features.world_envelope import Settings

DIMS = 32
"""Mel-cepstral coefficients of the envelope that move; the finer shape of the spectrum stays the source's."""
FLOOR_HZ, CEIL_HZ = 60.0, 500.0
"""Of speech; Harvest calls more frames voiced an octave too high where it may."""
PIECE_S = 60
"""A long recording's statistics are taken from pieces of this: memory does not grow with it."""

Frames = NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """A speaker over voiced frames: ln Hz, and mean and spread of each mel-cepstral coefficient `(DIMS,)`.

    Of ln Hz the median, and half the range of its middle 68 %: mean and standard deviation of a normal distribution,
    that frames taken an octave off do not move.
    """

    log_f0_median: float
    log_f0_spread: float
    cepstrum_mean: Frames
    cepstrum_std: Frames


def voice(waves: Sequence[Wave], rate: int = 16000) -> Voice:
    """The statistics of a speaker's recordings, each `(N,)` float32 in [-1, 1] at `rate`.

    Raises:
        InputError: when no frame is voiced.
    """
    logs, cepstra = [], []
    settings = _settings(rate)
    for wave in waves:
        for start in range(0, len(wave), PIECE_S * rate):
            piece = wave[start : start + PIECE_S * rate]
            if len(piece) < settings.hop:
                continue
            f0_hz, power, _ = _analyse(piece, settings, aperiodicity=False)
            logs.append(np.log(f0_hz[f0_hz > 0]))
            cepstra.append(_cepstrum(power[f0_hz > 0], rate))
    if not sum(len(part) for part in logs):
        raise InputError(
            f"world: expected voiced frames, found none in {len(waves)} recordings; give recordings with speech"
        )
    log_f0, cepstrum = np.concatenate(logs), np.concatenate(cepstra)
    low, median, high = np.percentile(log_f0, [16, 50, 84])
    return Voice(float(median), float(high - low) / 2, cepstrum.mean(axis=0), cepstrum.std(axis=0))


def convert(source: Wave, own: Voice, target: Voice, rate: int = 16000, spread: bool = False) -> Wave:
    """A recording with the pitch and the envelope of another voice: `(N // hop * hop,)` float32, not limited to 1.

    Log F0 keeps its shape and gets the target's middle and spread. The envelope's cepstrum is moved by the difference
    of the means; with `spread`, deviations from the mean are also scaled to the target's. Coefficient 0, the loudness,
    stays, and so does the aperiodicity, which says what is breath and what is voice.

    Args:
        source: `(N,)` float32 in [-1, 1] at `rate`.
        own: of the source's speaker.
        target: of the voice to take.
    """
    settings = _settings(rate)
    f0_hz, power, aperiodicity = _analyse(source, settings)
    voiced = f0_hz > 0
    stretch = target.log_f0_spread / own.log_f0_spread if own.log_f0_spread > 0 else 1.0
    log_f0 = target.log_f0_median + (np.log(f0_hz[voiced]) - own.log_f0_median) * stretch
    f0_hz[voiced] = np.exp(log_f0).clip(settings.floor_hz, settings.ceil_hz)
    move = np.broadcast_to(target.cepstrum_mean - own.cepstrum_mean, (len(power), DIMS)).copy()
    if spread:
        scale = np.divide(target.cepstrum_std, own.cepstrum_std, out=np.ones(DIMS), where=own.cepstrum_std > 0)
        move += (_cepstrum(power, rate) - own.cepstrum_mean) * (scale - 1)
    move[:, 0] = 0
    return world.synthesize(f0_hz, power * _gain(move, settings), aperiodicity, settings.grid)


def _settings(rate: int) -> Settings:
    return Settings(rate=rate, hop=rate // 200, floor_hz=FLOOR_HZ, ceil_hz=CEIL_HZ, dims=DIMS)


def _analyse(wave: Wave, settings: Settings, aperiodicity: bool = True) -> tuple[Frames, Frames, Frames]:
    """F0 `(T,)` in Hz, 0 where unvoiced; power `(T, K)`; aperiodicity `(T, K)`, which may be left empty."""
    import pyworld

    f0_hz, times_s = world.f0_at_cells(wave, settings.grid, settings.floor_hz, settings.ceil_hz)
    x = np.asarray(wave, np.float64)
    power = world.spectral_envelope(x, settings.rate, f0_hz, times_s, settings.fft_size)
    if not aperiodicity:
        return f0_hz, power, power[:0]
    return f0_hz, power, pyworld.d4c(x, f0_hz, times_s, settings.rate, fft_size=settings.fft_size)


def _cepstrum(power: Frames, rate: int) -> Frames:
    import pyworld

    if not len(power):
        return np.zeros((0, DIMS))
    return pyworld.code_spectral_envelope(np.ascontiguousarray(power), rate, DIMS)


def _gain(move: Frames, settings: Settings) -> Frames:
    """Differences of cepstra `(T, DIMS)` as factors of the power `(T, K)`: 1 everywhere where nothing moves."""
    import pyworld

    return pyworld.decode_spectral_envelope(np.ascontiguousarray(move), settings.rate, settings.fft_size)
