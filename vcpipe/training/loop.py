"""The one training loop: batches in, a run folder out. It knows tasks and numbers, and nothing of speech."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.loader import Loader
from vcpipe.manifest import write_lines
from vcpipe.settings import Slice
from vcpipe.training import resume, rng, runs
from vcpipe.training.lock import states_of, training_lock
from vcpipe.training.machine import Machine
from vcpipe.training.progress import Progress
from vcpipe.training.settings import LoopSettings, lr_at
from vcpipe.training.signals import Interrupted, Interruptible, Signals
from vcpipe.training.state import Batch, State, Task
from vcpipe.weights import read_safetensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaders:
    """Where batches come from: `train` one after the other, those of this process; `valid` the same ones each time."""

    train: Loader
    valid: Iterable[Batch]


@dataclass
class Run:
    """What the loop carries along.

    Attributes:
        at: folder of what an interrupted run needs.
        resumes: slice of the run and digest of its data; a state of another one is not used.
        best: `score`, the lowest validation loss so far, its `step` and all `scores`; empty before the first.
        best_weights: its weights, or the file of a checkpoint that holds them.
        saved: the last checkpoint; `saved_step`: its step.
        validated: the last step that was validated to the end.
    """

    task: Task[Any]
    settings: LoopSettings
    loaders: Loaders
    machine: Machine
    at: Path
    resumes: Slice
    state: State
    progress: Progress
    signals: Signals
    best: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Tensor] | Path | None = None
    saved: Path | None = None
    saved_step: int = 0
    validated: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and speaks."""
        return self.machine.rank == 0

    @property
    def done(self) -> bool:
        """Whether all steps were made."""
        return self.state.step == self.settings.steps

    def due(self, every: int) -> bool:
        """Whether something that is done so often is to be done after this step, and after the last one."""
        return self.state.step > 0 and (self.done or self.state.step % every == 0)


def train(
    task: Task[Any],
    cfg: Any,
    settings: LoopSettings,
    loaders: Loaders,
    *,
    machine: Machine,
    made_by: Slice,
    run_dir: Path,
    state_dir: Path,
    data: str = "",
) -> runs.Info:
    """Trains, or goes on where the same slice was interrupted, and writes the run folder.

    Under torchrun every process calls it; the first one validates, writes and speaks.

    Args:
        task: what is trained.
        cfg: what `task.build` takes.
        settings: of the loop, within `cfg`.
        loaders: of batches.
        machine: what `vcpipe.training.machine.start` gave.
        made_by: slice of the run; a state of another slice is not used.
        run_dir: written whole at the end.
        state_dir: not declared to Snakemake; holds, in a folder for this run, what an interrupted training needs.
        data: digest of what the loaders draw from; a state that has seen other data is not used.

    Returns:
        The run folder's `config.json`.

    Raises:
        InputError: when a loss is not finite (it names the step and the utterances), when another process trains the
            same run, or when the state cannot be written.
        SystemExit: 128 + the signal's number, after the state was written, on SIGTERM, SIGINT and SIGUSR1.
    """
    with training_lock(state_dir, run_dir):
        resumes = {**made_by, "data": data} if data else made_by
        rng.seed_all(settings.seed)
        if machine.device.type == "cpu":
            torch.set_flush_denormal(True)
        state = task.build(cfg, machine.device)
        state.equip(machine)
        at = resume.folder(states_of(state_dir, run_dir), resumes)
        with Signals() as signals:
            progress = Progress(at / "live", settings.steps, machine)
            run = Run(task, settings, loaders, machine, at, resumes, state, progress, signals)
            _begin(run)
            with progress:
                _go_on(run)
            info = _finish(run, made_by, run_dir) if run.leads else {}
        machine.fabric.barrier()
        return info or runs.read_info(run_dir)


def _begin(run: Run) -> None:
    """The first state of a run, or the last one that was saved."""
    with run.machine.fabric.rank_zero_first():
        saved = resume.restore(run.at, run.state, run.resumes, run.loaders.train)
    step = run.state.step
    if run.machine.largest(step) != step or run.machine.largest(-step) != -step:
        raise InputError(
            f"{run.at}: process {run.machine.rank} of {run.machine.world} goes on after step {step}, another elsewhere;"
            " put --state on a disk that all of them share"
        )
    if saved is None:
        if run.leads:
            resume.begin(run.at, run.resumes)
            log.info("training starts: %s", _sizes(run.state))
        if run.machine.rank:  # what a task draws by itself is another's in every process
            rng.seed_all(run.settings.seed + run.machine.rank)
        return
    run.best, run.validated = saved.note["best"], saved.note["validated"]
    unheard = run.due(run.settings.validate_every) and run.validated < step  # its checkpoint lacks these scores
    run.saved_step = step - 1 if unheard else step
    run.saved, run.best_weights = saved.folder, saved.path("best") if run.best else None
    run.progress.go_on(run.state.step, saved.note["progress"])
    if run.leads:
        log.info("training goes on after step %d: %s", run.state.step, _sizes(run.state))


def _go_on(run: Run) -> None:
    """Steps to the end. What is due after a step is done before the next one, also when it was interrupted there."""
    try:
        while True:
            if run.leads and run.due(run.settings.validate_every) and run.validated < run.state.step:
                _validate(run)
            stop = run.machine.largest(run.signals.received)
            if run.saved_step < run.state.step and (stop or run.due(run.settings.checkpoint_every)):
                _save(run)
            if stop:
                if run.leads:
                    log.warning(
                        "stopped by signal %d after step %d; the same command goes on from here", stop, run.state.step
                    )
                raise SystemExit(128 + stop)
            if run.done:
                return
            began = time.monotonic()
            batch = _to(next(run.loaders.train), run.state.device)
            _step(run, batch, time.monotonic() - began)
            if run.due(run.settings.log_every):
                run.progress.report(run.state.step, lr_at(run.settings, run.state.step - 1))
    finally:
        run.loaders.train.close()


def _step(run: Run, batch: Batch, waited_s: float) -> None:
    number = run.state.step
    losses = run.task.step(run.state, batch)
    seconds = batch.get("seconds", 0.0)
    own = losses
    if run.machine.world > 1:
        row = torch.tensor([*losses.values(), seconds, waited_s], dtype=torch.float64, device=run.machine.device)
        *means, mean_seconds, waited_s = run.machine.mean(row).tolist()
        losses, seconds = dict(zip(losses, means, strict=True)), mean_seconds * run.machine.world
    wrong = [name for name, value in losses.items() if not math.isfinite(value)]
    if wrong:
        raise _not_finite(run, number + 1, wrong[0], losses[wrong[0]], own, batch)
    assert run.state.step == number + 1, f"the task counted from step {number} to {run.state.step}, expected one more"
    run.progress.step(run.state.step, losses, seconds, waited_s)


def _not_finite(run: Run, step: int, name: str, value: float, own: dict[str, float], batch: Batch) -> InputError:
    """Writes out what the step was made of. Every process writes its own part of the batch, and its losses."""
    path = run.at / f"not_finite_{run.machine.rank}.jsonl"
    row = {"step": step, "losses": {key: str(value) for key, value in own.items()}}  # JSON has no NaN
    try:
        write_lines(path, [{**row, "utt_id": utt_id} for utt_id in batch["utt_id"]])
    except OSError as error:
        log.warning("%s: cannot be written (%s)", path, error.strerror)
    return InputError(
        f"step {step}: loss '{name}' is {value}; the batch was {', '.join(batch['utt_id'])} (also in {path}); "
        "look at these recordings, lower lr or set grad_clip; the last saved state is kept"
    )


def _validate(run: Run) -> None:
    """Scores of the validation, and the weights where they are the best so far. A signal cuts it short."""
    began = time.monotonic()
    valid = Interruptible(run.loaders.valid, run.signals)
    try:
        with rng.kept(run.machine.device):
            scores = run.task.validate(run.state, valid)
            shown = run.task.show(run.state, valid)
    except Interrupted:
        return
    if scores["loss"] < run.best.get("score", math.inf):
        run.best = {"score": scores["loss"], "step": run.state.step, "scores": scores}
        run.best_weights = run.task.export(run.state)
    run.validated = run.state.step
    run.progress.validated(run.state.step, scores, shown, time.monotonic() - began)


def _save(run: Run) -> None:
    """A checkpoint; every process gives its random generators."""
    generators = run.machine.gathered(rng.capture(run.machine.device))
    run.saved_step = run.state.step
    if not run.leads:
        return
    note = {
        "best": run.best,
        "validated": run.validated,
        "progress": run.progress.state(),
        "epoch": run.state.step // max(1, len(run.loaders.train)),
    }
    place = run.loaders.train
    run.saved = resume.save(
        run.at, run.state, run.resumes, place, generators, note, run.best_weights, previous=run.saved
    )
    if run.best_weights is not None:
        run.best_weights = run.saved / "best.safetensors"


def _finish(run: Run, made_by: Slice, run_dir: Path) -> runs.Info:
    """The run folder from what the state folder gathered."""
    weights = {"last": (run.task.export(run.state), run.state.step)}
    if isinstance(run.best_weights, Path) and run.best["step"] != run.state.step:
        weights["best"] = read_safetensors(run.best_weights)[0], run.best["step"]
    model = run.settings.keep if run.settings.keep in weights else "last"
    weights["model"] = weights.pop(model)
    others = [path for path in (run.at / "live").iterdir() if path.is_file()]
    notes = {"best": run.best, "steps": run.state.step, "facts": run.state.facts}
    runs.publish(run_dir, weights, others, made_by, notes)
    resume.finish(run.at, run.saved)
    info = runs.read_info(run_dir)
    if run.best:
        score, step = run.best["score"], run.best["step"]
        log.info("%s: step %d; the best validation loss was %.4g at step %d", run_dir, info["step"], score, step)
    return info


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return {k: v.to(device, non_blocking=True) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


def _sizes(state: State) -> str:
    counts = {name: sum(p.numel() for p in module.parameters()) for name, module in state.modules.items()}
    return ", ".join(f"{name} {count:,} parameters" for name, count in counts.items())
