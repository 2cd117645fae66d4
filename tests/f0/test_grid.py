import numpy as np
import pytest

from vcpipe.f0.grid import on_grid
from vcpipe.f0.track import Track, tidy
from vcpipe.grid import Grid

GRID = Grid(16000, 160)


def make(times, f0):
    return tidy(times, f0, np.asarray(f0) > 0, 1, 10000)


def test_a_frame_is_the_estimate_at_the_centre_of_its_cell():
    times = np.arange(0, 1, 0.016)
    found = on_grid(make(times, 100 * 2**times), GRID, 16000 - 1)
    assert found.shape == (99, 2) and found.dtype == np.float32
    centre = (np.arange(99) + 0.5) * 0.01
    assert np.abs(found[:, 0] - 100 * 2**centre).max() < 1e-3  # a line in log-f0 is interpolated without error
    assert (found[:, 1] == 1).all()


def test_nothing_is_interpolated_across_an_edge():
    times = np.arange(100) * 0.004
    f0 = np.where((times > 0.1) & (times < 0.2), 200.0, 0.0)
    found = on_grid(make(times, f0), GRID, 6400)
    assert set(found[:, 0]) == {0.0, 200.0}
    assert ((found[:, 0] > 0) == (found[:, 1] > 0)).all()
    centre = (np.arange(40) + 0.5) * 0.01
    assert (found[:, 1] > 0).tolist() == [bool(f0[np.abs(times - c).argmin()] > 0) for c in centre]


def test_estimates_at_the_centres_stay_as_they_are():
    f0 = np.random.default_rng(0).uniform(80, 300, 100) * (np.arange(100) % 7 > 1)
    found = on_grid(make((np.arange(100) + 0.5) * 0.01, f0), GRID, 16000)
    assert np.abs(found[:, 0] - f0).max() < 1e-4


def test_one_wrong_estimate_does_not_bend_the_other_side_of_an_edge():
    track = make(np.array([0.0, 0.01, 0.02]), np.array([100.0, 0.0, 400.0]))
    found = on_grid(track, GRID, 320)
    assert found.tolist() == [[100, 1], [0, 0]]  # as near to both: the earlier one says whether it is voiced


def test_far_from_every_estimate_is_unvoiced():
    found = on_grid(make(np.array([0.1, 0.11, 0.12]), np.full(3, 150.0)), GRID, 8000)
    assert found[:, 1].nonzero()[0].tolist() == [9, 10, 11, 12]
    assert np.allclose(found[9:13, 0], 150)


def test_no_estimate_or_no_frame():
    none = Track(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    assert on_grid(none, GRID, 480).tolist() == [[0, 0]] * 3
    assert on_grid(make([0.0], [100.0]), GRID, 159).shape == (0, 2)
    assert on_grid(make([0.005], [100.0]), GRID, 160).tolist() == [[pytest.approx(100), 1]]
