"""What corpora share: walking a tree of recordings, and the small text beside one. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vcpipe.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".aac", ".sph")
KINDS = ", ".join(suffix[1:] for suffix in SUFFIXES)


def audio_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[Path]:
    """Recordings below a folder in sorted order; hidden files and folders, and other files, are passed over.

    Links to folders are followed, but not one that leads back to a folder that it lies in.

    Args:
        root: of the corpus, or a part of it.
        suffixes: of recordings, in lower case; on disk they may be in any.

    Raises:
        InputError: for a folder that is not there or cannot be read, and for a name that is not UTF-8.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set `root` of the corpus in config.yaml to where its recordings lie")
    yield from _below(root, suffixes, frozenset())


def _below(folder: Path, suffixes: tuple[str, ...], above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """The recordings of one folder, then those of its folders; `above` has device and inode of those it lies in."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in above:
            return
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_dir()) for entry in found if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror}); correct its permissions") from None
    for name in sorted(name for name, is_dir in entries if not is_dir and name.lower().endswith(suffixes)):
        yield folder / _utf8(folder, name)
    for name in sorted(name for name, is_dir in entries if is_dir):
        yield from _below(folder / _utf8(folder, name), suffixes, above | {(status.st_dev, status.st_ino)})


def _utf8(folder: Path, name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{folder}: the name {name!r} in this folder is not UTF-8; rename it") from None
    return name


def subset_folder(root: Path, subset: str, corpus: str) -> Path:
    """One of the folders into which a corpus is cut; an InputError with those that are there when it is not."""
    folder = root / subset
    if not folder.is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise InputError(
            f"{folder}: no such subset of {corpus}; found {', '.join(found) or 'no folders'} in {root}; "
            "set `subsets` or `root` of the corpus"
        )
    return folder


def read_text(path: Path) -> str:
    """A transcript as one line; empty where there is none."""
    if not path.is_file():
        return ""
    return " ".join(path.read_text(encoding="utf-8", errors="replace").split())


def decoded(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its byte order mark; no mark is left.

    Raises:
        InputError: when it cannot be read or is neither, then with the line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the file cannot be read ({error.strerror}); correct its path or rights") from None
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: expected UTF-8 or UTF-16, found other bytes; save it as UTF-8") from None


def recordings(given: Sequence[Path], option: str) -> list[Path]:
    """Files as they are given and the recordings of the folders, in order; `option` is named in an error."""
    out: list[Path] = []
    for path in given:
        if path.is_dir():
            found = list(audio_files(path))
            if not found:
                raise InputError(f"{option} {path}: no recording in this folder ({KINDS}); give another")
            out += found
        elif path.is_file():
            out.append(path)
        else:
            raise InputError(f"{option} {path}: no such file or folder; give a recording, or a folder of them")
    if not out:
        raise InputError(f"{option}: no recording given; give a file ({KINDS}), or a folder of them")
    return out
