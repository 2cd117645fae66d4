import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcpipe.errors import InputError
from vcpipe.grid import Grid


@given(n=st.integers(0, 10**7), hop=st.integers(1, 4000))
def test_frames_cover_whole_hops_only(n: int, hop: int) -> None:
    grid = Grid(16000, hop)
    assert grid.samples(grid.frames(n)) <= n < grid.samples(grid.frames(n) + 1)


def test_rates_with_the_same_frames_per_second_zip() -> None:
    assert Grid(16000, 320).zips(Grid(24000, 480))
    assert Grid(16000, 320).ratio(Grid(16000, 160)) == 2
    assert Grid(16000, 320).ratio(Grid(16000, 1)) == 320


def test_grids_that_do_not_zip_are_refused_with_both_rates() -> None:
    with pytest.raises(InputError, match=r"50 frames/s.*86.1328 frames/s"):
        Grid(16000, 320).ratio(Grid(22050, 256))


def test_a_hop_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="positive"):
        Grid(16000, 0)
