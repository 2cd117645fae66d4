import hashlib
import json
import tarfile
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.packs.conftest import MADE_BY, make_corpus
from vcpipe.columns import Variant
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance
from vcpipe.packs.names import utt_id_of
from vcpipe.packs.write import write_packs
from vcpipe.store import write_shard


def test_the_index_says_what_lies_where(corpus, packed):
    index = json.loads((packed / "index.json").read_text())
    assert index["made_by"] == MADE_BY
    assert index["columns"]["units"]["grid"] == "16000/320"
    assert index["columns"]["units"]["variants"] == [{"stage": "plain"}, {"stage": "matched"}]
    assert sorted(s["utt_id"] for t in index["tars"] for s in t["samples"]) == sorted(corpus.ids)
    assert [t["name"] for t in index["tars"]] == sorted(p.name for p in packed.glob("*.tar"))
    for tar in index["tars"]:
        data = (packed / tar["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (tar["bytes"], tar["sha256"])
        with tarfile.open(packed / tar["name"]) as f:
            members = {m.name: m for m in f}
        assert all(m.isreg() and m.mtime == m.uid == 0 and not m.uname for m in members.values())
        found = {}
        for name, m in members.items():
            key, _, suffix = name.partition(".")
            if suffix != "json":
                found.setdefault(utt_id_of(key), {})[suffix] = [m.offset_data, m.size]
        assert found == {s["utt_id"]: {k: v[:2] for k, v in s["members"].items()} for s in tar["samples"]}


def test_equal_input_gives_equal_bytes(corpus, packed, tmp_path):
    corpus.pack(tmp_path)
    shuffled = replace(corpus, rows=corpus.rows[::-1])
    shuffled.pack(tmp_path / "again")
    for path in packed.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("how", [{"n_tars": 5}, {"n_tars": None, "target_mib": 1.0}])
def test_tars_have_nearly_one_size(tmp_path, how):
    corpus = make_corpus(tmp_path, [f"u{i}" for i in range(200)])
    written = corpus.pack(tmp_path / "p", **how)
    sizes = [p.stat().st_size for p in (tmp_path / "p").glob("*.tar")]
    assert len(sizes) == written.tars == 5
    assert sum(sizes) == written.bytes
    assert max(sizes) / min(sizes) < 1.1


def test_each_tar_has_many_speakers(tmp_path):
    corpus = make_corpus(tmp_path, [f"u{i:03d}" for i in range(90)])
    rows = [replace(r, speaker=f"s{i // 30}") for i, r in enumerate(corpus.rows)]
    replace(corpus, rows=rows).pack(tmp_path / "p", n_tars=3)
    for path in (tmp_path / "p").glob("*.tar"):
        with tarfile.open(path) as f:
            speakers = {json.load(f.extractfile(m))["speaker"] for m in f if m.name.endswith(".json")}
        assert speakers == {"s0", "s1", "s2"}


def test_what_an_earlier_run_left_is_replaced(corpus, tmp_path):
    corpus.pack(tmp_path, n_tars=6)
    corpus.pack(tmp_path, n_tars=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000.tar", "000001.tar", "index.json"]


def test_without_an_end_there_is_no_index(corpus, tmp_path, monkeypatch):
    corpus.pack(tmp_path)
    from vcpipe.packs import write

    calls = []
    real = write.key_of

    def failing(utt_id):
        calls.append(utt_id)
        if len(calls) > 20:
            raise RuntimeError("power cut")
        return real(utt_id)

    monkeypatch.setattr(write, "key_of", failing)
    with pytest.raises(RuntimeError):
        corpus.pack(tmp_path)
    assert not (tmp_path / "index.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_utterances_that_a_column_lacks_are_named(corpus, tmp_path):
    variants = {**corpus.variants, "units": corpus.variants["units"][1:]}
    written = replace(corpus, variants=variants).pack(tmp_path)
    assert written.left_out == corpus.ids[:1]
    assert written.utterances == len(corpus.ids) - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"audio_columns": ["units"]}, "'units' has 6 columns on grid 16000/320, only single samples"),
        ({"audio_columns": ["wave"]}, "audio column 'wave' is none of"),
        ({"target_mib": 3.0}, "either target_mib or n_tars"),
        ({"n_tars": 0}, "either target_mib or n_tars"),
    ],
)
def test_settings_that_make_no_sense_are_refused(corpus, tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        corpus.pack(tmp_path, **options)


@pytest.mark.parametrize("form", ["flac", "npy16"])
def test_audio_beyond_one_is_refused_by_name(tmp_path, form):
    write_shard(
        tmp_path / "w.h5", [("u", np.full((400, 1), 1.5))], made_by={}, grid=Grid(16000, 1), dim=1, dtype="float32"
    )
    rows, columns = [Utterance("u", "s", "u", 400, 16000)], {"wav": [Variant((tmp_path / "w.h5",), None)]}
    with pytest.raises(InputError, match="u: 'wav': audio reaches 1.500"):
        write_packs(tmp_path / "p", columns, rows, made_by={}, n_tars=1, audio_columns=["wav"], audio_form=form)


def test_column_names_and_slices_are_checked(corpus, tmp_path):
    for name in ("Units", "a.b", "../x", "json", ""):
        with pytest.raises(InputError, match="a name has small letters"):
            write_packs(tmp_path, {name: corpus.variants["units"]}, corpus.rows, made_by={}, n_tars=1)
    newer = [Variant(corpus.variants["wav"][0].paths, {"stage": "newer"})]
    with pytest.raises(InputError, match="made under other settings"):
        write_packs(tmp_path, {"wav": newer}, corpus.rows, made_by={}, n_tars=1)


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    def peak(count):
        corpus = make_corpus(tmp_path / str(count), [f"u{i}" for i in range(count)], low=320_000, high=320_001)
        tracemalloc.start()
        try:
            corpus.pack(tmp_path / f"p{count}", n_tars=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few = peak(5)
    assert peak(25) < 1.2 * few
    assert np.prod([320_000, 4, 2]) < few < 20 * np.prod([320_000, 4])
