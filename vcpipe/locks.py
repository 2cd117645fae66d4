"""One process at a time in a place: the second is told who is there, and the kernel forgets those who died."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import functools
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vcpipe.errors import InputError

log = logging.getLogger(__name__)

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
TAKEN = {errno.EAGAIN, errno.EACCES}
PATIENCE_S = 0.5
"""For a file that others remove at the very moment."""

_open: set[IO[bytes]] = set()
"""The files of the locks of this process."""


@contextlib.contextmanager
def held(path: Path, what: str) -> Iterator[None]:
    """Holds `path` for the time of the block; a second holder is refused at once, in this process too.

    The file says in JSON who holds it, and is gone afterwards. Take it before threads are started that may fork.

    Args:
        path: of the lock; its folder must be there.
        what: is done under it, in a few words for the one who is refused.

    Raises:
        InputError: when another holds it, when the file system has no locks, or when the file cannot be made.
    """
    file = _locked(path)
    try:
        if dead := _read(file):  # one who ended by himself has left no file
            log.info("%s: was held by %s, which died; taken over", path, _words(dead))
        _sign(path, file, what)
        yield
    finally:
        _release(path, file)


def _locked(path: Path) -> IO[bytes]:
    """The open file, locked, of which `path` is the name."""
    _register()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _read(file) if error.errno in TAKEN else {}
            _close(file)
            raise InputError(_refusal(path, holder, error)) from None
        if _is_named(path, file):
            return file
        _close(file)  # its holder removed it after we had opened it: what is locked is no longer the lock
        if time.monotonic() > deadline:
            raise InputError(f"{path}: held by another process, which changes it again and again; wait for it")


def _opened(path: Path) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"{path}: the lock cannot be made ({error.strerror}); check the path, and that you may write there"
        ) from None
    file = os.fdopen(descriptor, "r+b", buffering=0)
    _open.add(file)
    return file


def _refusal(path: Path, holder: dict[str, Any], error: OSError) -> str:
    if error.errno in NO_LOCKS:
        return (
            f"{path}: its file system has no locks ({error.strerror}), so nothing would keep a second process out; "
            "use a folder on another disk, or mount this one with locks (Lustre: -o flock; NFS: without nolock)"
        )
    if error.errno not in TAKEN:
        return f"{path}: cannot be locked ({error.strerror}); check the disk"
    if not holder:
        return f"{path}: held by another process, which does not say its name; wait for it, or see `fuser {path}`"
    there = "" if holder["host"] == socket.gethostname() else f" on {holder['host']}"
    return f"{path}: held by {_words(holder)}; wait for it, or stop it with `kill {holder['pid']}`{there}"


def _words(holder: dict[str, Any]) -> str:
    return "process {pid} on {host} since {since} ({what})".format(**holder)


def _sign(path: Path, file: IO[bytes], what: str) -> None:
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "what": what}
    try:
        file.seek(0)
        file.truncate()
        file.write(json.dumps(mine).encode() + b"\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); make room, or check the disk") from None


def _read(file: IO[bytes]) -> dict[str, Any]:
    """Who holds the lock; empty when the file doesn't say so, or not yet."""
    try:
        file.seek(0)
        record = json.loads(file.read(4096))
        return {"pid": int(record["pid"])} | {key: _line(record[key]) for key in ("host", "since", "what")}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return {}


def _line(value: object) -> str:
    return "".join(c for c in str(value) if c.isprintable())[:200]


def _release(path: Path, file: IO[bytes]) -> None:
    """Removes the file while it is still locked, and then lets it go.

    The name goes too, for a run folder shall be as it was. This is safe because whoever locks a file looks
    afterwards whether it still has its name. In a forked child the file is closed already and nothing happens.
    """
    if file.closed:
        return
    with contextlib.suppress(OSError):
        if _is_named(path, file):
            path.unlink()
    _close(file)


def _is_named(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _close(file: IO[bytes]) -> None:
    """Never `LOCK_UN`, which would free the lock of every process that has a copy of the descriptor."""
    _open.discard(file)
    file.close()


@functools.cache
def _register() -> None:
    """Forked workers close their copies first of all, for a `flock` lives as long as any copy of its descriptor.

    Else they would keep the lock of a killed parent. Started programs don't get one (O_CLOEXEC). The other kind of
    lock (`lockf`) isn't inherited, but is lost as soon as its process opens and closes the same file once more.
    """
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    for file in list(_open):
        _close(file)
