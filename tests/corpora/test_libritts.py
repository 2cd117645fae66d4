from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import HELLO, textgrid, touch, write
from vcpipe.corpora import libritts
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    """Two subsets, a sentence without texts, the tables of the chapters and a copy that a Mac left behind."""
    touch(
        root,
        "train-clean-100/103/1240/103_1240_000000_000001.wav",
        "train-clean-100/103/1240/103_1240_000002_000000.wav",
        "train-clean-100/103/1240/._103_1240_000000_000001.wav",
        "train-clean-100/103/1240/103_1240.trans.tsv",
        "dev-clean/84/121123/84_121123_000007_000001.wav",
        "speakers.tsv",
    )
    name = "train-clean-100/103/1240/103_1240_000000_000001"
    return write(root, {f"{name}.original.txt": "Hello, world of 1882!\n", f"{name}.normalized.txt": "Hello, world!\n"})


def settings(root: Path, **keys: object) -> libritts.Settings:
    return libritts.Settings.model_validate({"kind": "libritts", "root": str(root), **keys})


def test_the_official_tree_is_listed_with_speakers_chapters_texts_and_splits(tmp_path: Path) -> None:
    found = {c.utt_id: c for c in libritts.scan(settings(miniature(tmp_path)), tmp_path)}
    assert len(found) == 3
    first = found["103_1240_000000_000001"]
    assert (first.speaker, first.group, first.text, first.split) == ("103", "103_1240", "Hello, world!", "train")
    assert first.path == "train-clean-100/103/1240/103_1240_000000_000001.wav"
    assert found["103_1240_000002_000000"].text == ""
    assert (found["84_121123_000007_000001"].speaker, found["84_121123_000007_000001"].split) == ("84", "valid")


def test_the_original_text_can_be_taken(tmp_path: Path) -> None:
    found = libritts.scan(settings(miniature(tmp_path), text="original", subsets={"train-clean-100": "auto"}), tmp_path)
    assert [(c.text, c.split) for c in found] == [("Hello, world of 1882!", ""), ("", "")]


def test_a_missing_subset_and_a_foreign_name_are_named(tmp_path: Path) -> None:
    root = miniature(tmp_path)
    with pytest.raises(InputError, match="test-clean: no such subset of LibriTTS; found dev-clean, train-clean-100"):
        libritts.scan(settings(root, subsets={"test-clean": "test"}), root)
    touch(root, "dev-clean/84/121123/84-121123-0001.wav")
    with pytest.raises(InputError, match=r"84-121123-0001\.wav: expected a name like 84_121123_000007_000001\.wav"):
        libritts.scan(settings(root), root)


def test_alignments_are_found_by_name_below_a_folder_or_beside(tmp_path: Path) -> None:
    root, utt_id = miniature(tmp_path / "corpus"), "103_1240_000000_000001"
    assert list(libritts.alignments(settings(root), root, [utt_id])) == []
    write(tmp_path / "mfa" / "103", {f"{utt_id}.TextGrid": textgrid(HELLO)})
    found = dict(libritts.alignments(settings(root, alignments=str(tmp_path / "mfa")), root, [utt_id]))
    assert [w.text for w in found[utt_id]] == ["", "Hello", "world", ""]
    write(root / "train-clean-100" / "103" / "1240", {f"{utt_id}.TextGrid": textgrid(HELLO)})
    assert dict(libritts.alignments(settings(root), root, [utt_id])) == found


def test_where_the_alignments_lie_is_not_what_the_recordings_are(tmp_path: Path) -> None:
    assert settings(tmp_path).content() == settings(tmp_path, alignments="mfa").content()
    assert settings(tmp_path).content() != settings(tmp_path, text="original").content()
