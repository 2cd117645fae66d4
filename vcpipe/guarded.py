"""Runs a function over many items in child processes that may crash, hang or eat the memory, and names the guilty item.

Decoders are C code that reads files from anywhere: one bad file must cost one file, not the job. The workers are forks
of this process, made once and replaced when they die. Nothing is pickled: an item goes out as JSON, a result comes
back through a pipe as JSON and the bytes of one array.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.worker import ARRAY, HEADER, JSON, MAGIC, MORE_TIME, PAIR, RAISED, ended, work, write

Item = Any  # what JSON can hold: a path as a string, a list of strings and numbers
Result = Any  # what JSON can hold, one numpy array of numbers, or a pair (what JSON can hold, array)

MEMORY = 16 << 30  # bytes of address space that a worker may take beyond what this process has
AHEAD = 2  # items that a worker is given at once, so that it need not wait for this process
MAX_JSON = 1 << 24  # bytes of JSON in a result
MAX_ITEM = 1 << 14  # bytes of JSON: AHEAD of them must fit into a pipe that nobody reads
KINDS = (JSON, ARRAY, PAIR, RAISED, MORE_TIME)
TICK_S = 1.0
PR_SET_PDEATHSIG = 1
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
PATIENCE_S = 1.0  # for a worker that has closed its pipes to be gone


def end_with_parent(number: int) -> None:
    """Has the system send this process a signal when the one that started it has ended; on Linux."""
    if PRCTL is not None:
        PRCTL(PR_SET_PDEATHSIG, number)


@dataclass(frozen=True)
class Failure:
    """No result: which item, and why in words."""

    item: Item
    words: str


class Died(Failure):
    """The worker ended while it had the item: a crash, or it was out of memory."""


@dataclass(frozen=True)
class TimedOut(Failure):
    """The item took longer than its limit; the worker was killed. `later`: after it had asked for `more_time`."""

    later: bool = False


@dataclass(frozen=True)
class Raised(Failure):
    """The function raised an exception; `words` has its traceback, `refusal` the words of an InputError."""

    refusal: str | None = None

    def error(self, place: str, what: str = "") -> InputError | RuntimeError:
        """The exception to raise here: one line for what was refused, the traceback for a fault of ours.

        Args:
            place: the file or the utterance, which stands first.
            what: was being done; for the fault.
        """
        if self.refusal is not None:
            named = self.refusal.startswith(f"{place}: ")
            return InputError(self.refusal if named else f"{place}: {self.refusal}")
        return RuntimeError(": ".join(filter(None, (place, what, self.words))))


@dataclass
class _Worker:
    pid: int
    tasks: int  # file descriptors of this process's ends of two pipes
    results: int
    queue: deque[tuple[int, Item]] = field(default_factory=deque)
    since: float = 0.0  # on the pool's clock, when the first item of the queue was begun, or last sent bytes
    limit_s: float | None = None  # that the first item of the queue asked for itself
    head: bytearray = field(default_factory=bytearray)
    array: NDArray[Any] | None = None
    filled: int = 0
    kind: int = JSON


class Guarded:
    """A pool of workers, `with Guarded(decode, 4, 10.0) as pool: for result in pool.map(paths): ...`.

    Start it early and from the main thread: a worker is a copy of this process as it stands, and is killed with the
    thread that made it.

    Args:
        function: `item -> result`; it must not need threads, locks or open files of this process.
        workers: processes, at least 1.
        limit_s: seconds for an item, or a function that tells them from the item; the function of the worker may call
            `vcpipe.worker.more_time`. Only time that this process spends waiting counts, so a job that was suspended
            does not lose its items.
        memory: bytes of address space that a worker may take beyond what this process has.
    """

    def __init__(
        self,
        function: Callable[[Any], Result],
        workers: int = 1,
        limit_s: float | Callable[[Any], float] = 60.0,
        memory: int = MEMORY,
    ):
        if workers < 1:
            raise ValueError(f"expected 1 worker at least, found {workers}")
        self._function, self._memory = function, memory
        self._limit_s = limit_s if callable(limit_s) else lambda item: limit_s
        self._clock = 0.0
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(self._fork())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Guarded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the workers at once, whatever they are doing."""
        while self._workers:
            _end(self._workers.pop())

    def map(self, items: Iterable[Item]) -> Iterator[Result | Failure]:
        """The results of the items in their order, each as soon as it and those before it are there.

        At most `2 * AHEAD` items a worker are held, so a generator of millions of items is fine. A loop that is left
        early costs the workers that were busy; they are replaced.

        Raises:
            ValueError: for an item that is too large to be sent.
        """
        source = enumerate(items)
        done: dict[int, Result | Failure] = {}
        again: deque[tuple[int, Item]] = deque()  # begun by nobody, but given to a worker that died
        following, exhausted = 0, False
        try:
            while True:
                while not exhausted or again:
                    worker = min(self._workers, key=lambda w: len(w.queue))
                    held = len(done) + len(again) + sum(len(w.queue) for w in self._workers)
                    if len(worker.queue) >= AHEAD or (not again and held >= 2 * AHEAD * len(self._workers)):
                        break
                    if again:
                        self._give(worker, again.popleft())
                    elif task := next(source, None):
                        self._give(worker, task)
                    else:
                        exhausted = True
                while following in done:
                    yield done.pop(following)
                    following += 1
                if any(w.queue for w in self._workers):
                    self._wait(done, again)
                elif exhausted and not done and not again:
                    return
        finally:
            for i, w in enumerate(list(self._workers)):
                if w.queue:
                    self._replace(i)

    def _give(self, worker: _Worker, task: tuple[int, Item]) -> None:
        line = json.dumps(task[1]).encode()
        if len(line) > MAX_ITEM:
            raise ValueError(f"expected an item of at most {MAX_ITEM} bytes, found {len(line)}: {line[:60]!r}…")
        if not worker.queue:
            worker.since = self._clock
        worker.queue.append(task)
        with contextlib.suppress(BrokenPipeError):  # it is dead, which the other pipe tells too
            write(worker.tasks, struct.pack("<I", len(line)) + line)

    def _wait(self, done: dict[int, Result | Failure], again: deque[tuple[int, Item]]) -> None:
        """Takes in what the workers have sent, and ends those that are past their limit."""
        poll = select.poll()
        for w in self._workers:
            poll.register(w.results, select.POLLIN)
        left = [w.since + self._limit_of(w) - self._clock for w in self._workers if w.queue]
        before = time.monotonic()
        ready = {fd for fd, _ in poll.poll(1000 * max(0.0, min(TICK_S, *left)) + 1)}
        self._clock += min(time.monotonic() - before, 1.5 * TICK_S)
        for i, w in enumerate(list(self._workers)):
            if w.results in ready:
                w.since = self._clock
                if not self._receive(w, done):
                    self._bury(i, Died, "", done, again)
            elif w.queue and self._clock - w.since > (limit := self._limit_of(w)):
                kind = TimedOut if w.limit_s is None else partial(TimedOut, later=True)
                self._bury(i, kind, f"no result after {limit:g} s", done, again)

    def _limit_of(self, w: _Worker) -> float:
        return self._limit_s(w.queue[0][1]) if w.limit_s is None else w.limit_s

    def _receive(self, w: _Worker, done: dict[int, Result | Failure]) -> bool:
        """Takes in what one worker has sent so far; False when it is dead, or sends what is no result."""
        try:
            while w.array is None:
                missing = HEADER.size - len(w.head)
                if missing <= 0:
                    magic, w.kind, n_json, n_bytes = HEADER.unpack_from(w.head)
                    if magic != MAGIC or w.kind not in KINDS or n_json > MAX_JSON or not w.queue:
                        return False
                    missing += n_json
                if missing:
                    w.head += (data := os.read(w.results, missing))
                    if not data:
                        return False
                    continue
                content = json.loads(w.head[HEADER.size :])
                if w.kind == MORE_TIME:
                    w.limit_s, w.head = float(content), bytearray()
                    continue
                if w.kind in (JSON, RAISED):
                    self._finished(w, done, Raised(w.queue[0][1], *content) if w.kind == RAISED else content)
                    continue
                dtype = np.dtype(str(content["dtype"]))
                w.array = np.empty(content["shape"], dtype)
                if dtype.hasobject or w.array.nbytes != n_bytes:
                    return False
            view = w.array.reshape(-1).view(np.uint8).data
            while w.filled < len(view):
                w.filled += (n := os.readv(w.results, [view[w.filled :]]))
                if not n:
                    return False
            self._finished(
                w, done, (json.loads(w.head[HEADER.size :])["about"], w.array) if w.kind == PAIR else w.array
            )
        except BlockingIOError:
            pass
        except (ValueError, TypeError, KeyError, MemoryError):  # it had gone mad before it died
            return False
        return True

    def _finished(self, w: _Worker, done: dict[int, Result | Failure], result: Result | Failure) -> None:
        done[w.queue.popleft()[0]] = result
        w.head, w.array, w.filled, w.limit_s = bytearray(), None, 0, None

    def _bury(
        self,
        i: int,
        kind: Callable[[Item, str], Failure],
        words: str,
        done: dict[int, Result | Failure],
        again: deque[tuple[int, Item]],
    ) -> None:
        """Replaces a worker; its first item is to blame, the others are given to somebody else."""
        queue, status = self._workers[i].queue, self._replace(i, PATIENCE_S if kind is Died else 0.0)
        if not queue:
            return
        number, item = queue.popleft()
        done[number] = kind(item, words or status)
        again.extend(queue)

    def _replace(self, i: int, patience_s: float = 0.0) -> str:
        status = _end(self._workers.pop(i), patience_s)
        self._workers.insert(i, self._fork())
        return status

    def _fork(self) -> _Worker:
        tasks_out, tasks_in = os.pipe()
        results_out, results_in = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            os.close(tasks_out)
            os.close(results_in)
            os.set_blocking(results_out, False)
            return _Worker(pid, tasks_in, results_out)
        try:
            end_with_parent(signal.SIGKILL)
            others = [fd for w in self._workers for fd in (w.tasks, w.results)]
            for fd in (tasks_in, results_out, *others):  # else a worker would not see the end of its pipe
                _close(fd)
            if os.getppid() == parent:  # it may have died before it was asked to take us with it
                work(self._function, tasks_out, results_in, self._memory)
        finally:
            os._exit(0)  # no clean-up of what belongs to the parent


def _end(worker: _Worker, patience_s: float = 0.0) -> str:
    """Kills a worker, unless it has ended or will within `patience_s`, and says how it ended."""
    _close(worker.tasks)
    _close(worker.results)
    return ended(worker.pid, patience_s)


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):
        os.close(fd)
