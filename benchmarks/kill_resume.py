"""Kills trainings at many moments, goes on, and compares with one that nobody disturbed, bit for bit on a CPU.

    python benchmarks/kill_resume.py [--kills 100] [--stops 10] [--task vocos ...] [--steps 75] [--seed 0] [--only 3 17]

One process imports torch once and forks each training. A *life* is a chain of kills: train, kill, go on, kill, ... to
the end. Half of the kills come at random times after the first step, spread over the run; the others are aimed, by
counting what a training does: before or after the n-th write, rename or deletion, inside a batch of validation, between
two updates. Of these half are from inside, at that very call, and half from outside, up to 5 ms later. A kill that
comes after the end does not count and is drawn again. `--every publish removal --steps 16` kills at each event of these
kinds in turn instead. Then as many lives with a SIGTERM or a SIGUSR1, to the process and its workers, as --stops says.
After each kill, and at the end:

- every row of `metrics.csv` (losses, norms, lr of each step; validation) is that of the undisturbed run,
- `model.safetensors` and the best or last weights have the same bytes, and the same is said of them,
- no warning was given, no state and no temporary file is left.

Prints a line for each failure and a table; exits with 1 on a failure.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a process with threads is not to be forked

import argparse
import builtins
import contextlib
import csv
import functools
import hashlib
import io
import json
import logging
import math
import mmap
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import lightning_fabric.strategies  # noqa: F401 - once, before the forks
import numpy as np
import safetensors.torch
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from vcpipe.data import Whole
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.nn.discriminators import Discriminators, MultiPeriod, MultiScale
from vcpipe.nn.whisper import Size, WhisperEncoder
from vcpipe.settings import check
from vcpipe.store import write_shard
from vcpipe.systems.softvc import classifier_task
from vcpipe.systems.softvc import task as acoustic_task
from vcpipe.systems.softvc.classifier import OnWhisper
from vcpipe.systems.softvc.classifier_settings import ClassifierSettings, ClassifierTraining
from vcpipe.systems.softvc.classifier_train import train_classifier
from vcpipe.systems.softvc.config import AcousticTraining
from vcpipe.systems.softvc.model_settings import ModelSettings
from vcpipe.systems.softvc.statistics import write_statistics
from vcpipe.systems.softvc.train import train_acoustic
from vcpipe.vocoders import task
from vcpipe.vocoders.config import REVISION, TrainingSettings, generator_settings
from vcpipe.vocoders.train import train_vocoder

with contextlib.suppress(ImportError):
    import torch.utils.tensorboard

IDS = [f"u{i}" for i in range(9)]
UNITS, HOP, MELS = 6, 320, 5
WAV = {"stage": "audio", "shards": 1}
CPU = torch.device("cpu")
SCALES = [{"n_fft": 256, "hop": 128, "mels": 16}]
HIFIGAN = {"arch": "hifigan", "rates": (10, 8, 4), "kernels": (20, 16, 8), "channels": 16, "pre_dim": 8}
HIFIGAN |= {"resblock": 2, "resblock_kernels": (3,), "dilations": ((1, 3),)}
VOCOS = {"arch": "vocos", "width": 16, "depth": 2}
COMMON = {"preset": "cpu", "batch": 2, "valid_utterances": 2, "valid_max_s": 0.1, "lr": 1e-3}
COMMON |= {"log_every": 1, "validate_every": 10, "checkpoint_every": 7}
CROPS = {"segment_frames": 2, "mel_scales": SCALES}
PLAIN = {"ema": None, "warmup": 0, "schedule": "exponential", "lr_decay_every": 11, "lr_decay": 0.9, "grad_clip": 1.0}
MODEL = {"prenet": 6, "channels": 8, "lstm": 6, "lstm_layers": 2, "convs": 1}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "hifigan": (HIFIGAN, CROPS | PLAIN | {"adversarial_from": 30, "discriminators": "small"}),
    "vocos": (VOCOS, CROPS | {"ema": 0.9, "schedule": "cosine", "warmup": 10, "keep": "best"}),
    "published": (HIFIGAN, CROPS | PLAIN | {"adversarial_from": 40, "discriminators": "hifigan", "keep": "best"}),
    "workers": (VOCOS, CROPS | {"workers": 2, "adversarial_from": 45, "discriminators": "small"}),
    "pieces": (VOCOS, CROPS | {"accumulate": 2, "log_every": 3, "cache_mib": 0, "adversarial_from": 50}),
    "acoustic": (MODEL, {"batch": 3, "max_s": 0.3, "freeze_decoder": 12, "warmup": 5, "keep": "best"}),
    "classifier": ({"bins": 4}, {"mask_share": 0.3, "alpha": 0.7, "segment_frames": 20, "ema": 0.9, "warmup": 5}),
}
"""The network, and training over `COMMON`, of what is trained: vocoders but for the last two, which are Soft-VC's."""
THIN = 32
"""Of the published discriminators' channels one in so many is left: a state of all 70.7 million weights is 850 MB."""
DIFFERENT = re.compile("differs: run/|row |exit code ")
RATES = {"train/steps_per_s", "train/audio_s_per_s", "train/data_wait", "train/memory_mib"}

KINDS = ("start", "step", "validation", "files", "commit", "prune", "publish", "removal")
"""Until the first step; forward and backward passes and updates; a validation; of a checkpoint its files, the renames
of folder and `latest`, and the deletion of older ones; at the end the run folder, and the deletion of the state."""
AIMS = ("files", "validation", "commit", "prune", "step", "publish", "removal", "files", "start", "commit")
INSIDE_S = 0.005


@dataclass(frozen=True)
class Subject:
    """What is trained, how long, and the folder of the shards."""

    name: str
    steps: int
    data: Path


@dataclass(frozen=True)
class Aim:
    """When to kill: `at` is a share of the time, or of the events of that kind; from outside so much later."""

    kind: str
    at: float
    later_s: float | None = None

    def __str__(self) -> str:
        outside = "" if self.later_s is None else f" + {1000 * self.later_s:.1f} ms"
        return f"{self.kind} {self.at:.4f}{outside}"


@dataclass
class Quiet:
    """What the undisturbed training left, what it did, and how long it took from its first step."""

    seconds: float
    events: dict[str, int]
    rows: list[list[str]]
    left: dict[str, str]


@dataclass
class Tally:
    """What came of the kills of a task."""

    kills: int = 0
    hit: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    redrawn: int = 0
    identical: int = 0
    failed: int = 0
    lives: int = 0
    stops: int = 0
    slowest_s: float = 0.0


def corpus(folder: Path) -> None:
    """Noise, as shards and a manifest."""
    rng = np.random.default_rng(0)
    samples = {i: int(rng.integers(5000, 12000)) for i in IDS}
    wavs = ((i, 0.1 * rng.standard_normal((samples[i], 1))) for i in IDS)
    write_shard(folder / "wav/000.h5", wavs, made_by=WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    for name, ids in (("plain", IDS), ("matched", IDS[1:])):
        rows = ((i, rng.standard_normal((samples[i] // HOP, UNITS))) for i in ids)
        path, made_by = folder / name / "000.h5", {"stage": name}
        write_shard(path, rows, made_by=made_by, grid=Grid(16000, HOP), dim=UNITS, dtype="float16")
    for name, dim in (("mel", MELS), ("f0", 2), ("energy", 1), ("pitch", 2)):
        grid = Grid(16000, HOP if name == "pitch" else HOP // 2)
        rows = ((i, measured(name, rng, grid.frames(samples[i]), dim)) for i in IDS)
        write_shard(folder / name / "000.h5", rows, made_by=of(name), grid=grid, dim=dim, dtype="float32")
    split = ["valid" if i in IDS[:3] else "train" for i in IDS]
    table = [Utterance(i, "s", i, samples[i], 16000, split=s) for i, s in zip(IDS, split, strict=True)]
    write_table(folder / "manifest.csv", table, Utterance)
    write_statistics(VOICES, folder / "manifest.csv", folder / "f0", folder / "energy", folder / "voices.json")


def of(name: str) -> dict[str, Any]:
    """The slice of the shards of a feature."""
    return {"stage": name, "reads": WAV}


VOICES = {"stage": "statistics", "f0": of("f0"), "energy": of("energy")}


def measured(name: str, rng: np.random.Generator, frames: int, dim: int) -> np.ndarray:
    """`(frames, dim)`: noise that can be a feature of that name, F0 in Hz and voiced, or a level in dB."""
    noise = rng.standard_normal((frames, dim))
    if name in ("f0", "pitch"):
        voiced = noise[:, 1] > 0
        return np.stack([voiced * (150 + 20 * noise[:, 0]), voiced], axis=1)
    return 5 * noise - 30 if name == "energy" else noise


def train(subject: Subject, folder: Path) -> None:
    """The stage; what a new kind of task is trained by goes here."""
    stage = {"acoustic": acoustic, "classifier": classifier}.get(subject.name, vocoder)
    network, training = TASKS[subject.name]
    stage(network, {**COMMON, **training, "steps": subject.steps}, subject.data, folder)


def vocoder(generator: dict[str, Any], training: dict[str, Any], data: Path, folder: Path) -> None:
    """Of units that are matched or plain."""
    made_by = {
        "stage": "train",
        "task": "vocoder",
        "revision": REVISION,
        "generator": generator_settings(generator, "generator").model_dump(mode="json"),
        "training": check(TrainingSettings, training, "training").model_dump(mode="json"),
        "units": {"grid": f"16000/{HOP}", "dim": UNITS},
        "wav": WAV,
        "variants": [{"stage": "matched"}, {"stage": "plain"}],
    }
    units = [data / "matched", data / "plain"]
    train_vocoder(made_by, data / "manifest.csv", data / "wav", units, folder / "state", folder / "run", CPU)


def acoustic(model: dict[str, Any], training: dict[str, Any], data: Path, folder: Path) -> None:
    """Of batches that are drawn from two corpora, here the same one twice."""
    streams = {"units": "plain", "mel": "mel", "f0": "f0", "energy": "energy"}
    drawn = {"shards": 1, "units": [{"stage": "plain"}], **{key: [of(key)] for key in ("mel", "f0", "energy")}}
    made_by = {
        "stage": "train",
        "task": "acoustic",
        "revision": acoustic_task.REVISION,
        "system": "softvc",
        "condition": "quantised",
        "model": check(ModelSettings, model, "model").model_dump(mode="json"),
        "units": {"grid": f"16000/{HOP}", "dim": UNITS, "n": 0},
        "mel": {"grid": f"16000/{HOP // 2}", "dim": MELS},
        "features": streams,
        "training": check(AcousticTraining, training, "training").model_dump(mode="json"),
        "data": [{**drawn, "share": share, "statistics": VOICES} for share in (0.7, 0.3)],
    }
    folders = {key: [str(data / name)] for key, name in streams.items()}
    place = {"manifest": str(data / "manifest.csv"), "statistics": str(data / "voices.json"), **folders}
    train_acoustic(made_by, [place, place], folder / "state", folder / "run", CPU)


def classifier(classes: dict[str, Any], training: dict[str, Any], data: Path, folder: Path) -> None:
    """Of pitch, with spans that are hidden."""
    made_by = {
        "stage": "train",
        "task": "classifier",
        "revision": classifier_task.REVISION,
        "system": "softvc",
        "embds": "pits",
        "encoder": {"kind": "whisper"},
        "classifier": check(ClassifierSettings, classes, "classifier").model_dump(mode="json"),
        "training": check(ClassifierTraining, training, "training").model_dump(mode="json"),
        "wav": WAV,
        "labels": of("pitch"),
    }
    at = (data / name for name in ("manifest.csv", "wav", "pitch"))
    with mock.patch.object(classifier_task, "load_encoder", small_encoder):
        train_classifier(made_by, *at, folder / "state", folder / "run", CPU)


def small_encoder(_: object) -> OnWhisper:
    """Whisper's in small, with random weights instead of published ones."""
    return OnWhisper(WhisperEncoder(Size(width=16, heads=1, layers=1)), positions=True)


def thin_discriminators() -> Discriminators:
    """HiFi-GAN's own set, both norms, with fewer channels; the config has no key for that."""

    def thin(channels: int) -> int:
        return max(1, channels // THIN)

    def conv(a: int, b: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0) -> torch.nn.Module:
        return conv1d(thin(a), thin(b), kernel, stride, padding, groups=math.gcd(groups, thin(a), thin(b)))

    conv1d = torch.nn.Conv1d
    with mock.patch.object(torch.nn, "Conv1d", conv):
        scales = MultiScale()
    return Discriminators({"mpd": MultiPeriod(channels=(1, 4, 16, 32, 32)), "msd": scales})


class Watch:
    """In the training's process: counts what it does, says what it is at, and kills it or gives notice.

    Args:
        folder: of the training; what happens elsewhere is not counted.
        kind, count: of the event to act at; "" for none.
        notice: a pipe to write to instead of the kill; None to kill.
        at: a byte that the parent sees: the number of the kind of the last event.
    """

    def __init__(self, folder: Path, kind: str, count: int, notice: int | None, at: mmap.mmap):
        self.folder, self.kind, self.count, self.notice, self.at = str(folder), kind, count, notice, at
        self.pid = os.getpid()
        self.counts: Counter[str] = Counter()
        self.since = 0.0  # its first step
        self._tree: list[str] = []

    def event(self, kind: str | None) -> None:
        """Something of a kind is about to be done, or is done; what the training's workers do is not counted."""
        if kind is None or os.getpid() != self.pid:
            return
        if kind == "step" and not self.counts[kind]:
            self.since = time.monotonic()
        self.at[0] = KINDS.index(kind)
        self.counts[kind] += 1
        if kind == self.kind and self.counts[kind] == self.count:
            if self.notice is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                os.write(self.notice, b"!")

    def begin(self) -> None:
        """Wraps what a training calls."""
        for module, names in (
            (os, ("fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir")),
            (io, ("open",)),
        ):
            for name in names:
                setattr(module, name, self._wrapped(getattr(module, name), writes=name == "open"))
        builtins.open = io.open
        shutil.rmtree = self._tree_of(shutil.rmtree)  # type: ignore[assignment]
        safetensors.torch.save_file = self._saving(safetensors.torch.save_file)
        for trained in (task, acoustic_task, classifier_task):
            trained.step = self._stepping(trained.step)  # type: ignore[attr-defined]
        Whole.__iter__ = self._hearing(Whole.__iter__)  # type: ignore[method-assign]
        register_optimizer_step_post_hook(lambda *_: self.event("step"))

    def _wrapped(self, call: Callable[..., Any], writes: bool) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapper(*args: Any, **options: Any) -> Any:
            mode = str(options.get("mode", args[1] if len(args) > 1 else "r"))
            kind = None if writes and not set(mode) & set("wxa") else self._label(call.__name__, args)
            self.event(kind)
            result = call(*args, **options)
            self.event(kind)
            return result

        return wrapper

    def _saving(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(tensors: Any, path: Any, *args: Any) -> None:
            self.event(self._label("save", (path,)))
            call(tensors, path, *args)
            self.event(self._label("save", (path,)))

        return wrapper

    def _stepping(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any) -> Any:
            self.event("step")
            return call(*args)

        return wrapper

    def _hearing(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(batches: Whole) -> Iterator[Any]:
            for batch in call(batches):
                self.event("validation")
                yield batch

        return wrapper

    def _tree_of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(path: Any, *args: Any, **options: Any) -> None:
            self._tree.append(str(path))  # what is deleted inside has no folder in its name
            try:
                call(path, *args, **options)
            finally:
                self._tree.pop()

        return wrapper

    def _label(self, call: str, args: tuple[Any, ...]) -> str | None:
        """The kind of a call, by the path that it is about; None for one that is not the training's."""
        path = args[1] if call == "link" else args[0]
        path = os.readlink(f"/proc/self/fd/{path}") if isinstance(path, int) else str(path)
        if not path.startswith("/"):
            path = f"{self._tree[-1]}/{path}" if self._tree else path
        if not path.startswith(self.folder):
            return None
        top, _, run, entry = [*path.removeprefix(self.folder).strip("/").split("/"), "", "", ""][:4]
        if top != "state":
            return "publish"
        if run.startswith(".gone.") or (self._tree and self._tree[-1].endswith(run)):
            return "removal"
        if entry.startswith((".gone.", ".old.")) or (entry and "/.gone." in str(args[-1])):
            return "prune"
        if entry.startswith(".writing.") and call not in ("rename", "replace"):
            return "files"
        if "latest" in entry or entry.startswith((".writing.", "step-")):
            return "commit"
        if not self.counts["step"] or call not in ("fsync", "rename", "unlink"):
            return "start"
        return "removal" if call != "fsync" else "files" if entry else "commit"


@dataclass
class Child:
    """A training's process. `ready`: readable when it gave notice; `ended`: when it has ended."""

    pid: int
    ready: int
    ended: int
    at: mmap.mmap

    def ends_in(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        return bool(select.select([self.ended], [], [], max(0.0, seconds))[0])

    def gives_notice(self) -> bool:
        """Waits for its notice; False when it ended without."""
        return self.ready in select.select([self.ready, self.ended], [], [])[0]

    def status(self) -> int:
        """The exit code, negative for a signal, once it has ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.ready)
        os.close(self.ended)
        return code


def start(subject: Subject, folder: Path, kind: str = "", count: int = 0, notice: bool = False) -> Child:
    """Forks a training; its log is added to `log` in its folder."""
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads in the process that forks, expected 1"
    at = mmap.mmap(-1, 1)
    read, write = os.pipe()
    folder.mkdir(parents=True, exist_ok=True)
    pid = os.fork()
    if pid:
        os.close(write)
        return Child(pid, read, os.pidfd_open(pid), at)
    code = 1
    try:
        os.setsid()
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
        watch = Watch(folder, kind, count, write if notice else None, at)
        watch.begin()
        train(subject, folder)
        code = 0
        if not kind:
            told = {"seconds": time.monotonic() - watch.since, "events": watch.counts}
            (folder.parent / f"{folder.name}.json").write_text(json.dumps(told))
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def quiet(subject: Subject, folder: Path) -> Quiet:
    """Trains without a disturbance."""
    if start(subject, folder).status():
        raise SystemExit((folder / "log").read_text())
    told = json.loads((folder.parent / f"{folder.name}.json").read_text())
    return Quiet(told["seconds"], told["events"], rows(folder / "run/metrics.csv"), left(folder))


def rows(path: Path) -> list[list[str]]:
    """Of a table, without those that tell how fast it went; none of a line that is not finished."""
    text = path.read_text() if path.is_file() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()[1:]
    return [row for row in csv.reader(lines) if row[1] not in RATES]


def left(folder: Path) -> dict[str, str]:
    """Files and folders of a training that has ended -> digest; but its log, and what holds times of day."""
    names = (p for p in folder.rglob("*") if p.name not in ("log", "metrics.csv") and "tfevents" not in p.name)
    return {str(p.relative_to(folder)): digest(p) if p.is_file() else "folder" for p in names}


def digest(path: Path) -> str:
    """Of the bytes of a file; safetensors writes what is said of the weights in any order, so that is sorted."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        end = 8 + int.from_bytes(content[:8], "little")
        content = json.dumps(json.loads(content[8:end]), sort_keys=True).encode() + content[end:]
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def saved_step(folder: Path) -> int:
    """The step of the newest checkpoint; 0 where there is none."""
    names = [json.loads(path.read_text())["folder"] for path in folder.glob("state/run/*/latest")]
    return int(names[0].removeprefix("step-")) if names else 0


def kill(subject: Subject, folder: Path, aim: Aim, undisturbed: Quiet) -> str | int:
    """Trains, or goes on, until the kill: the kind of moment that was hit, or the exit code when it ended before."""
    share = 1 - saved_step(folder) / subject.steps
    if aim.kind == "time":
        child = start(subject, folder, "step", 1, notice=True)
        if child.gives_notice() and not child.ends_in(aim.at * share * undisturbed.seconds):
            os.kill(child.pid, signal.SIGKILL)
    else:
        total = undisturbed.events[aim.kind]
        if aim.kind not in ("publish", "removal", "start"):
            total = round(total * share)
        child = start(subject, folder, aim.kind, 1 + int(aim.at * max(1, total)), aim.later_s is not None)
        if aim.later_s is not None and child.gives_notice():
            time.sleep(aim.later_s)
            os.kill(child.pid, signal.SIGKILL)
    code = child.status()
    return KINDS[child.at[0]] if code == -signal.SIGKILL else code


def live_faults(folder: Path, undisturbed: Quiet) -> list[str]:
    """What the table of a killed training says that the undisturbed one did not."""
    faults = []
    for path in folder.glob("state/run/*/live/metrics.csv"):
        found = rows(path)
        if found != undisturbed.rows[: len(found)]:
            pairs = zip(found, [*undisturbed.rows, None], strict=False)
            faults.append("row, expected: {}, {}".format(*next(pair for pair in pairs if pair[0] != pair[1])))
    return faults


def end_faults(subject: Subject, folder: Path, undisturbed: Quiet) -> list[str]:
    """Goes on to the end, and compares."""
    if code := start(subject, folder).status():
        return [f"exit code {code}: {(folder / 'log').read_text()[-600:]}"]
    found, there = rows(folder / "run/metrics.csv"), left(folder)
    faults = [f"differs: {n}" for n in sorted({*there, *undisturbed.left}) if there.get(n) != undisturbed.left.get(n)]
    if found != undisturbed.rows:
        pairs = zip([*found, None], [*undisturbed.rows, None], strict=False)
        odd = next(pair for pair in pairs if pair[0] != pair[1])
        faults.append("row {}, expected {}; {} rows, expected {}".format(*odd, len(found), len(undisturbed.rows)))
    log = (folder / "log").read_text()
    return faults + [line for line in log.splitlines() if line.startswith("WARNING") and "stopped by" not in line]


def plan(kills: int, rng: random.Random) -> list[list[Aim]]:
    """Lives of two to six kills; every kind has its turn, and each is spread over the run."""
    kinds = ["time" if i % 2 else AIMS[i // 2 % len(AIMS)] for i in range(kills)]
    totals, seen = Counter(kinds), Counter[str]()
    aims = []
    for kind in kinds:
        at = (seen[kind] + rng.random()) / totals[kind]
        seen[kind] += 1
        later = rng.uniform(0, INSIDE_S) if kind != "time" and rng.random() < 0.5 else None
        aims.append(Aim(kind, at, later))
    lives = []
    while aims:
        count = rng.randint(2, 6)
        lives.append(aims[:count])
        aims = aims[count:]
    return lives


def every(kinds: list[str], undisturbed: Quiet) -> list[list[Aim]]:
    """A life for each event of some kinds, with a kill in the middle of the run before it."""
    totals = [(kind, undisturbed.events[kind]) for kind in kinds]
    return [[Aim("step", 0.6), Aim(kind, (n + 0.5) / total)] for kind, total in totals for n in range(total)]


def live(subject: Subject, folder: Path, aims: list[Aim], undisturbed: Quiet, tally: Tally, seed: str) -> list[str]:
    """One life. A kill that comes too late is drawn again in another folder."""
    rng, faults, open_aims, attempts = random.Random(seed), list[str](), list(aims), 0
    while open_aims and not faults:
        attempts += 1
        at = folder.with_name(f"{folder.name}-{attempts}")
        while open_aims and not faults:
            hit = kill(subject, at, open_aims[0], undisturbed)
            if isinstance(hit, int) and hit:
                faults = [f"exit code {hit}: {(at / 'log').read_text()[-600:]}"]
                break
            if isinstance(hit, int):
                tally.redrawn += 1
                aim = open_aims.pop(0)
                open_aims.append(Aim(aim.kind, 0.9 * aim.at * rng.random(), aim.later_s))
                break
            tally.kills += 1
            tally.hit[hit] += 1
            tally.resumed += saved_step(at) > 0
            open_aims.pop(0)
            faults = live_faults(at, undisturbed)
        faults = faults or end_faults(subject, at, undisturbed)
        shutil.rmtree(at)
    return faults


def stopped(
    subject: Subject, folder: Path, sent: signal.Signals, at: float, undisturbed: Quiet, tally: Tally
) -> list[str]:
    """One life with a signal to stop, to the training and its workers, as a cluster sends it."""
    child = start(subject, folder, "step", 1, notice=True)
    child.gives_notice()
    child.ends_in(at * undisturbed.seconds)
    os.killpg(child.pid, sent)
    since = time.monotonic()
    child.ends_in(60.0)
    took_s, code = time.monotonic() - since, child.status()
    if code == 0:  # it came too late
        shutil.rmtree(folder)
        return stopped(subject, folder, sent, at / 2, undisturbed, tally)
    tally.stops += 1
    tally.slowest_s = max(tally.slowest_s, took_s)
    faults = []
    log, step = (folder / "log").read_text(), saved_step(folder)
    if code != 128 + sent:
        faults.append(f"{sent.name}: exit code {code}, expected {128 + sent}: {log[-600:]}")
    if f"stopped by signal {int(sent)} after step {step};" not in log:
        faults.append(f"{sent.name}: the last checkpoint is of step {step}; {log[-300:]}")
    faults += live_faults(folder, undisturbed) + end_faults(subject, folder, undisturbed)
    shutil.rmtree(folder)
    return faults


def attempt(subject: Subject, folder: Path, args: argparse.Namespace) -> Tally:
    """All lives of a task."""
    name = subject.name
    if name == "published":
        task.DISCRIMINATORS["hifigan"] = thin_discriminators
    tally, undisturbed = Tally(), quiet(subject, folder / "quiet")
    rng = random.Random(f"{args.seed} {name}")
    lives: list[list[Aim] | signal.Signals] = [*(every(args.every, undisturbed) or plan(args.kills, rng))]
    lives += [(signal.SIGTERM, signal.SIGUSR1)[i % 2] for i in range(args.stops)]
    shares = [rng.random() for _ in lives]
    for number, (kills, at) in enumerate(zip(lives, shares, strict=True)):
        if args.only and number not in args.only:
            continue
        place = folder / f"life-{number}"
        if isinstance(kills, signal.Signals):
            faults = stopped(subject, place, kills, at, undisturbed, tally)
            words = f"{kills.name} {at:.4f}"
        else:
            before = tally.kills
            faults = live(subject, place, kills, undisturbed, tally, f"{args.seed} {name} {number}")
            tally.failed += (tally.kills - before) if faults else 0
            tally.identical += 0 if any(map(DIFFERENT.match, faults)) else tally.kills - before
            words = ", ".join(map(str, kills))
        tally.lives += 1
        if faults:
            tally.failed += isinstance(kills, signal.Signals)
            moments = f"--every {' '.join(args.every)}" if args.every else f"--kills {args.kills}"
            repeat = f"{moments} --task {name} --steps {args.steps} --seed {args.seed} --only {number}"
            print(f"FAILED ({repeat}): {words}")
            print("".join(f"      {fault}\n" for fault in faults), end="", flush=True)
    return tally


def main() -> None:
    """Kills, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="of each task")
    parser.add_argument("--stops", type=int, default=10, help="of each task, by SIGTERM and SIGUSR1 in turn")
    parser.add_argument("--task", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--steps", type=int, default=75, help="of each training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", choices=KINDS, nargs="+", default=[], help="at each event of these kinds in turn")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of lives, to repeat them")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="vcpipe-resume-") as folder:
        data = Path(folder) / "data"
        corpus(data)
        for name in args.task:
            began = time.monotonic()
            tallies[name] = tally = attempt(Subject(name, args.steps, data), Path(folder) / name, args)
            print(f"{name}: {tally.lives} lives in {time.monotonic() - began:.0f} s", flush=True)
    print(f"\n{'task':<11}{'kills':>6}{'resumed':>9}{'identical':>11}{'failed':>8}{'late':>6}   in (kinds of moment)")
    for name, t in tallies.items():
        hit = ", ".join(f"{kind} {t.hit[kind]}" for kind in KINDS if t.hit[kind])
        print(f"{name:<11}{t.kills:>6}{t.resumed:>9}{t.identical:>11}{t.failed:>8}{t.redrawn:>6}   {hit}")
    stops, slowest_s = sum(t.stops for t in tallies.values()), max(t.slowest_s for t in tallies.values())
    print(f"{stops} stops by SIGTERM and SIGUSR1; from signal to exit {slowest_s:.2f} s at most")
    sys.exit(any(t.failed for t in tallies.values()))


if __name__ == "__main__":
    main()
