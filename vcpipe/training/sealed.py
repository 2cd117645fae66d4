"""Files of which every byte is checked before it is used, and small records that carry their own digest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

LOST = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.EIO, errno.EBADMSG, errno.EUCLEAN}
"""Errors at reading that mean damage; after others, such as a missing permission, the file may be good."""
SMALL = 1 << 20
"""Bytes; no record is longer."""


class DamagedError(Exception):
    """A file is not as it was written: which, what was expected and what was found."""


class Sum(NamedTuple):
    """What is known of a file: its size in bytes and its digest."""

    size: int
    blake2b: str

    def __str__(self) -> str:
        return f"{self.size} bytes with the blake2b {self.blake2b[:16]}"


def digest(content: bytes) -> str:
    """BLAKE2b in hex."""
    return hashlib.blake2b(content).hexdigest()


def write(path: Path, content: bytes) -> None:
    """Writes a new file and flushes it to the disk."""
    with open(path, "xb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())


def flushed(path: Path) -> Sum:
    """The sum of a file, which is flushed to the disk; holds no more than a block of it."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())
        return Sum(os.fstat(f.fileno()).st_size, hashlib.file_digest(f, hashlib.blake2b).hexdigest())


def read(path: Path, expected: Sum) -> bytes:
    """The bytes of a file, read once: those that are compared are those that are answered.

    Raises:
        DamagedError: when they are not as expected.
    """
    content = _bytes(path, expected.size)
    found = Sum(len(content), digest(content))
    if found != expected:
        raise DamagedError(f"{path}: expected {expected}, found {found}")
    return content


def seal(record: dict[str, Any]) -> bytes:
    """A record as JSON with a digest of itself. There is one way to write it, so that every bit counts."""
    body = json.dumps(record, sort_keys=True)
    return json.dumps({**record, "digest": digest(body.encode())}, sort_keys=True, indent=1).encode() + b"\n"


def unseal(path: Path) -> dict[str, Any]:
    """The record of a file that `seal` made.

    Raises:
        DamagedError: when any bit of it is another, or it is not there.
    """
    content = _bytes(path, SMALL)
    try:
        record: dict[str, Any] = json.loads(content.decode())
        told = str(record.pop("digest"))
        good = seal(record) == content
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise DamagedError(f"{path}: expected a record with its digest, found {len(content)} other bytes") from None
    if not good:
        raise DamagedError(f"{path}: expected a record with the blake2b {told[:16]}, found one that differs")
    return record


def _bytes(path: Path, most: int) -> bytes:
    """Of a plain file; refuses a longer one before it is read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as f:
            about = os.fstat(f.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise DamagedError(f"{path}: expected a file, found something else")
            if about.st_size > most:
                raise DamagedError(f"{path}: expected at most {most} bytes, found {about.st_size}")
            return f.read(most)
    except OSError as error:
        if error.errno not in LOST:
            raise
        raise DamagedError(f"{path}: expected a file, found none that can be read ({error.strerror})") from None
