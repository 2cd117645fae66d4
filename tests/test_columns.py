import numpy as np
import pytest
import torch

from vcpipe.columns import Column, Variant, common_grid
from vcpipe.data import Crops, Whole
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.store import write_shard

UNITS, WAV = Grid(100, 10), Grid(100, 1)
ODD = Grid(44100, 333)  # zips with neither
IDS = ["a", "b", "c"]


def variant(path, rows, grid, dim, row="frame"):
    write_shard(path, rows, made_by={}, grid=grid, dim=dim, dtype="float32", row=row)
    return Variant((path,), None)


@pytest.fixture
def frames(tmp_path):
    rng = np.random.default_rng(0)
    units = [(i, rng.normal(size=(50, 3))) for i in IDS]
    return [variant(tmp_path / "units.h5", units, UNITS, 3)]


def vectors(path, seed=0, ids=IDS, dim=4, grid=ODD):
    """A vector for every utterance."""
    rng = np.random.default_rng(seed)
    rows = {i: rng.normal(size=(1, dim)).astype(np.float32) for i in ids}
    return variant(path, rows.items(), grid, dim, "utterance"), rows


@pytest.mark.parametrize("cache_mib", [0, 1])
def test_vectors_of_utterances_come_whole_whatever_their_grid(tmp_path, frames, cache_mib):
    spk, rows = vectors(tmp_path / "spk.h5")
    columns = [Column("units", frames, IDS), Column("spk", [spk], IDS)]
    assert [column.row for column in columns] == ["frame", "utterance"]
    assert common_grid(columns) == (UNITS, [1, 0])
    crops = Crops(columns, IDS, frames=7, batch=5, seed=1, cache_mib=cache_mib)
    plain = Crops(columns[:1], IDS, frames=7, batch=5, seed=1)
    for step in range(6):
        batch = crops[step]
        assert batch["units"].shape == (5, 7, 3) and batch["spk"].shape == (5, 4)
        assert torch.equal(batch["spk"], torch.from_numpy(np.concatenate([rows[i] for i in batch["utt_id"]])))
        assert torch.equal(batch["units"], plain[step]["units"])
    crops.close()
    found = list(Whole(columns, "ab", 30))
    assert [b["spk"].shape for b in found] == [(1, 4)] * 2
    assert torch.equal(found[1]["spk"], torch.from_numpy(rows["b"]))


def test_a_vector_of_one_number_keeps_its_axis(tmp_path, frames):
    spk, _ = vectors(tmp_path / "f0.h5", dim=1, grid=WAV)
    batch = Crops([Column("units", frames, IDS), Column("f0", [spk], IDS)], IDS, frames=7, batch=2, seed=0)[0]
    assert batch["f0"].shape == (2, 1)


def test_vectors_have_variants_on_grids_of_their_own(tmp_path, frames):
    one, a = vectors(tmp_path / "one.h5")
    two, b = vectors(tmp_path / "two.h5", seed=1, ids=IDS[1:], grid=WAV)
    column = Column("spk", [one, two], IDS)
    batch = Crops([Column("units", frames, IDS), column], IDS, frames=7, batch=60, seed=0)[0]
    drawn = list(zip(batch["utt_id"], batch["spk"].numpy(), strict=True))
    assert {(i, bool((v == b[i][0]).all())) for i, v in drawn if i in b} == {
        (i, x) for i in "bc" for x in (False, True)
    }
    assert all((v == a[i][0]).all() for i, v in drawn if i == "a")


def test_rows_of_speakers_are_refused(tmp_path):
    spk = variant(tmp_path / "mean.h5", [("a", np.zeros((1, 4)))], UNITS, 4, "speaker")
    with pytest.raises(InputError, match=r"mean\.h5: a row of 'spk' is a speaker, a batch is made of utterances"):
        Column("spk", [spk], IDS)


def test_rows_of_two_kinds_are_refused(tmp_path):
    both = [vectors(tmp_path / "spk.h5", dim=3)[0], variant(tmp_path / "u.h5", [("a", np.zeros((5, 3)))], UNITS, 3)]
    with pytest.raises(InputError, match=r"u\.h5: a row of 'x' is a frame, in .*spk\.h5 an utterance"):
        Column("x", both, IDS)


def test_two_vectors_of_an_utterance_are_refused(tmp_path):
    spk = variant(tmp_path / "spk.h5", [("a", np.zeros((2, 4)))], UNITS, 4, "utterance")
    with pytest.raises(InputError, match="a: 'spk' has 2 rows, expected 1"):
        Column("spk", [spk], IDS)


def test_vectors_alone_cannot_be_cut(tmp_path):
    with pytest.raises(InputError, match="of spk none has a row for every frame"):
        Crops([Column("spk", [vectors(tmp_path / "spk.h5")[0]], IDS)], IDS, frames=7, batch=1, seed=0)
