"""Being asked to stop: by a person, by a cluster whose time limit is near, or by the machine."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator

from vcpipe.training.state import Batch

PATIENCE_S = 2.0  # of a person; a launcher may pass one signal on twice
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # SLURM sends the last where --signal asks for it


class Interrupted(Exception):
    """Raised between two batches of a validation when the run was asked to stop."""


class Signals:
    """Takes note of a signal instead of dying of it; a second Ctrl-C is not waited for. A context manager.

    Attributes:
        received: number of the first signal; 0 as long as there was none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._since = 0.0

    def __enter__(self) -> Signals:
        main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.signal(number, self._note) for number in NUMBERS} if main else {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if not self.received:
            self.received, self._since = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > PATIENCE_S:
            raise SystemExit(128 + number)


class Interruptible:
    """Batches, as long as no signal comes."""

    def __init__(self, batches: Iterable[Batch], signals: Signals):
        self.batches, self.signals = batches, signals

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            if self.signals.received:
                raise Interrupted
            yield batch
