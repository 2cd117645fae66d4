"""Batches of alike length: nothing lost or heard twice, little padding, and a row that goes on exactly."""

import json

import numpy as np
import pytest
import torch

from vcpipe.buckets import Buckets
from vcpipe.columns import Column, Variant
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Loader
from vcpipe.store import write_shard

UNITS, MEL = Grid(16000, 320), Grid(16000, 160)
SAMPLES = {f"u{i:03d}": int(n) for i, n in enumerate(np.random.default_rng(7).integers(1000, 40000, 301))}
NUMBER = {utt_id: i for i, utt_id in enumerate(SAMPLES)}
IDS = list(SAMPLES)


def write(path, grid, dim, ids=IDS, shift=0.0):
    """Rows that tell their utterance and position: `1000 * utterance + first hop of 160` (+ shift)."""
    rows = []
    for utt_id in ids:
        at = np.arange(SAMPLES[utt_id] // grid.hop) * (grid.hop // 160) + 1000.0 * NUMBER[utt_id] + shift
        rows.append((utt_id, np.repeat(at[:, None], dim, axis=1).astype(np.float32)))
    write_shard(path, rows, made_by={}, grid=grid, dim=dim, dtype="float32")
    return Variant((path,), None)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    ids = IDS[::-1]
    return {
        "units": write(folder / "units.h5", UNITS, 3),
        "mel": write(folder / "mel.h5", MEL, 2, ids),
        "units_moved": write(folder / "units_moved.h5", UNITS, 3, shift=0.25),
        "mel_moved": write(folder / "mel_moved.h5", MEL, 2, ids, shift=0.25),
        "mel_some": write(folder / "mel_some.h5", MEL, 2, IDS[5:], shift=0.25),
        "speaker": write(folder / "speaker.h5", UNITS, 1),
    }


def columns(shards, **names):
    given = names or {"units": ["units"], "mel": ["mel"]}
    return [Column(name, [shards[v] for v in variants], IDS) for name, variants in given.items()]


def buckets(shards, ids=IDS, names=None, **options):
    values = {"frames": 1000, "batch": 4, "seed": 1, "cache_mib": 8, **options}
    return Buckets(columns(shards, **(names or {})), ids, **values)


def epoch_of(data, count):
    return [utt_id for step in range(len(data)) for utt_id in data[step]["utt_id"]][:count]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) if torch.is_tensor(v) else v == b[k] for k, v in a.items())


def test_utterances_are_whole_and_followed_by_zeros_to_the_longest(shards):
    data = buckets(shards)
    for step in range(20):
        batch = data[step]
        longest = int(batch["lengths"].max())
        assert batch["units"].shape == (4, longest, 3)
        assert batch["mel"].shape == (4, 2 * longest, 2)
        assert batch["seconds"] == pytest.approx(float(batch["lengths"].sum()) / 50)
        for i, (utt_id, n) in enumerate(zip(batch["utt_id"], batch["lengths"].tolist(), strict=True)):
            assert n == SAMPLES[utt_id] // 320
            wanted = 1000.0 * NUMBER[utt_id] + torch.arange(2 * n)
            assert torch.equal(batch["mel"][i, : 2 * n, 0], wanted)
            assert torch.equal(batch["units"][i, :n, 0], wanted[::2])
            assert not batch["mel"][i, 2 * n :].any()
            assert not batch["units"][i, n:].any()


def test_a_longer_utterance_is_cut_at_a_random_start(shards):
    data = buckets(shards, frames=50)
    long = [i for i in IDS if SAMPLES[i] // 320 > 60]
    starts = set()
    for step in range(150):
        batch = data[step]
        assert int(batch["lengths"].max()) <= 50
        for i, utt_id in enumerate(batch["utt_id"]):
            if utt_id in long:
                start = int(batch["mel"][i, 0, 0]) % 1000
                assert batch["lengths"][i] == 50
                assert start % 2 == 0 and start // 2 + 50 <= SAMPLES[utt_id] // 320
                starts.add(start)
    assert len(starts) > 20


@pytest.mark.parametrize(("count", "batch", "world"), [(301, 4, 1), (300, 4, 1), (37, 5, 3), (3, 7, 1), (1, 2, 2)])
def test_every_epoch_has_every_utterance_once_in_a_new_order(shards, count, batch, world):
    """Also where epochs end within a batch, and where a batch holds several epochs."""
    ids = IDS[:count]
    ranks = [buckets(shards, ids, batch=batch, rank=r, world=world) for r in range(world)]
    row = []
    while len(row) < 4 * count:
        step = len(row) // (batch * world)
        parts = [data[step]["utt_id"] for data in ranks]
        row += [parts[r][i] for i in range(batch) for r in range(world)]
    epochs = [row[e * count : (e + 1) * count] for e in range(4)]
    assert all(sorted(epoch) == sorted(ids) for epoch in epochs)
    if count > 3:
        assert len({tuple(epoch) for epoch in epochs}) == 4


def padding(data, steps):
    real = total = 0
    for step in range(steps):
        batch = data[step]
        real += int(batch["lengths"].sum())
        total += batch["units"].shape[0] * batch["units"].shape[1]
    return 1 - real / total


def test_padding_is_small_also_where_epochs_meet(shards):
    """Lengths are uniform over 3 to 124 frames: batches as they come would be a third padding."""
    ids = IDS[:299]  # 74.75 steps
    data = buckets(shards, ids)
    assert padding(data, 2 * len(data)) < 0.08
    meetings = [data[epoch * 299 // 4] for epoch in range(1, 40) if epoch % 4]
    wasted = [1 - float(b["lengths"].sum()) / (4 * int(b["lengths"].max())) for b in meetings]
    assert np.mean(wasted) < 0.15
    shuffled = np.random.default_rng(0).permutation([SAMPLES[i] // 320 for i in IDS[:296]]).reshape(-1, 4)
    assert 1 - shuffled.sum() / (4 * shuffled.max(axis=1).sum()) > 0.25


def test_ranks_get_alike_lengths(shards):
    ranks = [buckets(shards, batch=4, rank=r, world=3) for r in range(3)]
    alone = buckets(shards, batch=12)
    for step in range(40):
        parts = [data[step] for data in ranks]
        assert sorted(i for part in parts for i in part["utt_id"]) == sorted(alone[step]["utt_id"])
    for step in range(20):  # within the first epoch: between one rank's longest and another's is one utterance
        row = sorted(alone[step]["lengths"].tolist())
        longest = [int(data[step]["lengths"].max()) for data in ranks]
        assert sorted(longest) == row[-3:]


def test_crops_are_the_same_with_another_number_of_processes(shards):
    alone = buckets(shards, batch=6, frames=40)
    pair = [buckets(shards, batch=3, frames=40, rank=r, world=2) for r in range(2)]
    assert alone.identity() == pair[0].identity() == pair[1].identity()
    for step in range(60):
        one = alone[step]
        starts = dict(zip(one["utt_id"], one["mel"][:, 0, 0].tolist(), strict=True))
        for part in (data[step] for data in pair):
            assert all(starts[i] == float(mel[0, 0]) for i, mel in zip(part["utt_id"], part["mel"], strict=True))


def test_short_and_long_batches_are_mixed(shards):
    data = buckets(shards, IDS[:256])  # 64 steps: 4 pools
    for begin in range(0, 64, 16):
        longest = np.array([int(data[step]["lengths"].max()) for step in range(begin, begin + 16)])
        assert longest.max() > 110 and longest.min() < 30
        assert 3 < (np.diff(longest) > 0).sum() < 12


def test_a_batch_is_a_function_of_seed_and_step(shards):
    one, two = buckets(shards), buckets(shards, cache_mib=0)
    steps = (80, 0, 76, 75, 1, 200)
    assert all(equal(one[step], two[step]) for step in steps)
    assert not any(equal(one[step], buckets(shards, seed=2)[step]) for step in steps)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_row_goes_on_exactly(shards, workers):
    wanted = [buckets(shards)[step] for step in range(70, 82)]  # over the end of an epoch
    loader = Loader(buckets(shards, cache_mib=0), workers)
    loader.load_state({**loader.state(), "step": 70})
    assert all(equal(next(loader), batch) for batch in wanted[:6])
    state = json.loads(json.dumps(loader.state()))
    loader.close()
    again = Loader(buckets(shards), 0)
    again.load_state(state)
    assert all(equal(next(again), batch) for batch in wanted[6:])
    again.close()


BOTH = {"units": ["units", "units_moved"], "mel": ["mel", "mel_moved"], "speaker": ["speaker"]}


def variants_of(batch):
    return [[float(batch[name][i, 0, 0]) % 1 > 0.1 for i in range(len(batch["utt_id"]))] for name in ("units", "mel")]


def test_tied_columns_are_drawn_from_the_same_variant(shards):
    data = buckets(shards, names=BOTH, tied=True)
    drawn = []
    for step in range(60):
        units, mel = variants_of(data[step])
        assert units == mel
        drawn += units
    assert 0.4 < np.mean(drawn) < 0.6
    units, mel = variants_of(buckets(shards, names=BOTH, batch=20)[0])
    assert units != mel


def test_columns_that_cannot_be_tied_are_refused(shards):
    names = {"units": ["units", "units_moved"], "mel": ["mel", "mel_some"]}
    with pytest.raises(InputError, match=r"u000: columns .* 'units' \[0, 1\] of 2, 'mel' \[0\] of 2"):
        buckets(shards, names=names, tied=True)
    assert buckets(shards, IDS[5:], names=names, tied=True)[0]["utt_id"]
    assert buckets(shards, names=names)[0]["utt_id"]
    names["mel"] = ["mel", "mel_moved", "mel_some"]
    with pytest.raises(InputError, match=r"'mel' \[0, 1, 2\] of 3"):
        buckets(shards, IDS[5:], names=names, tied=True)


def test_identity_names_what_decides_the_batches(shards):
    found = buckets(shards).identity()
    assert found["loader"] == "buckets"
    assert found["tied"] is False
    assert found["corpus"] == Crops(columns(shards), IDS, frames=9, batch=1, seed=0).identity()["corpus"]
    for change in ({"seed": 2}, {"batch": 5}, {"frames": 99}, {"tied": True}):
        assert buckets(shards, **change).identity() != found
    assert buckets(shards, IDS[1:]).identity() != found


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 1), (0, 0)])
def test_ranks_that_make_no_sense_are_refused(shards, rank, world):
    with pytest.raises(InputError, match="expected a rank"):
        buckets(shards, rank=rank, world=world)
