"""Random variants of an utterance: voice, tempo, noise and gain, each decided by the seed and the utterance id."""

from __future__ import annotations

import hashlib
import warnings
from typing import cast

import numpy as np

from vcpipe.audio import Wave
from vcpipe.audio_settings import TICKS, Augment
from vcpipe.errors import InputError


def augment(wave: Wave, rate: int, utt_id: str, settings: Augment) -> Wave:
    """The variant of `(N,)` float32 that belongs to an utterance, whatever the order, process or machine.

    Voice first, then speed, noise and gain. N stays the same but for `speed`, which gives whole ticks again. Each
    draw has its own random stream, so that turning one on leaves the others as they are. Samples may go beyond 1.
    """
    formant, pitch, spread = (_ratio(r, settings, utt_id, what) for r, what in _voice_ranges(settings))
    if settings.changes_voice:
        limits_hz = (settings.pitch_floor_hz, settings.pitch_ceiling_hz)
        seed = int(_stream(settings, utt_id, "voice").integers(2**31))
        wave = change_voice(wave, rate, formant, pitch, spread, seed, limits_hz)
    if settings.speed is not None:
        wave = change_speed(wave, rate, _ratio(settings.speed, settings, utt_id, "speed"))
    if settings.snr_db is not None:
        snr_db = _stream(settings, utt_id, "snr_db").uniform(*settings.snr_db)
        wave = add_noise(wave, snr_db, settings.noise, _stream(settings, utt_id, "noise"))
    if settings.gain_db is not None:
        wave = wave * np.float32(10 ** (_stream(settings, utt_id, "gain_db").uniform(*settings.gain_db) / 20))
    return np.asarray(wave, np.float32)


def change_voice(
    wave: Wave,
    rate: int,
    formant: float = 1.0,
    pitch: float = 1.0,
    spread: float = 1.0,
    seed: int = 0,
    limits_hz: tuple[float, float] = (75.0, 600.0),
) -> Wave:
    """Praat's "Change gender" on `(N,)` float32 of at least three periods of the lowest pitch; N stays the same.

    Praat shuffles what is unvoiced by random numbers, which it seeds from the clock: here they get a seed.

    Args:
        wave: at `rate`.
        rate: samples per second.
        formant: factor on all formants.
        pitch: factor on the median pitch; speech without a voiced frame keeps what it has.
        spread: factor on the distance of the pitch from its median.
        seed: of Praat's random numbers.
        limits_hz: lowest and highest pitch that is looked for.
    """
    floor_hz, ceiling_hz = limits_hz
    if len(wave) < 3 * rate / floor_hz:
        raise InputError(
            f"an utterance of {len(wave) / rate:.3f} s is too short to change its voice; expected three periods of "
            f"pitch_floor_hz ({floor_hz:g}), {3 / floor_hz:.3f} s: raise min_s"
        )
    import parselmouth
    from parselmouth.praat import call, run

    sound = parselmouth.Sound(wave.astype(np.float64), rate)
    found = sound.to_pitch(0.8 / floor_hz, floor_hz, ceiling_hz)  # the step that Praat's own command takes
    median_hz = float(call(found, "Get quantile", 0, 0, 0.5, "Hertz"))
    if not np.isfinite(median_hz):  # nothing is voiced: Praat would warn, and there is no pitch to change
        pitch = spread = 1.0
        if formant == 1:
            return wave
    new_hz = median_hz * pitch if pitch != 1 else 0.0
    with warnings.catch_warnings():
        run(f"random_initializeWithSeedUnsafelyButPredictably ({seed})")
        warnings.simplefilter("ignore", parselmouth.PraatWarning)  # that nothing is voiced, which is known here
        changed = call([sound, found], "Change gender", formant, new_hz, spread, 1.0).values[0]
    return _of_length(changed.astype(np.float32), len(wave))


def change_speed(wave: Wave, rate: int, speed: float) -> Wave:
    """`(N,)` float32 played `speed` times as fast, tempo and pitch together, in whole ticks (one at least)."""
    import soxr

    ticks = max(1, round(len(wave) * TICKS / rate / speed))
    n = ticks * rate // TICKS
    return wave if n == len(wave) else _of_length(soxr.resample(wave, len(wave), n), n)


def add_noise(wave: Wave, snr_db: float, colour: str, stream: np.random.Generator) -> Wave:
    """`(N,)` float32 with white or pink (1/f) noise, `snr_db` below the power of the wave; silence stays silent."""
    noise = stream.standard_normal(len(wave), np.float32)
    if colour == "pink":
        noise = _pink(noise)
    power = [float(np.einsum("n,n->", x, x, dtype=np.float64)) for x in (wave, noise)]
    return wave if not power[1] else wave + noise * np.float32((power[0] / power[1]) ** 0.5 * 10 ** (-snr_db / 20))


def _pink(white: Wave) -> Wave:
    """White noise with its power divided by the frequency; nothing at 0 Hz."""
    from scipy import fft

    size = fft.next_fast_len(len(white), real=True)
    spectrum = fft.rfft(white, size)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum), dtype=np.float32))
    spectrum[0] = 0
    return np.asarray(fft.irfft(spectrum, size)[: len(white)], np.float32)


def _voice_ranges(settings: Augment) -> list[tuple[tuple[float, float] | None, str]]:
    """The ranges of the three factors of `change_voice`; semitones as factors."""
    pitch = settings.pitch and cast("tuple[float, float]", tuple(2 ** (s / 12) for s in settings.pitch))
    return [(settings.formant, "formant"), (pitch, "pitch"), (settings.pitch_range, "pitch_range")]


def _ratio(limits: tuple[float, float] | None, settings: Augment, utt_id: str, what: str) -> float:
    """A factor, drawn evenly on a logarithmic scale; 1 without a range."""
    if limits is None:
        return 1.0
    return float(np.exp(_stream(settings, utt_id, what).uniform(*np.log(limits))))


def _stream(settings: Augment, utt_id: str, what: str) -> np.random.Generator:
    key = f"{settings.seed}\0{utt_id}\0{what}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big"))


def _of_length(wave: Wave, n: int) -> Wave:
    """Cut, or filled with zeros: a resampler and Praat may be a sample off."""
    return wave[:n] if len(wave) >= n else np.pad(wave, (0, n - len(wave)))
