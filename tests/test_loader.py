"""One interface over shards and tars: rows of batches that go on exactly where they stopped."""

import json
from pathlib import Path

import pytest
import torch

from tests.packs.conftest import MADE_BY, make_corpus
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.loader import Loader
from vcpipe.packs.stream import Packs, Stream

KINDS = ["map", "stream"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    corpus = make_corpus(folder, [f"u{i:02d}" for i in range(19)])
    corpus.pack(folder / "packs")
    return corpus


def source(kind, corpus, ids=None, **options):
    values = {"frames": 9, "batch": 3, "seed": 1, **options}
    if kind == "map":
        return Crops(corpus.columns(), ids or corpus.ids, **values)
    return Stream(Packs(corpus.folder / "packs", MADE_BY), **values)


def take(loader, count):
    return [next(loader) for _ in range(count)]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) if torch.is_tensor(v) else v == b[k] for k, v in a.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 2), (2, 0), (2, 1)])
def test_a_row_goes_on_exactly_from_anywhere(corpus, kind, first, second):
    wanted = take(Loader(source(kind, corpus)), 20)
    for at in (0, 4, 13):  # in the first, the first and the third epoch
        one = Loader(source(kind, corpus), first)
        assert all(map(equal, take(one, at), wanted))
        state = json.loads(json.dumps(one.state()))
        one.close()
        two = Loader(source(kind, corpus), second)
        two.load_state(state)
        assert all(map(equal, take(two, 6), wanted[at : at + 6]))
        two.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_row_can_be_set_back(corpus, kind):
    loader = Loader(source(kind, corpus))
    state = loader.state()
    wanted = take(loader, 5)
    loader.load_state(state)
    assert all(map(equal, take(loader, 5), wanted))
    loader.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_and_workers_draw_every_utterance_once(corpus, kind, workers, world):
    n = len(corpus.ids)
    loaders = [Loader(source(kind, corpus, batch=1, rank=r, world=world), workers) for r in range(world)]
    turns = -(-n // world)
    assert {len(loader) for loader in loaders} == {turns}  # all take the same steps
    rows = [[b["utt_id"][0] for b in take(loader, turns)] for loader in loaders]
    for loader in loaders:
        loader.close()
    dealt = [row[t] for t in range(turns) for row in rows]
    assert sorted(dealt[:n]) == sorted(corpus.ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [{"seed": 2}, {"batch": 4}, {"frames": 8}])
def test_the_state_of_another_row_is_refused(corpus, kind, change):
    state = Loader(source(kind, corpus)).state()
    key = next(iter(change))
    with pytest.raises(InputError, match=f"loader state: '{key}' was .* it is {change[key]} now"):
        Loader(source(kind, corpus, **change)).load_state(state)


def test_crops_go_on_with_another_number_of_processes(corpus):
    """What all processes draw together in a step stays the same."""
    alone = Loader(source("map", corpus, batch=4))
    take(alone, 3)
    pair = [Loader(source("map", corpus, batch=2, rank=rank, world=2)) for rank in range(2)]
    for loader in pair:
        loader.load_state(alone.state())
    for together in take(alone, 5):
        parts = [next(loader) for loader in pair]
        assert together["utt_id"] == [utt_id for part in parts for utt_id in part["utt_id"]]
        assert torch.equal(together["wav"], torch.cat([part["wav"] for part in parts]))
    for loader in (alone, *pair):
        loader.close()


def test_a_stream_of_another_number_of_processes_is_refused(corpus):
    """Each shuffles within its own share."""
    state = Loader(source("stream", corpus, batch=4)).state()
    with pytest.raises(InputError, match="'world' was 1, it is 2 now"):
        Loader(source("stream", corpus, batch=4, world=2)).load_state(state)


def test_the_state_of_other_data_or_of_the_other_loader_is_refused(corpus, tmp_path):
    states = {kind: Loader(source(kind, corpus)).state() for kind in KINDS}
    with pytest.raises(InputError, match="'columns'|'corpus'|'loader'"):
        Loader(source("map", corpus)).load_state(states["stream"])
    with pytest.raises(InputError, match="'corpus' was"):
        Loader(source("map", corpus, corpus.ids[:-1])).load_state(states["map"])
    other = make_corpus(tmp_path, corpus.ids, seed=5)
    other.pack(tmp_path / "packs")
    for kind in KINDS:
        with pytest.raises(InputError, match="'corpus' was"):
            Loader(source(kind, other)).load_state(states[kind])
    with pytest.raises(InputError, match="'columns' was"):
        Loader(source("stream", corpus, columns=["units"])).load_state(states["stream"])
    with pytest.raises(InputError, match="'shuffle' was"):
        Loader(source("stream", corpus, shuffle=7)).load_state(states["stream"])


@pytest.mark.parametrize("step", [-1, 1.5, "1", None, True])
def test_a_state_without_a_step_is_refused(corpus, step):
    loader = Loader(source("map", corpus))
    with pytest.raises(InputError, match="'step' is"):
        loader.load_state({**loader.state(), "step": step})


def test_moved_data_is_the_same_data(corpus, tmp_path):
    import shutil

    state = Loader(source("stream", corpus)).state()
    moved = Path(shutil.copytree(corpus.folder / "packs", tmp_path / "moved"))
    loader = Loader(Stream(Packs(moved, None), frames=9, batch=3, seed=1))
    loader.load_state(state)
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_arrives_as_its_one_line(corpus, tmp_path, workers):
    corpus.pack(tmp_path)
    for path in tmp_path.glob("*.tar"):
        path.write_bytes(path.read_bytes()[:-10240])
    loader = Loader(Stream(Packs(tmp_path, None), frames=9, batch=3, seed=1), workers)
    with pytest.raises(InputError, match=r"^[^\n]*\.tar: \d+ bytes, expected \d+: cut off[^\n]*--force[^\n]*$"):
        next(loader)
    loader.close()
