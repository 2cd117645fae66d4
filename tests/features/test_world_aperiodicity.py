import numpy as np
import pytest
import pyworld

from vcpipe.errors import InputError
from vcpipe.features.world_aperiodicity import Settings, decode, load
from vcpipe.settings import check

RATE = 16000


def buzz(n, hz=150.0):
    t = np.arange(n) / RATE
    return (0.05 * sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 50))).astype(np.float32)


def hiss(n):
    return (0.1 * np.random.default_rng(0).standard_normal(n)).astype(np.float32)


def test_noise_is_noise_and_a_buzz_is_not():
    extractor = load(Settings())
    assert np.median(extractor(hiss(16000))) > -1
    assert np.median(extractor(buzz(16000))) < -15
    full = load(Settings(coding="full"))(buzz(16000))
    assert full.shape == (200, 513) and full.min() >= 0 and full.max() <= 1


def test_bands_are_decoded_to_what_they_are_of():
    wave, settings = buzz(16000), Settings()
    full = load(Settings(coding="full"))(wave).astype(np.float64)
    found = decode(settings, load(settings)(wave))
    expected = pyworld.decode_aperiodicity(pyworld.code_aperiodicity(full, RATE), RATE, 1024)
    assert found.shape == full.shape
    np.testing.assert_allclose(found, expected, atol=1e-3)
    at_3_khz = 3000 * 1024 // RATE
    np.testing.assert_allclose(found[20:-20, at_3_khz], full[20:-20, at_3_khz], rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("rate", [12000, 16000, 22050, 24000, 32000, 44100, 48000])
def test_bands_are_as_many_as_worlds(rate):
    assert Settings(rate=rate).dim == pyworld.get_num_aperiodicities(rate)


@pytest.mark.parametrize("coding", ["bands", "full"])
@pytest.mark.parametrize("n", [80, 399, 3200])
def test_short_and_silent_recordings(coding, n):
    extractor = load(Settings(coding=coding))
    silent = extractor(np.zeros(n, np.float32))
    assert silent.shape == extractor(hiss(n)).shape == (n // 80, extractor.settings.dim)
    assert np.isfinite(silent).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": 8000}, "no band below 12000 samples/s, found rate 8000; set coding: full"),
        ({"threshold": 2}, "features.w.threshold"),
    ],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "world_aperiodicity", **values}, "features.w")
