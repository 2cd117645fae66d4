"""Folders that appear whole or not at all, names that stay inside them, and the few kinds of file in them."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance

UNSAFE = set('/\\|,:*?"<>')
"""Characters that separate fields or folders in one of the layouts, or that some file systems refuse."""
MAX_NAME_BYTES = 200


@contextmanager
def whole_folder(to: Path) -> Iterator[Path]:
    """Gives a folder beside `to`, which takes its name when the `with` block succeeds.

    On an error nothing is left, and what a killed process left of the same folder is removed.

    Raises:
        InputError: when `to` is there already and is not an empty folder.
    """
    to = Path(os.path.abspath(to))
    if to.is_symlink() or (to.exists() and not to.is_dir()):
        raise InputError(f"{to}: expected a new or empty folder, found a file or link; give another --to")
    if to.is_dir() and any(to.iterdir()):
        raise InputError(f"{to}: expected a new or empty folder, found one with files; empty it, or give another --to")
    to.parent.mkdir(parents=True, exist_ok=True)
    for stale in to.parent.glob(f".{glob.escape(to.name)}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    tmp = to.with_name(f".{to.name}.{os.getpid()}.tmp")
    tmp.mkdir()
    try:
        yield tmp
        os.replace(tmp, to)
    except BaseException:
        shutil.rmtree(tmp, ignore_errors=True)
        raise


def safe_name(text: str) -> str:
    """One file or folder name for an id: what separates fields or folders in a layout becomes `_`; letters stay.

    Raises:
        InputError: for an id that leaves no usable name.
    """
    name = "".join("_" if c in UNSAFE or not c.isprintable() else c for c in text)
    if name.strip(" .") == "" or name.startswith(".") or len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        raise InputError(f"{text!r}: cannot be a file name of an export; give the utterance or speaker another name")
    return name


def own_name(u: Utterance) -> str:
    """The file name of an utterance in its speaker's folder, without the folder where the id begins with it."""
    return safe_name(u.utt_id.removeprefix(f"{u.speaker}/"))


def distinct(places: Iterable[tuple[str, str]]) -> None:
    """Refuses two ids that an export would write to one place; `places` are pairs of place and id.

    Places that differ in case only are one place to some file systems, so they are refused too.
    """
    seen: dict[str, str] = {}
    for place, name in places:
        if seen.setdefault(place.casefold(), name) != name:
            raise InputError(
                f"{seen[place.casefold()]!r} and {name!r} would both be written as {place}; rename one of them"
            )


def inside(path: str, where: str) -> PurePosixPath:
    """A relative path that stays in its folder, as it is.

    Args:
        path: with forward slashes.
        where: what names it, for the error.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path or "\\" in path:
        raise InputError(f"{where}: expected a path inside its folder, found {path!r}; correct it")
    return pure


def files_below(root: Path, suffix: str) -> list[Path]:
    """The files of a suffix below a folder, sorted; hidden ones are passed over, links to folders not followed.

    Raises:
        InputError: when there are none, and for a name that is not UTF-8.
    """
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(suffix) and not name.startswith("."):
                found.append(Path(folder, name))
    if not found:
        raise InputError(f"{root}: expected *{suffix} files below this folder, found none; give another --from")
    for path in found:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise InputError(f"{root}: the name {path.name!r} below it is not UTF-8; rename it") from None
    return found


def write_wav(path: Path, blocks: Iterable[NDArray[Any]], rate: int, form: str = "WAV") -> None:
    """Writes blocks `(n, 1)` or `(n,)` in [-1, 1] as 16-bit mono WAV or FLAC, in constant memory."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out, soundfile.SoundFile(out, "w", rate, 1, "PCM_16", format=form) as f:
        for block in blocks:
            f.write(np.clip(block.reshape(-1), -1, 1))


def write_npy(path: Path, array: NDArray[Any]) -> None:
    """Writes an array as `.npy`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def write_pt(path: Path, value: Any) -> None:
    """Writes a tensor, or a tuple of tensors and numbers, as PyTorch reads it with `weights_only=True`."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(value, path)


def write_list(path: Path, lines: Iterable[str]) -> None:
    """Writes lines of text in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.writelines(f"{line}\n" for line in lines)
