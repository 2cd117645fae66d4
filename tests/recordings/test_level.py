"""Every kind of level is reached, silence and short sounds are left alone."""

import numpy as np
import pyloudnorm
import pytest

from tests.conftest import RATE, tone
from vcpipe import audio
from vcpipe.audio_settings import Loudness
from vcpipe.recordings.level import level, to_level


@pytest.mark.parametrize("peak", [0.6, 0.95])
def test_the_peak_is_that_of_the_preset(peak: float) -> None:
    for wave in (tone(1.0), 0.01 * tone(1.0), -tone(1.0)):
        assert np.abs(to_level(wave, RATE, Loudness(kind="peak", level=peak))).max() == pytest.approx(peak, rel=1e-6)


def test_rms_is_mean_power_and_only_raised_when_asked() -> None:
    raise_only = Loudness(kind="rms", level=-30, raise_only=True)
    sine = np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)
    assert level(sine, RATE, "rms") == pytest.approx(-3.0103, abs=1e-3)
    quiet = 0.001 * tone(1.0)
    assert level(to_level(quiet, RATE, raise_only), RATE, "rms") == pytest.approx(-30, abs=1e-3)
    np.testing.assert_array_equal(to_level(tone(1.0), RATE, raise_only), tone(1.0))
    lowered = to_level(tone(1.0), RATE, Loudness(kind="rms", level=-30))
    assert level(lowered, RATE, "rms") == pytest.approx(-30, abs=1e-3)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
@pytest.mark.parametrize("lufs", [-16.0, -23.0])
def test_loudness_is_that_of_another_meter(rate: int, lufs: float) -> None:
    wave = 0.05 * np.random.default_rng(0).normal(size=3 * rate).astype(np.float32)
    got = to_level(wave, rate, Loudness(kind="bs1770", level=lufs, ceiling_dbtp=0))
    assert pyloudnorm.Meter(rate).integrated_loudness(got.astype(float)) == pytest.approx(lufs, abs=0.05)


def test_loudness_agrees_with_that_of_conversions() -> None:
    wave = 0.05 * tone(3.0)
    got = to_level(wave, RATE, Loudness(kind="bs1770", level=-16))
    np.testing.assert_allclose(got, audio.to_loudness(wave, RATE, -16.0), atol=1e-6)


@pytest.mark.parametrize("kind", ["rms", "bs1770"])
def test_no_gain_goes_beyond_the_true_peak(kind: str) -> None:
    clicks = np.zeros(3 * RATE, np.float32)
    clicks[:: RATE // 4] = 0.5
    got = to_level(clicks, RATE, Loudness(kind=kind, level=-10, ceiling_dbtp=-3))
    assert audio.true_peak(got, RATE) == pytest.approx(10 ** (-3 / 20), rel=1e-3)
    loud = to_level(4 * clicks, RATE, Loudness(kind=kind, level=-10, raise_only=True))
    np.testing.assert_array_equal(loud, 4 * clicks)  # above the ceiling already, and not lowered


@pytest.mark.parametrize("kind", ["peak", "rms", "bs1770"])
def test_silence_stays_silence(kind: str) -> None:
    settings = Loudness(kind=kind, level=0.5 if kind == "peak" else -20)
    for wave in (np.zeros(RATE, np.float32), np.zeros(1, np.float32)):
        np.testing.assert_array_equal(to_level(wave, RATE, settings), wave)
    short = tone(0.3)
    np.testing.assert_array_equal(to_level(short, RATE, Loudness(kind="bs1770", level=-20)), short)
