from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.corpora.miniature import HELLO, textgrid, touch, write
from vcpipe.corpora import lists, together, words
from vcpipe.corpora.speakers import read_sexes, write_sexes
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, read_table, shard_names
from vcpipe.sections import corpora
from vcpipe.settings import CorpusSettings, canonical, check

LIBRI = {"kind": "librispeech", "root": "LibriSpeech", "subsets": {"test-other": "test"}}
LJ = {"kind": "ljspeech", "root": "LJSpeech-1.1"}


def miniature(root: Path) -> Path:
    """Two readers of LibriSpeech, whose table knows a third one, and three sentences of LJSpeech."""
    touch(root / "LibriSpeech/test-other", "84/121123/84-121123-0000.flac", "174/50561/174-50561-0000.flac")
    readers = "84 | F | test-other\n174 | M | test-other\n533 | M | test-other\n"
    write(root / "LibriSpeech", {"SPEAKERS.TXT": readers})
    write(root / "LibriSpeech", {"test-other/84/121123/84-121123.trans.txt": "84-121123-0000 HELLO WORLD\n"})
    names = ("LJ001-0001", "LJ001-0002", "LJ002-0001")
    touch(root / "LJSpeech-1.1/wavs", *(f"{name}.wav" for name in names))
    write(root / "LJSpeech-1.1", {"metadata.csv": "".join(f"{name}|Text|text of {name}\n" for name in names)})
    return root


def settings(root: Path | str, /, **keys: Any) -> together.Settings:
    values = {"kind": "together", "root": str(root), "parts": {"libri": LIBRI, "lj": LJ}, **keys}
    return corpora({"corpora": {"both": values}})["both"]  # type: ignore[return-value]


def listed(both: CorpusSettings, folder: Path) -> dict[str, Candidate]:
    lists.refresh("both", both, folder)
    tables = (read_table(folder / f"lists/{name}.csv", Candidate) for name in shard_names(both.shards))
    return {c.utt_id: c for table in tables for c in table}


def test_the_parts_are_listed_as_they_are_with_paths_below_the_common_root(tmp_path: Path) -> None:
    found = {c.utt_id: c for c in together.scan(settings(miniature(tmp_path)), tmp_path)}
    assert list(found) == ["174-50561-0000", "84-121123-0000", "LJ001-0001", "LJ001-0002", "LJ002-0001"]
    assert found["84-121123-0000"] == Candidate(
        utt_id="84-121123-0000",
        speaker="84",
        path="LibriSpeech/test-other/84/121123/84-121123-0000.flac",
        text="HELLO WORLD",
        language="en",
        group="84-121123",
        split="test",
    )
    assert found["LJ002-0001"] == Candidate(
        "LJ002-0001", "LJ", "LJSpeech-1.1/wavs/LJ002-0001.wav", "text of LJ002-0001", "en", "LJ002"
    )
    assert all((tmp_path / c.path).is_file() for c in found.values())


def test_official_splits_stay_and_what_is_left_is_held_out_by_the_whole(tmp_path: Path) -> None:
    root = miniature(tmp_path / "data")
    counts = lists.refresh("both", settings(root, valid_share=0.4), tmp_path / "out")
    assert counts["test"] == 2 and counts["valid"] >= 1 and counts["train"] + counts["valid"] == 3
    write(tmp_path / "splits", {"test.csv": "audio_path\nLJSpeech-1.1/wavs/LJ001-0002.wav\n"})
    assert lists.refresh("both", settings(root, splits=str(tmp_path / "splits")), tmp_path / "out")["test"] == 3


def test_a_part_may_be_given_by_its_whole_path_or_be_the_root_itself(tmp_path: Path) -> None:
    root = miniature(tmp_path / "data")
    whole = settings(root, parts={"libri": LIBRI, "lj": {**LJ, "root": str(root / "LJSpeech-1.1")}})
    assert listed(whole, tmp_path / "a") == listed(settings(root), tmp_path / "b")
    alone = settings(root / "LJSpeech-1.1", parts={"lj": {**LJ, "root": "."}})
    assert listed(alone, tmp_path / "c")["LJ001-0001"].path == "wavs/LJ001-0001.wav"


def test_where_the_parts_lie_and_what_they_are_called_is_not_content(tmp_path: Path) -> None:
    both = settings(tmp_path)
    moved = {"b": {**LJ, "root": "elsewhere"}, "a": {**LIBRI, "root": "x/y", "subsets": {"dev-clean": "auto"}}}
    assert canonical(both.content()) == canonical(settings("/other", parts=moved, shards=9).content())
    raw = {"libri": LIBRI, "lj": {**LJ, "text": "raw"}}
    assert both.content() != settings(tmp_path, parts=raw).content()
    assert both.content() != settings(tmp_path, parts={"libri": LIBRI}).content()


def test_the_settings_that_a_job_is_given_are_those_of_the_config(tmp_path: Path) -> None:
    both = settings(tmp_path, splits="s", shards=7)
    assert check(together.Settings, json.loads(both.model_dump_json()), "corpus") == both


def test_sexes_are_those_that_each_part_says_of_its_own_speakers(tmp_path: Path) -> None:
    root = touch(miniature(tmp_path / "data"), "mine/533/a.wav")
    parts = {"libri": LIBRI, "lj": LJ, "mine": {"kind": "folder", "root": "mine"}}
    write_sexes(settings(root, parts=parts), tmp_path / "speakers.json")
    assert read_sexes(tmp_path / "speakers.json") == {"84": "F", "174": "M", "LJ": "F"}


def test_words_are_found_where_each_part_has_them_and_a_later_one_is_noticed(tmp_path: Path) -> None:
    root = touch(miniature(tmp_path / "data"), "songs/popcs-a/0000_wf0.wav")  # a kind without words
    chapter = '84-121123-0000 ",HELLO,WORLD," "0.3,0.5,0.9,1.2"\n'
    write(root, {"LibriSpeech/test-other/84/121123/84-121123.alignment.txt": chapter})
    parts = {"songs": {"kind": "popcs", "root": "songs"}, "libri": LIBRI, "lj": {**LJ, "alignments": "mfa"}}
    write(root, {"mfa/wavs/LJ001-0002.TextGrid": textgrid([(0.0, 0.5, "text")])})
    both = settings(root, parts=parts, shards=1)
    before = words.digest(both)
    listed(both, tmp_path)
    words.write_words(both, tmp_path / "lists/000.csv", tmp_path / "words.jsonl")
    found = words.read_words(tmp_path / "words.jsonl")
    assert sorted(found) == ["84-121123-0000"]
    assert [text for text, *_ in found["84-121123-0000"]] == ["", "HELLO", "WORLD", ""]
    write(root, {"mfa/LJ001-0001.TextGrid": textgrid(HELLO)})
    assert words.digest(both) != before


@pytest.mark.parametrize(
    ("more", "names", "message"),
    [
        ({"kind": "ljspeech", "root": "copy"}, ["copy/wavs/LJ001-0001.wav"], "the speaker 'LJ'"),
        ({"kind": "folder", "root": "mine"}, ["mine/84/u.wav"], "the speaker '84'"),
        ({"kind": "utau", "root": "bank"}, ["bank/84-121123-0000.wav"], "the utterance '84-121123-0000'"),
    ],
)
def test_parts_that_share_a_name_are_refused_and_both_named(
    tmp_path: Path, more: dict[str, Any], names: list[str], message: str
) -> None:
    root = touch(miniature(tmp_path), *names)
    write(root, {"copy/metadata.csv": "", "bank/oto.ini": "84-121123-0000.wav=a,0,0,0,0,0\n"})
    both = settings(root, parts={"libri": LIBRI, "lj": LJ, "more": more})
    with pytest.raises(InputError, match=rf"parts\.(libri|lj) and parts\.more: both have {message} "):
        together.scan(both, root)


def test_a_part_without_recordings_is_refused(tmp_path: Path) -> None:
    root = miniature(tmp_path)
    (root / "empty").mkdir()
    both = settings(root, parts={"lj": LJ, "more": {"kind": "folder", "root": "empty"}})
    with pytest.raises(InputError, match=rf"parts\.more: no recordings found in {root}/empty; set its `root`"):
        together.scan(both, root)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, r"'corpora\.both\.parts': Dictionary should have at least 1 item"),
        ({"a": "LJSpeech"}, r"'corpora\.both\.parts\.a': expected a mapping with a `kind`"),
        ({"a": {"kind": "lispeech"}}, r"parts\.a': no kind of corpus is called 'lispeech'; did you mean 'ljspeech'\?"),
        ({"a": {"kind": "demo"}}, r"parts\.a': recordings of kind demo are made, not found"),
        ({"a": {"kind": "together", "root": "x"}}, r"parts\.a': .*name the parts of the other one here"),
        ({"a": {**LJ, "texts": "raw"}}, r"parts\.a': kind ljspeech has no key 'texts'; did you mean 'text'\?"),
        ({"a": {**LJ, "text": "spoken"}}, r"'corpora\.both\.parts\.a\.text': .*found 'spoken'"),
        ({"a": {"kind": "ljspeech"}}, r"'corpora\.both\.parts\.a\.root' .*is missing; add `root"),
        ({"a": {**LJ, "shards": 2}}, r"parts\.a': `shards` is of all parts together; set it beside `parts`"),
        ({"a": {**LJ, "root": "../LJ"}}, r"parts\.a\.root: expected a folder below /data, found \.\./LJ; set `root`"),
        ({"a": {**LJ, "root": "/database/LJ"}}, r"parts\.a\.root: expected a folder below /data, found /database/LJ"),
        ({"a": {**LJ, "alignments": "/mfa"}}, r"parts\.a\.alignments: expected a folder below /data, found /mfa"),
    ],
)
def test_what_cannot_be_a_part_is_refused_by_its_key(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings("/data", parts=parts)


def test_real_speakers_of_librispeech_and_ljspeech_are_one_corpus(real_data: Path, tmp_path: Path) -> None:
    both = settings(real_data / "corpora")
    found = listed(both, tmp_path)
    assert len({c.speaker for c in found.values()}) == 7 and all(c.text and c.stamp for c in found.values())
    lj = [c for c in found.values() if c.speaker == "LJ"]
    assert len(lj) == 24 and lj[0].path.startswith("LJSpeech-1.1/wavs/")
    assert all((real_data / "corpora" / c.path).is_file() for c in found.values())
    sexes = together.sexes(both)
    assert sexes["LJ"] == "F" and sorted(sexes) == sorted({c.speaker for c in found.values()})
