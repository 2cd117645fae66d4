"""The tars of a Lhotse Shar field: where each member lies and what its JSON says, without unpacking anything."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vcpipe.errors import InputError
from vcpipe.exchange.files import inside

MAX_JSON = 1 << 20
MAX_DATA = 1 << 30
EMPTY = (".nodata", ".nometa")


class Member(NamedTuple):
    """The data of one cut: bytes `[offset, offset + size)` of a tar, and the claims of the JSON that follows it."""

    tar: Path
    offset: int
    size: int
    suffix: str
    meta: dict[str, Any]

    def where(self, key: str) -> str:
        """For messages."""
        return f"{self.tar}: member {key}{self.suffix}"

    def read(self, key: str) -> bytes:
        """The bytes."""
        return _pread(self.tar, self.offset, self.size, self.where(key))


def members(tar: Path) -> Iterator[tuple[str, Member | None]]:
    """The pairs of data and JSON of a tar, by the id of their cut; None for a cut that is said to lack the field.

    Raises:
        InputError: naming the tar and member: for a link, device or sparse file, a name that leads out of a folder,
            a member beyond the end of the file or too large, and one without its pair.
    """
    total = tar.stat().st_size
    waiting: tuple[str, int, int, str] | None = None
    try:
        with tarfile.open(tar, "r:") as archive:
            for info in archive:
                archive.members.clear()  # type: ignore[attr-defined]
                _check(tar, info, total)
                key, suffix = os.path.splitext(info.name)
                if suffix in EMPTY:
                    yield key, None
                    continue
                if suffix != ".json":
                    if waiting:
                        raise _refused(f"{tar}: member {waiting[0]}{waiting[3]}", "is not followed by its .json")
                    waiting = key, info.offset_data, info.size, suffix
                    continue
                where = f"{tar}: member {info.name}"
                if waiting is None or waiting[0] != key:
                    raise _refused(where, "does not follow the data of the same name")
                if info.size > MAX_JSON:
                    raise _refused(where, f"has {info.size} bytes of JSON, at most {MAX_JSON} are read")
                meta = json_of(_pread(tar, info.offset_data, info.size, where), where)
                yield key, Member(tar, *waiting[1:], meta)
                waiting = None
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise _refused(str(tar), f"is not a plain tar, or is damaged ({str(error)[:120]})") from None
    if waiting:
        raise _refused(f"{tar}: member {waiting[0]}{waiting[3]}", "is not followed by its .json")


def json_of(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(where, "is not JSON") from None
    if not isinstance(value, dict):
        raise _refused(where, f"is a JSON {type(value).__name__}, expected an object")
    return value


def _check(tar: Path, info: tarfile.TarInfo, total: int) -> None:
    where = f"{tar}: member {info.name}"
    if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.sparse is not None:
        raise _refused(where, "is a link, folder, device or sparse file, expected plain files only")
    inside(info.name, where)
    if info.size < 0 or info.size > MAX_DATA or info.offset_data + info.size > total:
        raise _refused(where, f"claims {info.size} bytes at {info.offset_data}, the tar has {total}")


def _pread(path: Path, offset: int, size: int, where: str) -> bytes:
    with open(path, "rb") as f:
        data = os.pread(f.fileno(), size, offset)
    if len(data) != size:
        raise _refused(where, f"ends after {len(data)} of {size} bytes")
    return data


def _refused(where: str, what: str) -> InputError:
    return InputError(f"{where} {what}; write it again with lhotse's SharWriter, or leave it out")
