from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.corpora.miniature import HELLO, textgrid, touch, write
from vcpipe.corpora import folder
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    """Two speakers whose recordings are called alike, one recording of another name."""
    touch(root, "ann/u0.wav", "bob/u0.wav", "bob/mon/only.flac")
    return write(root, {"ann/u0.txt": "Hello,\nworld!\n"})


def settings(root: Path, alignments: Path | None = None) -> folder.Settings:
    return folder.Settings(kind="folder", root=str(root), language="en", alignments=str(alignments or ""))


def words(root: Path, alignments: Path | None = None) -> dict[str, list[str]]:
    ids = ["ann/u0", "bob/u0", "bob/mon/only", "nobody/u0"]
    return {k: [w.text for w in v] for k, v in folder.alignments(settings(root, alignments), root, ids)}


def test_the_first_folder_is_the_speaker_and_the_path_the_id(tmp_path: Path) -> None:
    found = folder.scan(settings(miniature(tmp_path)), tmp_path)
    assert [(c.utt_id, c.speaker, c.group, c.text) for c in found] == [
        ("ann/u0", "ann", "ann", "Hello, world!"),
        ("bob/u0", "bob", "bob", ""),
        ("bob/mon/only", "bob", "bob/mon", ""),
    ]


def test_alignments_lie_beside_the_recordings(tmp_path: Path) -> None:
    root = miniature(tmp_path)
    assert words(root) == {}
    write(root, {"ann/u0.TextGrid": textgrid(HELLO), "bob/mon/only.TextGrid": textgrid(HELLO)})
    assert words(root) == {"ann/u0": ["", "Hello", "world", ""], "bob/mon/only": ["", "hello", "world", ""]}


def test_alignments_lie_in_a_folder_of_the_same_shape_or_anywhere_by_a_name_of_their_own(tmp_path: Path) -> None:
    root, mfa = miniature(tmp_path / "corpus"), tmp_path / "mfa"
    write(mfa, {"bob/u0.TextGrid": textgrid(HELLO), "flat/only.textgrid": textgrid(HELLO)})
    with pytest.raises(
        InputError, match=r"bob/u0\.TextGrid: ann/u0 is not the only .* move its own to .*ann/u0\.TextGrid"
    ):
        words(root, mfa)
    write(mfa, {"ann/u0.TextGrid": textgrid(HELLO)})
    assert set(words(root, mfa)) == {"ann/u0", "bob/u0", "bob/mon/only"}
    write(mfa, {"flat/again/only.TextGrid": textgrid(HELLO)})
    with pytest.raises(InputError, match=r"bob/mon/only is not the only .* or it has several TextGrids"):
        words(root, mfa)


def test_an_alignment_of_another_text_is_left_out_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(miniature(tmp_path), {"ann/u0.txt": "Hello, wide world!", "ann/u0.TextGrid": textgrid(HELLO)})
    with caplog.at_level(logging.WARNING):
        assert words(root) == {}
    assert (
        "ann/u0.TextGrid: its 2 words are not those of the transcript: Hello, wide world!; ann/u0 goes" in caplog.text
    )


def test_a_link_that_leads_back_ends_the_search(tmp_path: Path) -> None:
    root, mfa = miniature(tmp_path / "corpus"), tmp_path / "mfa"
    write(mfa, {"only.TextGrid": textgrid(HELLO)})
    (mfa / "up").symlink_to(mfa)
    assert set(words(root, mfa)) == {"bob/mon/only"}


def test_where_the_alignments_lie_is_not_what_the_recordings_are(tmp_path: Path) -> None:
    assert settings(tmp_path).content() == settings(tmp_path, tmp_path).content()
    assert "alignments" not in settings(tmp_path).content()
