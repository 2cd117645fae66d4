"""One file from the web: over https only, resumed where it broke off, and named only when it is whole and right."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from vcpipe.errors import InputError
from vcpipe.manifest import publish

MAX_BYTES = 64 << 30
"""No file that this project fetches is longer; LibriTTS's largest archive has 45 GB."""
HASHES = {64: "sha256", 32: "md5"}
"""A checksum's hash is told from its number of hex digits. MD5 only where a corpus publishes nothing better."""


class Advice(NamedTuple):
    """What a person is told to do instead when a file cannot be had."""

    by_hand: str = "download it by hand and put it at {target}"
    folder: str = "give a folder that can"


class _RefusedError(Exception):
    """An answer that trying again will not change."""


def hash_name(checksum: str) -> str:
    """`sha256` or `md5`, told from the length of a hex checksum; empty for anything else."""
    return HASHES.get(len(checksum), "") if re.fullmatch("[0-9a-f]+", checksum) else ""


def digest(path: Path, checksum: str) -> str:
    """Of a file, by the same hash as `checksum`; SHA-256 where that cannot be told."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, hash_name(checksum) or "sha256").hexdigest()


def fetch(
    url: str,
    target: Path,
    checksum: str = "",
    size: int = 0,
    *,
    most: int = MAX_BYTES,
    attempts: int = 4,
    backoff_s: float = 1.0,
    advice: Advice = Advice(),  # noqa: B008 (a tuple cannot change)
) -> Path:
    """Downloads a file, goes on where it broke off, and gives it its name only when it is whole and right.

    Args:
        url: https; plain http only from 127.0.0.1.
        target: final name; the bytes gather in `<target>.part` beside it, and what the server said of them (its ETag)
            in `<target>.part.json`.
        checksum: SHA-256 or MD5 in hex, checked when given.
        size: in bytes, checked when given.
        most: bytes that are taken at most.
        attempts: tries in a row that bring nothing new, before giving up.
        backoff_s: seconds before the second try; they double with each.
        advice: what the error tells a person to do by hand.

    Raises:
        InputError: one line that names the file, the address, the reason, and where to put the file by hand.
    """
    check_address(url)
    if checksum and not hash_name(checksum := checksum.lower()):
        raise InputError(
            f"{target.name}: expected a checksum of 64 (SHA-256) or 32 (MD5) hex digits, found '{checksum}'; correct it"
        )
    part = target.with_name(target.name + ".part")
    with locked(target, advice):
        if target.is_file():
            _check_present(target, checksum)
            return target  # another process was faster
        if not checksum:
            _forget(part)  # nothing could tell whether it belongs to the same file
        try:
            for last in (False, True):  # what was left behind, or came in several answers, may be of another file
                glued = _receive_all(url, part, size, most, attempts, backoff_s)
                found = digest(part, checksum) if checksum else ""
                if found == checksum:
                    break
                _forget(part)
                if last or not glued:
                    raise _RefusedError(f"its {hash_name(checksum)} is {found}, expected {checksum}")
        except (_RefusedError, OSError, http.client.HTTPException, ValueError) as error:
            raise InputError(
                f"{target.name}: could not be fetched from {url} ({reason(error)}); "
                + advice.by_hand.format(target=target)
            ) from None
        publish(part, target)
        _forget(part)
    return target


def _check_present(target: Path, checksum: str) -> None:
    if checksum and (found := digest(target, checksum)) != checksum:
        raise InputError(
            f"{target}: expected {hash_name(checksum)} {checksum}, found {found}; delete it, or correct the checksum"
        )


def _receive_all(url: str, part: Path, size: int, most: int, attempts: int, backoff_s: float) -> bool:
    """Asks until everything is there; whether it came in more than one piece."""
    best, failures, glued = 0, 0, False
    while True:
        try:
            return _receive(url, part, size, most) or glued
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code not in (408, 416, 429):
                raise
            have = part.stat().st_size if part.exists() else 0
            glued = glued or have > 0
            failures = failures + 1 if have <= best else 1
            best = max(best, have)
            if failures >= attempts:
                raise
            time.sleep(backoff_s * 2 ** (failures - 1))


def _receive(url: str, part: Path, size: int, most: int) -> bool:
    """One request for what `part` lacks; whether it was added to earlier bytes.

    A connection that ends early is an OSError, to be tried again.
    """
    have = part.stat().st_size if part.exists() else 0
    if size and have == size:
        return True
    headers = {"User-Agent": "vcpipe", "Accept-Encoding": "identity"}
    known = _known(part) if have else ""
    if have:
        headers["Range"] = f"bytes={have}-"
    if known:
        headers["If-Range"] = known  # a file that has changed comes whole
    try:
        answer = _opener(url).open(urllib.request.Request(url, headers=headers), timeout=30)  # noqa: S310 (see check_address)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            _forget(part)  # longer than the file, or not of it: begin again
        raise
    with answer:
        now = _validator(answer)
        if answer.status == 206 and (not _range_from(answer, have) or (known and now and now != known)):
            _forget(part)
            raise OSError(f"asked for bytes from {have} of the same file, got {answer.headers.get('Content-Range')!r}")
        start = have if answer.status == 206 else 0
        declared = _declared(answer)
        total = start + declared if declared else size
        if size and declared and total != size:
            raise _RefusedError(f"it has {total} bytes, expected {size}")
        if total > most:
            raise _RefusedError(f"it has {total} bytes, more than the {most} that are allowed")
        if total - start > (free := shutil.disk_usage(part.parent).free):
            raise _RefusedError(f"{total - start} bytes are needed on the disk, {free} are free")
        if not start:
            _note(part, url, now)
        with open(part, "ab" if start else "wb") as f:
            got = _copy(answer, f, start, total or most)
        if total and got < total:
            raise OSError(f"the connection ended at byte {got} of {total}")
    return start > 0


def _copy(source: IO[bytes], sink: IO[bytes], got: int, most: int) -> int:
    while block := source.read(1 << 20):
        got += len(block)
        if got > most:
            raise _RefusedError(f"it is longer than {most} bytes")
        sink.write(block)
    return got


def _declared(answer: Any) -> int:
    text = str(answer.headers.get("Content-Length") or "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _range_from(answer: Any, start: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _validator(answer: Any) -> str:
    """What tells one version of a file from another: a strong ETag, else the date of its last change."""
    etag = str(answer.headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(answer.headers.get("Last-Modified", ""))


def _beside(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _note(part: Path, url: str, validator: str) -> None:
    _forget(part)
    if validator:
        _beside(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _known(part: Path) -> str:
    try:
        validator = json.loads(_beside(part).read_text(encoding="utf-8"))["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return validator if isinstance(validator, str) and validator.isascii() and validator.isprintable() else ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection to https; one that began on this computer may stay on it."""

    def __init__(self, local: bool) -> None:
        self.local = local

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_address(newurl, self.local)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SecureRedirects(urllib.parse.urlsplit(url).scheme == "http"))


def check_address(url: str, local: bool = True) -> None:
    """Refuses any address but https; `local` lets plain http from 127.0.0.1 pass.

    Raises:
        InputError: for another scheme or machine.
    """
    parts = urllib.parse.urlsplit(url)
    on_this_computer = local and parts.scheme == "http" and parts.hostname == "127.0.0.1"
    if not on_this_computer and (parts.scheme != "https" or not parts.hostname):
        raise InputError(f"{url}: files are fetched by https only; download the file by hand and give its path")


def reason(error: Exception) -> str:
    """An error on one line."""
    inner = error.reason if type(error) is urllib.error.URLError else error
    return (str(inner) or type(inner).__name__).replace("\n", " ")


@contextlib.contextmanager
def locked(target: Path, advice: Advice = Advice()) -> Iterator[None]:  # noqa: B008 (a tuple cannot change)
    """One process at a time for a file; the others wait and then find it.

    Raises:
        InputError: when the folder cannot be written to.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise InputError(
            f"{target}: its folder cannot be written to ({error.strerror}); {advice.folder.format(target=target)}"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
