"""Hostile archives through every reader of archives: refused, or read as plain numbers, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import webdataset

from tests.corpora.hostile import HOSTILE, HOSTILE_TARS, NFC, NFD
from tests.corpora.tars import entry, header, pax, tar
from tests.packs.conftest import make_corpus
from vcpipe.corpora.unpack import Limits, unpack
from vcpipe.errors import InputError
from vcpipe.exchange.shar_tars import members
from vcpipe.packs.decode import decode
from vcpipe.packs.stream import Packs, Stream

CLASSES = {
    "parent folder": entry(b"../evil", b"x"),
    "absolute": entry(b"/tmp/evil", b"x"),
    "chain of symbolic links": header(b"a", kind=b"2") + header(b"a/b", kind=b"2") + entry(b"a/b/evil", b"x"),
    "hard link": entry(b"a", b"x") + header(b"b", kind=b"1") + entry(b"b", b"evil"),
    "device": header(b"zero", kind=b"3"),
    "duplicate": entry(b"a", b"1") + entry(b"a", b"2"),
    "sparse bomb": pax(GNU__sparse__size=str(1 << 50)) + entry(b"a", b"x"),
    "long name": pax(path="n" * 300) + entry(b"a", b"x"),
    "NFD twin": entry(NFC, b"1") + entry(NFD, b"2"),
    "reserved name": entry(b"aux.wav", b"x"),
}
"""The classes that every reader is held against, one of each."""
ALL = {**HOSTILE_TARS, **{f"class: {what}": tar(data) for what, data in CLASSES.items()}}
Reader = Callable[[Path], object]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with kind and size."""
    return {str(p): (p.lstat().st_mode, p.lstat().st_size) for p in sorted(folder.rglob("*"))}


def refusals(folder: Path, reader: Reader, archives: dict[str, bytes]) -> Counter[str]:
    """How many archives are refused, and how many are read; in both cases nothing may change around them."""
    found: Counter[str] = Counter()
    for what, data in archives.items():
        (folder / "x.tar").write_bytes(data)
        before = snapshot(folder)
        try:
            reader(folder / "x.tar")
        except (InputError, tarfile.TarError):
            found["refused"] += 1
        else:
            found[f"read: {what}"] += 1
        assert snapshot(folder) == before, what
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder too, so that a relative name is seen wherever it leads."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    return tmp_path


def test_the_extractor_of_corpora_refuses_them_all(place: Path) -> None:
    limits = Limits(members=1000, file_bytes=30 << 20, ratio=100)
    target = place / "deep" / "er" / "out"
    target.mkdir()
    archives = {**HOSTILE, **ALL}
    assert len(archives) > 40
    assert refusals(place, lambda path: unpack(path, target, limits), archives) == {"refused": len(archives)}


def test_the_reader_of_shar_refuses_them_all(place: Path) -> None:
    def read(path: Path) -> None:
        if not [key for key, _ in members(path)]:
            raise InputError("nothing in it")

    assert refusals(place, read, ALL) == {"refused": len(ALL)}


def test_the_decoder_of_packs_takes_nothing_from_them(place: Path) -> None:
    """Through webdataset's own reader, which passes over most; it believes the size of a sparse file, ours does not."""
    archives = {what: data for what, data in ALL.items() if what != "class: sparse bomb"}

    def read(path: Path) -> None:
        if not list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).map(decode)):
            raise InputError("no sample in it")

    assert refusals(place, read, archives) == {"refused": len(archives)}


def packed(place: Path) -> Path:
    corpus = make_corpus(place / "corpus", [f"u{n}" for n in range(6)], low=3000, high=4000)
    corpus.pack(place / "packs", n_tars=1)
    return place / "packs"


def epoch(folder: Path) -> None:
    source = Stream(Packs(folder, None), frames=2, batch=2, seed=0)
    for step in range(len(source)):
        source[step]
    source.close()


def test_the_reader_of_packs_finds_that_they_are_not_its_tars(place: Path) -> None:
    folder = packed(place)

    def read(path: Path) -> None:
        (folder / "000000.tar").write_bytes(path.read_bytes())
        try:
            epoch(folder)
        finally:
            (folder / "000000.tar").write_bytes(b"")

    epoch(folder)
    (folder / "000000.tar").write_bytes(b"")
    assert refusals(place, read, ALL) == {"refused": len(ALL)}


def test_with_an_index_that_goes_with_them_they_are_numbers_at_most(place: Path) -> None:
    """Who writes the tars may write the index too: then offsets lead to numbers within the file, or are refused."""
    folder = packed(place)
    index = json.loads((folder / "index.json").read_text())
    good = (folder / "000000.tar").read_bytes()
    for what, data in ALL.items():
        body = data[: len(good)] + good[len(data) :]  # the hostile headers first, offsets stay within
        (folder / "000000.tar").write_bytes(body)
        index["tars"][0] |= {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        (folder / "index.json").write_text(json.dumps(index))
        before = snapshot(place)
        with contextlib.suppress(InputError):
            epoch(folder)
        assert snapshot(place) == before, what


@pytest.mark.parametrize("name", ["../000000.tar", "/etc/passwd", "a/000000.tar", "000000.tar\n", "٠٠٠٠٠٠.tar"])
def test_an_index_names_no_file_elsewhere(place: Path, name: str) -> None:
    folder = packed(place)
    index = json.loads((folder / "index.json").read_text())
    index["tars"][0]["name"] = name
    (folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="not the index of packs"):
        Packs(folder, None)


def test_a_tar_of_packs_that_is_a_pipe_is_not_waited_for(place: Path) -> None:
    folder = packed(place)
    (folder / "000000.tar").unlink()
    os.mkfifo(folder / "000000.tar")
    with pytest.raises(InputError, match=r"000000\.tar: 0 bytes, expected"):
        epoch(folder)
