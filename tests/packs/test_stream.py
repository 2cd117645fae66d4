import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.packs.conftest import MADE_BY
from vcpipe.data import Whole
from vcpipe.errors import InputError
from vcpipe.loader import Loader
from vcpipe.packs.stream import Packs, Stream


def stream(packed, **options):
    values = {"frames": 9, "batch": 4, "seed": 3, "shuffle": 10, **options}
    return Stream(Packs(packed, MADE_BY), **values)


def drawn(source, count):
    """The ids of the first `count` turns of a source whose batch is 1."""
    return [source[step]["utt_id"][0] for step in range(count)]


def test_batches_are_those_of_the_shards(corpus, packed):
    source = stream(packed, frames=20)
    columns = {c.name: c for c in corpus.columns()}
    for step in range(12):
        batch = source[step]
        assert batch["units"].shape == (4, 20, 6) and batch["wav"].shape == (4, 6400)
        assert batch["units"].dtype == batch["wav"].dtype == torch.float32
        assert batch["seconds"] == pytest.approx(float(batch["lengths"].sum()) / 50)
        for i, utt_id in enumerate(batch["utt_id"]):
            n = int(batch["lengths"][i])
            units, wav = columns["units"], columns["wav"]
            assert n == min(20, units.length(utt_id))
            crop, wave = batch["units"][i].numpy(), batch["wav"][i].numpy()
            whole = [units.read(utt_id, v, 0, units.length(utt_id)) for v in units.holders(utt_id)]
            places = [
                (v, s) for v, w in enumerate(whole) for s in range(len(w) - n + 1) if (w[s : s + n] == crop[:n]).all()
            ]
            assert len(places) == 1
            start = places[0][1] * 320
            np.testing.assert_allclose(
                wave[: n * 320], wav.read(utt_id, 0, start, n * 320)[:, 0], atol=2.0**-23, rtol=0
            )
            assert not crop[n:].any() and not wave[n * 320 :].any()


@pytest.mark.parametrize("world", [1, 2, 3, 5, 40])
def test_ranks_share_an_epoch_and_nothing_is_lost_or_repeated(corpus, packed, world):
    n, epochs = len(corpus.ids), 3
    ranks = [stream(packed, batch=1, rank=r, world=world) for r in range(world)]
    # the ranks take turns, so an epoch is the next n turns of all of them
    turns = [-(-n * epochs // world)] * world
    rows = [drawn(rank, count) for rank, count in zip(ranks, turns, strict=True)]
    dealt = [row[t] for t, row in itertools.product(range(turns[0]), rows)][: n * epochs]
    for epoch in range(epochs):
        assert sorted(dealt[epoch * n : (epoch + 1) * n]) == sorted(corpus.ids)
    assert len({len(rank) for rank in ranks}) == 1  # none takes a step more than another


def test_epochs_and_seeds_differ(packed, corpus):
    n = len(corpus.ids)
    ids = drawn(stream(packed, batch=1), 3 * n)
    assert (
        len(
            {
                tuple(ids[:n]),
                tuple(ids[n : 2 * n]),
                tuple(ids[2 * n :]),
                tuple(drawn(stream(packed, batch=1, seed=4), n)),
            }
        )
        == 4
    )


def test_a_window_holds_neighbours(packed):
    """Tars come one after the other: the first samples drawn are of as few tars as the window spans."""
    source = stream(packed, batch=1, shuffle=5)
    tars = [source.packs.tar_of(source.packs.number[i]) for i in drawn(source, 37)]
    assert all(len(set(tars[at : at + 5])) <= 2 for at in range(0, 35, 5))
    plain = stream(packed, batch=1, shuffle=1)
    numbers = [plain.packs.number[i] for i in drawn(plain, 37)]
    assert sum(b == a + 1 for a, b in itertools.pairwise(numbers)) >= 37 - 4


@pytest.mark.parametrize("expect", [None, MADE_BY])
def test_packs_of_another_slice_are_refused(packed, expect):
    Packs(packed, expect)
    with pytest.raises(InputError, match="made under other settings: revision is 1"):
        Packs(packed, {**MADE_BY, "revision": 2})


def test_columns_are_chosen_by_name(packed):
    assert set(stream(packed, columns=["wav"])[0]) == {"utt_id", "lengths", "seconds", "wav"}
    with pytest.raises(InputError, match="no column 'mel', these packs have units, wav"):
        stream(packed, columns=["mel"])


def test_settings_that_make_no_sense_are_refused(packed):
    for options in ({"shuffle": 0}, {"rank": 2, "world": 2}, {"world": 0}):
        with pytest.raises(InputError):
            stream(packed, **options)


def test_validation_reads_packs_too(corpus, packed):
    ids = corpus.ids[3:6]
    a = list(Whole(Packs(packed, None).columns(), ids, 15))
    b = list(Whole(corpus.columns(), ids, 15))
    for x, y in zip(a, b, strict=True):
        assert x["utt_id"] == y["utt_id"] and torch.equal(x["units"], y["units"])
        torch.testing.assert_close(x["wav"], y["wav"], atol=2.0**-23, rtol=0)


RESUME = """
import hashlib, json, sys
from vcpipe.loader import Loader
from vcpipe.packs.stream import Packs, Stream
folder, state, workers = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
loader = Loader(Stream(Packs(folder, None), frames=9, batch=4, seed=3, shuffle=10, rank=1, world=2), workers)
loader.load_state(state)
for _ in range(12):
    b = next(loader)
    print(b["utt_id"][0], hashlib.sha256(b["wav"].numpy().tobytes() + b["units"].numpy().tobytes()).hexdigest())
loader.close()
"""


@pytest.mark.parametrize(("before", "workers"), [(0, 0), (3, 2), (11, 0)])
def test_another_process_goes_on_with_the_same_bytes(packed, before, workers):
    import hashlib

    loader = Loader(stream(packed, rank=1, world=2), 0)
    for _ in range(before):
        next(loader)
    state = json.dumps(loader.state())
    wanted = []
    for _ in range(12):
        b = next(loader)
        digest = hashlib.sha256(b["wav"].numpy().tobytes() + b["units"].numpy().tobytes()).hexdigest()
        wanted.append(f"{b['utt_id'][0]} {digest}")
    loader.close()
    command = [sys.executable, "-c", RESUME, str(packed), state, str(workers)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == wanted
