"""Batches of whole utterances of alike length, for models that hear from the first frame to the last.

Crops of one length waste nothing, but cut off what a recurrent model remembers; whole utterances as they come would be
half padding. Here neighbours in length share a batch, and the row of batches is still shuffled, endless and a function
of `(seed, step)` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.columns import Column, common
from vcpipe.data import Cutter, Plan, cache, drawn_from, plan, rank_of
from vcpipe.errors import InputError
from vcpipe.loader import Batch

POOL = 16
"""Batches, at the most, whose utterances are sorted together: more would waste less, and be less shuffled."""


class Buckets:
    """Training batches: `buckets[step]` is the batch of that step, as of `vcpipe.data.Crops` but for its length.

    A batch is followed by zeros up to the longest of its utterances, which differs from batch to batch and, a little,
    from rank to rank. In an epoch every utterance comes once; its last batch is filled by the first of the next, at
    the same place between short and long.

    Args:
        columns: by name; the coarsest grid is the batch's, and every other must zip with it.
        utt_ids: to draw from; those that a column lacks are left out.
        frames: the longest crop, of the coarsest grid: a longer utterance is cut, from a random start.
        batch: B.
        seed: of the order, the starts and the variants.
        cache_mib: columns are kept in memory, smallest first, as long as they fit.
        rank: which of the `world` processes that train together this is; B is the batch of each.
        tied: columns that have several variants are drawn from the same one, each time. Else each draws its own.

    Raises:
        InputError: naming the utterance that columns which are tied have in unlike variants.
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
        tied: bool = False,
    ):
        self.columns, self.frames, self.batch, self.seed, self.tied = list(columns), frames, batch, seed, tied
        self.rank, self.world = rank_of(rank, world)
        self._cut = Cutter(self.columns, None)
        self.grid, self.ratios = self._cut.grid, self._cut.ratios
        self.utt_ids, self.lengths = common(self.columns, utt_ids)
        if tied:
            _check_tied(self.columns, self.utt_ids)
        self._heard = np.minimum([self.lengths[utt_id] for utt_id in self.utt_ids], frames)
        self._epoch: tuple[int, NDArray[np.int64]] | None = None
        cache(self.columns, cache_mib)

    def __len__(self) -> int:
        """Steps of one epoch; the last one may reach into the next."""
        return -(-len(self.utt_ids) // (self.batch * self.world))

    def __getitem__(self, step: int) -> Batch:
        return self._cut(step, self._plans)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches of all processes together, as JSON values; not how many these are."""
        return {
            "loader": "buckets",
            "corpus": drawn_from(self.columns, self.utt_ids),
            "columns": [column.name for column in self.columns],
            "frames": self.frames,
            "batch": self.batch * self.world,
            "seed": self.seed,
            "tied": self.tied,
        }

    def close(self) -> None:
        """Closes the files; they are opened again when they are needed."""
        for column in self.columns:
            column.close()

    def _plans(self, step: int) -> list[Plan]:
        """Ranks take turns in a step's utterances, which go from short to long: none waits long for another."""
        first = step * self.batch * self.world + self.rank
        return [self._plan(first + i * self.world) for i in range(self.batch)]

    def _plan(self, position: int) -> Plan:
        """The crop at a position of the endless row of epochs."""
        epoch, place = divmod(position, len(self.utt_ids))
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, self._order(epoch)
        utt_id = self.utt_ids[self._epoch[1][place]]
        rng = np.random.default_rng([self.seed, 1, position])
        return plan(self.columns, utt_id, self.lengths[utt_id], self.frames, rng, self.tied)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The row of an epoch: shuffled, dealt into pools of steps, and each pool's steps of neighbours in length.

        A number between 0 and 1, drawn for each step, says where between short and long in its pool it is. A step that
        two epochs share has one number in both.
        """
        count, step = len(self.utt_ids), self.batch * self.world
        rng = np.random.default_rng([self.seed, 0, epoch])
        order = rng.permutation(count)
        shared = -epoch * count % step  # utterances that fill the last step of the epoch before
        edges = np.array([0, *range(shared or step, count, step), count])
        height = rng.random(len(edges) - 1)
        if shared:
            height[0] = self._height(epoch)
        if (epoch + 1) * count % step:
            height[-1] = self._height(epoch + 1)
        for pool in np.array_split(np.arange(len(height)), -(-len(height) // POOL)):
            members = order[edges[pool[0]] : edges[pool[-1] + 1]]
            members = members[np.argsort(self._heard[members], kind="stable")]
            at = 0
            for piece in pool[np.argsort(height[pool])]:
                size = edges[piece + 1] - edges[piece]
                order[edges[piece] : edges[piece + 1]] = members[at : at + size]
                at += size
        return order

    def _height(self, epoch: int) -> float:
        """Of the step in which an epoch begins and the one before it ends."""
        return float(np.random.default_rng([self.seed, 2, epoch]).random())


def _check_tied(columns: Sequence[Column], utt_ids: Iterable[str]) -> None:
    """Refuses columns that cannot be drawn from the same variant."""
    several = [column for column in columns if len(column.variants) > 1]
    for utt_id in utt_ids:
        found = {column.name: column.holders(utt_id) for column in several}
        if len({tuple(holders) for holders in found.values()}) > 1 or len({len(c.variants) for c in several}) > 1:
            of = ", ".join(f"'{c.name}' {found[c.name]} of {len(c.variants)}" for c in several)
            raise InputError(
                f"{utt_id}: columns that are drawn from the same variant must have it in the same ones, found {of}; "
                "give each as many features, and make their shards again with snakemake"
            )
