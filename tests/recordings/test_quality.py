"""The numbers say what was done to the signal."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from vcpipe.audio_settings import Gates, SpeechFinder
from vcpipe.recordings.quality import FLOOR_DB, Quality, clipped_share, gate, measure, snr_db
from vcpipe.recordings.spans import speech_spans, tick_power

Wave = NDArray[np.float32]
SNRS = (5, 10, 15, 20, 25, 30)


def syllables(seconds: float = 8.0, rate: int = 16000) -> tuple[Wave, list[tuple[float, float]]]:
    """A speech-like signal: coloured noise in syllables of changing level, with pauses; and its phrases in seconds."""
    draw = np.random.default_rng(1)
    n = round(seconds * rate)
    wave = np.convolve(draw.normal(size=n), 0.8 ** np.arange(30), "same")
    t = np.arange(n) / rate
    wave *= np.sin(np.pi * 4 * t) ** 2 * (0.3 + 0.7 * np.abs(np.sin(1.3 * t))) * (t % 2 < 1.4)
    return (0.1 * wave / wave.std()).astype(np.float32), [(2.0 * i, 2.0 * i + 1.4) for i in range(int(seconds // 2))]


def with_noise(wave: Wave, spoken: list[tuple[float, float]], snr: float, rate: int = 16000) -> Wave:
    power = np.mean(np.concatenate([wave[round(a * rate) : round(b * rate)] for a, b in spoken]).astype(float) ** 2)
    noise = np.random.default_rng(int(snr)).normal(0, np.sqrt(power * 10 ** (-snr / 10)), len(wave))
    return wave + noise.astype(np.float32)


@pytest.mark.parametrize("snr", SNRS)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_snr_of_a_speech_like_signal_is_found(snr: float, rate: int) -> None:
    wave, spoken = syllables(rate=rate)
    noisy = with_noise(wave, spoken, snr, rate)
    assert snr_db(tick_power(noisy, rate), spoken) == pytest.approx(snr, abs=0.5)
    assert snr_db(tick_power(noisy, rate), []) < snr + 2  # nothing found: no better than it is


@pytest.mark.parametrize("snr", SNRS)
def test_the_snr_of_speech_is_found(real_data: Path, snr: float) -> None:
    paths = sorted(real_data.glob("corpora/LibriSpeech/train-clean-100/*/*/*.flac"))[::3]
    off = []
    for path in paths:
        wave = soundfile.read(path, dtype="float32", stop=16000 * 12)[0]
        spoken = speech_spans(wave, SpeechFinder())
        if snr_db(tick_power(wave, 16000), spoken) < 40:
            continue  # its own noise would be measured, not ours
        noisy = with_noise(wave, spoken, snr)
        off.append(snr_db(tick_power(noisy, 16000), speech_spans(noisy, SpeechFinder())) - snr)
        if len(off) == 4:
            break
    assert len(off) == 4
    assert np.abs(off).max() < 2.0


def test_speech_without_a_pause_is_judged_by_its_quietest_frames() -> None:
    wave, _ = syllables()
    noisy = with_noise(wave, [(0.0, 8.0)], 15)
    assert snr_db(tick_power(noisy, 16000), [(0.0, 8.0)]) == pytest.approx(15, abs=2)


def test_a_signal_without_noise_and_noise_without_a_signal() -> None:
    wave, spoken = syllables()
    assert snr_db(tick_power(wave, 16000), spoken) > 30
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert snr_db(tick_power(noise, 16000), []) < 3
    assert snr_db(np.zeros(50), []) == 100
    assert snr_db(np.zeros(0), []) == 100


@pytest.mark.parametrize("level", [1.0, 0.31])
@pytest.mark.parametrize("steps", [0, 2**15])
def test_clipping_is_found_at_any_level(level: float, steps: int) -> None:
    wave, _ = syllables()
    clipped = level * np.clip(wave / np.abs(wave).max() * 3, -1, 1)
    clipped = (np.round(clipped * steps) / steps if steps else clipped).astype(np.float32)
    true_share = np.mean(np.abs(wave) * 3 >= np.abs(wave).max())
    assert 0.3 * true_share < clipped_share(clipped) <= 1.05 * true_share  # runs of one or two are not counted
    rounded = (np.round(0.9 * wave / np.abs(wave).max() * 2**15) / 2**15).astype(np.float32)
    assert clipped_share(rounded) == 0
    one_sided = np.minimum(clipped, 0.5 * level).astype(np.float32)
    assert clipped_share(one_sided) > clipped_share(clipped)


@pytest.mark.parametrize("hz", [30, 50, 100, 440])
@pytest.mark.parametrize("peak", [0.9, 0.01])
def test_the_round_top_of_a_low_tone_is_no_plateau(hz: float, peak: float) -> None:
    sine = peak * np.sin(2 * np.pi * hz * np.arange(48000) / 48000)
    assert clipped_share((np.round(sine * 2**15) / 2**15).astype(np.float32)) == 0
    if peak * hz > 4:  # steeper than four 16-bit steps a sample where it is cut
        assert clipped_share(np.clip(sine, -0.7 * peak, peak).astype(np.float32)) > 0.15


@pytest.mark.parametrize(
    "wave", [np.zeros(16000), np.zeros(1), np.full(16000, 0.5), np.full(1, -1.0), np.eye(1, 160)[0]]
)
def test_every_number_is_finite(wave: NDArray[np.float64]) -> None:
    quality = measure(wave.astype(np.float32), 16000, [])
    assert all(np.isfinite(vars(quality)[name]) for name in vars(quality))
    assert quality.clipped_share == 0 and quality.speech_share == 0


def test_levels_are_those_of_a_sine() -> None:
    sine = (0.5 * np.sin(2 * np.pi * 100 * np.arange(48000) / 48000) + 0.25).astype(np.float32)
    quality = measure(sine, 48000, [(0.0, 0.25)])
    assert quality.peak_dbfs == pytest.approx(20 * np.log10(0.75), abs=0.01)
    assert quality.level_dbfs == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)  # without the constant part
    assert quality.speech_share == 0.25
    assert measure(np.zeros(10, np.float32), 48000, []).peak_dbfs == FLOOR_DB


@pytest.mark.parametrize(
    ("gates", "reason", "number", "limit"),
    [
        (Gates(min_snr_db=20), "noisy", "12.3 dB", "min_snr_db is 20"),
        (Gates(max_clipped_share=0.001), "clipped", "0.2000%", "max_clipped_share is 0.1000%"),
        (Gates(min_speech_share=0.5), "little_speech", "40.0%", "min_speech_share is 50.0%"),
    ],
)
def test_a_gate_closes_with_the_number_and_the_limit(gates: Gates, reason: str, number: str, limit: str) -> None:
    quality = Quality(peak_dbfs=-1, level_dbfs=-20, clipped_share=0.002, snr_db=12.3, speech_share=0.4)
    found = gate(quality, gates)
    assert found is not None and found[0] == reason
    assert number in found[1] and limit in found[1]
    assert gate(quality, Gates()) is None
    assert gate(quality, Gates(min_snr_db=12.3, max_clipped_share=0.002, min_speech_share=0.4)) is None
