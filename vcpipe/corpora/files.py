"""What corpora share: walking a tree of recordings, and the small text beside one. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vcpipe.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")


def audio_files(root: Path) -> Iterator[Path]:
    """Recordings below a folder in sorted order; hidden files and folders, and other files, are passed over."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set `root` of the corpus in config.yaml to where its recordings lie")
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def read_text(path: Path) -> str:
    """A transcript as one line; empty where there is none."""
    if not path.is_file():
        return ""
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split())


def recordings(given: Sequence[Path], option: str) -> list[Path]:
    """Files as they are given and the recordings of the folders, in order; `option` is named in an error."""
    out: list[Path] = []
    for path in given:
        if path.is_dir():
            found = list(audio_files(path))
            if not found:
                raise InputError(f"{option} {path}: no wav, flac, ogg or mp3 recording in this folder; give another")
            out += found
        elif path.is_file():
            out.append(path)
        else:
            raise InputError(f"{option} {path}: no such file or folder; give a recording, or a folder of them")
    if not out:
        raise InputError(f"{option}: no recording given; give a wav, flac, ogg or mp3 file, or a folder of them")
    return out
