import numpy as np
import pytest
import pyworld

from vcpipe.errors import InputError
from vcpipe.features import world
from vcpipe.features.world_envelope import Settings, decode, load
from vcpipe.grid import Grid
from vcpipe.settings import check

RATE = 16000


def buzz(n, hz=150.0):
    t = np.arange(n) / RATE
    return (0.05 * sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 40))).astype(np.float32)


def test_the_envelope_is_cheaptricks_at_the_centres_of_cells():
    wave = buzz(16000)
    f0, times = world.f0_at_cells(wave, Grid(RATE, 80), 50, 1100)
    expected = pyworld.cheaptrick(wave.astype(np.float64), f0, (np.arange(200) + 0.5) * 0.005, RATE, fft_size=1024)
    found = load(Settings(dims=None))(wave)
    assert found.shape == (200, 513)
    np.testing.assert_allclose(found, np.log(expected), atol=1e-3)
    assert times[3] == pytest.approx(3.5 * 0.005)


def test_coefficients_keep_the_shape():
    wave = buzz(16000)
    full = load(Settings(dims=None))(wave)
    for dims, bound in ((60, 1.5), (24, 3.0)):
        settings = Settings(dims=dims)
        coded = load(settings)(wave)
        assert coded.shape == (200, dims)
        difference = 10 / np.log(10) * (np.log(decode(settings, coded)) - full)[:, 10:320]
        assert np.sqrt((difference**2).mean()) < bound
    assert np.allclose(decode(Settings(dims=None), full), np.exp(full.astype(np.float64)))


@pytest.mark.parametrize("dims", [60, None])
@pytest.mark.parametrize("n", [80, 81, 399, 3200])
def test_short_and_silent_recordings(dims, n):
    extractor = load(Settings(dims=dims))
    silent = extractor(np.zeros(n, np.float32))
    assert silent.shape == extractor(buzz(n)).shape == (n // 80, extractor.settings.dim)
    assert np.isfinite(silent).all() and np.array_equal(silent, extractor(np.zeros(n, np.float32)))


def test_long_recordings_are_analysed_in_windows(monkeypatch):
    wave = buzz(4 * RATE)
    whole = load(Settings())(wave)
    monkeypatch.setattr(world, "WINDOW_S", 3)
    monkeypatch.setattr(world, "MARGIN_S", 1)
    extractor = load(Settings())
    assert extractor.window == 3 * RATE
    blocks = list(extractor.stream(wave))
    assert len(blocks) == 2
    assert np.abs(np.concatenate(blocks) - whole).max() < 0.02


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"dims": 600}, "600 dims of 513 frequencies"),
        ({"dims": 1}, "features.w.dims"),
        ({"coefficients": 24}, "features.w.coefficients' is unknown"),
    ],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "world_envelope", **values}, "features.w")


def test_grid_and_columns():
    assert (str(Settings().grid), Settings().dim, Settings(dims=None, rate=24000).dim) == ("16000/80", 60, 1025)
    assert not Settings().torch
