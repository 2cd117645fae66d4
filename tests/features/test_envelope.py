import math

import numpy as np
import pytest
import pyworld

from tests.features.test_world_envelope import buzz
from vcpipe.errors import InputError
from vcpipe.features import world
from vcpipe.features.envelope import FLOOR, Settings, load
from vcpipe.grid import Grid
from vcpipe.nn.mel import mel_edges
from vcpipe.settings import check

RATE = 16000


def test_parts_stand_one_after_the_other_at_equal_distances():
    """Part p of frame i is what one part a frame has on a grid four times as fine."""
    wave = buzz(16000)
    frames = load(Settings())(wave)
    assert frames.shape == (50, 256) and frames.dtype == np.float32
    fine = load(Settings(hop=80, parts=1))(wave)
    np.testing.assert_allclose(frames.reshape(200, 64), fine, atol=1e-5)


def test_a_band_is_the_mean_power_under_its_triangle():
    wave = buzz(16000) + 0.01 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    f0, times = world.f0_at_cells(wave, Grid(RATE, 80), 50, 1100, "dio")
    power = pyworld.cheaptrick(wave.astype(np.float64), f0, times, RATE, fft_size=1024)[21]
    edges, hz = mel_edges(64, 0, 8000).numpy(), np.arange(513) * RATE / 1024
    found = load(Settings())(wave)[5, 64:128]
    for band in (0, 20, 63):
        triangle = np.interp(hz, edges[band : band + 3], [0, 1, 0], left=0, right=0)
        assert found[band] == pytest.approx(np.log(triangle @ power / triangle.sum()), abs=1e-3)


def test_the_pitch_is_not_in_it():
    """Pulses of 100 and of 150 Hz under one filter have one envelope, though they share but few harmonics."""
    bands = []
    for hz in (100.0, 150.0):
        pulses = np.zeros(RATE, np.float32)
        pulses[:: round(RATE / hz)] = math.sqrt(RATE / hz)  # power 1
        filtered = np.convolve(pulses, np.exp(-np.arange(200) / 20) * np.cos(np.arange(200) * 0.4))[:RATE]
        bands.append(load(Settings())(0.1 * filtered.astype(np.float32))[10:40].mean(0).reshape(4, 64).mean(0))
    assert np.abs(bands[0] - bands[1])[2:].mean() < 0.15


@pytest.mark.parametrize("n", [320, 321, 399, 640, 3200])
@pytest.mark.parametrize("method", ["dio", "harvest"])
def test_short_and_silent_recordings(n, method):
    extractor = load(Settings(method=method))
    silent = extractor(np.zeros(n, np.float32))
    assert silent.shape == extractor(buzz(n)).shape == (n // 320, 256)
    assert np.allclose(silent, math.log(FLOOR))
    assert np.array_equal(silent.astype(np.float16), silent.astype(np.float16).clip(-24, 24))


def test_long_recordings_are_analysed_in_windows(monkeypatch):
    wave = buzz(4 * RATE)
    whole = load(Settings())(wave)
    monkeypatch.setattr(world, "WINDOW_S", 3)
    monkeypatch.setattr(world, "MARGIN_S", 1)
    blocks = list(load(Settings()).stream(wave))
    assert len(blocks) == 2
    assert np.abs(np.concatenate(blocks) - whole).max() < 0.05


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"parts": 3}, "3 parts do not divide a hop of 320 samples"),
        ({"bands": 1}, "features.e.bands"),
        ({"floor_hz": 300, "ceil_hz": 200}, "floor_hz 300 and ceil_hz 200"),
        ({"band": 24}, "features.e.band' is unknown"),
    ],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "envelope", **values}, "features.e")


def test_bands_without_a_frequency_are_refused():
    with pytest.raises(InputError, match="of 400 holds none of the 513 frequencies; ask for fewer bands"):
        load(Settings(bands=400))


def test_grid_and_columns():
    assert (str(Settings().grid), Settings().dim, Settings(parts=2, bands=80).dim) == ("16000/320", 256, 160)
    assert (str(Settings().fine), Settings().dtype) == ("16000/80", "float16")
