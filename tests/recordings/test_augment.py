"""Every draw belongs to the seed and the utterance; lengths are kept; the numbers asked for come out."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from vcpipe.audio_settings import Augment
from vcpipe.errors import InputError
from vcpipe.recordings.augment import add_noise, augment, change_speed, change_voice

ALL = {
    "formant": [0.8, 1.25],
    "pitch": [-4, 4],
    "pitch_range": [0.8, 1.2],
    "snr_db": [10, 20],
    "gain_db": [-6, 0],
    "noise": "pink",
}
Wave = NDArray[np.float32]


def vowel(rate: int = 16000, hz: float = 120.0, seconds: float = 1.0) -> Wave:
    """`(N,)`: pulses at `hz` through two resonances, at 700 and 1800 Hz."""
    t = np.arange(round(seconds * rate)) / rate
    pulses = np.diff(np.floor(t * hz), prepend=0) > 0
    response = sum(np.exp(-60 * np.pi * t[:800]) * np.sin(2 * np.pi * f * t[:800]) for f in (700, 1800))
    wave = np.convolve(pulses, response)[: len(t)]
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def pitch_hz(wave: Wave, rate: int = 16000) -> float:
    middle = wave[len(wave) // 4 : len(wave) // 4 + rate // 4].astype(float)
    correlation = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    low, high = rate // 500, rate // 70
    return rate / (low + int(np.argmax(correlation[low:high])))


def centre_hz(wave: Wave, rate: int = 16000) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((power * np.fft.rfftfreq(len(wave), 1 / rate)).sum() / power.sum())


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_the_length_stays_and_the_same_draw_comes_again(rate: int) -> None:
    settings = Augment(seed=1, **ALL)
    wave = vowel(rate)
    first = augment(wave, rate, "p1/a", settings)
    augment(wave, rate, "p1/b", settings)
    again = augment(wave, rate, "p1/a", settings)
    assert first.shape == wave.shape and first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, augment(wave, rate, "p1/b", settings))
    assert not np.array_equal(first, augment(wave, rate, "p1/a", Augment(seed=2, **ALL)))


def test_another_process_draws_the_same() -> None:
    wave = np.concatenate([vowel(), np.random.default_rng(0).normal(0, 0.05, 16000).astype(np.float32)])
    expected = augment(wave, 16000, "p1/a", Augment(seed=1, **ALL))
    code = (
        "import sys, numpy as np\nfrom vcpipe.recordings.augment import augment\n"
        "from vcpipe.audio_settings import Augment\n"
        "wave = np.frombuffer(sys.stdin.buffer.read(), np.float32)\n"
        f"sys.stdout.buffer.write(augment(wave, 16000, 'p1/a', Augment(seed=1, **{ALL!r})).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=wave.tobytes(), capture_output=True, check=True)
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.float32), expected)


def test_one_draw_does_not_move_another() -> None:
    wave = vowel()
    alone = augment(wave, 16000, "a", Augment(gain_db=(-12, 0)))
    both = augment(wave, 16000, "a", Augment(gain_db=(-12, 0), snr_db=(60, 60)))
    assert np.abs(both).max() / np.abs(alone).max() == pytest.approx(1, abs=0.01)


def test_draws_cover_their_range() -> None:
    wave = np.ones(16, np.float32)
    gains = [20 * np.log10(augment(wave, 16000, f"u{i}", Augment(gain_db=(-12, 0)))[0]) for i in range(200)]
    assert -12 <= min(gains) < -11 and -1 < max(gains) <= 0
    assert np.mean(gains) == pytest.approx(-6, abs=1)


def test_pitch_and_formants_move_apart() -> None:
    wave = vowel()
    higher = change_voice(wave, 16000, pitch=2 ** (4 / 12))
    assert pitch_hz(wave) == pytest.approx(120, rel=0.02)
    assert pitch_hz(higher) == pytest.approx(120 * 2 ** (4 / 12), rel=0.03)
    assert centre_hz(higher) == pytest.approx(centre_hz(wave), rel=0.08)
    smaller = change_voice(wave, 16000, formant=1.2)
    assert pitch_hz(smaller) == pytest.approx(120, rel=0.03)
    assert centre_hz(smaller) == pytest.approx(1.2 * centre_hz(wave), rel=0.08)


def test_what_is_not_voiced_is_still_changed_or_left(recwarn: pytest.WarningsRecorder) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    np.testing.assert_array_equal(change_voice(noise, 16000, pitch=1.5), noise)
    assert change_voice(noise, 16000, formant=1.2).shape == noise.shape
    assert not change_voice(np.zeros(16000, np.float32), 16000, 1.2, 1.2).any()
    assert not recwarn.list
    with pytest.raises(InputError, match=r"0\.020 s is too short.*raise min_s"):
        change_voice(noise[:320], 16000, 1.2)


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1, 1.37])
def test_speed_changes_tempo_and_pitch_in_whole_ticks(rate: int, speed: float) -> None:
    wave = vowel(rate)
    got = change_speed(wave, rate, speed)
    assert len(got) == round(50 / speed) * rate // 50
    assert pitch_hz(got, rate) == pytest.approx(120 * len(wave) / len(got), rel=0.02)
    assert len(change_speed(wave[: rate // 50], rate, 2.0)) == rate // 50


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 20.0])
def test_noise_has_its_power_and_colour(colour: str, snr_db: float) -> None:
    wave = vowel(seconds=4.0)
    noise = add_noise(wave, snr_db, colour, np.random.default_rng(0)) - wave
    assert 10 * np.log10(np.mean(wave**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.01)
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / 16000)
    octaves = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (250, 500, 1000, 2000)]
    slope = np.polyfit(range(4), 10 * np.log10(octaves), 1)[0]
    assert slope == pytest.approx(0 if colour == "white" else -3.01, abs=0.4)
    silence = np.zeros(100, np.float32)
    np.testing.assert_array_equal(add_noise(silence, 0, colour, np.random.default_rng(0)), silence)
