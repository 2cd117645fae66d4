"""Crops and batches: columns of shards, cut on a common grid, the same for a given seed and step.

The batch of a step is a function of `(seed, step)` alone, so that a run that was interrupted continues with the batch
that it would have had, whatever number of processes cuts the crops. Several ranks deal the endless row of utterances
among themselves: together they draw each of an epoch once, and all take the same number of steps, whatever divides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from vcpipe.config import Slice
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Batch
from vcpipe.loader import batches as batches
from vcpipe.store import Shard


@dataclass(frozen=True)
class Variant:
    """The shards of one feature of one corpus, and the slice that they must have been made under."""

    paths: tuple[Path, ...]
    expect: Slice | None


class Readable(Protocol):
    """A column of a batch, wherever its rows lie: rows on a grid, found by utterance and variant."""

    name: str
    grid: Grid
    dim: int

    def __contains__(self, utt_id: str) -> bool: ...

    def holders(self, utt_id: str) -> list[int]:
        """The variants that have an utterance."""

    def length(self, utt_id: str) -> int:
        """Rows of an utterance."""

    def read(self, utt_id: str, variant: int, start: int, count: int) -> NDArray[Any]:
        """`count` rows from `start`, `(count, D)`."""


class Column:
    """One name in a batch, and the variants that its rows are drawn from. Opened at the first read of a process.

    An utterance may be missing from some of the variants; it is then drawn from the others.
    """

    def __init__(self, name: str, variants: Sequence[Variant], utt_ids: Iterable[str]):
        self.name, self.variants = name, variants
        wanted = set(utt_ids)
        self._where: list[dict[str, tuple[int, int]]] = []  # for each variant: utterance -> (shard, rows)
        self._cache: dict[tuple[int, str], NDArray[Any]] = {}
        self._open: dict[tuple[int, int], Shard] | None = None
        self._stack = ExitStack()
        self.checksums: list[list[str]] = []  # of the shards of each variant
        grids: set[Grid] = set()
        self.dim = self.bytes_per_row = 0
        for variant in variants:
            found: dict[str, tuple[int, int]] = {}
            self.checksums.append([])
            for number, path in enumerate(variant.paths):
                with Shard(path, variant.expect) as shard:
                    found |= {i: (number, shard.length(i)) for i in shard.utt_ids if i in wanted}
                    grids.add(shard.grid)
                    self.checksums[-1].append(shard.checksum)
                    if self.dim and shard.dim != self.dim:
                        raise InputError(f"{path}: {shard.dim} columns, the other shards of '{name}' have {self.dim}")
                    self.dim, self.bytes_per_row = shard.dim, shard.dim * shard.values.dtype.itemsize
            self._where.append(found)
        if len(grids) != 1:
            raise InputError(
                f"the shards of '{name}' lie on grids {', '.join(map(str, grids)) or 'of no shard'}; give one"
            )
        self.grid = grids.pop()

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
        if self._open is None:
            self._open = {}
        key = (variant, self._where[variant][utt_id][0])
        if key not in self._open:
            source = self.variants[variant]
            self._open[key] = self._stack.enter_context(Shard(source.paths[key[1]], source.expect))
        return self._open[key].read(utt_id, start, count)

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        self._stack.close()
        self._open = None


class Crops(torch.utils.data.Dataset[Batch]):
    """Training batches: `crops[step]` is the batch of that step.

    Every utterance gives one crop an epoch, in an order that is drawn anew each epoch. The start is uniform over
    the utterance; an utterance that is shorter than the crop is followed by zeros.

    A batch has `utt_id` (B ids), `lengths (B,)` real frames, `seconds` of real audio, and of each column float32
    `(B, S * r, D)`, where r is the number of its rows per frame; a column of samples is `(B, S * r)`.

    Args:
        columns: by name; the coarsest grid is the batch's, and every other must zip with it.
        utt_ids: to draw from; those that a column lacks are left out.
        frames: S, of the coarsest grid.
        batch: B.
        seed: of the order, the starts and the variants.
        cache_mib: columns are kept in memory, smallest first, as long as they fit.
        rank: which of the `world` processes that train together this is; B is the batch of each.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        utt_ids: Iterable[str],
        *,
        frames: int,
        batch: int,
        seed: int,
        cache_mib: int = 0,
        rank: int = 0,
        world: int = 1,
    ):
        self.columns, self.frames, self.batch, self.seed = list(columns), frames, batch, seed
        self.rank, self.world = rank_of(rank, world)
        self.utt_ids, self.lengths = common(self.columns, utt_ids)
        self.grid, self.ratios = common_grid(self.columns)
        left = cache_mib << 20
        for column in sorted(self.columns, key=lambda c: c.nbytes):
            left -= column.nbytes
            if left >= 0:
                column.load()

    def __len__(self) -> int:
        """Steps of one epoch; the last one may reach into the next."""
        return -(-len(self.utt_ids) // (self.batch * self.world))

    def __getitem__(self, step: int) -> Batch:
        first = (step * self.world + self.rank) * self.batch
        return collate([self._crop(first + i) for i in range(self.batch)], self.columns, self.grid)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches, as JSON values."""
        drawn = json.dumps([self.utt_ids, [column.checksums for column in self.columns]])
        return {
            "loader": "map",
            "corpus": hashlib.blake2b(drawn.encode(), digest_size=16).hexdigest(),
            "columns": [column.name for column in self.columns],
            "frames": self.frames,
            "batch": self.batch,
            "seed": self.seed,
            "world": self.world,
        }

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        for column in self.columns:
            column.close()

    def _crop(self, position: int) -> Batch:
        """The crop at a position of the endless row of epochs."""
        epoch, place = divmod(position, len(self.utt_ids))
        utt_id = self.utt_ids[self._order(epoch)[place]]
        rng = np.random.default_rng([self.seed, 1, position])
        planned = plan(self.columns, utt_id, self.lengths[utt_id], self.frames, rng)
        return cut(self.columns, self.ratios, planned, self.frames)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_epoch", None) != epoch:
            self._permutation = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.utt_ids))
            self._epoch = epoch
        return self._permutation


class Whole:
    """Validation batches: each one utterance, from its start, at most `max_frames` of it, of its first variant."""

    def __init__(self, columns: Sequence[Readable], utt_ids: Iterable[str], max_frames: int):
        self.columns, self.max_frames = list(columns), max_frames
        self.utt_ids, self.lengths = common(self.columns, utt_ids)
        self.grid, self.ratios = common_grid(self.columns)

    def __len__(self) -> int:
        return len(self.utt_ids)

    def __iter__(self) -> Iterator[Batch]:
        for utt_id in self.utt_ids:
            count = min(self.lengths[utt_id], self.max_frames)
            item: Batch = {"utt_id": utt_id, "length": count}
            for column, ratio in zip(self.columns, self.ratios, strict=True):
                item[column.name] = column.read(utt_id, column.holders(utt_id)[0], 0, count * ratio).astype(np.float32)
            yield collate([item], self.columns, self.grid)


Plan = tuple[str, int, int, list[int]]  # utterance, first frame, frames, and the variant of each column


def plan(columns: Sequence[Readable], utt_id: str, length: int, frames: int, rng: np.random.Generator) -> Plan:
    """Where the crop of an utterance of `length` frames begins, and the variants that it is drawn from."""
    start = int(rng.integers(0, max(0, length - frames) + 1))
    holders = [column.holders(utt_id) for column in columns]
    return utt_id, start, min(frames, length), [variants[int(rng.integers(len(variants)))] for variants in holders]


def cut(columns: Sequence[Readable], ratios: Sequence[int], planned: Plan, frames: int) -> Batch:
    """The crop as planned: of each column float32 `(frames * r, D)`, zeros after a short utterance."""
    utt_id, start, count, variants = planned
    item: Batch = {"utt_id": utt_id, "length": count}
    for column, ratio, variant in zip(columns, ratios, variants, strict=True):
        values = np.empty((frames * ratio, column.dim), np.float32)
        rows = column.read(utt_id, variant, start * ratio, count * ratio)
        if rows.dtype == np.float16:  # torch converts it nine times faster
            torch.from_numpy(values[: count * ratio]).copy_(torch.from_numpy(rows))
        else:
            values[: count * ratio] = rows
        values[count * ratio :] = 0
        item[column.name] = values
    return item


def rank_of(rank: int, world: int) -> tuple[int, int]:
    """The two, or an InputError when they make no sense."""
    if world < 1 or not 0 <= rank < world:
        raise InputError(
            f"rank {rank} of {world} processes: expected a rank from 0 to {world - 1}; start with torchrun"
        )
    return rank, world


def collate(items: list[Batch], columns: Sequence[Readable], grid: Grid) -> Batch:
    """Items of one size to a batch of tensors; columns of single samples lose their last axis."""
    lengths = torch.tensor([item["length"] for item in items])
    batch: Batch = {"utt_id": [item["utt_id"] for item in items], "lengths": lengths}
    batch["seconds"] = float(lengths.sum()) / float(grid.fps)
    for column in columns:
        values = torch.from_numpy(np.stack([item[column.name] for item in items]))
        batch[column.name] = values[..., 0] if column.grid.hop == 1 and column.dim == 1 else values
    return batch


def common_grid(columns: Sequence[Readable]) -> tuple[Grid, list[int]]:
    """The coarsest grid of the columns, and how many rows of each one of its frames spans."""
    grid = min((column.grid for column in columns), key=lambda g: g.fps)
    return grid, [grid.ratio(column.grid) for column in columns]


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
        counts = {c.name: c.length(utt_id) // ratio for c, ratio in zip(columns, ratios, strict=True)}
        if len(set(counts.values())) != 1:
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"{utt_id}: frames on grid {grid} differ: {found}; make the shards again with snakemake")
        lengths[utt_id] = next(iter(counts.values()))
        if not lengths[utt_id]:
            raise InputError(f"{utt_id}: shorter than one frame of grid {grid}; raise audio.min_s")
    return kept, lengths


def fixed_subset(utt_ids: Iterable[str], count: int) -> list[str]:
    """`count` ids spread evenly over the sorted ones: the same on every run, and of many speakers."""
    ids = sorted(utt_ids)
    if len(ids) <= count:
        return ids
    return [ids[i * len(ids) // count] for i in range(count)]
