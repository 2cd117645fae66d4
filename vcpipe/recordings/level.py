"""One level for every utterance: peak, RMS, or loudness by ITU-R BS.1770."""

from __future__ import annotations

import numpy as np

from vcpipe.audio import Wave, loudness_lufs, true_peak
from vcpipe.audio_settings import Loudness


def to_level(wave: Wave, rate: int, settings: Loudness) -> Wave:
    """Scales `(N,)` float32 to the level of the settings.

    A gain to an RMS or a loudness stops where the true peak (4 times oversampled) reaches `ceiling_dbtp`. With
    `raise_only` the gain is never below 1, whatever the ceiling. What has no level is returned as it is: silence,
    and for bs1770 what is shorter than its block of 0.4 s or quieter than its gate of -70 LUFS.
    """
    now = level(wave, rate, settings.kind)
    if now is None:
        return wave
    if settings.kind == "peak":
        gain = settings.level / now
    else:
        gain = min(10 ** ((settings.level - now) / 20), 10 ** (settings.ceiling_dbtp / 20) / true_peak(wave, rate))
    return np.asarray(wave * np.float32(max(gain, 1) if settings.raise_only else gain), np.float32)


def level(wave: Wave, rate: int, kind: str) -> float | None:
    """The level of `(N,)` float32: peak in [0, 1], rms in dBFS or bs1770 in LUFS; None where there is none.

    A full-scale sine has an rms of -3.01 dBFS.
    """
    if not np.any(wave):
        return None
    if kind == "peak":
        return float(max(wave.max(), -wave.min()))
    if kind == "rms":
        return float(10 * np.log10(np.einsum("n,n->", wave, wave, dtype=np.float64) / len(wave)))
    return loudness_lufs(wave, rate)
