"""How good a recording is, as numbers, and whether that is good enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.audio_settings import TICKS, Gates
from vcpipe.recordings.spans import pauses, tick_power

FLOOR_DB = -200.0  # the level of digital silence, instead of minus infinity
SNR_LIMITS_DB = (-20.0, 100.0)
PAUSE_MIN = 10  # ticks of pauses from which the noise can be told
DIGITAL_SILENCE = 1e-15  # -150 dBFS: far below what 24 bits can hold, above what rounding leaves
QUIET_PERCENTILE = 5.0  # of all ticks, where there are no pauses
CLIPPED_RUN = 3  # samples on end at the extreme value
STEP = 1 / 32768  # of 16-bit samples


@dataclass(frozen=True)
class Quality:
    """Measured on the original recording, mixed down, at its own rate, before anything is done to it.

    `peak_dbfs` is of the largest sample, `level_dbfs` the RMS over the whole duration without the constant part,
    `clipped_share` of the samples, `snr_db` the power of speech over that of the pauses, `speech_share` of the
    duration.
    """

    peak_dbfs: float
    level_dbfs: float
    clipped_share: float
    snr_db: float
    speech_share: float


def measure(wave: Wave, rate: int, speech: list[tuple[float, float]]) -> Quality:
    """The quality of `(N,)` float32 at its own rate, N >= 1, with its speech in seconds."""
    mean = float(wave.mean(dtype=np.float64))
    square = float(np.einsum("n,n->", wave, wave, dtype=np.float64)) / len(wave)
    return Quality(
        peak_dbfs=_db(max(float(wave.max()), -float(wave.min())) ** 2),
        level_dbfs=_db(square - mean**2),
        clipped_share=clipped_share(wave),
        snr_db=snr_db(tick_power(wave, rate), speech),
        speech_share=min(1.0, sum(stop - start for start, stop in speech) * rate / len(wave)),
    )


def gate(quality: Quality, gates: Gates) -> tuple[str, str] | None:
    """Why a recording is not good enough, as a reason and the number beside its limit; None where it is."""
    if gates.max_clipped_share is not None and quality.clipped_share > gates.max_clipped_share:
        found, limit = quality.clipped_share, gates.max_clipped_share
        return "clipped", f"{found:.4%} of the samples are clipped, gates.max_clipped_share is {limit:.4%}"
    if gates.min_speech_share is not None and quality.speech_share < gates.min_speech_share:
        found, limit = quality.speech_share, gates.min_speech_share
        return "little_speech", f"{found:.1%} of the duration is speech, gates.min_speech_share is {limit:.1%}"
    if gates.min_snr_db is not None and quality.snr_db < gates.min_snr_db:
        return "noisy", f"speech is {quality.snr_db:.1f} dB over the noise, gates.min_snr_db is {gates.min_snr_db:g}"
    return None


def snr_db(power: NDArray[np.float64], speech: list[tuple[float, float]]) -> float:
    """The power of speech over the power of noise in dB, estimated from ticks and the speech found in them.

    Noise is the median power of the pauses, ticks of 20 ms further than 0.1 s from speech; where they are fewer than
    10, the power that 5 % of all ticks do not reach. Ticks of digital silence are left out of it. Speech is the mean
    power of the ticks with speech (of all ticks, where none was found) less that of the noise. The median, because
    speech that was not found would raise a mean.

    Args:
        power: `(ticks,)` from `tick_power`.
        speech: start and stop in seconds.

    Returns:
        A number from -20 to 100; 100 also where there is no noise at all.
    """
    spoken = np.zeros(len(power), bool)
    for start_s, stop_s in speech:
        spoken[round(start_s * TICKS) : round(stop_s * TICKS)] = True
    heard = power[spoken] if spoken.any() else power
    sounding = power > DIGITAL_SILENCE
    noise = power[pauses(speech, len(power)) & sounding] if spoken.any() else power[:0]
    if len(noise) >= PAUSE_MIN:
        noise_power = float(np.median(noise))
    else:
        noise_power = float(np.percentile(power[sounding], QUIET_PERCENTILE)) if sounding.any() else 0.0
    if not noise_power > 0:
        return SNR_LIMITS_DB[1]
    clean = max(float(heard.mean()) - noise_power, 0.0)
    return float(np.clip(_db(clean / noise_power), *SNR_LIMITS_DB))


def clipped_share(wave: Wave) -> float:
    """Share of `(N,)` samples that lie in runs of at least 3 at the largest or the smallest value of the recording.

    So a plateau counts at any level, as after a recording that was clipped is made softer. A run that the signal
    reaches and leaves on a gentle curve is none: it is the round top of a low tone, flat by the steps of 16 bits.
    Files that lost their plateau (resampled, or from a lossy codec) show nothing.
    """
    top, bottom = float(wave.max()), float(wave.min())
    if top == bottom:
        return 0.0
    above = _plateau(wave, top) if top > 0 else 0  # an extreme of 0 is digital silence
    below = _plateau(-wave, -bottom) if bottom < 0 else 0
    return (above + below) / len(wave)


def _plateau(wave: Wave, top: float) -> int:
    """Samples in runs at the value `top`, the largest, that the signal does not glide into and out of."""
    flat = np.concatenate([[False], wave == np.float32(top), [False]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)
    edges = edges[edges[:, 1] - edges[:, 0] >= CLIPPED_RUN]
    if not len(edges):
        return 0
    before = wave[np.maximum(edges[:, 0] - 1, 0)]
    after = wave[np.minimum(edges[:, 1], len(wave) - 1)]
    # A parabola whose top is flat for three samples has fallen by at most four steps at the next on either side.
    steep = np.maximum(top - before, top - after) > 4 * STEP
    return int((edges[steep, 1] - edges[steep, 0]).sum())


def _db(power: float) -> float:
    return float(10 * np.log10(power)) if power > 10 ** (FLOOR_DB / 10) else FLOOR_DB
