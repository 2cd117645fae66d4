import os
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.store import CHUNK_BYTES, Shard, Shards, write_shard

MADE_BY = {"stage": "feature", "feature": {"layer": 2, "revision": 1}}
GRID = Grid(16000, 320)


def write(path: Path, lengths: list[int], dim: int = 3, **options: object) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = {f"u/{i}": rng.normal(size=(n, dim)).astype(np.float32) for i, n in enumerate(lengths)}
    values = {"made_by": MADE_BY, "grid": GRID, "dim": dim, "dtype": "float32", **options}
    write_shard(path, rows.items(), **values)  # type: ignore[arg-type]
    return rows


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 40), max_size=8), dim=st.integers(1, 5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], dim: int) -> None:
    path = tmp_path_factory.mktemp("shard") / "000.h5"
    rows = write(path, lengths, dim)
    with Shard(path, MADE_BY) as shard:
        shard.verify()
        assert shard.utt_ids == list(rows)
        assert (shard.grid, shard.dim) == (GRID, dim)
        for utt_id, values in rows.items():
            np.testing.assert_array_equal(shard.read(utt_id), values)


def test_a_crop_is_the_rows_asked_for(tmp_path: Path) -> None:
    rows = write(tmp_path / "000.h5", [10, 20])
    with Shard(tmp_path / "000.h5", MADE_BY) as shard:
        np.testing.assert_array_equal(shard.read("u/1", 5, 7), rows["u/1"][5:12])
        with pytest.raises(InputError, match="has 20 rows, asked for 15"):
            shard.read("u/1", 15, 6)
        with pytest.raises(InputError, match="nobody is not in this shard"):
            shard.read("nobody")


def test_a_shard_made_under_another_slice_is_refused_and_the_key_is_named(tmp_path: Path) -> None:
    write(tmp_path / "000.h5", [4])
    other = {"stage": "feature", "feature": {"layer": 3, "revision": 1}}
    with pytest.raises(InputError, match="feature.layer is 2 in the file, the config says 3"):
        Shard(tmp_path / "000.h5", other)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.25, 0.5, 0.999])
def test_a_shard_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "000.h5"
    write(path, [50, 60])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="damaged or not a shard"):
        Shard(path, MADE_BY)


def test_a_flipped_bit_in_the_values_is_found_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "000.h5"
    write(path, [5000])
    with h5py.File(path) as f:
        offset = f["values"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 1000] ^= 1
    path.write_bytes(data)
    with Shard(path, MADE_BY) as shard, pytest.raises(InputError, match=r"000\.h5: damaged .*make it again"):
        shard.read("u/0")
    with Shard(path, MADE_BY) as shard, pytest.raises(InputError, match="damaged"):
        shard.verify()


def test_nothing_is_left_of_a_shard_whose_rows_fail(tmp_path: Path) -> None:
    def rows() -> object:
        yield "a", np.zeros((3, 3), np.float32)
        raise RuntimeError("the encoder broke")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "000.h5", rows(), made_by=MADE_BY, grid=GRID, dim=3, dtype="float32")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", np.zeros((3, 2)))], r"a: expected an array \(T, 3\), found \(3, 2\)"),
        ([("a", np.full((3, 3), np.nan))], "a: values that are not finite"),
        ([("a", np.full((3, 3), 1e6))], "too large for float16"),
        ([("a", np.zeros((3, 3))), ("a", np.zeros((3, 3)))], "a comes twice"),
    ],
)
def test_bad_rows_are_refused_by_name(tmp_path: Path, rows: list, words: str) -> None:
    with pytest.raises(InputError, match=words), np.errstate(over="ignore"):
        write_shard(tmp_path / "000.h5", rows, made_by=MADE_BY, grid=GRID, dim=3, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    rows = write(tmp_path / "000.h5", [3])
    write_shard(tmp_path / "001.h5", [("z", rows["u/0"])], made_by=MADE_BY, grid=GRID, dim=3, dtype="float32")
    with Shards(tmp_path, ["000", "001"], MADE_BY) as shards:
        np.testing.assert_array_equal(shards.read("z"), shards.read("u/0"))
        assert "z" in shards and "y" not in shards
        with pytest.raises(InputError, match="y is in none"):
            shards.read("y")


def test_what_will_be_read_is_what_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write(tmp_path / "000.h5", [5000, 7000, 1], dim=8)
    told: list[tuple[int, int]] = []

    def note(fd: int, offset: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            told.append((offset, length))

    monkeypatch.setattr(os, "posix_fadvise", note)
    data = (tmp_path / "000.h5").read_bytes()
    with Shard(tmp_path / "000.h5", MADE_BY) as shard:
        for utt_id, start, count in (("u/0", 0, 10), ("u/1", 3000, 22), ("u/1", 0, 7000), ("u/2", 0, 1)):
            shard.will_read(utt_id, start, count)
            (offset, length), crop = told.pop(), rows[utt_id][start : start + count]
            assert crop[:1].tobytes() in data[offset : offset + length]
            assert crop[-1:].tobytes() in data[offset : offset + length]
            assert length <= crop.nbytes + 3 * CHUNK_BYTES
        with pytest.raises(InputError, match="nobody is not in this shard"):
            shard.will_read("nobody", 0, 1)


def test_a_hint_about_a_damaged_shard_is_silent_and_reading_it_is_not(tmp_path: Path) -> None:
    path = tmp_path / "000.h5"
    write(path, [5000], dim=8)
    good = path.read_bytes()
    found = 0
    for match in re.finditer(b"EAHD|EAIB", good):  # indices of chunks: of the values, and of the ids
        at = match.end() + 8
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        try:
            shard = Shard(path, MADE_BY)
        except InputError:
            continue
        with shard:
            shard.will_read("u/0", 0, 100)
            with pytest.raises(InputError, match="damaged"):
                shard.read("u/0", 0, 100)
        found += 1
    assert found


def test_rows_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "000.h5", [4], row="page")
    with pytest.raises(InputError, match="a row for every page"):
        Shard(tmp_path / "000.h5", MADE_BY)
