"""Unpacks a stranger's tar or zip archive: whole and within its folder, or not at all.

Only regular files and folders with plain names are taken. They are written into a folder of their own, and moved to
their places when the whole archive has been read; what is there already must be the same. Standard library only.
"""

from __future__ import annotations

import errno
import filecmp
import os
import re
import shutil
import unicodedata
from pathlib import Path
from typing import NamedTuple

from vcpipe.corpora.members import DAMAGED, Member, RefusedError, members
from vcpipe.errors import InputError


class Limits(NamedTuple):
    """What an archive may hold. `ratio` is how many times its own size (beyond 1 MiB) it may unpack to."""

    members: int = 1_000_000
    file_bytes: int = 8 << 30
    total_bytes: int = 256 << 30
    ratio: int = 50


MAX_NAME = 255
MAX_PATH = 1024
MAX_DEPTH = 32
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE | re.DOTALL)


def unpack(archive: Path, folder: Path, limits: Limits = Limits()) -> list[str]:  # noqa: B008 (a tuple cannot change)
    """Unpacks an archive into a folder, which may hold other things already.

    Args:
        archive: tar (plain, gz, bz2) or zip.
        folder: made when it is not there.
        limits: what is too much.

    Returns:
        The paths below `folder` that hold everything: whole folders where the folder was new.

    Raises:
        InputError: one line that names the archive and what is wrong with it; then nothing of it is left in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{archive.name}.unpacking"
    try:
        _clear(beside)
        beside.mkdir()
        _write_all(archive, beside, limits)
        _check_places(beside, folder, archive)
        return sorted(_settle(beside, folder, ""))
    except (RefusedError, *DAMAGED) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        todo = "make room" if full else "fetch it again, or look into it and unpack it by hand"
        raise InputError(f"{archive}: cannot be unpacked ({_line(error)}); {todo}") from None
    finally:
        _clear(beside)


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).replace("\n", " ")[:300]


def _clear(folder: Path) -> None:
    """Removes what this or a killed process left."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _write_all(archive: Path, folder: Path, limits: Limits) -> None:
    most = min(limits.total_bytes, limits.ratio * archive.stat().st_size + (1 << 20))
    count = total = 0
    seen: dict[str, tuple[str, str]] = {}
    with members(archive, most) as found:
        for member in found:
            count, total = count + 1, total + member.size
            if count > limits.members:
                raise RefusedError(f"it has more than {limits.members} members")
            if member.size > limits.file_bytes:
                raise RefusedError(f"'{member.name}' has {member.size} bytes, more than {limits.file_bytes}")
            if total > most:
                raise RefusedError(f"it unpacks to more than {most} bytes")
            for made in _new_folders(member, parts := plain_parts(member.name, member.is_folder), seen):
                (folder / made).mkdir()
            if not member.is_folder:
                _write(member, folder.joinpath(*parts))
    if not seen:
        raise RefusedError("it holds nothing")


def _write(member: Member, path: Path) -> None:
    if member.size > (free := shutil.disk_usage(path.parent).free):
        raise OSError(errno.ENOSPC, f"'{member.name}' needs {member.size} bytes on the disk, {free} are free")
    got = 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o644), "wb") as f:
        for block in member.blocks:
            got += len(block)
            if got > member.size:
                break
            f.write(block)
    if got != member.size:
        raise RefusedError(f"'{member.name}' has other than the {member.size} bytes that it declares")


def plain_parts(name: str, is_folder: bool = False) -> list[str]:
    """The parts of a member's name; a leading `./` and a folder's last `/` are left out.

    Raises:
        RefusedError: for a name that could lead out of a folder, or that some file system would not keep apart.
    """
    path = re.sub(r"^(\./)+", "", name)
    if is_folder:
        path = path.removesuffix("/")
        if path in (".", "") and name.startswith("."):
            return []  # the folder itself
    parts = path.split("/")
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise RefusedError(f"the name {name[:80]!r} is not UTF-8") from None
    wrong = ""
    if not path:
        wrong = "is empty"
    elif len(encoded) > MAX_PATH or len(parts) > MAX_DEPTH or any(len(p.encode()) > MAX_NAME for p in parts):
        wrong = "is too long"
    elif path.startswith("/") or re.match("[A-Za-z]:", path):
        wrong = "is absolute"
    elif any(p in ("", ".", "..") for p in parts):
        wrong = "leads elsewhere"
    elif any(c in '\\:<>"|?*' or unicodedata.category(c)[0] == "C" for c in path):
        wrong = "has a character that no name should have"
    elif any(p != p.strip() or p.endswith(".") or _RESERVED.fullmatch(p) for p in parts):
        wrong = "is not allowed on every system"
    elif parts[0].startswith("."):
        wrong = "is hidden"
    if wrong:
        raise RefusedError(f"the name {name[:80]!r} {wrong}")
    return parts


def _new_folders(member: Member, parts: list[str], seen: dict[str, tuple[str, str]]) -> list[str]:
    """Notes a member, and answers the folders that must be made for it; names that differ only in case are twins."""
    out = []
    for n in range(1, len(parts) + 1):
        path = "/".join(parts[:n])
        wanted = "file" if n == len(parts) and not member.is_folder else "folder"
        key = unicodedata.normalize("NFC", path).casefold()
        spelling, kind = seen.get(key, (path, ""))
        if spelling != path:
            raise RefusedError(f"'{path}' and '{spelling}' are one name on some systems")
        if kind and (kind != wanted or wanted == "file"):
            raise RefusedError(f"'{path}' is there twice")
        if not kind:
            seen[key] = (path, wanted)
            if wanted == "folder":
                out.append(path)
    return out


def _check_places(source: Path, target: Path, archive: Path) -> None:
    """Refuses to write over anything, before anything is moved."""
    for entry in sorted(os.scandir(source), key=lambda e: e.name):
        place = target / entry.name
        if not os.path.lexists(place):
            continue
        if entry.is_dir() and place.is_dir() and not place.is_symlink():
            _check_places(source / entry.name, place, archive)
        elif entry.is_dir() or not _same(source / entry.name, place):
            raise InputError(
                f"{place}: expected nothing, or what {archive.name} holds under this name, found something else; "
                "move it away"
            )


def _settle(source: Path, target: Path, above: str) -> list[str]:
    out = []
    for name in sorted(os.listdir(source)):
        place = target / name
        if not os.path.lexists(place):
            os.rename(source / name, place)
        elif place.is_dir():
            out += _settle(source / name, place, f"{above}{name}/")
            continue
        out.append(above + name)
    return out


def _same(a: Path, b: Path) -> bool:
    return b.is_file() and not b.is_symlink() and filecmp.cmp(a, b, shallow=False)
