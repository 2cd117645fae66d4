import hashlib
import json

import numpy as np
import pytest
import torch

from vcpipe.columns import Column, Variant
from vcpipe.data import Crops, Whole, fixed_subset
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import batches
from vcpipe.store import write_shard

SAMPLES = {"a": 1000, "b": 87, "c": 455, "d": 640}
UNITS, WAV, MEL = Grid(100, 10), Grid(100, 1), Grid(100, 5)
IDS = {utt_id: i for i, utt_id in enumerate(SAMPLES)}


def ramp(utt_id, grid, dim=1):
    """Rows that tell their utterance and position: `1000 * utterance + first sample` (+ column / 10)."""
    start = np.arange(SAMPLES[utt_id] // grid.hop) * grid.hop
    return (1000.0 * IDS[utt_id] + start)[:, None].astype(np.float32) + np.arange(dim, dtype=np.float32) / 10


def shard(path, grid, dim=1, ids=SAMPLES, offset=0.0):
    rows = ((i, ramp(i, grid, dim) + np.float32(offset)) for i in ids)
    write_shard(path, rows, made_by={"stage": path.name}, grid=grid, dim=dim, dtype="float32")
    return Variant((path,), {"stage": path.name})


@pytest.fixture
def variants(tmp_path):
    first = shard(tmp_path / "w0.h5", WAV, ids="ab")
    second = shard(tmp_path / "w1.h5", WAV, ids="cd")
    wav = Variant((*first.paths, *second.paths), None)
    return {
        "wav": wav,
        "units": shard(tmp_path / "units.h5", UNITS, 3),
        "mel": shard(tmp_path / "mel.h5", MEL, 2),
        "other": shard(tmp_path / "other.h5", UNITS, 3, ids="abc", offset=0.05),
    }


def crops(variants, names=("units", "wav"), ids="abcd", frames=20, batch=3, seed=0, cache_mib=1, extra=()):
    columns = [Column(n, [variants[n], *(extra if n == "units" else ())], ids) for n in names]
    return Crops(columns, ids, frames=frames, batch=batch, seed=seed, cache_mib=cache_mib)


def equal(a, b):
    return a["utt_id"] == b["utt_id"] and all(torch.equal(a[k], b[k]) for k in a if isinstance(a[k], torch.Tensor))


@pytest.mark.parametrize("cache_mib", [0, 1])
def test_columns_are_cut_at_the_same_place(variants, cache_mib):
    data = crops(variants, ("units", "mel", "wav"), cache_mib=cache_mib)
    for step in range(8):
        batch = data[step]
        assert batch["units"].shape == (3, 20, 3)
        assert batch["mel"].shape == (3, 40, 2)
        assert batch["wav"].shape == (3, 200)
        for i, (utt_id, length) in enumerate(zip(batch["utt_id"], batch["lengths"].tolist(), strict=True)):
            units, wav = batch["units"][i, :length, 0], batch["wav"][i, : 10 * length]
            assert torch.equal(units, wav[::10])
            assert torch.equal(batch["mel"][i, : 2 * length, 0], wav[::5])
            assert torch.equal(wav, wav[0] + torch.arange(len(wav)))
            assert int(wav[0]) // 1000 == IDS[utt_id]
            assert int(wav[0]) % 10 == 0


def test_short_utterances_are_followed_by_zeros_not_destroyed(variants):
    batch = crops(variants, ids="b", batch=1)[0]
    assert batch["lengths"].tolist() == [8]
    torch.testing.assert_close(batch["units"][0, :8].numpy(), ramp("b", UNITS, 3))
    assert not batch["units"][0, 8:].any()
    assert torch.equal(batch["wav"][0, :80], torch.from_numpy(ramp("b", WAV))[:80, 0])
    assert not batch["wav"][0, 80:].any()
    assert batch["seconds"] == pytest.approx(0.8)


def test_starts_are_uniform_to_the_last_frame(variants):
    data = crops(variants, ids="d", frames=60, batch=50)
    starts = [int(w) - 3000 for step in range(8) for w in data[step]["wav"][:, 0]]
    assert set(starts) == {0, 10, 20, 30, 40}
    assert min(starts.count(s) for s in set(starts)) > 40


def test_every_epoch_has_every_utterance_once_in_a_new_order(variants):
    data = crops(variants, batch=2)
    assert len(data) == 2
    orders = [data[2 * e]["utt_id"] + data[2 * e + 1]["utt_id"] for e in range(10)]
    assert all(sorted(o) == list("abcd") for o in orders)
    assert len({tuple(o) for o in orders}) > 3


def test_a_batch_is_a_function_of_seed_and_step(variants):
    one, two = crops(variants), crops(variants, cache_mib=0)
    assert all(equal(one[s], two[s]) for s in (5, 0, 9, 1))
    assert not all(equal(one[s], crops(variants, seed=1)[s]) for s in range(5))


def test_batches_are_those_of_earlier_versions(variants):
    """A training that was interrupted before an update goes on with the batches that it would have had."""
    data = crops(variants, ("units", "mel", "wav"), frames=30, batch=5, seed=7, extra=[variants["other"]])
    digest = hashlib.blake2b(digest_size=16)
    for step in range(40):
        batch = data[step]
        digest.update(json.dumps([batch["utt_id"], batch["lengths"].tolist(), batch["seconds"]]).encode())
        for name in ("units", "mel", "wav"):
            digest.update(batch[name].numpy().tobytes())
    assert digest.hexdigest() == "f3fe68990fa317e50e46dd49499d7a88"


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_however_they_are_cut(variants, workers):
    data = crops(variants, cache_mib=0)
    found = list(batches(data, 3, 9, workers))
    assert len(found) == 6
    assert all(equal(batch, data[step]) for step, batch in enumerate(found, 3))


def test_leaving_early_ends_the_thread(variants):
    import threading

    stream = batches(crops(variants), 0, 10**9, 0)
    next(stream)
    stream.close()
    assert "crops" not in [t.name for t in threading.enumerate()]


def test_an_error_while_cutting_arrives(variants):
    data = crops(variants)
    data.columns[0].read = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(batches(data, 0, 5, 0))


def test_the_disk_is_told_of_the_next_batch_before_this_one_is_cut(variants):
    data = crops(variants, cache_mib=0)
    events = []
    for column in data.columns:
        column.will_read = lambda utt_id, *_, c=column: events.append(("told", c.name, utt_id))
        column.read = lambda utt_id, variant, start, count, c=column, read=column.read: (
            events.append(("read", c.name, utt_id)) or read(utt_id, variant, start, count)
        )
    ids = [crops(variants)[step]["utt_id"] for step in range(4)]
    for step in range(3):
        data[step]
        wanted = [("told", c.name, i) for c in data.columns for i in ids[step + 1]]
        wanted += [("read", c.name, i) for c in data.columns for i in ids[step]]
        assert events[-len(wanted) :] == wanted
        events.clear()


def test_a_shard_that_is_gone_is_named_when_its_batch_is_due(variants):
    """Batches before it are not lost."""
    data = crops(variants, ids="abcd", batch=1, cache_mib=0)
    ids = [data[step]["utt_id"][0] for step in range(4)]
    data.close()
    due = next(step for step, utt_id in enumerate(ids) if utt_id in "cd")
    variants["wav"].paths[1].unlink()
    assert [data[step]["utt_id"][0] for step in range(due)] == ids[:due]
    with pytest.raises(InputError, match=r"w1\.h5: no such shard"):
        data[due]


def test_variants_of_an_utterance_are_mixed_where_it_has_them(variants):
    data = crops(variants, extra=[variants["other"]], batch=40)
    of = {"plain": set(), "other": set()}
    counts = {"plain": 0, "other": 0}
    for step in range(5):
        batch = data[step]
        for i, utt_id in enumerate(batch["utt_id"]):
            # column 0 is a multiple of 10 in the plain variant, 0.05 more in the other
            kind = "other" if float(batch["units"][i, 0, 0]) % 10 > 0.02 else "plain"
            of[kind].add(utt_id)
            counts[kind] += utt_id != "d"
    assert of == {"plain": set("abcd"), "other": set("abc")}
    assert 0.35 < counts["other"] / sum(counts.values()) < 0.65


def test_utterances_that_a_column_lacks_are_left_out(variants, tmp_path):
    variants["units"] = variants["other"]
    assert crops(variants).utt_ids == ["a", "b", "c"]
    with pytest.raises(InputError, match="none of 1 utterances"):
        crops(variants, ids="d")


def test_columns_that_disagree_on_length_are_refused(variants, tmp_path):
    rows = [("a", np.zeros((99, 3), np.float32))]
    write_shard(tmp_path / "x.h5", rows, made_by={}, grid=UNITS, dim=3, dtype="float32")
    variants["units"] = Variant((tmp_path / "x.h5",), None)
    with pytest.raises(InputError, match="a: frames on grid 100/10 differ: units 99, wav 100"):
        crops(variants, ids="a")


def test_shards_of_another_slice_are_refused(variants):
    variants["units"] = Variant(variants["units"].paths, {"stage": "newer"})
    with pytest.raises(InputError, match="made under other settings"):
        crops(variants)


def test_whole_utterances_from_their_start(variants):
    whole = Whole([Column(n, [variants[n]], "abcd") for n in ("units", "wav")], "ba", max_frames=50)
    found = list(whole)
    assert len(whole) == 2
    assert [b["utt_id"] for b in found] == [["a"], ["b"]]
    assert [b["wav"].shape for b in found] == [(1, 500), (1, 80)]
    assert torch.equal(found[0]["wav"][0, :3], torch.tensor([0.0, 1.0, 2.0]))


def test_memory_is_bounded_and_the_small_column_goes_first(tmp_path):
    rows = [("a", np.zeros((200_000, 1), np.float32))]
    write_shard(tmp_path / "w.h5", rows, made_by={}, grid=WAV, dim=1, dtype="float32")
    rows = [("a", np.zeros((20_000, 20), np.float32))]
    write_shard(tmp_path / "u.h5", rows, made_by={}, grid=UNITS, dim=20, dtype="float32")
    columns = [Column("units", [Variant((tmp_path / "u.h5",), None)], "a")]
    columns.append(Column("wav", [Variant((tmp_path / "w.h5",), None)], "a"))
    Crops(columns, "a", frames=5, batch=1, seed=0, cache_mib=1)
    assert [bool(c._cache) for c in columns] == [False, True]


def test_fixed_subset_is_spread_and_stable():
    ids = [f"{i:03d}" for i in range(100)]
    subset = fixed_subset(reversed(ids), 7)
    assert subset == fixed_subset(ids, 7) == sorted(subset)
    assert len(set(subset)) == 7
    assert max(int(i) for i in subset) > 80
    assert fixed_subset(ids[:3], 7) == ids[:3]
