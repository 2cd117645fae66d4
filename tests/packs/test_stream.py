import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.packs.conftest import MADE_BY, make_corpus
from vcpipe.columns import Variant
from vcpipe.data import Whole
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Loader
from vcpipe.packs.stream import Packs, Stream
from vcpipe.store import write_shard


def stream(packed, **options):
    values = {"frames": 9, "batch": 4, "seed": 3, "shuffle": 10, **options}
    return Stream(Packs(packed, MADE_BY), **values)


def drawn(source, count):
    """The ids of the first `count` turns of a source whose batch is 1."""
    return [source[step]["utt_id"][0] for step in range(count)]


def test_batches_are_those_of_the_shards(corpus, either):
    packed, bound = either
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
            np.testing.assert_allclose(wave[: n * 320], wav.read(utt_id, 0, start, n * 320)[:, 0], atol=bound, rtol=0)
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


def test_batches_are_those_of_earlier_versions(tmp_path):
    """A training that was interrupted before an update goes on with the batches that it would have had."""
    make_corpus(tmp_path, [f"u{i:02d}" for i in range(37)]).pack(tmp_path / "p")
    digest = hashlib.blake2b(digest_size=16)
    for rank, world in ((0, 1), (1, 3)):
        source = Stream(Packs(tmp_path / "p", None), frames=20, batch=5, seed=7, shuffle=10, rank=rank, world=world)
        for step in range(20):
            batch = source[step]
            digest.update(json.dumps([batch["utt_id"], batch["lengths"].tolist(), batch["seconds"]]).encode())
            for name in ("units", "wav"):
                digest.update(batch[name].numpy().tobytes())
    assert digest.hexdigest() == "ce73a7298e2be9bdfe3fbfef25720a8b"


def test_vectors_of_utterances_are_packed_and_streamed(corpus, tmp_path):
    rng = np.random.default_rng(0)
    vectors = {i: rng.standard_normal((1, 5)).astype(np.float32) for i in corpus.ids}
    write_shard(
        tmp_path / "spk.h5", vectors.items(), made_by={}, grid=Grid(16000, 160), dim=5, dtype="float32", row="utterance"
    )
    more = replace(corpus, variants={**corpus.variants, "spk": [Variant((tmp_path / "spk.h5",), None)]})
    more.pack(tmp_path / "p", ("units", "spk", "wav"), audio_form="npy16")
    plain = Stream(Packs(tmp_path / "p", None), frames=9, batch=4, seed=3, columns=["units", "wav"])
    source = Stream(Packs(tmp_path / "p", None), frames=9, batch=4, seed=3, columns=["units", "wav", "spk"])
    for step in range(5):
        batch = source[step]
        assert batch["spk"].shape == (4, 5) and batch["units"].shape == (4, 9, 6)
        assert torch.equal(batch["spk"], torch.from_numpy(np.concatenate([vectors[i] for i in batch["utt_id"]])))
        assert torch.equal(batch["units"], plain[step]["units"])  # one more column moves no crop
    whole = next(iter(Whole(Packs(tmp_path / "p", None).columns(), ["A"], 15)))
    assert torch.equal(whole["spk"], torch.from_numpy(vectors["A"]))


def test_a_damaged_tar_is_named_when_its_batch_is_due(packed, tmp_path):
    copied = shutil.copytree(packed, tmp_path / "p")
    source = stream(copied, shuffle=1, batch=1)
    tars = [source.packs.tar_of(source.packs.number[i]) for i in drawn(source, 37)]
    source.close()
    due = next(at for at, tar in enumerate(tars) if tar != tars[0])
    (copied / f"{tars[due]:06d}.tar").unlink()
    source = stream(copied, shuffle=1, batch=1)
    assert [source[step]["utt_id"] for step in range(due)]
    with pytest.raises(InputError, match=f"{tars[due]:06d}"):
        source[due]


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
