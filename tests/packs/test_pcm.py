import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.packs.pcm import from_int16, to_int16


def test_what_came_from_16_bits_stays_exact():
    numbers = np.arange(-(2**15), 2**15).astype(np.int16)
    assert np.array_equal(to_int16(from_int16(numbers)), numbers)
    assert from_int16(numbers).dtype == np.float32


def test_other_sound_differs_by_half_a_step_and_one_by_a_step():
    wave = np.random.default_rng(0).uniform(-1, 0.9999, 100_000).astype(np.float32)
    assert np.abs(from_int16(to_int16(wave)) - wave).max() <= 2.0**-16
    assert from_int16(to_int16(np.ones(1, np.float32))).tolist() == [1 - 2.0**-15]


def test_audio_that_would_be_clipped_is_refused():
    with pytest.raises(InputError, match=r"reaches 1\.100"):
        to_int16(np.asarray([-1.1], np.float32))
    assert to_int16(np.empty(0, np.float32)).shape == (0,)
