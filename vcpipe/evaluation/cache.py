"""What a judge has found, kept by the content that it judged and shared by all rows and processes.

One file for each judge as it is (name, weights, version, settings), in which every finding is a line of JSON with a
check of its own. The file only grows. Lines are appended under the lock of the file, which nobody holds while judging,
so two processes may judge at once, and each sees what the other has found. A line that is not whole, because its writer
was killed or the disk has harmed it, is left out with a warning and found anew: no finding is taken on trust.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from vcpipe.errors import InputError
from vcpipe.locks import NO_LOCKS
from vcpipe.settings import Slice, canonical

log = logging.getLogger(__name__)

FORMAT = "vcpipe-judged-1"


class Cache:
    """The findings of one judge; `cache.get(key)` is None for what it was never asked.

    Args:
        folder: of all caches, made when something is put in.
        name: of the judge, for the name of the file.
        about: everything that decides a finding beside the recordings. Another `about` is another file.
    """

    def __init__(self, folder: Path, name: str, about: Slice):
        self._head = canonical({"format": FORMAT, "about": about})
        self.path = folder / f"{name}-{_digest(self._head)}.jsonl"
        self._found: dict[str, Any] = {}
        self._read_to = 0  # bytes
        self._read()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: str) -> Any:
        """What was found under a key, by another process too; of two findings the first."""
        if key not in self._found:
            self._read()
        return self._found.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keeps a finding: not None, and what JSON can hold, of finite numbers.

        Raises:
            InputError: when the file system has no locks.
            OSError: naming the file, when there is no room or no right to write.
        """
        if value is None:
            raise ValueError(f"{self.path}: expected a finding for {key}, found None")
        finding = json.dumps([key, value], allow_nan=False)
        key, value = json.loads(finding)  # as it will be read again
        line = json.dumps([_digest(self._head + finding), key, value]).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(self.path, "a+b") as f:  # nothing is forked meanwhile, so to close it is to free the lock
                fcntl.flock(f, fcntl.LOCK_EX)
                f.write(self._before(f.seek(0, os.SEEK_END)) + line)
        except OSError as error:
            if error.errno in NO_LOCKS:
                raise InputError(
                    f"{self.path}: its file system has no locks ({error.strerror}), and two processes could spoil it; "
                    "keep results/ on another disk, or mount this one with locks"
                ) from None
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        self._found.setdefault(key, value)

    def _before(self, size: int) -> bytes:
        """What a line needs in front of it: the head of a new file, or the end of a line that was torn off."""
        if not size:
            return self._head.encode() + b"\n"
        with open(self.path, "rb") as f:
            f.seek(size - 1)
            return b"" if f.read(1) == b"\n" else b"\n"

    def _read(self) -> None:
        """Takes in the lines that were appended since."""
        try:
            with open(self.path, "rb") as f:
                if f.seek(0, os.SEEK_END) < self._read_to:  # somebody has begun it anew
                    self._read_to = 0
                f.seek(self._read_to)
                data = f.read()
        except FileNotFoundError:
            return
        lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]  # the last may be half written yet
        damaged = 0
        for line in lines:
            finding = self._finding(line)
            if finding is not None:
                self._found.setdefault(*finding)
            elif line != self._head.encode():
                damaged += 1
        self._read_to += sum(len(line) + 1 for line in lines)
        if damaged:
            log.warning("%s: %d damaged lines left out; what they held is judged anew", self.path, damaged)

    def _finding(self, line: bytes) -> tuple[str, Any] | None:
        try:
            check, key, value = json.loads(line)
            whole = check == _digest(self._head + json.dumps([key, value], allow_nan=False))
        except (ValueError, TypeError, RecursionError):
            return None
        return (key, value) if whole else None


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
