"""A file for the HDF5 library to write to, on a disk that may fill up.

When a write of its own fails, the library goes on with buffers that it cannot get rid of, and crashes the process when
it closes the file. So it writes through a file of ours that keeps the error to itself until the library has closed.
"""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType


class Sink:
    """`with Sink(tmp, final) as sink, h5py.File(sink, "w") as f: ... sink.check() ...`.

    Args:
        path: of the file that is written.
        final: the name that it will have, for messages.

    Raises:
        OSError: with `final`, from `check` or when the block ends, for the first write that failed. Nothing is written
            after it.
    """

    def __init__(self, path: Path, final: Path):
        self._final = final
        self._error: OSError | None = None
        self._file = io.FileIO(path, "w+")

    def check(self) -> None:
        """Raises what has gone wrong so far."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._file.close()
        except OSError as failed:  # a network drive may only say now that it is full
            self._keep(failed)
        if self._error is not None and error is not self._error:
            raise self._error from None  # whatever else there was came of it

    def write(self, data: bytes) -> int:
        """Writes where `seek` went; says that it did, whether or not the disk took it."""
        rest = memoryview(data)
        try:
            while len(rest) and self._error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as failed:
            self._keep(failed)
        return len(data)

    def truncate(self, size: int) -> int:
        """As `write`: of a size that can be had, or not."""
        try:
            if self._error is None:
                self._file.truncate(size)
        except OSError as failed:
            self._keep(failed)
        return size

    def read(self, size: int = -1) -> bytes:
        """What the library asks for to know that this is a file."""
        return self._file.read(size)

    def readinto(self, buffer: memoryview) -> int:
        """Reads where `seek` went."""
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is kept back; `vcpipe.manifest.publish` has the file flushed to the disk."""

    def _keep(self, error: OSError) -> None:
        if self._error is None:
            self._error = OSError(error.errno, error.strerror, str(self._final))
