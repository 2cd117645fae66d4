"""Windows over long recordings, and extractors of signal processing."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import RATE, tone
from vcpipe.errors import InputError
from vcpipe.features.signal import SignalExtractor
from vcpipe.features.windows import pieces
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

HOP = 160


class Settings(FeatureSettings):
    REVISION: ClassVar[int] = 1
    kind: Literal["peaks"] = "peaks"

    @property
    def grid(self) -> Grid:
        return Grid(RATE, HOP)

    @property
    def dim(self) -> int:
        return 2


class Peaks(SignalExtractor):
    """Of each frame and its two neighbours the largest and the mean sample; a hop of margin is all it needs."""

    def __init__(self, window: int = 20 * HOP, margin: int = HOP, wrong: str = ""):
        super().__init__(Settings(), window, margin)
        self.wrong, self.longest = wrong, 0

    def frames(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        self.longest = max(self.longest, len(wave))
        n = self.grid.frames(len(wave))
        rows = np.pad(wave[: n * HOP].reshape(n, HOP), ((1, 1), (0, 0)))
        heard = np.concatenate([rows[:-2], rows[1:-1], rows[2:]], axis=1)
        out = np.stack([heard.max(axis=1), heard.mean(axis=1)], axis=1)
        if self.wrong == "infinite":
            out[-1] = np.inf
        return out[:-1] if self.wrong == "short" else out


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 400), st.integers(1, 9), st.integers(0, 4), st.integers(1, 7))
def test_pieces_hold_every_frame_once_with_its_margin(n: int, hop: int, margin_hops: int, extra_hops: int) -> None:
    margin = margin_hops * hop
    window = 2 * margin + extra_hops * hop
    found = list(pieces(n, hop, window, margin))
    assert [frame for p in found for frame in range(p.first, p.last)] == list(range(n // hop))
    for p in found:
        assert 0 <= p.start <= p.first * hop and p.start % hop == 0
        assert p.last * hop <= p.stop <= n and p.stop - p.start <= window
        assert p.start == 0 or p.first * hop - p.start >= margin
        assert p.stop == n or p.stop - p.last * hop >= margin


@pytest.mark.parametrize("n", [HOP, HOP + 1, 20 * HOP, 20 * HOP + 1, 21 * HOP - 1, 57 * HOP + 33])
def test_a_long_recording_has_the_frames_of_a_single_look(n: int) -> None:
    wave = tone(n / RATE + 0.1)[:n]
    extractor, whole = Peaks(), Peaks(window=1000 * HOP)
    found = extractor(wave)
    assert found.shape == (n // HOP, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found, whole(wave), atol=1e-7)
    assert extractor.longest <= extractor.window
    np.testing.assert_array_equal(np.concatenate(list(extractor.stream(wave))), found)
    np.testing.assert_array_equal(extractor(wave), found)


def test_any_floats_that_can_be_sliced_are_a_recording() -> None:
    wave = tone(0.5)
    expected = Peaks()(wave)
    np.testing.assert_array_equal(Peaks()(torch.from_numpy(wave)), expected)
    np.testing.assert_array_equal(Peaks()(wave.tolist()), expected)
    np.testing.assert_allclose(Peaks()(wave.astype(np.float64)), expected)
    assert np.isfinite(Peaks()(np.zeros(5 * HOP, np.float32))).all()


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (np.zeros((2, 800), np.float32), r"expected a recording \(N,\) of floats .* found shape \(2, 800\)"),
        (np.zeros(800, np.int16), "of int16; mix channels down and scale integers first"),
        (np.zeros(HOP - 1, np.float32), "a recording of 159 samples is shorter than one frame of 160"),
        (np.array([0.0] * 200 + [np.nan] + [0.0] * 200), "sample 200 of the recording is not finite"),
    ],
)
def test_what_is_no_recording_is_refused_with_what_was_found(wave: Any, words: str) -> None:
    with pytest.raises(InputError, match=f"feature peaks: .*{words}"):
        Peaks()(wave)


def test_a_sample_that_is_not_finite_is_named_by_its_place_in_the_whole() -> None:
    wave = tone(1.0)
    wave[12345] = np.inf
    with pytest.raises(InputError, match="sample 12345 of the recording is not finite; repair the file"):
        Peaks()(wave)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("short", r"\(4, 2\) frames x columns for 800 samples, expected \(5, 2\) on grid 16000/160"),
        ("infinite", "frames are not finite at 0.00 to 0.05 s of the recording"),
    ],
)
def test_a_method_that_breaks_its_promise_is_found_out(wrong: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Peaks(wrong=wrong)(np.ones(800, np.float32))


@pytest.mark.parametrize(("window", "margin"), [(100, 0), (4 * HOP, 80), (2 * HOP, HOP), (4 * HOP, -HOP)])
def test_windows_that_cannot_work_are_refused(window: int, margin: int) -> None:
    with pytest.raises(InputError, match=f"feature peaks: window {window} and margin {margin} samples must be whole"):
        Peaks(window, margin)
