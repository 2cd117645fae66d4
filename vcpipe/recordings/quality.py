"""How good a recording is, as numbers, and whether that is good enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.audio_settings import TICKS, Gates
from vcpipe.recordings.clipping import Clipping
from vcpipe.recordings.spans import Span, pauses

FLOOR_DB = -200.0  # the level of digital silence, instead of minus infinity
SNR_LIMITS_DB = (-20.0, 100.0)
PAUSE_MIN = 10  # ticks of pauses from which the noise can be told
DIGITAL_SILENCE = 1e-15  # -150 dBFS: far below what 24 bits can hold, above what rounding leaves
QUIET_PERCENTILE = 5.0  # of all ticks, where there are no pauses


@dataclass(frozen=True)
class Quality:
    """Measured on the original, mixed down, at its own rate, before anything is done to it; all of it, or a piece.

    `peak_dbfs` is of the largest sample, `level_dbfs` the RMS over the duration without the constant part,
    `clipped_share` of the samples of the worst channel, before the mixdown, `snr_db` the power of speech over that of
    the pauses, `speech_share` of the duration.
    """

    peak_dbfs: float
    level_dbfs: float
    clipped_share: float
    snr_db: float
    speech_share: float


def measure(
    wave: Wave,
    rate: int,
    speech: list[tuple[float, float]],
    power: NDArray[np.float64],
    clipping: Clipping,
    span: Span | None = None,
) -> Quality:
    """The quality of a recording, or of a piece of it.

    Args:
        wave: `(N,)` float32, the whole recording at its own rate, N >= 1.
        rate: samples per second.
        speech: of the whole recording, start and stop in seconds.
        power: `(ticks,)` of the whole recording, from `tick_power`.
        clipping: has seen the whole recording.
        span: the piece, one tick at least; everything without it.
    """
    start_s, stop_s = (span.start / TICKS, span.stop / TICKS) if span else (0.0, len(wave) / rate)
    part = wave[span.start * rate // TICKS : span.stop * rate // TICKS] if span else wave
    ticks = slice(span.start, span.stop) if span else slice(None)
    mean = float(part.mean(dtype=np.float64))
    square = float(np.einsum("n,n->", part, part, dtype=np.float64)) / len(part)
    near = [(start, stop) for start, stop in speech if stop > start_s - 1 and start < stop_s + 1]
    spoken_s = sum(max(0.0, min(stop, stop_s) - max(start, start_s)) for start, stop in near)
    return Quality(
        peak_dbfs=_db(max(float(part.max()), -float(part.min())) ** 2),
        level_dbfs=_db(square - mean**2),
        clipped_share=clipping.share(span.start, span.stop) if span else clipping.share(),
        snr_db=snr_db(power, near, ticks),
        speech_share=min(1.0, spoken_s / (stop_s - start_s)),
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


def snr_db(power: NDArray[np.float64], speech: list[tuple[float, float]], ticks: slice = slice(None)) -> float:
    """The power of speech over the power of noise in dB, estimated from ticks and the speech found in them.

    Noise is the median power of the pauses, ticks of 20 ms further than 0.1 s from speech; where they are fewer than
    10, the power that 5 % of all ticks do not reach. Ticks of digital silence are left out of it. Speech is the mean
    power of the ticks with speech (of all ticks, where none was found) less that of the noise. The median, because
    speech that was not found would raise a mean.

    Args:
        power: `(ticks,)` from `tick_power`.
        speech: start and stop in seconds.
        ticks: the part that is judged, by its own speech and pauses; what lies beside it still tells a pause.

    Returns:
        A number from -20 to 100; 100 also where there is no noise at all.
    """
    spoken = np.zeros(len(power), bool)
    for start_s, stop_s in speech:
        spoken[round(start_s * TICKS) : round(stop_s * TICKS)] = True
    quiet = pauses(speech, len(power))[ticks]
    power, spoken = power[ticks], spoken[ticks]
    heard = power[spoken] if spoken.any() else power
    sounding = power > DIGITAL_SILENCE
    noise = power[quiet & sounding] if spoken.any() else power[:0]
    if len(noise) >= PAUSE_MIN:
        noise_power = float(np.median(noise))
    else:
        noise_power = float(np.percentile(power[sounding], QUIET_PERCENTILE)) if sounding.any() else 0.0
    if not noise_power > 0:
        return SNR_LIMITS_DB[1]
    clean = max(float(heard.mean()) - noise_power, 0.0)
    return float(np.clip(_db(clean / noise_power), *SNR_LIMITS_DB))


def _db(power: float) -> float:
    return float(10 * np.log10(power)) if power > 10 ** (FLOOR_DB / 10) else FLOOR_DB
