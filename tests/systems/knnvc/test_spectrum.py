"""Filters bring a recording to the long-term spectrum of a voice and to its spread, and change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, lfilter

from vcpipe.systems.knnvc.spectrum import BANDS, MOST_DB, Spectrum, bring_to, long_term

RATE = 16000


def noise(seconds: float, seed: int = 0, tilt: float = 0.0) -> np.ndarray:
    """Noise with pauses; `tilt` 0 is white, towards 1 it is darker."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    wave = lfilter([1], [1, -tilt], rng.normal(size=n)) * (np.sin(2 * np.pi * np.arange(n) / RATE) > -0.5)
    return (0.1 * wave / wave.std()).astype(np.float32)


def lively(seconds: float, seed: int, depth: float) -> np.ndarray:
    """Noise without pauses whose two halves of the spectrum go up and down by themselves, four times a second."""
    rng = np.random.default_rng(seed)
    n = round(seconds * RATE)
    levels = rng.normal(size=(2, round(4 * seconds) + 1)).clip(-1.5, 1.5) * depth
    low, high = (np.interp(np.arange(n) / RATE * 4, np.arange(levels.shape[1]), level) for level in levels)
    white = rng.normal(size=n)
    dark = lfilter(*butter(6, 0.3), white)
    return (0.05 * (dark * np.exp(low) + (white - dark) * np.exp(high))).astype(np.float32)


def test_a_recording_takes_on_the_spectrum_of_another_voice() -> None:
    bright, dark = noise(8, 1), noise(8, 2, tilt=0.7)
    target = long_term([dark], RATE)
    before = np.abs(long_term([bright], RATE).mean - target.mean).mean()
    after = np.abs(long_term([bring_to(bright, RATE, target)], RATE).mean - target.mean).mean()
    assert before > 0.5
    assert after < 0.1 * before


def test_and_on_its_spread_as_far_as_it_is_asked_to() -> None:
    calm, target = lively(8, 1, 0.5), long_term([lively(8, 2, 0.9)], RATE)
    spreads = [long_term([bring_to(calm, RATE, target, share)], RATE).spread.mean() for share in (0.0, 0.5, 1.0)]
    assert spreads[0] == pytest.approx(long_term([calm], RATE).spread.mean(), rel=0.02)
    way = (np.array(spreads) - spreads[0]) / (target.spread.mean() - spreads[0])
    assert target.spread.mean() > 1.2 * spreads[0]
    assert way == pytest.approx([0, 0.5, 1], abs=0.2)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_its_own_spectrum_leaves_a_recording_as_it_is(rate: int, spread: float) -> None:
    wave = noise(3, 3, tilt=0.5)
    same = bring_to(wave, rate, long_term([wave], rate), spread)
    assert same.shape == wave.shape and same.dtype == np.float32
    np.testing.assert_allclose(same, wave, atol=1e-5)


def test_level_and_pauses_do_not_count() -> None:
    wave = noise(4, 4, tilt=0.6)
    paused = np.concatenate([wave, np.zeros(4 * RATE, np.float32)])
    np.testing.assert_allclose(long_term([0.01 * wave], RATE), long_term([wave], RATE), atol=1e-3)
    np.testing.assert_allclose(long_term([paused], RATE).mean, long_term([wave], RATE).mean, atol=0.05)
    np.testing.assert_allclose(long_term([paused], RATE).spread, long_term([wave], RATE).spread, atol=0.1)  # its edge


def test_pauses_keep_their_depth() -> None:
    wave = lively(8, 5, 0.3)
    wave = np.concatenate([wave, 10 ** (-45 / 20) * lively(2, 6, 0.3)])
    target = long_term([np.concatenate([lively(8, 2, 0.9), 0.03 * lively(4, 3, 0.9)])], RATE)
    pause = slice(-RATE, None)
    for spread in (0.0, 1.0):
        after = bring_to(wave, RATE, target, spread)
        depth = [20 * np.log10(w[pause].std() / w[: 8 * RATE].std()) for w in (wave, after)]
        assert depth[1] == pytest.approx(depth[0], abs=2)


def test_the_level_stays_and_nothing_leaves_the_range() -> None:
    wave, target = lively(4, 1, 0.5), long_term([lively(8, 2, 0.9)], RATE)
    quiet = bring_to(0.05 * wave / np.abs(wave).max(), RATE, target, 1.0)
    assert quiet.std() == pytest.approx(0.05 * wave.std() / np.abs(wave).max(), rel=1e-3)
    assert np.abs(bring_to(wave / np.abs(wave).max(), RATE, target, 1.0)).max() <= 1.0 + 1e-6


def test_a_gain_has_a_limit() -> None:
    wave = noise(4, 5)
    far = Spectrum(np.repeat([20.0, -20.0], BANDS // 2), np.ones(BANDS))
    after = long_term([bring_to(wave, RATE, far)], RATE).mean
    most = MOST_DB * np.log(10) / 10
    assert after[: BANDS // 3].mean() - after[-BANDS // 3 :].mean() == pytest.approx(2 * most, rel=0.05)


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_a_long_recording_is_filtered_in_blocks_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch, spread: float
) -> None:
    wave, target = noise(6, 5, tilt=0.4), long_term([lively(4, 6, 0.9)], RATE)
    whole = bring_to(wave, RATE, target, spread)
    monkeypatch.setattr("vcpipe.systems.knnvc.spectrum.BLOCK", 50)
    np.testing.assert_allclose(long_term([wave], RATE), long_term([wave], RATE))
    np.testing.assert_allclose(bring_to(wave, RATE, target, spread), whole, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 100, 1024])
def test_what_is_short_or_silent_stays_finite(n: int) -> None:
    silent = np.zeros(n, np.float32)
    assert not np.any(long_term([silent], RATE))
    assert not bring_to(silent, RATE, long_term([noise(2)], RATE), 0.5).any()
    click = silent.copy()
    click[:1] = 0.5
    filtered = bring_to(click, RATE, long_term([noise(2)], RATE), 0.5)
    assert filtered.shape == click.shape and np.isfinite(filtered).all()
