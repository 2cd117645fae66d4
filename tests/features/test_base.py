import h5py
import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

HOP = 10


class Settings(FeatureSettings):
    REVISION = 1
    kind: str = "neighbours"

    @property
    def grid(self):
        return Grid(1000, HOP)

    @property
    def dim(self):
        return 3


class Neighbours(Extractor):
    """Frame i: the sums of cells i - 1, i and i + 1, so that one hop of margin makes windows exact."""

    def __init__(self, window=100, margin=10):
        super().__init__(Settings(), torch.device("cpu"), window, margin)
        self.calls = []

    def encode(self, waves, lengths):
        self.calls.append((tuple(waves.shape), lengths.tolist()))
        cells = waves[:, : waves.shape[1] // HOP * HOP].reshape(len(waves), -1, HOP).sum(2)
        inside = torch.arange(cells.shape[1]) < (lengths // HOP)[:, None]
        padded = torch.nn.functional.pad(cells * inside, (1, 1))
        return padded.unfold(1, 3, 1)


class Spy:
    """A recording that remembers the largest slice that was read."""

    def __init__(self, wave):
        self.wave, self.shape, self.dtype, self.largest = wave, wave.shape, wave.dtype, 0

    def __getitem__(self, part):
        self.largest = max(self.largest, len(self.wave[part]))
        return self.wave[part]


def noise(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [10, 99, 100, 101, 109, 110, 111, 179, 180, 181, 250, 1003, 5000])
def test_windows_give_exactly_what_the_whole_gives(n):
    wave = noise(n)
    whole, windows = Neighbours(window=10_000)(wave), Neighbours()(wave)
    assert windows.shape == (n // HOP, 3)
    assert torch.equal(windows, whole)


def test_too_small_a_margin_would_be_seen():
    assert not torch.equal(Neighbours(margin=0)(noise(500)), Neighbours(window=10_000)(noise(500)))


def test_a_recording_that_fits_is_encoded_once_and_whole():
    extractor = Neighbours()
    wave = noise(100)
    assert torch.equal(extractor(wave), extractor.encode(wave[None], torch.tensor([100]))[0])
    assert extractor.calls[0] == ((1, 100), [100])


def test_a_batch_comes_back_in_order_with_the_numbers_of_single_calls():
    waves = [noise(n, n) for n in (35, 330, 10, 99, 1000, 98, 101, 35)]
    extractor = Neighbours()
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert torch.equal(frames, Neighbours()(wave))
    assert extractor.batch([]) == []


def test_batches_keep_to_the_limit_and_waste_little():
    extractor = Neighbours()
    extractor.limit = 400
    waves = [noise(n, n) for n in range(10, 100, 2)]
    extractor.batch(waves)
    assert len(extractor.calls) < 20  # 45 recordings
    for (rows, width), lengths in extractor.calls:
        assert rows * width <= 400
        assert sum(lengths) >= 0.9 * rows * width


def test_unequal_lengths_stay_apart_where_an_extractor_asks_for_it():
    extractor = Neighbours()
    extractor.ragged = False
    extractor.batch([noise(n) for n in (50, 49, 50, 49, 48)])
    assert [sorted(lengths) for _, lengths in extractor.calls] == [[50, 50], [49, 49], [48]]


def test_a_stream_is_the_result_in_blocks_and_reads_a_window_at_a_time():
    source = Spy(noise(5003).numpy())
    extractor = Neighbours()
    blocks = list(extractor.stream(source))
    assert torch.equal(torch.cat(blocks), Neighbours(window=10_000)(noise(5003)))
    assert max(len(block) for block in blocks) < 100 // HOP
    assert source.largest == 100


def test_recordings_may_lie_on_disk(tmp_path):
    wave = noise(733)
    expected = Neighbours()(wave)
    np.save(tmp_path / "a.npy", wave.numpy())
    assert torch.equal(Neighbours()(np.load(tmp_path / "a.npy", mmap_mode="r")), expected)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        assert torch.equal(Neighbours()(f.create_dataset("a", data=wave.numpy())), expected)


def test_frames_can_be_trained_on():
    layer = torch.nn.Linear(3, 1)
    for frames in (
        Neighbours()(noise(300)),
        Neighbours().batch([noise(300)])[0],
        next(Neighbours().stream(noise(300))),
    ):
        assert frames.dtype == torch.float32
        layer(frames).sum().backward()


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (torch.zeros(9), "9 samples is shorter than one frame of 10"),
        (torch.zeros(0), "0 samples"),
        (torch.zeros(1, 50), r"shape \(1, 50\)"),
        (torch.zeros(50, dtype=torch.int16), "int16"),
        (torch.tensor([0.0] * 20 + [float("nan")] + [0.0] * 29), "sample 20"),
        (torch.tensor([0.0] * 320 + [float("inf")] + [0.0] * 29), "sample 320"),
    ],
)
def test_what_is_no_recording_is_refused_in_words(wave, words):
    with pytest.raises(InputError, match=words):
        Neighbours()(wave)
    with pytest.raises(InputError, match=words):
        Neighbours().batch([noise(50), wave])


def test_an_encoder_with_the_wrong_number_of_frames_is_caught():
    class Short(Neighbours):
        def encode(self, waves, lengths):
            return super().encode(waves, lengths)[:, :-1]

    with pytest.raises(InputError, match=r"\(4, 3\) frames x columns for 50 samples, expected \(5, 3\)"):
        Short()(noise(50))


def test_frames_that_are_not_finite_are_caught():
    class Overflow(Neighbours):
        def encode(self, waves, lengths):
            return super().encode(waves, lengths) / 0

    with pytest.raises(InputError, match=r"not finite at 0\.00 to 0\.05 s"):
        Overflow()(noise(50))


@pytest.mark.parametrize(("window", "margin"), [(105, 10), (100, 5), (100, 50), (100, -10)])
def test_windows_are_whole_hops_and_longer_than_their_margins(window, margin):
    with pytest.raises(InputError, match="whole hops of 10"):
        Neighbours(window, margin)
