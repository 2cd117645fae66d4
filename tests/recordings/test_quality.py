"""The numbers say what was done to the signal."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from vcpipe.audio_settings import Gates, SpeechFinder
from vcpipe.recordings.clipping import Clipping
from vcpipe.recordings.quality import FLOOR_DB, Quality, gate, measure, snr_db
from vcpipe.recordings.spans import Span, speech_spans, tick_power

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


def measured(wave: Wave, rate: int, spoken: list[tuple[float, float]], span: Span | None = None) -> Quality:
    clipping = Clipping()
    clipping(wave[:, None], rate)
    return measure(wave, rate, spoken, tick_power(wave, rate), clipping, span)


@pytest.mark.parametrize(
    "wave", [np.zeros(16000), np.zeros(1), np.full(16000, 0.5), np.full(1, -1.0), np.eye(1, 160)[0]]
)
def test_every_number_is_finite(wave: NDArray[np.float64]) -> None:
    quality = measured(wave.astype(np.float32), 16000, [])
    assert all(np.isfinite(vars(quality)[name]) for name in vars(quality))
    assert quality.clipped_share == 0 and quality.speech_share == 0


def test_levels_are_those_of_a_sine() -> None:
    sine = (0.5 * np.sin(2 * np.pi * 100 * np.arange(48000) / 48000) + 0.25).astype(np.float32)
    quality = measured(sine, 48000, [(0.0, 0.25)])
    assert quality.peak_dbfs == pytest.approx(20 * np.log10(0.75), abs=0.01)
    assert quality.level_dbfs == pytest.approx(20 * np.log10(0.5) - 3.01, abs=0.01)  # without the constant part
    assert quality.speech_share == 0.25
    assert measured(np.zeros(10, np.float32), 48000, []).peak_dbfs == FLOOR_DB


def test_a_piece_has_its_own_numbers() -> None:
    spoken = [(0.6, 2.0), (3.0, 4.4)]
    wave = np.zeros(5 * 16000, np.float32)
    draw = np.random.default_rng(0)
    for (start, stop), sigma in zip(spoken, (0.1, 0.01), strict=True):
        wave[round(start * 16000) : round(stop * 16000)] = draw.normal(0, sigma, round(1.4 * 16000))
    wave[: 5 * 8000] = np.clip(wave[: 5 * 8000], -0.15, 0.15)
    wave += draw.normal(0, 1e-3, len(wave)).astype(np.float32) * (wave == 0)
    loud, soft = (measured(wave, 16000, spoken, span) for span in (Span(0, 125), Span(125, 250)))
    whole = measured(wave, 16000, spoken)
    assert loud.level_dbfs - soft.level_dbfs == pytest.approx(19, abs=1)
    assert loud.peak_dbfs == whole.peak_dbfs > soft.peak_dbfs + 8
    assert (loud.clipped_share > 0, soft.clipped_share) == (True, 0)
    assert loud.clipped_share + soft.clipped_share == pytest.approx(2 * whole.clipped_share, rel=1e-6)
    assert loud.snr_db == pytest.approx(39, abs=1.5) and soft.snr_db == pytest.approx(20, abs=1)
    for quality in (loud, soft, whole):
        assert quality.speech_share == pytest.approx(0.56)
    within = measured(wave, 16000, spoken, Span(35, 95))  # nothing but speech: its quietest frames
    assert within.speech_share == 1 and within.snr_db < 3


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
