"""Walking a tree of recordings: links, loops, folders that cannot be read, names that are not UTF-8."""

import os
from pathlib import Path

import pytest

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in audio_files(root)]


def test_recordings_come_in_order_and_nothing_else_does(tmp_path: Path) -> None:
    root = tree(tmp_path, "b/2.wav", "b/1.FLAC", "a/x/1.mp3", "z.ogg", "a/notes.txt", ".h/1.wav", "a/.1.wav")
    assert found(root) == ["z.ogg", "a/x/1.mp3", "b/1.FLAC", "b/2.wav"]


def test_a_linked_speaker_is_one_of_the_corpus(tmp_path: Path) -> None:
    tree(tmp_path, "elsewhere/1.wav", "corpus/a/1.wav")
    (tmp_path / "corpus" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "c").symlink_to(tmp_path / "elsewhere")
    assert found(tmp_path / "corpus") == ["a/1.wav", "b/1.wav", "c/1.wav"]


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    tree(tmp_path, "corpus/a/1.wav", "corpus/b/2.wav")
    (tmp_path / "corpus" / "a" / "up").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "a" / "other").symlink_to(tmp_path / "corpus" / "b")
    (tmp_path / "corpus" / "b" / "back").symlink_to(tmp_path / "corpus" / "a")
    assert found(tmp_path / "corpus") == ["a/1.wav", "a/other/2.wav", "b/2.wav", "b/back/1.wav"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "a/1.wav", "b/1.wav")
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "b":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"/b: the folder cannot be read \(Permission denied\)"):
        found(tmp_path)


@pytest.mark.parametrize("name", [b"m\xfcller.wav", b"m\xfcller/1.wav"])
def test_a_name_that_is_not_utf8_is_refused_with_its_folder(tmp_path: Path, name: bytes) -> None:
    tree(tmp_path, "a/1.wav")
    tree(tmp_path, "a/" + os.fsdecode(name))
    with pytest.raises(InputError, match=r"/a: the name 'm\\udcfcller.*' in this folder is not UTF-8; rename it"):
        found(tmp_path)


def test_text_is_decoded_by_its_mark(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "a").write_bytes("é\n".encode(encoding))
        assert decoded(tmp_path / "a") == "é\n"
