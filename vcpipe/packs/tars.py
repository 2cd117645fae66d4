"""The bytes of tars, from a folder or a URL: checked against the index, read in any order.

A tar behind a URL is fetched whole into a spool folder before it is read, and leaves it when newer ones need the room.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from vcpipe.errors import InputError
from vcpipe.fetch import Advice, check_address, fetch
from vcpipe.manifest import atomic_path
from vcpipe.packs.index import NAME, Index, Tar, parse

MAX_INDEX = 1 << 31
MAX_OPEN = 64
SCHEMES = ("http", "https")  # what starts programs ("pipe") or reads credentials must be asked for
BLOCK = 1 << 20


class Tars:
    """The tars of one folder or URL, `Tars(where).read(number, offset, size)`.

    Args:
        where: folder with `index.json`, or the URL of one: https, or what webdataset opens.
        verify: compare each tar with its SHA-256 when a process first opens it. What is fetched always is.
        schemes: of the URLs that may be opened.
        spool: folder for what is fetched, shared by the processes of one machine; by default a temporary one.
        keep: tars kept in the spool.

    Raises:
        InputError: naming the tar, when it is missing, cut off or damaged, and what to type.
    """

    def __init__(
        self,
        where: str | Path,
        *,
        verify: bool = True,
        schemes: Collection[str] = SCHEMES,
        spool: Path | None = None,
        keep: int = 16,
    ):
        scheme, _, _ = str(where).partition(":")
        self.remote = ":" in str(where) and not Path(where).exists()
        if self.remote and scheme not in schemes:
            raise InputError(
                f"{where}: URLs of '{scheme}' are not opened, only of {', '.join(schemes)}; or give a folder"
            )
        if self.remote and scheme in SCHEMES:
            check_address(str(where))  # http from this computer alone
        self.where, self.verify, self.keep, self.spool = str(where).rstrip("/"), verify, keep, spool
        self._files: OrderedDict[int, int] = OrderedDict()
        self._good: set[int] = set()
        self.index = self._load()
        if self.remote and spool is None:
            self.spool = Path(tempfile.mkdtemp(prefix="vcpipe-packs-"))
            weakref.finalize(self, _remove, self.spool, os.getpid())

    def read(self, number: int, offset: int, size: int) -> bytearray:
        """Bytes of a tar."""
        data = bytearray(size)
        found = os.preadv(self._descriptor(number), [data], offset)
        if found != size:
            raise InputError(f"{self.path(number)}: ends at {offset + found} bytes, cut off; {self._again()}")
        return data

    def will_read(self, number: int, offset: int, size: int) -> None:
        """Lets the disk begin, so that it works at all crops of a batch at once. Fetches nothing."""
        if not hasattr(os, "posix_fadvise") or (self.remote and number not in self._files):
            return
        os.posix_fadvise(self._descriptor(number), max(0, offset), size, os.POSIX_FADV_WILLNEED)

    def path(self, number: int) -> str:
        """Where a tar lies, for messages."""
        return f"{self.where}/{self.index.tars[number].name}"

    def check(self) -> None:
        """Reads every tar against its checksum; an InputError names the first that does not fit."""
        for number in range(len(self.index.tars)):
            os.close(self._opened(number, verify=True))

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def _descriptor(self, number: int) -> int:
        if number in self._files:
            self._files.move_to_end(number)
            return self._files[number]
        while len(self._files) >= MAX_OPEN:
            os.close(self._files.popitem(last=False)[1])
        self._files[number] = self._opened(number, self.verify and number not in self._good)
        self._good.add(number)
        return self._files[number]

    def _opened(self, number: int, verify: bool) -> int:
        tar = self.index.tars[number]
        fd = self._fetched(number, tar) if self.remote else _open(Path(self.where, tar.name), self._again())
        try:
            size = os.fstat(fd).st_size
            if size != tar.bytes:
                raise InputError(
                    f"{self.path(number)}: {size} bytes, expected {tar.bytes}: cut off or changed; {self._again()}"
                )
            if verify and not self.remote and (found := _sha256(fd)) != tar.sha256:
                raise InputError(
                    f"{self.path(number)}: damaged: SHA-256 {found}, expected {tar.sha256}; {self._again()}"
                )
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # crops are far apart: reading ahead is wasted
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _fetched(self, number: int, tar: Tar) -> int:
        """A descriptor of a tar in the spool, fetched by the first process that wants it."""
        assert self.spool is not None
        self.spool.mkdir(parents=True, exist_ok=True)
        path = self.spool / f"{tar.sha256}.tar"
        with _locked(self.spool / f"{tar.sha256}.lock"):
            if not path.is_file():
                self._fetch(number, tar, path)
            os.utime(path)
            fd = os.open(path, os.O_RDONLY)
        kept = sorted(self.spool.glob("*.tar"), key=_time)
        for old in kept[: max(0, len(kept) - self.keep)]:
            old.unlink(missing_ok=True)  # a process that has it open reads on
        return fd

    def _fetch(self, number: int, tar: Tar, path: Path) -> None:
        url = self.path(number)
        if url.startswith(SCHEMES):
            fetch(url, path, tar.sha256, tar.bytes, advice=Advice(_plain(self._again())))
            return
        digest = hashlib.sha256()
        with atomic_path(path) as tmp, open(tmp, "wb") as out:
            for block in self._url(url, tar.bytes):
                out.write(block)
                digest.update(block)
            if digest.hexdigest() != tar.sha256:
                raise InputError(
                    f"{url}: {out.tell()} bytes with SHA-256 {digest.hexdigest()}, expected {tar.bytes} with "
                    f"{tar.sha256}: cut off or damaged; {self._again()}"
                )

    def _url(self, url: str, limit: int) -> Iterator[bytes]:
        """The blocks of a file behind a URL that webdataset opens, at most `limit` bytes and one block."""
        from webdataset.gopen import gopen

        got = 0
        try:
            with gopen(url, "rb") as stream:
                while got <= limit and (block := stream.read(BLOCK)):
                    got += len(block)
                    yield block
        except (OSError, ValueError) as error:
            raise InputError(f"{url}: could not be fetched ({str(error)[:200]}); see whether it is there") from None

    def _load(self) -> Index:
        url = f"{self.where}/{NAME}"
        if self.remote and url.startswith(SCHEMES):
            with tempfile.TemporaryDirectory(prefix="vcpipe-index-") as folder:
                advice = Advice(f"see whether `curl -fI {_plain(url)}` finds it")
                text = fetch(url, Path(folder, NAME), most=MAX_INDEX, advice=advice).read_bytes()
        elif self.remote:
            text = b"".join(self._url(url, MAX_INDEX))
        else:
            path = Path(self.where, NAME)
            if not path.is_file():
                raise InputError(f"{path}: no such packs; make them with `snakemake --cores all {path}`")
            text = path.read_bytes()
        return parse(text, f"{self.where}/{NAME}")

    def _again(self) -> str:
        if self.remote:
            return f"see whether {self.where} was changed while it was read, then run the same command again"
        return f"copy it again, or make it again: `snakemake --cores all --force {self.where}/{NAME}`"


def _open(path: Path, again: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would be waited for
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, though the index names it; {again}") from None


def _sha256(fd: int) -> str:
    digest, at = hashlib.sha256(), 0
    while block := os.pread(fd, BLOCK, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


def _plain(text: str) -> str:
    """For `str.format`, which is to leave it as it is."""
    return text.replace("{", "{{").replace("}", "}}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
