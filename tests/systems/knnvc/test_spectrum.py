"""One filter brings a recording to the long-term spectrum of a voice, and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from vcpipe.systems.knnvc.spectrum import BANDS, BLOCK_S, bring_to, long_term

RATE = 16000


def noise(seconds: float, seed: int = 0, tilt: float = 0.0) -> np.ndarray:
    """Noise with pauses; `tilt` 0 is white, towards 1 it is darker."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    wave = lfilter([1], [1, -tilt], rng.normal(size=n)) * (np.sin(2 * np.pi * np.arange(n) / RATE) > -0.5)
    return (0.1 * wave / wave.std()).astype(np.float32)


def test_a_recording_takes_on_the_spectrum_of_another_voice() -> None:
    bright, dark = noise(8, 1), noise(8, 2, tilt=0.7)
    target = long_term([dark], RATE)
    before = np.abs(long_term([bright], RATE) - target).mean()
    after = np.abs(long_term([bring_to(bright, RATE, target)], RATE) - target).mean()
    assert before > 0.5
    assert after < 0.1 * before


def test_its_own_spectrum_leaves_a_recording_as_it_is() -> None:
    wave = noise(3, 3, tilt=0.5)
    same = bring_to(wave, RATE, long_term([wave], RATE))
    assert same.shape == wave.shape and same.dtype == np.float32
    np.testing.assert_allclose(same, wave, atol=1e-5)


def test_level_and_pauses_do_not_count() -> None:
    wave = noise(4, 4, tilt=0.6)
    paused = np.concatenate([wave, np.zeros(4 * RATE, np.float32)])
    np.testing.assert_allclose(long_term([0.01 * wave], RATE), long_term([wave], RATE), atol=1e-3)
    np.testing.assert_allclose(long_term([paused], RATE), long_term([wave], RATE), atol=0.05)


def test_a_long_recording_is_looked_at_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = noise(6, 5, tilt=0.4)
    whole = long_term([wave], RATE)
    monkeypatch.setattr("vcpipe.systems.knnvc.spectrum.BLOCK_S", 2)
    assert BLOCK_S > 6
    np.testing.assert_allclose(long_term([wave], RATE), whole, atol=0.05)


@pytest.mark.parametrize("n", [0, 1, 100, 1024])
def test_what_is_short_or_silent_stays_finite(n: int) -> None:
    silent = np.zeros(n, np.float32)
    assert long_term([silent], RATE).tolist() == [0.0] * BANDS
    if n:
        assert not bring_to(silent, RATE, np.ones(BANDS)).any()
