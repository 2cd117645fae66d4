"""Shards: one HDF5 file of ragged arrays, written whole, checked when read, never opened under a wrong setting.

Layout: `values (sum T, D)`, `offsets (U + 1)` in rows, `utt_id (U)`, and the attributes `slice` (canonical JSON),
`grid` ("rate/hop"), `row` (what a row stands for), `checksum` (blake2b over all of these). Rows are found by `utt_id`,
never by position. `places` is where in the file the chunks of the values are, and only hints at what will be read. An
audio shard is the same with D = 1 and a grid of hop 1.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, cast, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.hdf5 import Sink
from vcpipe.manifest import atomic_path
from vcpipe.settings import Slice, canonical

Row = Literal["frame", "utterance", "speaker"]

FORMAT = "vcpipe-shard-3"
ABOUT = ("format", "slice", "grid", "row")
CHUNK_ROWS = 4096
CHUNK_BYTES = 1 << 15  # for crops of 0.44 s; 1 << 16 takes 1.2 times the time and reads 1.5 times the bytes


def write_shard(
    path: str | Path,
    rows: Iterable[tuple[str, NDArray[Any] | Iterator[NDArray[Any]]]],
    *,
    made_by: Slice,
    grid: Grid,
    dim: int,
    dtype: str,
    row: Row = "frame",
) -> int:
    """Streams `(utt_id, (T, D))` rows into a shard; nothing is left behind when a row fails.

    A row may come as an iterator of blocks `(t_i, D)`, so that a long recording need not be in memory whole.

    Args:
        path: final name; a temporary name beside it is used until all is written and flushed.
        rows: unique ids with arrays of `dim` columns; 16-bit floats must not overflow.
        made_by: the slice that the values depend on.
        grid: on which the rows of an utterance lie, or that they were made on where there is one row for all of it.
        dim: D.
        dtype: of the values.
        row: what a row stands for; rows of speakers have the speaker's name for an id.

    Returns:
        The number of utterances written.

    Raises:
        InputError: naming the utterance whose array has the wrong shape or is not finite, or that comes twice.
        OSError: with `path`, when the disk is full.
    """
    digest = hashlib.blake2b(digest_size=16)
    ids: list[str] = []
    offsets = [0]
    with atomic_path(path) as tmp, Sink(tmp, Path(path)) as sink, h5py.File(sink, "w", libver="latest") as f:
        values = f.create_dataset(
            "values", (0, dim), dtype, maxshape=(None, dim), chunks=(_chunk_rows(dim, dtype), dim), fletcher32=True
        )
        for utt_id, given in rows:
            end = offsets[-1]
            for array in [given] if isinstance(given, np.ndarray) else given:
                block = _checked(utt_id, array, dim, dtype)
                values.resize(end + len(block), axis=0)
                values[end:] = block
                sink.check()
                digest.update(block.tobytes())
                end += len(block)
            ids.append(utt_id)
            offsets.append(end)
        if len(set(ids)) != len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise InputError(f"{path}: utterance {twice} comes twice; utterance ids must be unique within a corpus")
        f["offsets"] = np.asarray(offsets, np.int64)
        f["places"] = _places(f, values)
        encoded = [utt_id.encode() for utt_id in ids]
        width = max(map(len, encoded), default=1)
        names = np.array(encoded, f"S{width}")
        chunk = max(1, min(len(ids), CHUNK_ROWS))
        f.create_dataset("utt_id", data=names, fletcher32=True, chunks=(chunk,), maxshape=(None,))
        about = {"format": FORMAT, "slice": canonical(made_by), "grid": str(grid), "row": row}
        about["checksum"] = _finish(digest, ids, offsets, about)
        f.attrs.update({key: np.bytes_(value.encode()) for key, value in about.items()})
    return len(ids)


class Shard:
    """A shard opened for reading, `with Shard(path, expect=slice) as shard:`.

    Args:
        path: of the file.
        expect: the slice that the reader's config asks for; None takes any (for looking, not for computing).

    Raises:
        InputError: when the file is missing, damaged, not a shard, or made under another slice.
    """

    def __init__(self, path: str | Path, expect: Slice | None):
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such shard; make it with `snakemake --cores all {self.path}`")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise InputError(f"{self.path}: damaged or not a shard ({error}); {self._again()}") from None
        try:
            self._read_header(expect)
        except BaseException:
            self._file.close()
            raise

    def _read_header(self, expect: Slice | None) -> None:
        try:
            attrs = {key: bytes(self._file.attrs[key]).decode() for key in (*ABOUT, "checksum")}
            self.slice: Slice = json.loads(attrs["slice"])
            self.offsets: NDArray[np.int64] = self._own("offsets")[:]
            self.utt_ids: list[str] = [i.decode() for i in self._own("utt_id")[:].tolist()]
            self.values = self._own("values")
            rate, hop = map(int, attrs["grid"].split("/"))
            self._about = {key: attrs[key] for key in ABOUT}
            assert self.values.ndim == 2, "values of one dimension"
            if self.offsets.dtype.kind != "i" or (np.diff(self.offsets, prepend=0) < 0).any():
                raise ValueError("offsets that fall")
            assert attrs["row"] in get_args(Row), f"a row for every {attrs['row']}"
        except (AssertionError, AttributeError, KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
            raise InputError(f"{self.path}: damaged or not a shard ({error}); {self._again()}") from None
        if attrs["format"] != FORMAT:
            raise InputError(f"{self.path}: expected format {FORMAT}, found {attrs['format']}; {self._again()}")
        if len(self.offsets) != len(self.utt_ids) + 1 or self.offsets[-1] != len(self.values):
            raise InputError(f"{self.path}: damaged (its index does not fit its values); {self._again()}")
        if expect is not None and canonical(expect) != attrs["slice"]:
            raise InputError(
                f"{self.path}: made under other settings: {difference(self.slice, expect)}; {self._again()}"
            )
        self.grid = Grid(rate, hop)
        self.row: Row = cast(Row, attrs["row"])
        self.checksum = attrs["checksum"]
        self._index = {utt_id: i for i, utt_id in enumerate(self.utt_ids)}
        self._chunks: tuple[int, NDArray[np.int64]] | None = None

    def _own(self, name: str) -> h5py.Dataset:
        """A dataset whose bytes lie in this file: HDF5 can show any other file, or none, under a name."""
        if self._file.get(name, getclass=True, getlink=True) is not h5py.HardLink:
            raise ValueError(f"'{name}' missing, or a link")
        found = self._file[name]
        if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
            raise ValueError(f"'{name}' elsewhere")
        if found.nbytes > self.path.stat().st_size:
            raise ValueError(f"'{name}' of {found.nbytes} bytes")
        return found

    def _again(self) -> str:
        return f"make it again: `snakemake --cores all --force {self.path}`"

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, utt_id: str) -> bool:
        return utt_id in self._index

    @property
    def dim(self) -> int:
        """Columns of every row."""
        return int(self.values.shape[1])

    def rows(self, utt_id: str) -> slice:
        """Where in `values` an utterance stands."""
        if utt_id not in self._index:
            raise InputError(f"{self.path}: utterance {utt_id} is not in this shard; {self._again()}")
        i = self._index[utt_id]
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def length(self, utt_id: str) -> int:
        """Rows (frames or samples) of an utterance."""
        rows = self.rows(utt_id)
        return rows.stop - rows.start

    def read(self, utt_id: str, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """`count` rows from `start` of an utterance, `(count, D)`; all from `start` by default."""
        rows = self.rows(utt_id)
        stop = rows.stop if count is None else rows.start + start + count
        if start < 0 or stop > rows.stop:
            raise InputError(f"{self.path}: {utt_id} has {rows.stop - rows.start} rows, asked for {start}+{count}")
        try:
            out: NDArray[Any] = self.values[rows.start + start : stop]
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self.path}: damaged ({error}); {self._again()}") from None
        return out

    def will_read(self, utt_id: str, start: int, count: int) -> None:
        """Lets the disk begin with rows that `read` will ask for; told of many crops, it works at all of them at once.

        From then on the system no longer reads ahead in this file, which takes more time than random crops themselves.
        A hint changes nothing that is read: what is not there or is damaged is found by `read`.
        """
        if self._chunks is None:
            self._chunks = self._hints()
        size, places = self._chunks
        begin = self.rows(utt_id).start + start
        if len(wanted := places[begin // size : (begin + count - 1) // size + 1]):
            fd, offset = self._file.id.get_vfd_handle(), int(wanted[0, 0])
            os.posix_fadvise(fd, offset, int(wanted[-1].sum()) - offset, os.POSIX_FADV_WILLNEED)

    def _hints(self) -> tuple[int, NDArray[np.int64]]:
        """Rows of a chunk, and offset and bytes in the file of each, `(chunks, 2)`; of none where that is not known."""
        size, unknown = int(self.values.chunks[0]), np.empty((0, 2), np.int64)
        if not hasattr(os, "posix_fadvise"):
            return size, unknown
        os.posix_fadvise(self._file.id.get_vfd_handle(), 0, 0, os.POSIX_FADV_RANDOM)
        try:
            places: NDArray[np.int64] = self._own("places")[:]
        except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError):
            return size, unknown
        whole = places.dtype == np.int64 and places.shape == (-(-len(self.values) // size), 2)
        fits = whole and places.min(initial=1) > 0 and places.max(initial=0) <= self.path.stat().st_size
        return size, places if fits and (np.diff(places[:, 0]) > 0).all() else unknown

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for utt_id in self.utt_ids:
            yield utt_id, self.read(utt_id)

    def verify(self) -> None:
        """Reads every value against the checksum; an InputError names the file when it does not fit."""
        digest = hashlib.blake2b(digest_size=16)
        try:
            for start in range(0, len(self.values), CHUNK_ROWS):
                digest.update(self.values[start : start + CHUNK_ROWS].tobytes())
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{self.path}: damaged ({error}); {self._again()}") from None
        found = _finish(digest, self.utt_ids, list(self.offsets), self._about)
        if found != self.checksum:
            raise InputError(f"{self.path}: damaged: checksum {found}, expected {self.checksum}; {self._again()}")


class Shards:
    """The shards of one feature as one: `with Shards(folder, names, expect) as shards:`; utterances by their id."""

    def __init__(self, folder: Path, names: Iterable[str], expect: Slice | None):
        self.folder = folder
        self.parts: list[Shard] = []
        try:
            for name in names:
                self.parts.append(Shard(folder / f"{name}.h5", expect))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._owner = {utt_id: part for part in self.parts for utt_id in part.utt_ids}

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for part in self.parts:
            part.__exit__(kind, error, tb)

    def __contains__(self, utt_id: str) -> bool:
        return utt_id in self._owner

    def read(self, utt_id: str) -> NDArray[Any]:
        """All rows of an utterance, `(T, D)`."""
        if utt_id not in self._owner:
            raise InputError(
                f"{self.folder}: utterance {utt_id} is in none of its shards; make them again with snakemake"
            )
        return self._owner[utt_id].read(utt_id)


def difference(found: Slice, expected: Slice, path: str = "") -> str:
    """The first key in which two slices differ, in words."""
    for key in sorted({*found, *expected}):
        here = f"{path}.{key}" if path else key
        a, b = found.get(key), expected.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            if words := difference(a, b, here):
                return words
        elif a != b:
            return f"{here} is {a!r} in the file, the config says {b!r}"
    return ""


def _checked(utt_id: str, array: NDArray[Any], dim: int, dtype: str) -> NDArray[Any]:
    if array.ndim != 2 or array.shape[1] != dim:
        raise InputError(f"{utt_id}: expected an array (T, {dim}), found {array.shape}")
    block = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(block).all():
        raise InputError(f"{utt_id}: values that are not finite, or too large for {dtype}; try dtype: float32")
    return block


def _finish(digest: Any, ids: list[str], offsets: list[int], about: dict[str, str]) -> str:
    digest.update(json.dumps([about, ids, [int(o) for o in offsets]]).encode())
    return str(digest.hexdigest())


def _places(f: h5py.File, values: h5py.Dataset) -> NDArray[np.int64]:
    """Offset and bytes in the file of each chunk, `(chunks, 2)`; its own index takes long to go through."""
    found: list[Any] = []
    f.flush()
    values.id.chunk_iter(found.append)
    found.sort(key=lambda chunk: chunk.chunk_offset)
    return np.array([(chunk.byte_offset, chunk.size) for chunk in found], np.int64).reshape(-1, 2)


def _chunk_rows(dim: int, dtype: str) -> int:
    return max(8, CHUNK_BYTES // (dim * np.dtype(dtype).itemsize))
