"""How much of a recording is clipped, counted channel by channel while it is decoded, at constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.audio_settings import RATES, TICKS

CLIPPED_RUN = 3  # samples on end at the extreme value
STEP = 1 / 32768  # of 16-bit samples


class Clipping:
    """Samples of a recording that lie in runs of at least 3 at the largest or the smallest value of their channel.

    So a plateau counts at any level, as after a recording that was clipped is made softer. A run that the signal
    reaches and leaves on a gentle curve is none: it is the round top of a low tone, flat by the steps of 16 bits.
    Files that lost their plateau (resampled, mixed down, or from a lossy codec) show nothing.
    """

    def __init__(self) -> None:
        self.n, self.rate = 0, 1
        self._sides: list[tuple[_Side, _Side]] = []  # of each channel: above and below

    def __call__(self, block: Wave, rate: int) -> None:
        """Takes in the next `(n, C)` float32 of the recording; a `vcpipe.audio.Watch`."""
        if not len(block):
            return
        self.rate = rate
        self._sides = self._sides or [(_Side(), _Side()) for _ in range(block.shape[1])]
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused by others
            for channel, (above, below) in zip(np.ascontiguousarray(block.T), self._sides, strict=True):
                above.add(channel, self.n, rate)
                below.add(-channel, self.n, rate)
        self.n += len(block)

    def share(self, start: int = 0, stop: int | None = None) -> float:
        """Share of the clipped samples of the worst channel, from 0 to 1, in ticks `[start, stop)` or everywhere."""
        n = self.n if stop is None else min(self.n, stop * self.rate // TICKS) - start * self.rate // TICKS
        worst = 0
        for above, below in self._sides:
            if above.top != -below.top:  # a constant has no plateau
                worst = max(worst, above.clipped(start, stop, self.rate) + below.clipped(start, stop, self.rate))
        return min(1.0, worst / n) if n > 0 else 0.0


@dataclass
class _Side:
    """The plateau at the largest value of one channel so far."""

    top: float = -np.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))  # clipped samples of each tick
    open: tuple[int, float] | None = None  # a run that reached the end of a block: its start, and the sample before it
    last: float = -np.inf  # sample of the block before
    n: int = 0

    def add(self, block: Wave, at: int, rate: int) -> None:
        """Takes in `(n,)`, n >= 1, that begins with sample `at`."""
        largest = float(block.max())
        if largest > self.top:
            self.top, self.open, self.counts = largest, None, self.counts[:0]
        if largest == self.top:
            self._add_runs(block, at, rate)
        elif self.open is not None:
            self._close(np.array([[self.open[0], at]]), np.array([self.open[1]]), block[:1], rate)
            self.open = None
        self.last, self.n = float(block[-1]), at + len(block)

    def clipped(self, start: int, stop: int | None, rate: int) -> int:
        """Clipped samples in ticks `[start, stop)`."""
        if self.top <= 0:  # an extreme of 0 is digital silence
            return 0
        if self.open is not None:  # the recording ended in it
            self._close(np.array([[self.open[0], self.n]]), np.array([self.open[1]]), np.array([self.top]), rate)
            self.open = None
        return int(self.counts[start:stop].sum())

    def _add_runs(self, block: Wave, at: int, rate: int) -> None:
        flat = np.concatenate([[False], block == np.float32(self.top), [False]])
        runs = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)
        before = block[np.maximum(runs[:, 0] - 1, 0)].astype(np.float64)
        after = block[np.minimum(runs[:, 1], len(block) - 1)]
        runs = runs + at
        if runs[0, 0] == at:
            if self.open is not None:
                runs[0, 0], before[0] = self.open
            elif at:
                before[0] = self.last
        elif self.open is not None:
            self._close(np.array([[self.open[0], at]]), np.array([self.open[1]]), block[:1], rate)
        self.open = None
        if runs[-1, 1] == at + len(block):
            self.open = (int(runs[-1, 0]), float(before[-1]))
            runs, before, after = runs[:-1], before[:-1], after[:-1]
        self._close(runs, before, after, rate)

    def _close(self, runs: NDArray[np.int64], before: NDArray[np.float64], after: Wave, rate: int) -> None:
        """Counts `(R, 2)` runs from start to stop that have ended, if they are a plateau."""
        # A parabola whose top is flat for three samples has fallen by at most four steps at the next on either side.
        steep = np.maximum(self.top - before, self.top - after) > 4 * STEP
        runs = runs[steep & (runs[:, 1] - runs[:, 0] >= CLIPPED_RUN)]
        if not len(runs):
            return
        first, last = runs[:, 0] * TICKS // rate, (runs[:, 1] - 1) * TICKS // rate
        if last[-1] >= len(self.counts):
            self.counts = np.pad(self.counts, (0, 2 * int(last[-1]) + TICKS - len(self.counts)))
        inside = first == last
        np.add.at(self.counts, first[inside], (runs[:, 1] - runs[:, 0])[inside])
        for start, stop in runs[~inside]:  # at most one for each edge between ticks
            ticks = np.arange(start * TICKS // rate, (stop - 1) * TICKS // rate + 1)
            edges = np.clip(-(-np.append(ticks, ticks[-1] + 1) * rate // TICKS), start, stop)
            self.counts[ticks] += np.diff(edges)


def clipped_share(wave: Wave) -> float:
    """Share of `(N,)` float32, from 0 to 1, that is clipped."""
    found = Clipping()
    found(wave[:, None], RATES[0])  # any rate
    return found.share()
