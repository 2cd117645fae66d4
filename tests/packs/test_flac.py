import io

import numpy as np
import pytest
import soundfile

from vcpipe.errors import InputError
from vcpipe.packs.flac import BLOCK, _coded, decode_crop, encode


def wave(n, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, n).astype(np.float32)


def crop(data, n, start, count):
    return decode_crop(lambda at, size: data[at : at + size], len(data), n, start, count)


@pytest.mark.parametrize("n", [1, 15, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 200 * BLOCK + 7])
@pytest.mark.parametrize("bits", [16, 24])
def test_every_crop_is_the_part_of_the_whole(n, bits):
    x = wave(n)
    data = encode(x, 16000, bits)
    whole, rate = soundfile.read(io.BytesIO(data), dtype="float32")  # any FLAC reader takes it
    assert rate == 16000
    assert np.abs(whole - x).max() <= 2.0 ** -(bits - 1)
    rng = np.random.default_rng(1)
    places = [(0, n), (n - 1, 1), (0, 1)] + [(int(s), int(rng.integers(1, n - s + 1))) for s in rng.integers(0, n, 30)]
    for start, count in places:
        np.testing.assert_array_equal(crop(data, n, start, count), whole[start : start + count])


def test_a_crop_reads_its_own_blocks_only():
    n, read = 1000 * BLOCK, 0

    def reader(at, size):
        nonlocal read
        read += size
        return data[at : at + size]

    data = encode(wave(n), 16000)
    decode_crop(reader, len(data), n, 500 * BLOCK, BLOCK)
    assert read < 0.02 * len(data)


def test_any_reader_finds_its_way_by_the_table():
    x = wave(100 * BLOCK)
    with soundfile.SoundFile(io.BytesIO(encode(x, 48000))) as f:
        f.seek(77777)
        np.testing.assert_allclose(f.read(100, dtype="float32"), x[77777:77877], atol=2.0**-23)


def test_audio_that_would_be_clipped_is_refused():
    encode(np.asarray([1.0, -1.0], np.float32), 16000)
    with pytest.raises(InputError, match="reaches 1.100"):
        encode(np.asarray([1.1], np.float32), 16000)


def test_silence():
    data = encode(np.zeros(9999, np.float32), 16000)
    assert not crop(data, 9999, 5000, 4999).any()
    assert len(data) < 1000


@pytest.mark.parametrize("number", [0, 127, 128, 2047, 2048, 65535, 65536, 1 << 20])
def test_block_numbers_are_coded_like_characters(number):
    try:
        assert _coded(number) == chr(number).encode("utf-8", "surrogatepass")
    except ValueError:
        pytest.fail("not a character")


def test_damage_is_refused():
    n = 20 * BLOCK
    data = encode(wave(n), 16000)
    for at in (0, 5, 9, 42, 60):
        bad = bytearray(data)
        bad[at] ^= 0x55
        with pytest.raises(InputError):
            crop(bytes(bad), n, 19 * BLOCK if at == 60 else 0, BLOCK)
            raise InputError("the place of another block") if at == 60 else AssertionError(at)
    with pytest.raises(InputError):
        crop(data[: len(data) // 2], n, 19 * BLOCK, BLOCK)
    with pytest.raises(InputError, match="not a FLAC member of"):
        crop(data, 1 << 60, 0, BLOCK)
    bad = bytearray(data)
    bad[len(data) // 2] ^= 1
    with pytest.raises(InputError, match="FLAC blocks"):
        for start in range(0, n, BLOCK):
            crop(bytes(bad), n, start, BLOCK)
