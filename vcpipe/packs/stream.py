"""Training batches from packs: the tars in an order drawn for each epoch, the utterances shuffled within a window.

The order is a function of the index and the seed, so a batch is a function of `(seed, step)` as it is with shards, and
nothing is replayed to go on in the middle of an epoch. Of an utterance only the crop is read: its rows of a `.npy`, its
blocks of a `.flac`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.data import Cutter, Plan, plan, rank_of
from vcpipe.errors import InputError
from vcpipe.loader import Batch
from vcpipe.packs.flac import about, decode_crop
from vcpipe.packs.pcm import from_int16
from vcpipe.packs.tars import Tars
from vcpipe.settings import Slice, canonical
from vcpipe.store import difference


class PackColumn:
    """One column of packs; what `vcpipe.columns.Column` is to shards, so `vcpipe.data.Whole` reads it too."""

    def __init__(self, name: str, packs: Packs):
        stored = packs.index.columns[name]
        self.name, self.grid, self.dim, self.row = name, stored.grid, stored.dim, stored.row
        self._stored, self._packs = stored, packs
        self._dtypes = [np.dtype(dtype) for dtype in stored.dtypes]
        self._members = packs.index.members[:, stored.first :][:, : len(self._dtypes)]

    def __contains__(self, utt_id: str) -> bool:
        return utt_id in self._packs.number

    def holders(self, utt_id: str) -> list[int]:
        """The variants that have an utterance."""
        offsets = self._members[self._packs.number[utt_id], :, 0].tolist()
        return [v for v, offset in enumerate(offsets) if offset >= 0]

    def length(self, utt_id: str) -> int:
        """Rows of an utterance."""
        return int(self._members[self._packs.number[utt_id], self.holders(utt_id)[0], 2])

    def read(self, utt_id: str, variant: int, start: int, count: int) -> NDArray[Any]:
        """`count` rows from `start`, `(count, D)`.

        Raises:
            InputError: naming tar and utterance, when they are not there or damaged.
        """
        number = self._packs.number[utt_id]
        offset, size, rows = self._members[number, variant].tolist()
        if start < 0 or count < 0 or start + count > rows:
            raise InputError(
                f"{utt_id}: '{self.name}' has {rows} rows in the packs, asked for {start}+{count}; pack again"
            )
        tar, tars = self._packs.tar_of(number), self._packs.tars
        if self._stored.form != "flac":
            dtype = self._dtypes[variant]
            row = dtype.itemsize * self.dim
            data = tars.read(tar, offset + size - (rows - start) * row, count * row)
            array = np.frombuffer(data, dtype).reshape(count, self.dim)
            return from_int16(array) if self._stored.form == "npy16" else array
        try:
            wave = decode_crop(lambda at, n: tars.read(tar, offset + at, n), size, rows, start, count)
        except InputError as error:
            raise InputError(f"{tars.path(tar)}: {utt_id}: {error}") from None
        return wave[:, None]

    def will_read(self, utt_id: str, variant: int, start: int, count: int) -> None:
        """Lets the disk begin with what `read` will ask for."""
        number = self._packs.number[utt_id]
        offset, size, rows = self._members[number, variant].tolist()
        tar, tars = self._packs.tar_of(number), self._packs.tars
        if self._stored.form != "flac":
            row = self._dtypes[variant].itemsize * self.dim
            tars.will_read(tar, offset + size - (rows - start) * row, count * row)
        else:
            for at, some in about(size, rows, start, count):
                tars.will_read(tar, offset + at, some)


class Packs:
    """A folder of packs, or a URL, opened: `Packs(where, expect)`; `columns()` are what batches are made from.

    Args:
        where: folder or URL that holds `index.json`.
        expect: the slice that the reader's config asks for; None takes any.
        options: of `vcpipe.packs.tars.Tars`: verify, schemes, spool, keep.

    Raises:
        InputError: when there are no packs, or they were made under another slice.
    """

    def __init__(self, where: str | Path, expect: Slice | None, **options: Any):
        self.tars = Tars(where, **options)
        self.index = self.tars.index
        if expect is not None and canonical(expect) != canonical(self.index.made_by):
            words = difference(self.index.made_by, expect)
            raise InputError(f"{where}: made under other settings: {words}; make the packs again with snakemake")
        self.number = {utt_id: i for i, utt_id in enumerate(self.index.utt_ids)}
        counts = [tar.count for tar in self.index.tars]
        self._tar = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def tar_of(self, number: int) -> int:
        """Which tar holds a sample."""
        return int(self._tar[number])

    def columns(self, names: Sequence[str] = ()) -> list[PackColumn]:
        """Columns by their names, by default all."""
        for name in names:
            if name not in self.index.columns:
                known = ", ".join(self.index.columns)
                raise InputError(f"{self.tars.where}: no column '{name}', these packs have {known}; pack it too")
        return [PackColumn(name, self) for name in names or self.index.columns]


class Stream:
    """Training batches from packs; batches, arguments and guarantees of `vcpipe.data.Crops`.

    In an epoch every utterance comes once, over all ranks together. Ranks read parts of the row of tars that follow
    one another; where the utterances do not divide, the ranks take turns at one more, and go on with the next epoch.

    Args:
        packs: opened.
        frames: S, of the coarsest grid.
        batch: B, of this rank.
        seed: of the orders, the starts and the variants.
        columns: names; by default all.
        shuffle: utterances of a window. They are neighbours in the row of tars, handed out in random order; of tars
            behind a URL, those of a window are in the spool together.
        rank: which of the `world` processes that train together this is.
    """

    def __init__(
        self,
        packs: Packs,
        *,
        frames: int,
        batch: int,
        seed: int,
        columns: Sequence[str] = (),
        shuffle: int = 1000,
        rank: int = 0,
        world: int = 1,
    ):
        if shuffle < 1:
            raise InputError(f"shuffle: {shuffle} utterances, expected at least 1, which keeps the order of the tars")
        self.packs, self.frames, self.batch, self.seed, self.shuffle = packs, frames, batch, seed, shuffle
        self.rank, self.world = rank_of(rank, world)
        self.columns: Sequence[PackColumn] = packs.columns(columns)
        self._cut = Cutter(self.columns, frames)
        self.grid, self.ratios = self._cut.grid, self._cut.ratios
        self._epoch: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._window: tuple[tuple[int, int], NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Steps of one epoch; the last one may reach into the next."""
        return -(-len(self.packs.index.utt_ids) // (self.batch * self.world))

    def __getitem__(self, step: int) -> Batch:
        return self._cut(step, self._plans)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches, as JSON values."""
        return {
            "loader": "stream",
            "corpus": self.packs.index.digest,
            "columns": [column.name for column in self.columns],
            "frames": self.frames,
            "batch": self.batch,
            "seed": self.seed,
            "shuffle": self.shuffle,
            "world": self.world,
        }

    def close(self) -> None:
        """Closes the tars; they are opened again when they are needed."""
        self.packs.tars.close()

    def _plans(self, step: int) -> list[Plan]:
        return [self._plan(step * self.batch + i) for i in range(self.batch)]

    def _plan(self, turn: int) -> Plan:
        """The crop that this rank takes at one of its turns; the ranks' turns interleave to the endless row."""
        index, position = self.packs.index, turn * self.world + self.rank
        number = self._sample(turn, position // len(index.utt_ids))
        rng = np.random.default_rng([self.seed, 1, position])
        return plan(self.columns, index.utt_ids[number], int(index.frames[number]), self.frames, rng)

    def _sample(self, turn: int, epoch: int) -> int:
        window, place = divmod(turn - self._turns(self.rank, epoch), self.shuffle)
        if self._window is None or self._window[0] != (epoch, window):
            self._window = (epoch, window), self._samples(epoch, window)
        return int(self._window[1][place])

    def _samples(self, epoch: int, window: int) -> NDArray[np.int64]:
        """The samples of a window of this rank, in the order of its turns."""
        order, ends = self._tars(epoch)
        sizes = [self._turns(rank, epoch + 1) - self._turns(rank, epoch) for rank in range(self.rank + 1)]
        begin, size = sum(sizes[:-1]), sizes[-1]
        rng = np.random.default_rng([self.seed, 2, epoch, self.rank, window])
        at = begin + window * self.shuffle + rng.permutation(min(self.shuffle, size - window * self.shuffle))
        tars = np.searchsorted(ends, at, side="right")
        last = np.asarray([tar.first + tar.count for tar in self.packs.index.tars])
        samples: NDArray[np.int64] = last[order[tars]] - (ends[tars] - at)
        return samples

    def _turns(self, rank: int, epoch: int) -> int:
        """Turns of a rank before an epoch."""
        return max(0, -(-(epoch * len(self.packs.index.utt_ids) - rank) // self.world))

    def _tars(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The order of the tars in an epoch, and where each ends in the row of utterances."""
        if self._epoch is None or self._epoch[0] != epoch:
            tars = self.packs.index.tars
            order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(tars))
            self._epoch = epoch, order, np.cumsum([tars[i].count for i in order])
        return self._epoch[1:]
