"""What lies in a tar or zip archive, one regular file or folder after another; anything else is refused.

The tar headers are read here, not by `tarfile`: a stranger's archive then never makes more than one bounded header at
a time, and what it can say is small enough to test whole. Formats: POSIX.1-1988 (ustar), POSIX.1-2001 (pax) and GNU
long names. Standard library only.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

BLOCK = 512
MAX_HEADER = 1 << 16
"""Bytes of one pax or long-name header; a name may have 1024."""
MAX_DIRECTORY = 1 << 27
MAX_ENTRIES = 1_000_000
"""Bytes and entries of a zip's table of contents, which is read into memory at once."""
_KINDS = {
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "character device",
    b"4": "block device",
    b"6": "pipe",
    b"7": "contiguous file",
    b"S": "sparse file",
    b"K": "long link name",
    b"M": "continued file",
}
_MEANING = ("path", "linkpath", "size", "hdrcharset")
"""Keys of a pax header that change what a member is."""


class RefusedError(Exception):
    """An archive that is broken, or that holds what no corpus needs."""


DAMAGED = (OSError, EOFError, ValueError, RuntimeError, OverflowError, zipfile.BadZipFile, zlib.error, struct.error)
"""What the standard library raises for damaged archives."""


class Member(NamedTuple):
    """One entry. `blocks` gives a file's bytes and must be used up before the next entry is asked for."""

    name: str
    size: int
    is_folder: bool
    blocks: Iterator[bytes]


class _Bounded:
    """The unpacked stream, which gives as much as it is asked for, and no more than `most` altogether."""

    def __init__(self, source: IO[bytes], most: int) -> None:
        self.source, self.left, self.most = source, most, most

    def read(self, n: int) -> bytes:
        """Exactly `n` bytes."""
        out = b""
        while len(out) < n:
            piece = self._some(n - len(out))
            if not piece:
                raise RefusedError("it ends early")
            out += piece
        return out

    def _some(self, n: int) -> bytes:
        piece = self.source.read(n)
        self.left -= len(piece)
        if self.left < 0:
            raise RefusedError(f"it unpacks to more than {self.most} bytes")
        return piece

    def blocks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes and the rest of their last block, which is left out."""
        left = size
        while left:
            block = self.read(min(left, 1 << 18))
            left -= len(block)
            yield block
        self.read(-size % BLOCK)

    def only_zeros(self) -> None:
        """Reads to the end, so that a compressed stream is checked whole."""
        while piece := self._some(1 << 18):
            if piece.count(0) != len(piece):
                raise RefusedError("something follows its end")


@contextlib.contextmanager
def members(archive: Path, most: int) -> Iterator[Iterator[Member]]:
    """The members of a tar (plain, gz, bz2) or zip archive; which of them it is, its first bytes tell.

    Args:
        archive: the file.
        most: bytes that it may unpack to.

    Raises:
        RefusedError: for any other format and any other kind of member.
        DAMAGED: for what cannot be decompressed or read.
    """
    with contextlib.ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(open(archive, "rb"))
        head = raw.read(BLOCK)
        raw.seek(0)
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _check_directory(raw)
            yield _zip(stack.enter_context(zipfile.ZipFile(raw)))
            return
        if head[:2] == b"\x1f\x8b":
            raw = stack.enter_context(gzip.open(raw))  # type: ignore[arg-type]
        elif head[:3] == b"BZh":
            raw = stack.enter_context(bz2.open(raw))
        elif len(head) < BLOCK or head[257:262] != b"ustar":
            raise RefusedError("it is neither a tar (plain, gz, bz2) nor a zip archive")
        yield _tar(_Bounded(raw, most))


def _tar(stream: _Bounded) -> Iterator[Member]:
    said: dict[str, str] = {}  # by headers before the one of the file itself
    while any(head := stream.read(BLOCK)):
        if _sum(head) != _number(head[148:156]):
            raise RefusedError("a header's checksum is wrong")
        kind, size = head[156:157], _number(head[124:136])
        if kind in b"xgL":
            if size > MAX_HEADER:
                raise RefusedError(f"a header has {size} bytes, more than {MAX_HEADER}")
            text = b"".join(stream.blocks(size))
            if kind == b"L":
                said["path"] = _text(text.rstrip(b"\0"))
            elif kind == b"x":
                said |= _pax(text)
            elif any(key in _MEANING for key in _pax(text)):
                raise RefusedError("a global header renames or resizes what follows")
            continue
        name = said.get("path") or _ustar_name(head)
        if kind not in (b"0", b"\0", b"5"):
            raise RefusedError(f"'{name}' is a {_KINDS.get(kind, 'member of unknown kind')}")
        if "linkpath" in said:
            raise RefusedError(f"'{name}' has the target of a link")
        size = _decimal(said["size"]) if "size" in said else size
        is_folder = kind == b"5" or (kind == b"\0" and name.endswith("/"))
        if is_folder and size:
            raise RefusedError(f"'{name}' is a folder with {size} bytes")
        said = {}
        blocks = stream.blocks(size)
        yield Member(name, size, is_folder, blocks)
        if next(blocks, None) is not None:
            raise AssertionError(f"{name}: not all of it was used")
    if said:
        raise RefusedError("a header belongs to no member")
    stream.only_zeros()


def _sum(head: bytes) -> int:
    return sum(head[:148]) + 8 * 32 + sum(head[156:])


def _number(field: bytes) -> int:
    """An octal field, or GNU's binary one for what is too large."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.split(b"\0", 1)[0].strip()
    if digits.strip(b"01234567"):
        raise RefusedError(f"{field!r} in a header is not a number")
    return int(digits or b"0", 8)


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise RefusedError(f"'{text[:40]}' in a header is not a number")
    return int(text)


def _ustar_name(head: bytes) -> str:
    name, prefix = head[:100].split(b"\0", 1)[0], head[345:500].split(b"\0", 1)[0]
    return _text(prefix + b"/" + name if head[257:263] == b"ustar\0" and prefix else name)


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise RefusedError(f"the name {name[:80]!r} is not UTF-8") from None


def _pax(text: bytes) -> dict[str, str]:
    """The records `<length> <key>=<value>` with a line feed each, those that matter."""
    out = {}
    while text:
        length, blank, _ = text.partition(b" ")
        if not (blank and length.isdigit() and len(length) < 6 and len(length) + 3 <= int(length) <= len(text)):
            raise RefusedError("a pax header is broken")
        record, text = text[len(length) + 1 : int(length)], text[int(length) :]
        key, equals, value = record[:-1].partition(b"=")
        if not equals or record[-1:] != b"\n":
            raise RefusedError("a pax header is broken")
        if key.startswith(b"GNU.sparse"):
            raise RefusedError("it holds a sparse file")
        if _text(key) in _MEANING:
            out[_text(key)] = _text(value)
    if out.pop("hdrcharset", "UTF-8") not in ("UTF-8", "ISO-IR 10646 2000 UTF-8"):
        raise RefusedError("its names are not in UTF-8")
    return out


def _check_directory(raw: IO[bytes]) -> None:
    """Refuses a zip whose table of contents would not fit, before anybody reads it whole."""
    length = raw.seek(0, 2)
    first = max(0, length - 65557)
    raw.seek(first)
    tail = raw.read()
    end = at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise RefusedError("it ends early")
    size: int = struct.unpack_from("<L", tail, at + 12)[0]
    if size == 0xFFFFFFFF and (wide := tail.rfind(b"PK\x06\x06", 0, at)) >= 0 and len(tail) - wide >= 48:
        end, size = wide, struct.unpack_from("<Q", tail, wide + 40)[0]
    if size > MAX_DIRECTORY:
        raise RefusedError(f"its table of contents has {size} bytes, more than {MAX_DIRECTORY}")
    raw.seek(max(0, first + end - size))  # what it says of their number nobody holds it to
    if raw.read(size).count(b"PK\x01\x02") > MAX_ENTRIES:
        raise RefusedError(f"it has more than {MAX_ENTRIES} members")
    raw.seek(0)


def _zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        name, mode = info.orig_filename, info.external_attr >> 16
        if info.flag_bits & 1:
            raise RefusedError(f"'{name}' is encrypted")
        if not info.flag_bits & 0x800 and not name.isascii():
            raise RefusedError(f"the name '{name}' is in no known encoding")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise RefusedError(f"'{name}' is neither a file nor a folder")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
            raise RefusedError(f"'{name}' is packed in a way that is not known")
        if (stat.S_IFMT(mode) == stat.S_IFDIR) > name.endswith("/") or (name.endswith("/") and info.file_size):
            raise RefusedError(f"'{name}' is a folder and a file at once")
        yield Member(name, info.file_size, name.endswith("/"), _zip_blocks(archive, info))


def _zip_blocks(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    if info.is_dir():
        return
    with archive.open(info) as f:
        while block := f.read(1 << 18):
            yield block
