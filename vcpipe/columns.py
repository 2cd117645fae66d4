"""Columns of a batch: one feature each, drawn from the shards of its variants and found by utterance.

A column has rows on a grid, which are cut, or one vector for the whole of an utterance (shards with `row: utterance`),
which is given as it is. All columns of frames must zip: the coarsest grid is the batch's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.settings import Slice
from vcpipe.store import Row, Shard


@dataclass(frozen=True)
class Variant:
    """The shards of one feature of one corpus, and the slice that they must have been made under."""

    paths: tuple[Path, ...]
    expect: Slice | None


class Readable(Protocol):
    """A column of a batch, wherever its rows lie: rows of frames on a grid, or of utterances, one each."""

    name: str
    grid: Grid
    dim: int
    row: Row

    def __contains__(self, utt_id: str) -> bool: ...

    def holders(self, utt_id: str) -> list[int]:
        """The variants that have an utterance."""

    def length(self, utt_id: str) -> int:
        """Rows of an utterance."""

    def read(self, utt_id: str, variant: int, start: int, count: int) -> NDArray[Any]:
        """`count` rows from `start`, `(count, D)`."""

    def will_read(self, utt_id: str, variant: int, start: int, count: int) -> None:
        """Lets the disk begin with what `read` will ask for."""


class Column:
    """One name in a batch, and the variants that its rows are drawn from. Opened at the first read of a process.

    An utterance may be missing from some of the variants; it is then drawn from the others.

    Raises:
        InputError: naming the shard that does not go with the others, or whose rows are speakers.
    """

    def __init__(self, name: str, variants: Sequence[Variant], utt_ids: Iterable[str]):
        self.name, self.variants = name, variants
        wanted = set(utt_ids)
        self._where: list[dict[str, tuple[int, int]]] = []  # for each variant: utterance -> (shard, rows)
        self._cache: dict[tuple[int, str], NDArray[Any]] = {}
        self._open: dict[tuple[int, int], Shard] = {}
        self._stack = ExitStack()
        self.checksums: list[list[str]] = []  # of the shards of each variant
        grids: dict[Grid, Path] = {}
        rows: dict[Row, Path] = {}
        self.dim = self.bytes_per_row = 0
        for variant in variants:
            found: dict[str, tuple[int, int]] = {}
            self.checksums.append([])
            for number, path in enumerate(variant.paths):
                with Shard(path, variant.expect) as shard:
                    found |= {i: (number, shard.length(i)) for i in shard.utt_ids if i in wanted}
                    grids.setdefault(shard.grid, path)
                    rows.setdefault(shard.row, path)
                    self.checksums[-1].append(shard.checksum)
                    if self.dim and shard.dim != self.dim:
                        raise InputError(f"{path}: {shard.dim} columns, the other shards of '{name}' have {self.dim}")
                    self.dim, self.bytes_per_row = shard.dim, shard.dim * shard.values.dtype.itemsize
            self._where.append(found)
        self.row = self._row(rows)
        if not grids or (self.row == "frame" and len(grids) > 1):
            raise InputError(
                f"the shards of '{name}' lie on grids {', '.join(map(str, grids)) or 'of no shard'}; give one"
            )
        self.grid = next(iter(grids))

    def _row(self, rows: dict[Row, Path]) -> Row:
        """What all rows stand for."""
        if "speaker" in rows:
            raise InputError(
                f"{rows['speaker']}: a row of '{self.name}' is a speaker, a batch is made of utterances; "
                "take a feature with a row for every frame or utterance"
            )
        if len(rows) > 1:
            raise InputError(f"{rows['frame']}: a row of '{self.name}' is a frame, in {rows['utterance']} an utterance")
        row: Row = next(iter(rows), "frame")
        for where in self._where if row == "utterance" else []:
            for utt_id, (_, count) in where.items():
                if count != 1:
                    raise InputError(f"{utt_id}: '{self.name}' has {count} rows, expected 1; make its shards again")
        return row

    def __contains__(self, utt_id: str) -> bool:
        return any(utt_id in where for where in self._where)

    def holders(self, utt_id: str) -> list[int]:
        """The variants that have an utterance."""
        return [v for v, where in enumerate(self._where) if utt_id in where]

    def length(self, utt_id: str) -> int:
        """Rows of an utterance; refused when its variants differ."""
        lengths = {where[utt_id][1] for where in self._where if utt_id in where}
        if len(lengths) != 1:
            raise InputError(f"{utt_id}: variants of '{self.name}' have {sorted(lengths)} rows; make them again")
        return lengths.pop()

    @property
    def nbytes(self) -> int:
        """Size of all rows, as they are stored."""
        return self.bytes_per_row * sum(rows for where in self._where for _, rows in where.values())

    def load(self) -> None:
        """Brings all rows into memory."""
        for v, where in enumerate(self._where):
            for utt_id in where:
                self._cache[v, utt_id] = self.read(utt_id, v, 0, where[utt_id][1])
        self.close()

    def read(self, utt_id: str, variant: int, start: int, count: int) -> NDArray[Any]:
        """`count` rows from `start`, `(count, D)`."""
        if (variant, utt_id) in self._cache:
            return self._cache[variant, utt_id][start : start + count]
        return self._shard(utt_id, variant).read(utt_id, start, count)

    def will_read(self, utt_id: str, variant: int, start: int, count: int) -> None:
        """Lets the disk begin with what `read` will ask for."""
        if (variant, utt_id) not in self._cache:
            self._shard(utt_id, variant).will_read(utt_id, start, count)

    def _shard(self, utt_id: str, variant: int) -> Shard:
        key = (variant, self._where[variant][utt_id][0])
        if key not in self._open:
            source = self.variants[variant]
            self._open[key] = self._stack.enter_context(Shard(source.paths[key[1]], source.expect))
        return self._open[key]

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        self._stack.close()
        self._open.clear()


def common_grid(columns: Sequence[Readable]) -> tuple[Grid, list[int]]:
    """The coarsest grid of the columns, and how many rows of each one of its frames spans; 0: one row for all."""
    frames = [column.grid for column in columns if column.row == "frame"]
    if not frames:
        names = ", ".join(column.name for column in columns)
        raise InputError(f"of {names} none has a row for every frame; a batch needs such a column to be cut by")
    grid = min(frames, key=lambda g: g.fps)
    return grid, [grid.ratio(column.grid) if column.row == "frame" else 0 for column in columns]


def common(columns: Sequence[Readable], utt_ids: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """The utterances that every column has, sorted, and their frames; refused when columns disagree on them."""
    wanted = set(utt_ids)
    grid, ratios = common_grid(columns)
    kept = sorted(utt_id for utt_id in wanted if all(utt_id in column for column in columns))
    if not kept:
        names = ", ".join(column.name for column in columns)
        raise InputError(f"none of {len(wanted)} utterances is in the shards of each of {names}; is the split empty?")
    lengths = {}
    for utt_id in kept:
        counts = {c.name: c.length(utt_id) // ratio for c, ratio in zip(columns, ratios, strict=True) if ratio}
        if len(set(counts.values())) != 1:
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"{utt_id}: frames on grid {grid} differ: {found}; make the shards again with snakemake")
        lengths[utt_id] = next(iter(counts.values()))
        if not lengths[utt_id]:
            raise InputError(f"{utt_id}: shorter than one frame of grid {grid}; raise audio.min_s")
    return kept, lengths
