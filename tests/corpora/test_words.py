"""The tables of words: in the order of the list, with what has an alignment, in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.conftest import RATE, tone
from vcpipe.config import Config, load
from vcpipe.corpora import lists
from vcpipe.corpora.words import read_words, write_words
from vcpipe.errors import InputError

LISTED = "lists/000.csv"


def textgrid(*words: tuple[str, float, float]) -> str:
    """A TextGrid of Praat with one tier of words."""
    end = words[-1][2]
    items = "\n".join(
        f'        intervals [{i}]:\n            xmin = {a}\n            xmax = {b}\n            text = "{text}"'
        for i, (text, a, b) in enumerate(words, 1)
    )
    return (
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
        f"xmin = 0\nxmax = {end}\ntiers? <exists>\nsize = 1\nitem []:\n    item [1]:\n"
        '        class = "IntervalTier"\n        name = "words"\n'
        f"        xmin = 0\n        xmax = {end}\n        intervals: size = {len(words)}\n{items}\n"
    )


def corpus(root: Path, **settings: object) -> Config:
    for name in ("a", "b", "c"):
        path = root / "spk" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(1.0), RATE)
    raw = {"kind": "folder", "root": str(root), "shards": 1, **settings}
    return load({"corpora": {"mine": raw}})


def test_words_are_read_back_with_their_times_and_recordings_without_any_are_left_out(tmp_path: Path) -> None:
    checked = corpus(root := tmp_path / "corpus")
    said = (("", 0.0, 0.2), ("héllo", 0.2, 0.55), ("there", 0.55, 0.9), ("", 0.9, 1.0))
    for name in ("c", "a"):
        (root / "spk" / f"{name}.TextGrid").write_text(textgrid(*said), encoding="utf-8")
    lists.refresh("mine", checked.corpora["mine"], tmp_path)
    write_words(checked.corpora["mine"], tmp_path / LISTED, tmp_path / "words.jsonl")
    found = read_words(tmp_path / "words.jsonl")
    assert list(found) == ["spk/a", "spk/c"]
    for words in found.values():
        assert [text for text, _, _ in words] == ["", "héllo", "there", ""]
        assert [t for _, *times in words for t in times] == pytest.approx([0, 0.2, 0.2, 0.55, 0.55, 0.9, 0.9, 1.0])


def test_alignments_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    checked = corpus(tmp_path / "corpus", alignments=str(tmp_path / "grids"))
    (tmp_path / "grids" / "spk").mkdir(parents=True)
    (tmp_path / "grids" / "spk" / "b.TextGrid").write_text(textgrid(("yes", 0.0, 1.0)))
    lists.refresh("mine", checked.corpora["mine"], tmp_path)
    write_words(checked.corpora["mine"], tmp_path / LISTED, tmp_path / "words.jsonl")
    (words,) = read_words(tmp_path / "words.jsonl").values()
    assert ("yes", 0.0, 1.0) in words


def test_a_corpus_without_one_alignment_is_refused_with_where_it_looked(tmp_path: Path) -> None:
    checked = corpus(root := tmp_path / "corpus")
    lists.refresh("mine", checked.corpora["mine"], tmp_path)
    with pytest.raises(InputError, match=f"000.csv: none of 3 recordings .* in {root}; set `alignments`") as caught:
        write_words(checked.corpora["mine"], tmp_path / LISTED, tmp_path / "words.jsonl")
    assert "\n" not in str(caught.value) and not (tmp_path / "words.jsonl").exists()


def test_a_shard_without_recordings_has_no_words_and_is_no_error(tmp_path: Path) -> None:
    checked = corpus(tmp_path / "corpus", shards=40)
    lists.refresh("mine", checked.corpora["mine"], tmp_path)
    empty = next(p for p in sorted((tmp_path / "lists").glob("0*.csv")) if len(p.read_text().splitlines()) == 1)
    write_words(checked.corpora["mine"], empty, tmp_path / "words.jsonl")
    assert read_words(tmp_path / "words.jsonl") == {}


def test_a_kind_that_knows_no_words_says_what_to_do(tmp_path: Path) -> None:
    checked = load({"corpora": {"mine": {"kind": "voxceleb1", "root": str(tmp_path)}}})
    with pytest.raises(InputError, match="kind voxceleb1 have no word alignments; align them.*`kind: folder`"):
        write_words(checked.corpora["mine"], tmp_path / LISTED, tmp_path / "words.jsonl")


def test_a_table_that_was_not_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="words.jsonl: no such file; make it with `snakemake"):
        read_words(tmp_path / "words.jsonl")
