"""What a training run tells: a line now and then, a table, and TensorBoard events."""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.training.machine import Machine
from vcpipe.training.state import Shown

log = logging.getLogger(__name__)

COLUMNS = ["step", "name", "value"]


class Progress:
    """Reports of one run; a context manager.

    Lines go to the log, and where the error output is a terminal a bar stands below them. `metrics.csv` has one
    row for each number: `step, name, value`; names are `train/...` (means since the last row) and `valid/...`.

    Args:
        folder: for `metrics.csv` and the events; rows after the start of a run that goes on are dropped.
        steps: at the end.
        machine: of which only the first process speaks, for all.
    """

    def __init__(self, folder: Path, steps: int, machine: Machine):
        self.folder, self.steps, self.machine = folder, steps, machine
        self.start = 0
        self.metrics = folder / "metrics.csv"
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._seconds = self._wait = 0.0
        self._since, self._since_step = time.monotonic(), 0
        self._speed = 0.0
        self._events: Any = None
        self._bar: Any = None

    def state(self) -> dict[str, Any]:
        """What was taken note of since the last report, as JSON values; the rows before are on the disk from now on."""
        with self._named():
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"sums": self._sums, "counts": self._counts}

    def go_on(self, start: int, state: dict[str, Any]) -> None:
        """Goes on after step `start`, before anything is written."""
        self.start = self._since_step = start
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])

    def __enter__(self) -> Progress:
        if self.machine.rank:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        _keep_rows(self.metrics, self.start)
        self._file = open(self.metrics, "a", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._events = _events(self.folder, self.start)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True))
            self._task = self._bar.add_task("training", total=self.steps, completed=self.start)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.machine.rank:
            return
        with contextlib.suppress(OSError):  # of a full disk; an error that is under way says so
            self._file.flush()
            os.fsync(self._file.fileno())
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            if self._events is not None:
                self._events.close()
        if self._bar is not None:
            self._bar.stop()

    def step(self, step: int, losses: dict[str, float], seconds: float, waited_s: float) -> None:
        """Takes note of one step: its losses, the audio that it heard, and the time that it waited for data."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._seconds += seconds
        self._wait += waited_s
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def report(self, step: int, lr: float) -> None:
        """Writes the means since the last report."""
        if self.machine.rank:
            return
        elapsed, made = max(time.monotonic() - self._since, 1e-9), step - self._since_step
        values = {name: total / self._counts[name] for name, total in self._sums.items()}
        speed = made / elapsed
        self._speed = speed if not self._speed else 0.8 * self._speed + 0.2 * speed
        rates = {
            "lr": lr,
            "steps_per_s": speed,
            "audio_s_per_s": self._seconds / elapsed,
            "data_wait": self._wait / elapsed,
            "memory_mib": _memory_mib(self.machine.device),
        }
        self._write(step, "train", values | rates)
        log.info(
            "step %d/%d  %s  %.2f steps/s  %.0f s of audio/s  data wait %.1f %%  %.0f MiB  ETA %s",
            step,
            self.steps,
            _words(values),
            speed,
            rates["audio_s_per_s"],
            100 * rates["data_wait"],
            rates["memory_mib"],
            _clock((self.steps - step) / self._speed),
        )
        self._sums, self._counts, self._seconds, self._wait = {}, {}, 0.0, 0.0
        self._since, self._since_step = time.monotonic(), step

    def validated(self, step: int, scores: dict[str, float], shown: Shown, took_s: float) -> None:
        """Writes the scores of a validation, its sounds and pictures; its time is not counted as training."""
        self._write(step, "valid", scores)
        log.info("step %d/%d  validation: %s  (%.1f s)", step, self.steps, _words(scores), took_s)
        if self._events is not None:
            with self._named():
                for name, (wave, rate) in shown.audio.items():
                    self._events.add_audio(name, wave.float().clamp(-1, 1), step, sample_rate=rate)
                for name, picture in shown.pictures.items():
                    self._events.add_image(name, picture, step)
        self._since += took_s

    def _write(self, step: int, group: str, values: dict[str, float]) -> None:
        with self._named():
            for name, value in values.items():
                self._csv.writerow([step, f"{group}/{name}", f"{value:.9g}"])  # enough to tell float32 numbers apart
                if self._events is not None:
                    self._events.add_scalar(f"{group}/{name}", value, step)
            self._file.flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Says where there was no room, or no disk any more."""
        try:
            yield
        except OSError as error:
            raise InputError(
                f"{error.filename or self.metrics}: cannot be written ({error.strerror or error}); the last saved "
                "state is kept: see that the disk is there and has room, and give the same command again"
            ) from error


def _memory_mib(device: torch.device) -> float:
    """The most that was used so far: of the GPU where one computes, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _keep_rows(path: Path, last_step: int) -> None:
    """The table up to a step: what a run wrote after its last saved state will be written again."""
    rows: list[list[str]] = []
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as f:
            rows = [row for row in list(csv.reader(f))[1:] if len(row) == 3 and int(row[0]) <= last_step]
    with atomic_path(path) as tmp, open(tmp, "w", newline="", encoding="utf-8") as f:
        csv.writer(f, lineterminator="\n").writerows([COLUMNS, *rows])


def _events(folder: Path, start: int) -> Any:
    """A writer of TensorBoard events; None, said aloud, where tensorboard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("no TensorBoard events: tensorboard is not installed (pip install tensorboard)")
        return None
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


def _words(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
