"""Crops and batches: columns of shards, cut on a common grid, the same for a given seed and step.

The batch of a step is a function of `(seed, step)` alone, so that a run that was interrupted continues with the batch
that it would have had, whatever number of processes cuts the crops. Several ranks deal the endless row of utterances
among themselves: together they draw each of an epoch once, and all take the same number of steps, whatever divides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vcpipe.columns import Column, Readable, common, common_grid
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Batch

Plan = tuple[str, int, int, list[int]]  # utterance, first frame, frames, and the variant of each column


class Crops(torch.utils.data.Dataset[Batch]):
    """Training batches: `crops[step]` is the batch of that step.

    Every utterance gives one crop an epoch, in an order that is drawn anew each epoch. The start is uniform over
    the utterance; an utterance that is shorter than the crop is followed by zeros.

    A batch has `utt_id` (B ids), `lengths (B,)` real frames, `seconds` of real audio, and of each column float32
    `(B, S * r, D)`, where r is the number of its rows per frame; a column of samples is `(B, S * r)`, and one with a
    row for the whole of an utterance `(B, D)`.

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
        self._cut = Cutter(self.columns, frames)
        self.grid, self.ratios = self._cut.grid, self._cut.ratios
        cache(self.columns, cache_mib)

    def __len__(self) -> int:
        """Steps of one epoch; the last one may reach into the next."""
        return -(-len(self.utt_ids) // (self.batch * self.world))

    def __getitem__(self, step: int) -> Batch:
        return self._cut(step, self._plans)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches of all processes together, as JSON values; not how many these are."""
        return {
            "loader": "map",
            "corpus": drawn_from(self.columns, self.utt_ids),
            "columns": [column.name for column in self.columns],
            "frames": self.frames,
            "batch": self.batch * self.world,
            "seed": self.seed,
        }

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        for column in self.columns:
            column.close()

    def _plans(self, step: int) -> list[Plan]:
        first = (step * self.world + self.rank) * self.batch
        return [self._plan(first + i) for i in range(self.batch)]

    def _plan(self, position: int) -> Plan:
        """The crop at a position of the endless row of epochs."""
        epoch, place = divmod(position, len(self.utt_ids))
        utt_id = self.utt_ids[self._order(epoch)[place]]
        rng = np.random.default_rng([self.seed, 1, position])
        return plan(self.columns, utt_id, self.lengths[utt_id], self.frames, rng)

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
            planned = utt_id, 0, count, [column.holders(utt_id)[0] for column in self.columns]
            yield assemble(self.columns, self.ratios, self.grid, [planned], count)


class Cutter:
    """Cuts the batches of a source as it plans them. The disk is let begin with all crops of the next one before this.

    Args:
        columns: of the batches.
        frames: S, of the coarsest grid; None: as many as the longest crop of a batch has.
    """

    def __init__(self, columns: Sequence[Readable], frames: int | None):
        self.columns, self.frames = columns, frames
        self.grid, self.ratios = common_grid(columns)
        self._next: tuple[int, list[Plan]] | None = None

    def __call__(self, step: int, plans: Callable[[int], list[Plan]]) -> Batch:
        """The batch of a step, from the crops that `plans` gives for it."""
        ready = self._next
        crops = ready[1] if ready and ready[0] == step else self._announced(plans(step))
        worker = torch.utils.data.get_worker_info()
        following = step + (worker.num_workers if worker else 1)  # the steps between are other workers'
        self._next = following, self._announced(plans(following))
        frames = max(count for _, _, count, _ in crops) if self.frames is None else self.frames
        return assemble(self.columns, self.ratios, self.grid, crops, frames)

    def _announced(self, plans: list[Plan]) -> list[Plan]:
        for number, (column, ratio) in enumerate(zip(self.columns, self.ratios, strict=True)):
            for utt_id, start, count, variants in plans:
                with suppress(InputError):  # reading raises it, when it is the turn of this batch
                    column.will_read(utt_id, variants[number], start * ratio, count * ratio or 1)
        return plans


def plan(
    columns: Sequence[Readable], utt_id: str, length: int, frames: int, rng: np.random.Generator, tied: bool = False
) -> Plan:
    """Where the crop of an utterance of `length` frames begins, and the variants that it is drawn from.

    With `tied` all columns that have a choice, and then the same one, take the same of it.
    """
    start = int(rng.integers(0, max(0, length - frames) + 1))
    variants: list[int] = []
    drawn: int | None = None
    for column in columns:
        holders = column.holders(utt_id)
        if len(holders) == 1:
            variants.append(holders[0])
            continue
        if drawn is None or not tied:
            drawn = holders[int(rng.integers(len(holders)))]
        variants.append(drawn)
    return utt_id, start, min(frames, length), variants


def assemble(
    columns: Sequence[Readable], ratios: Sequence[int], grid: Grid, plans: Sequence[Plan], frames: int
) -> Batch:
    """The crops as planned, zeros after a short utterance; columns of single samples lose their last axis."""
    lengths = torch.tensor([count for _, _, count, _ in plans])
    batch: Batch = {"utt_id": [utt_id for utt_id, *_ in plans], "lengths": lengths}
    batch["seconds"] = float(lengths.sum()) / float(grid.fps)
    for number, (column, ratio) in enumerate(zip(columns, ratios, strict=True)):
        values = torch.empty(len(plans), frames * ratio or 1, column.dim)
        for into, (utt_id, start, count, variants) in zip(values, plans, strict=True):
            rows = column.read(utt_id, variants[number], start * ratio, count * ratio or 1)
            if rows.dtype == np.float16:  # torch converts it nine times faster
                into[: len(rows)].copy_(torch.from_numpy(rows))
            else:
                into.numpy()[: len(rows)] = rows
            into[len(rows) :] = 0
        if not ratio:
            values = values[:, 0]
        batch[column.name] = values[..., 0] if ratio and column.grid.hop == column.dim == 1 else values
    return batch


def cache(columns: Sequence[Column], mib: int) -> None:
    """Brings columns into memory, smallest first, as long as they fit."""
    left = mib << 20
    for column in sorted(columns, key=lambda c: c.nbytes):
        left -= column.nbytes
        if left >= 0:
            column.load()


def drawn_from(columns: Sequence[Column], utt_ids: list[str]) -> str:
    """32 hexadecimal digits: equal for the same utterances of the same shards."""
    drawn = json.dumps([utt_ids, [column.checksums for column in columns]])
    return hashlib.blake2b(drawn.encode(), digest_size=16).hexdigest()


def rank_of(rank: int, world: int) -> tuple[int, int]:
    """The two, or an InputError when they make no sense."""
    if world < 1 or not 0 <= rank < world:
        raise InputError(
            f"rank {rank} of {world} processes: expected a rank from 0 to {world - 1}; start with torchrun"
        )
    return rank, world


def fixed_subset(utt_ids: Iterable[str], count: int) -> list[str]:
    """`count` ids spread evenly over the sorted ones: the same on every run, and of many speakers."""
    ids = sorted(utt_ids)
    if len(ids) <= count:
        return ids
    return [ids[i * len(ids) // count] for i in range(count)]
