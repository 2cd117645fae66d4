"""Batches in a row, ahead of time, and the state that lets a row go on: one interface, whatever the batches come from.

A source answers with the batch of a step, and the same one however often it is asked. So the state of a loader is a
number, and it goes on exactly after a restart, in the middle of an epoch, and with another number of workers.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

import torch

from vcpipe.errors import InputError

Batch = dict[str, Any]
AHEAD = 8  # batches that are cut before they are asked for
ENDLESS = 1 << 62


class Source(Protocol):
    """Batches by their step: `vcpipe.data.Crops` from shards, `vcpipe.packs.stream.Stream` from tars.

    A batch has `utt_id` (B ids), `lengths (B,)` real frames, `seconds` of real audio, and the columns.
    """

    def __getitem__(self, step: int) -> Batch: ...

    def __len__(self) -> int: ...

    def identity(self) -> dict[str, Any]:
        """Everything that decides the batches, as JSON values; the same on every rank."""

    def close(self) -> None:
        """Closes files; they are opened again when they are needed."""


class Loader:
    """The batches of a source one after the other, without end; `state()` after any of them, to go on from there.

    The row has no end, and every rank of a training takes the same steps, so that none waits for another: an epoch
    that does not divide is not cut, its remainder is in the batch with the first of the next.

    Args:
        source: of batches.
        workers: processes that read; 0 for a thread. They change the speed and no batch.
    """

    def __init__(self, source: Source, workers: int = 0):
        self.source, self.workers = source, workers
        self._step = 0
        self._running: Iterator[Batch] | None = None

    def __len__(self) -> int:
        """Steps of one epoch; the last one may reach into the next."""
        return len(self.source)

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Batch:
        if self._running is None:
            self._running = batches(self.source, self._step, ENDLESS, self.workers)
        batch = next(self._running)
        self._step += 1
        return batch

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON values: the batches that were handed out, not those that were read ahead."""
        return {**self.source.identity(), "step": self._step}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on after the last batch before `state()`.

        Raises:
            InputError: when the state is of another seed, corpus, number of processes ...; it names the first.
        """
        identity = self.source.identity()
        for key in sorted({*identity, *state} - {"step"}):
            if state.get(key) != identity.get(key):
                raise InputError(
                    f"loader state: '{key}' was {state.get(key)!r}, it is {identity.get(key)!r} now; a row of batches "
                    "goes on only unchanged: give the same as before, or start anew without the state"
                )
        step = state.get("step")
        if type(step) is not int or step < 0:
            raise InputError(f"loader state: 'step' is {step!r}, expected a whole number; start anew without the state")
        self.close()
        self._step = step

    def close(self) -> None:
        """Ends the workers and closes the files; the next batch starts them again."""
        if self._running is not None:
            cast(Any, self._running).close()
            self._running = None
        self.source.close()


def batches(source: Source, start: int, stop: int, workers: int) -> Iterator[Batch]:
    """The batches of steps `start` to `stop - 1`, cut ahead of time by a thread or by `workers` processes."""
    if workers:
        source.close()  # an open file is not shared with other processes
        loader = torch.utils.data.DataLoader(
            cast(Any, _InWorker(source)),
            batch_size=None,
            sampler=range(start, stop),
            num_workers=workers,
            prefetch_factor=AHEAD,
            worker_init_fn=_leave_signals_to_the_training,
            generator=torch.Generator(),  # its own, so that the training's random numbers do not depend on workers
        )
        for batch in loader:
            if isinstance(batch, str):
                raise InputError(batch)
            yield batch
    else:
        yield from _threaded(source, start, stop)


def _leave_signals_to_the_training(worker: int) -> None:
    """A cluster sends them to all processes; a worker that dies of one would take the training with it, unsaved."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


class _InWorker:
    """Hands an InputError over as its line; torch would wrap it into the traceback of the worker."""

    def __init__(self, source: Source):
        self.source = source

    def __getitem__(self, step: int) -> Batch | str:
        try:
            return self.source[step]
        except InputError as error:
            return str(error)


def _threaded(source: Source, start: int, stop: int) -> Iterator[Batch]:
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
    leave = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not leave.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                break

    def cut() -> None:
        try:
            for step in range(start, stop):
                if leave.is_set():
                    return
                put(source[step])
            put(None)
        except BaseException as error:  # handed to the thread that trains
            put(error)

    thread = threading.Thread(target=cut, name="crops", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        leave.set()
        thread.join()
