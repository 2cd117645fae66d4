"""The one training loop: batches in, a run folder out. It knows tasks and numbers, and nothing of speech."""

from __future__ import annotations

import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vcpipe.errors import InputError
from vcpipe.settings import Slice
from vcpipe.training import runs, saved
from vcpipe.training.progress import Progress
from vcpipe.training.settings import LoopSettings, lr_at
from vcpipe.training.state import Batch, State, Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaders:
    """Where batches come from: `train(start, stop)` gives those of steps `start` to `stop - 1`, `valid` whole ones."""

    train: Callable[[int, int], Iterator[Batch]]
    valid: Iterable[Batch]


@dataclass
class Best:
    """The lowest validation loss so far."""

    score: float = math.inf
    step: int = 0
    scores: dict[str, float] = field(default_factory=dict)


def train(
    task: Task[Any],
    cfg: Any,
    settings: LoopSettings,
    loaders: Loaders,
    *,
    made_by: Slice,
    run_dir: Path,
    state_dir: Path,
    data: str = "",
    device: torch.device | None = None,
) -> runs.Info:
    """Trains, or goes on where the same slice was interrupted, and writes the run folder.

    Args:
        task: what is trained.
        cfg: what `task.build` takes.
        settings: of the loop, within `cfg`.
        loaders: of batches.
        made_by: slice of the run; a state of another slice is not used.
        run_dir: written whole at the end.
        state_dir: not declared to Snakemake; holds what an interrupted run needs, metrics and events while it runs.
            Empty of this run when it is done.
        data: digest of what the loaders draw from; a state that has seen other data is not used.
        device: by default the CPU.

    Returns:
        The run folder's `config.json`.

    Raises:
        InputError: when a loss is not finite; it names the step and the utterances.
        SystemExit: 128 + the signal's number, after the state was written, on SIGTERM and SIGINT.
    """
    device = device or torch.device("cpu")
    torch.manual_seed(settings.seed)
    if device.type == "cpu":
        torch.set_flush_denormal(True)
    resumes = {**made_by, "data": data} if data else made_by
    at = saved.folder(state_dir, resumes)
    state = task.build(cfg, device)
    extra = saved.restore(at, state, resumes)
    if extra is None:
        shutil.rmtree(at, ignore_errors=True)
        extra = {"best": {}}
        log.info("training starts: %s", _sizes(state))
    else:
        log.info("training goes on after step %d: %s", state.step, _sizes(state))
    best = Best(**extra["best"])
    with Progress(at / "live", state.step, settings.steps) as progress, _signals() as received:
        _run(task, settings, loaders, resumes, at, state, best, progress, received)
    return _finish(task, settings, made_by, run_dir, at, state, best)


def _run(
    task: Task[Any],
    settings: LoopSettings,
    loaders: Loaders,
    resumes: Slice,
    at: Path,
    state: State,
    best: Best,
    progress: Progress,
    received: list[int],
) -> None:
    batches = loaders.train(state.step, settings.steps)
    try:
        while state.step < settings.steps:
            began = time.monotonic()
            batch = _to(next(batches), state.device)
            waited = time.monotonic() - began
            _step(task, state, batch, progress, waited)
            done = state.step == settings.steps
            if done or state.step % settings.log_every == 0:
                progress.report(state.step, lr_at(settings, state.step - 1))
            if done or state.step % settings.validate_every == 0:
                _validate(task, loaders, at, state, best, progress)
            if done or received or state.step % settings.checkpoint_every == 0:
                saved.save(at, state, resumes, {"best": vars(best)})
            if received and not done:
                log.warning(
                    "stopped by signal %d after step %d; the same command goes on from here", received[0], state.step
                )
                raise SystemExit(128 + received[0])
    finally:
        if hasattr(batches, "close"):
            batches.close()


def _step(task: Task[Any], state: State, batch: Batch, progress: Progress, waited_s: float) -> None:
    number = state.step
    losses = task.step(state, batch)
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    if wrong:
        raise InputError(
            f"step {number + 1}: loss '{wrong[0]}' is {losses[wrong[0]]}; the batch was {', '.join(batch['utt_id'])}; "
            "look at these recordings, lower lr or set grad_clip; the last saved state is kept"
        )
    assert state.step == number + 1, f"the task counted from step {number} to {state.step}, expected one more"
    progress.step(state.step, losses, batch.get("seconds", 0.0), waited_s)


def _validate(task: Task[Any], loaders: Loaders, at: Path, state: State, best: Best, progress: Progress) -> None:
    began = time.monotonic()
    scores = task.validate(state, loaders.valid)
    shown = task.show(state, loaders.valid)
    if scores["loss"] < best.score:
        best.score, best.step, best.scores = scores["loss"], state.step, scores
        runs.write_weights(at / "best.safetensors", task.export(state), state.step, best.score)
    runs.write_weights(at / "last.safetensors", task.export(state), state.step, scores["loss"])
    progress.validated(state.step, scores, shown, time.monotonic() - began)


def _finish(
    task: Task[Any], settings: LoopSettings, made_by: Slice, run_dir: Path, at: Path, state: State, best: Best
) -> runs.Info:
    """The run folder from what the state folder gathered, which then goes."""
    model, other = at / "last.safetensors", at / "best.safetensors"
    if settings.keep == "best" and other.is_file():
        model, other = other, model
    others = [path for path in (at / "live").iterdir() if path.is_file()]
    if other.is_file() and best.step != state.step:
        others.append(other)
    runs.publish(run_dir, model, others, made_by, {"best": vars(best), "steps": state.step})
    shutil.rmtree(at, ignore_errors=True)
    info = runs.read_info(run_dir)
    log.info("%s: step %d; the best validation loss was %.4g at step %d", run_dir, info["step"], best.score, best.step)
    return info


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def _sizes(state: State) -> str:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in state.modules.items()}
    return ", ".join(f"{name} {count:,} parameters" for name, count in counts.items())


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of dying of them; a second one is not waited for."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, frame: object) -> None:
        if received:
            raise SystemExit(128 + number)
        received.append(number)

    for number in before:
        signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
