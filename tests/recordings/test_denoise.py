"""Noise goes, the signal and its length stay."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vcpipe.audio_settings import Denoise
from vcpipe.recordings.denoise import denoise, logmmse

Wave = NDArray[np.float32]
METHODS = ["spectral", "logmmse"]


def bursts(rate: int, seconds: float = 4.0) -> tuple[Wave, NDArray[np.bool_]]:
    """Syllables of 0.25 s with harmonics in the second half of every second, and where they sound."""
    t = np.arange(round(seconds * rate)) / rate
    on = t % 1 >= 0.5
    hz = 150 + 40 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(hz) / rate
    return (on * np.sin(np.pi * 4 * t) ** 2 * sum(np.sin(h * phase) / h for h in range(1, 8)) * 0.3).astype(
        np.float32
    ), on


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_white_noise_falls_and_the_signal_comes_nearer(method: str, rate: int) -> None:
    clean, on = bursts(rate)
    noise = np.random.default_rng(0).normal(0, 0.02, len(clean)).astype(np.float32)
    noisy = clean + noise
    got = denoise(noisy, rate, noisy[~on], Denoise(method=method))
    assert got.shape == noisy.shape and got.dtype == np.float32
    inside = np.convolve(on, np.ones(rate // 5), "same") < 0.5  # far from the tone
    assert 20 * np.log10(got[inside].std() / noise[inside].std()) < -8
    assert np.mean((got - clean)[on] ** 2) < np.mean(noise[on] ** 2)
    half = denoise(noisy, rate, noisy[~on], Denoise(method=method, strength=0.5))
    np.testing.assert_allclose(half, (got + noisy) / 2, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 160, 321, 16000])
def test_silence_stays_silent_and_finite_at_every_length(method: str, n: int) -> None:
    silence = np.zeros(n, np.float32)
    np.testing.assert_array_equal(denoise(silence, 16000, silence, Denoise(method=method)), silence)
    noisy = np.random.default_rng(0).normal(0, 0.1, n).astype(np.float32)
    got = denoise(noisy, 16000, noisy[: n // 2], Denoise(method=method))
    assert got.shape == (n,) and np.isfinite(got).all()


@pytest.mark.parametrize("method", METHODS)
def test_digital_silence_does_no_harm(method: str) -> None:
    clean, on = bursts(16000)
    got = denoise(clean, 16000, clean[~on], Denoise(method=method))  # the pauses are all zero
    np.testing.assert_array_equal(got, clean)
    noisy = clean + np.random.default_rng(0).normal(0, 0.01, len(clean)).astype(np.float32)
    noisy[: 3 * 16000 // 2] = 0
    got = denoise(noisy, 16000, noisy[~on], Denoise(method=method))
    assert np.isfinite(got).all() and not got[:16000].any()


def test_without_pauses_there_is_nothing_to_learn_from() -> None:
    clean, _ = bursts(16000)
    for noise in (clean[:320], clean[:0]):
        np.testing.assert_array_equal(denoise(clean, 16000, noise, Denoise(method="logmmse")), clean)


def test_blocks_of_frames_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, on = bursts(16000)
    noisy = clean + np.random.default_rng(0).normal(0, 0.02, len(clean)).astype(np.float32)
    whole = logmmse(noisy, 16000, noisy[~on])
    monkeypatch.setattr("vcpipe.recordings.denoise.BLOCK", 17)
    np.testing.assert_allclose(logmmse(noisy, 16000, noisy[~on]), whole, atol=1e-7)


def test_what_is_far_above_the_noise_passes_unchanged() -> None:
    clean, on = bursts(16000)
    noise = np.random.default_rng(0).normal(0, 1e-5, len(clean)).astype(np.float32)
    got = logmmse(clean + noise, 16000, (clean + noise)[~on])
    np.testing.assert_allclose(got[on], clean[on], atol=0.02 * np.abs(clean).max())
