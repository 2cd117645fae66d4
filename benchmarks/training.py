"""HiFi-GAN's training: ours against the published loop, re-enacted over the same networks, in turns within one run.

On a GPU, one command for the table and one for the stop; the others are parts of the first, where time is short:

    python benchmarks/training.py
    python benchmarks/training.py --resume
    python benchmarks/training.py --ways published 32 bf16 bf16+tried
    python benchmarks/training.py --ways published compile bf16+compile --workers 4 --cache-mib 2048
    python benchmarks/training.py --recordings FOLDER       over .wav and .flac files instead of noise

Without one, to see that it runs at all: --device cpu --tiny, and the same with --resume. Also: --utterances 400,
--block 50, --rounds 6, --steps 100 (of --resume), --folder DIR (for 1.5 GB of temporary files, with --resume more).

HiFi-GAN V1 over 1024 units, the published discriminators, `preset: paper`: 16 crops of 22 frames. Ours is the stage
itself, over shards, with its loop and its log every 25 steps; validation and checkpoints are not due. The published
loop (arXiv 2010.05646, over units 2305.18975): a `.pt` of units and a `.flac` an utterance, read whole by 8 workers
that make the mel of the crop, too; recordings and generated waves pass the discriminators one after the other; the
generator's step computes their gradients as well; AdamW as torch makes it by default; what each sub-discriminator
loses by either is read by `.item()`; cuDNN tries its kernels out (`cudnn.benchmark`). First it is made sure, on small
networks, that both learn the same. With spectral norms they do so only nearly: these go on with every pass.

Each way is a process of its own, so that memory, kernels and workers are its own; one at a time makes a block of steps
while the others stand still. Times are medians over the blocks, ratios medians of those of each round. `data wait` is
the time in which a loop stood waiting for its next batch; `idle` is 1 - time in kernels and copies of a step (from the
profiler) / time of a step (without it); `host waits` are a step's calls that wait for the GPU, with both n/a on a CPU;
`peak` is torch's memory on the GPU, or that of the process; `first` is the time of the first steps, compiling included.

--resume trains three times, twice undisturbed and once with a SIGTERM half way, with torch's kernels as they come and
with those that `torch.use_deterministic_algorithms` chooses; what has none of these is named. Where two undisturbed
runs agree bit for bit, the stopped one has to.

Goals on a GPU: 1.5 times the steps/s of the published loop, and less than 5 % idle.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import resource
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcpipe import audio
from vcpipe.device import choose
from vcpipe.grid import Grid
from vcpipe.loader import Loader
from vcpipe.manifest import Utterance, shard_names, write_table
from vcpipe.nn.mel import LogMel
from vcpipe.settings import Slice, check
from vcpipe.store import write_shard
from vcpipe.training import machine
from vcpipe.vocoders import task
from vcpipe.vocoders.config import REVISION, TrainingSettings, VocoderConfig, generator_settings, of_slice
from vcpipe.vocoders.train import train_vocoder
from vcpipe.weights import read_safetensors

RATE, HOP, SHARDS, VALID = 16000, 320, 4, 2
WAV, UNITS = {"stage": "audio", "shards": SHARDS}, {"stage": "units"}
NEVER = 10**7
PAPER = {"preset": "paper", "steps": NEVER, "validate_every": NEVER, "checkpoint_every": NEVER}
EPOCH = 28_539  # utterances of train-clean-100: the published loop starts its workers anew with each pass over them
SPEED_GOAL, IDLE_GOAL = 1.5, 0.05
PROFILED = 5  # steps
RATES = {"train/lr", "train/steps_per_s", "train/audio_s_per_s", "train/data_wait", "train/memory_mib"}

OURS: dict[str, dict[str, Any]] = {
    "32": {},
    "bf16": {"precision": "bf16"},
    "compile": {"compile": True},
    "bf16+compile": {"precision": "bf16", "compile": True},
    "bf16+tried": {"precision": "bf16", "tried": True},
}
"""Keys of the training; `tried` is `cudnn.benchmark`, for which there is no key."""
PUBLISHED = {"published": False, "published_bf16": True}
"""Whether under autocast."""


@dataclass(frozen=True)
class Size:
    """What is trained, on how much, and how long the blocks are. `seconds`: shortest and longest utterance;
    `file_workers`: of the published loop."""

    generator: dict[str, Any] = field(default_factory=lambda: {"preset": "hifigan_v1"})
    training: dict[str, Any] = field(default_factory=dict)
    dim: int = 1024
    utterances: int = 400
    seconds: tuple[float, float] = (10.0, 15.0)
    file_workers: int = 8
    first: int = 30
    block: int = 50
    rounds: int = 6
    steps: int = 100


THIN = {"arch": "hifigan", "rates": (10, 8, 4), "kernels": (20, 16, 8), "channels": 16, "pre_dim": 8, "resblock": 2}
TINY = Size(
    generator=THIN | {"resblock_kernels": (3,), "dilations": ((1, 3),)},
    training={"discriminators": "small", "batch": 2, "segment_frames": 6},
    dim=16,
    utterances=12,
    seconds=(0.6, 1.0),
    file_workers=2,
    first=2,
    block=5,
    rounds=3,
    steps=8,
)


@dataclass(frozen=True)
class Job:
    """A training to be made by a process: where the data is, where it writes, on what."""

    size: Size
    way: str
    data: Path
    out: Path
    device: str
    training: dict[str, Any]
    deterministic: bool = False

    def made_by(self) -> Slice:
        keys = {key: value for key, value in OURS.get(self.way, {}).items() if key != "tried"}
        training = check(TrainingSettings, PAPER | self.size.training | self.training | keys, "training")
        return {
            "stage": "train",
            "task": "vocoder",
            "revision": REVISION,
            "generator": generator_settings(self.size.generator, "generator").model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "units": {"grid": f"{RATE}/{HOP}", "dim": self.size.dim},
            "wav": WAV,
            "variants": [UNITS],
        }

    def config(self) -> VocoderConfig:
        return of_slice(self.made_by(), "training")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="small networks, to see that it runs; the goals are not it")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--ways", nargs="+", choices=[*PUBLISHED, *OURS], help="all of them; three if tiny")
    parser.add_argument("--recordings", type=Path, help="a folder with .wav and .flac files; noise by default")
    parser.add_argument("--workers", type=int, default=0, help="of ours, that cut crops")
    parser.add_argument("--cache-mib", type=int, default=0, help="of ours; 0, since a large corpus stays on the disk")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    for key in ("utterances", "block", "rounds", "steps"):
        parser.add_argument(f"--{key}", type=int)
    arguments = parser.parse_args()
    given = {key: getattr(arguments, key) for key in ("utterances", "block", "rounds", "steps")}
    size = TINY if arguments.tiny else Size()
    size = Size(**{**vars(size), **{key: value for key, value in given.items() if value is not None}})
    device = str(choose(arguments.device, "--device"))
    training = {"workers": arguments.workers, "cache_mib": arguments.cache_mib}
    ways = arguments.ways or (["published", "32", "bf16"] if arguments.tiny else [*PUBLISHED, *OURS])
    print(f"torch {torch.__version__}, {_name(device)}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        print(make(folder / "data", size, arguments.recordings), flush=True)

        def job(way: str, **more: Any) -> Job:
            return Job(size, way, folder / "data", folder / way, device, training, **more)

        if arguments.resume:
            chosen = [way for way in arguments.ways or ["32"] if way in OURS]
            good = [resumed(job(way), way, folder) for way in chosen]
            return 0 if all(good) else 1
        alike()
        return compared([job(way) for way in ways], goals=not arguments.tiny and device != "cpu")


def _name(device: str) -> str:
    return "cpu" if device == "cpu" else torch.cuda.get_device_name(torch.device(device))


# ---- data


def make(folder: Path, size: Size, recordings: Path | None) -> str:
    """Shards, and a file per utterance, of the same audio; units are noise. What there is, in words."""
    (folder / "files").mkdir(parents=True)
    rng = np.random.default_rng(0)
    longest = 4 * int(size.seconds[1] * RATE)
    noise = rng.standard_normal((longest // HOP, size.dim), dtype=np.float32).astype(np.float16)
    hiss = 0.1 * rng.standard_normal(longest, dtype=np.float32)
    table: list[Utterance] = []
    parts: list[list[tuple[str, Path]]] = [[] for _ in range(SHARDS)]
    for number, wave in enumerate(_waves(size, recordings, hiss, rng)):
        utt_id, frames = f"u{number:05d}", len(wave) // HOP
        path = folder / "files" / utt_id
        at = int(rng.integers(len(noise)))
        torch.save(torch.from_numpy(np.resize(np.roll(noise, at, axis=0), (frames, size.dim))), path.with_suffix(".pt"))
        soundfile.write(path.with_suffix(".flac"), wave[: frames * HOP], RATE)
        split = "valid" if number < VALID else "train"
        table.append(Utterance(utt_id, "s", utt_id, frames * HOP, RATE, split=split))
        parts[number % SHARDS].append((utt_id, path))
    if len(table) <= VALID:
        raise SystemExit(f"--recordings {recordings}: expected more than {VALID} .wav or .flac files of a second or so")
    for name, part in zip(shard_names(SHARDS), parts, strict=True):
        units = ((i, torch.load(p.with_suffix(".pt"), weights_only=True).numpy()) for i, p in part)
        wavs = ((i, soundfile.read(p.with_suffix(".flac"), dtype="float32")[0][:, None]) for i, p in part)
        grid = Grid(RATE, HOP)
        write_shard(folder / f"units/{name}.h5", units, made_by=UNITS, grid=grid, dim=size.dim, dtype="float16")
        write_shard(folder / f"wav/{name}.h5", wavs, made_by=WAV, grid=Grid(RATE, 1), dim=1, dtype="float32")
    write_table(folder / "manifest.csv", table, Utterance)
    minutes = sum(u.n_samples for u in table) / RATE / 60
    total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / (1 << 20)
    kind = "noise" if recordings is None else "recordings"
    return f"{len(table)} utterances of {kind}, {minutes:.1f} min, {SHARDS} shards; {total:.0f} MiB with the files"


def _waves(size: Size, recordings: Path | None, hiss: Any, rng: np.random.Generator) -> Iterator[Any]:
    if recordings is None:
        for _ in range(size.utterances):
            n = int(rng.uniform(*size.seconds) * RATE)
            yield hiss[int(rng.integers(len(hiss) - n)) :][:n]
        return
    paths = sorted(p for p in recordings.rglob("*") if p.suffix in (".wav", ".flac"))
    for wave in (audio.load(path, RATE) for path in paths[: size.utterances]):
        if len(wave) >= RATE // 2:
            yield wave


class Files(torch.utils.data.Dataset):
    """The published reading: an utterance's two files whole, then the crop, and the mel of its audio."""

    def __init__(self, folder: Path, frames: int):
        self.paths = sorted(folder.glob("*.pt"))[VALID:]
        self.frames, self.mel = frames, published_mel()

    def __len__(self) -> int:
        return EPOCH

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        path = self.paths[number % len(self.paths)]
        units = torch.load(path, weights_only=True).float()
        wave = torch.from_numpy(soundfile.read(path.with_suffix(".flac"), dtype="float32")[0])
        start = int(torch.randint(0, len(units) - self.frames, ()))
        wave = wave[start * HOP : (start + self.frames) * HOP]
        return units[start : start + self.frames], wave, self.mel(wave[None])[0]


# ---- the published loop


def published_mel() -> LogMel:
    return LogMel(RATE, 1024, 1024, HOP, 80, 0.0, RATE / 2)


@dataclass
class Published:
    """What the published loop holds, and its step."""

    cfg: VocoderConfig
    generator: nn.Module
    discriminators: nn.Module
    device: torch.device
    autocast: bool = False

    def __post_init__(self) -> None:
        training = self.cfg.training
        for module in (self.generator, self.discriminators):
            module.to(self.device).train()
        self.optim_g = torch.optim.AdamW(self.generator.parameters(), training.lr, betas=training.betas)
        self.optim_d = torch.optim.AdamW(self.discriminators.parameters(), training.lr, betas=training.betas)
        self.mel = published_mel().to(self.device)

    def step(self, units: Tensor, wave: Tensor, mel: Tensor) -> dict[str, Tensor]:
        """One update of each from `units (B, T, D)`, `wav (B, hop * T)` and its mel, on the CPU."""
        units, wave, mel = (t.to(self.device, non_blocking=True) for t in (units, wave, mel))
        wave = wave.unsqueeze(1)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast)
        with autocast:
            wave_hat = self.generator(units)
            mel_hat = self.mel(wave_hat.squeeze(1))
            self.optim_d.zero_grad()
            real, _ = self.discriminators(wave)
            fake, _ = self.discriminators(wave_hat.detach())
            judged = torch.zeros((), device=self.device)
            for r, f in zip(real, fake, strict=True):
                of_real, of_fake = (1 - r).square().mean(), f.square().mean()
                judged = judged + of_real + of_fake
                of_real.item(), of_fake.item()
        judged.backward()
        self.optim_d.step()
        with autocast:
            self.optim_g.zero_grad()
            _, layers = self.discriminators(wave)
            scores, layers_hat = self.discriminators(wave_hat)
            terms = {"mel": F.l1_loss(mel_hat, mel)}
            feature = torch.zeros((), device=self.device)
            for rs, fs in zip(layers, layers_hat, strict=True):
                for r, f in zip(rs, fs, strict=True):
                    feature = feature + (r - f).abs().mean()
            adversarial = torch.zeros((), device=self.device)
            for score in scores:
                adversarial = adversarial + (1 - score).square().mean()
            loss = 45 * terms["mel"] + adversarial + 2 * feature
        loss.backward()
        self.optim_g.step()
        return terms | {"adversarial": adversarial, "feature": feature, "discriminator": judged, "loss": loss}


def networks(cfg: VocoderConfig) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(cfg.training.seed)
    generator = task.build_generator(cfg.generator, cfg.in_dim, cfg.hop)
    return generator, task.DISCRIMINATORS[cfg.training.discriminators]()


def published(job: Job, gate: Gate) -> None:
    """Steps without end."""
    cfg, device = job.config(), torch.device(job.device)
    torch.backends.cudnn.benchmark = True
    loop = Published(cfg, *networks(cfg), device, PUBLISHED[job.way])
    loader = torch.utils.data.DataLoader(
        Files(job.data / "files", cfg.training.segment_frames),
        cfg.training.batch,
        shuffle=True,
        num_workers=job.size.file_workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
    )
    steps = 0
    while True:
        batches = iter(loader)
        for _ in range(len(loader)):
            batch = gate.timed(batches.__next__)
            gate()
            losses = loop.step(*batch)
            steps += 1
            if steps % cfg.training.log_every == 0:
                _ = {name: value.item() for name, value in losses.items()}


def alike() -> None:
    """Two steps of each from the same small weights and crops, on the CPU: the re-enacted loop learns the same."""
    cpu = torch.device("cpu")
    cfg = Job(TINY, "32", Path(), Path(), "cpu", {}).config()
    batch, frames = cfg.training.batch, cfg.training.segment_frames
    loop = Published(cfg, *networks(cfg), cpu)
    state = task.build(cfg, cpu)
    state.modules["model"].load_state_dict(loop.generator.state_dict())
    state.modules["discriminators"].load_state_dict(loop.discriminators.state_dict())
    state.equip(machine.start(cpu, cfg.training))
    differ = 0.0
    for _ in range(2):
        units, wav = torch.randn(batch, frames, TINY.dim), 0.1 * torch.randn(batch, frames * HOP)
        ours = task.step(state, {"units": units, "wav": wav, "utt_id": ["noise"] * batch})
        theirs = loop.step(units, wav, loop.mel(wav))
        differ = max(differ, *(abs(ours[name] / value.item() - 1) for name, value in theirs.items()))
    print(f"two steps of small networks with each: the losses differ by at most {100 * differ:.2g} %", flush=True)
    if differ > 1e-4:
        raise SystemExit("the re-enacted loop does not learn what ours does: correct the benchmark before measuring")


# ---- processes


class Gate:
    """In a training's process: lets it make some steps when the parent says so, and measures them.

    The parent sends ("go" or "profile", steps); it gets a dict of what was measured. "end" ends the process.
    """

    def __init__(self, pipe: Connection, device: str):
        self.pipe, self.device = pipe, torch.device(device)
        self.left = self.steps = 0
        self.waited_s = self.began = 0.0
        self.profiler: Any = None

    def __call__(self) -> None:
        """Before each step."""
        if not self.left:
            self.pipe.send(self._measured() if self.steps else {})
            order, self.steps = self._order()
            if order == "end":
                raise SystemExit(0)
            self.left = self.steps
            self._begin(order == "profile")
        self.left -= 1

    def _order(self) -> tuple[str, int]:
        try:
            return self.pipe.recv()
        except EOFError:  # the parent was ended
            return "end", 0

    def timed(self, ask: Callable[[], Any]) -> Any:
        """A batch; the time until it came counts as waiting."""
        began = time.perf_counter()
        batch = ask()
        self.waited_s += time.perf_counter() - began
        return batch

    def _begin(self, profile: bool) -> None:
        if profile:
            kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
            self.profiler = torch.profiler.profile(activities=kinds)
            self.profiler.start()
        self.waited_s, self.began = 0.0, time.perf_counter()

    def _measured(self) -> dict[str, Any]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        took_s = time.perf_counter() - self.began
        found = {"step_s": took_s / self.steps, "wait": self.waited_s / took_s, "mib": self._peak_mib()}
        if self.profiler is not None:
            self.profiler.stop()
            with tempfile.NamedTemporaryFile(suffix=".json") as f:
                self.profiler.export_chrome_trace(f.name)
                events = json.loads(Path(f.name).read_text())["traceEvents"]
            self.profiler = None
            busy_s, waits = on_gpu(events)
            found |= {"busy_s": busy_s / self.steps, "host_waits": waits / self.steps}
        return found

    def _peak_mib(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / (1 << 20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def on_gpu(events: list[dict[str, Any]]) -> tuple[float, int]:
    """Seconds in which a kernel or a copy ran, and calls that waited for the GPU, of a trace."""
    busy_us, end = 0.0, -math.inf
    spans = [(e["ts"], e["ts"] + e["dur"]) for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
    for start, stop in sorted(spans):
        busy_us += max(0.0, stop - max(start, end))
        end = max(end, stop)
    waiting = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize")
    return busy_us / 1e6, sum(e.get("cat") == "cuda_runtime" and e.get("name") in waiting for e in events)


def process(job: Job, pipe: Connection) -> None:
    """A training in a process of its own."""
    gate = Gate(pipe, job.device)
    if job.device == "cpu":
        torch.set_num_threads(1)
    if job.way in PUBLISHED:
        published(job, gate)
        return
    torch.backends.cudnn.benchmark = OURS[job.way].get("tried", False)
    if job.deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
    step, following = task.step, Loader.__next__

    def gated(state: Any, batch: Any) -> dict[str, float]:
        gate()
        return step(state, batch)

    places = (job.data / "manifest.csv", job.data / "wav", [job.data / "units"], job.out / "state", job.out / "run")
    with (
        warnings.catch_warnings(record=True) as said,
        mock.patch.object(task, "step", gated),
        mock.patch.object(Loader, "__next__", lambda loader: gate.timed(lambda: following(loader))),
    ):
        train_vocoder(job.made_by(), *places, torch.device(job.device))
    lines = {str(w.message).split(".")[0] for w in said if "deterministic" in str(w.message)}
    pipe.send({"warnings": sorted(lines)})


class Child:
    """A training's process, as the parent sees it; `failed` once it has ended without being told to."""

    def __init__(self, job: Job):
        self.job, self.failed = job, False
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=process, args=(job, theirs))
        with mock.patch.dict(os.environ, {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} if job.deterministic else {}):
            self.process.start()
        theirs.close()

    def answer(self) -> dict[str, Any]:
        """What it measured; nothing when it has ended."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            self.failed = True
            return {}

    def go(self, steps: int, order: str = "go") -> dict[str, Any]:
        """Lets it make so many steps."""
        self.pipe.send((order, steps))
        return self.answer()

    def end(self) -> None:
        if not self.failed:
            self.pipe.send(("end", 0))
        self.process.join(60)
        if self.process.is_alive():
            self.process.kill()


# ---- speed


def compared(jobs: list[Job], goals: bool) -> int:
    """Prints the table; 1 when ours misses the goals with every way, or a way has failed."""
    size = jobs[0].size
    children = {job.way: Child(job) for job in jobs}
    try:
        for child in children.values():
            child.answer()
        first = {way: child.go(size.first) for way, child in children.items() if not child.failed}
        blocks: dict[str, list[dict[str, Any]]] = {way: [] for way in children}
        for number in range(size.rounds):
            turn = number % len(children)
            for way in [*children][turn:] + [*children][:turn]:
                if not children[way].failed:
                    blocks[way].append(children[way].go(size.block))
        traces = {}
        for way, child in children.items():
            if child.job.device != "cpu" and not child.failed:
                traces[way] = child.go(PROFILED, "profile")
    finally:
        for child in children.values():
            child.end()
    print(f"{size.rounds} rounds of {size.block} steps; ratios: median (smallest to largest)")
    bases = [way for way in PUBLISHED if way in children]
    heads = "".join(f"{f'x {base}':>24}" for base in bases)
    print(f"{'way':<16}{'steps/s':>9}{heads}{'data wait':>11}{'idle':>8}{'host waits':>12}{'peak MiB':>10}{'first':>9}")
    met = False
    for way, child in children.items():
        if child.failed:
            print(f"{way:<16}  failed with exit code {child.process.exitcode}; what it said stands above")
            continue
        took = [block["step_s"] for block in blocks[way]]
        step_s, wait = statistics.median(took), statistics.median(block["wait"] for block in blocks[way])
        ratios = {
            base: [theirs["step_s"] / mine for theirs, mine in zip(blocks[base], took, strict=True)]
            for base in bases
            if not children[base].failed
        }
        trace = traces.get(way, {})
        idle = 1 - trace["busy_s"] / step_s if trace.get("busy_s") else None
        columns = "".join(f"{_range(ratios[base]) if base in ratios else 'n/a':>24}" for base in bases)
        waits = "n/a" if idle is None else f"{trace['host_waits']:.1f}"
        print(
            f"{way:<16}{1 / step_s:>9.2f}{columns}{wait:>11.1%}{'n/a' if idle is None else f'{idle:.1%}':>8}"
            f"{waits:>12}{blocks[way][-1]['mib']:>10.0f}{first[way]['step_s'] * size.first:>7.1f} s"
        )
        if way in OURS and idle is not None and "published" in ratios:
            met |= statistics.median(ratios["published"]) >= SPEED_GOAL and idle < IDLE_GOAL
    failed = any(child.failed for child in children.values())
    if not goals:
        print("no goals: they are those of a GPU and of the whole size")
        return int(failed)
    print(f"goals, {SPEED_GOAL} x published and idle < {IDLE_GOAL:.0%} with one way: {'met' if met else 'MISSED'}")
    return int(failed or not met)


def _range(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


# ---- stopped and gone on


def resumed(job: Job, way: str, folder: Path) -> bool:
    """Prints how far a training that was stopped is from one that was not; False when a stop made a difference."""
    steps, good = job.size.steps, True
    training = job.training | {"steps": steps, "validate_every": steps, "log_every": 1}
    print(f"{way}: {steps} steps, SIGTERM in step {steps // 2 + 1}")
    print(f"{'kernels':<16}{'against an undisturbed run':<28}{'losses differ by':>18}{'weights by':>14}")
    for kernels in ("default", "deterministic"):
        runs = {}
        for name in ("whole", "again", "stopped"):
            out, fixed = folder / way / kernels / name, kernels == "deterministic"
            new = Job(job.size, way, job.data, out, job.device, training, fixed)
            runs[name] = out / "run", _trained(new, steps // 2 if name == "stopped" else None)
        for name, words in (("again", "a second undisturbed run"), ("stopped", "stopped and gone on")):
            losses, weights = apart(runs["whole"][0], runs[name][0])
            print(f"{kernels:<16}{words:<28}{_by(losses):>18}{_by(weights):>14}", flush=True)
            if name == "again":
                usual = max(losses, weights)
            elif not usual:
                good &= not max(losses, weights)
        for line in runs["stopped"][1]:
            print(f"  {line}")
    print("a stop changes nothing" if good else "A STOP CHANGES what two undisturbed runs agree in")
    return good


def _by(difference: float) -> str:
    return f"{difference:.3g}" if difference else "nothing"


def _trained(job: Job, stop: int | None) -> list[str]:
    """Trains to the end, where `stop` says so with a SIGTERM in the step after so many; what torch warned of."""
    child = Child(job)
    child.answer()
    if stop is not None:
        child.go(stop)
        os.kill(child.process.pid or 0, signal.SIGTERM)
        child.go(NEVER)
        if child.process.exitcode != 128 + signal.SIGTERM:
            raise SystemExit(f"{job.way}: exit code {child.process.exitcode} after SIGTERM, expected 143")
        child = Child(job)
        child.answer()
    said = child.go(NEVER)
    child.process.join()
    if child.failed or child.process.exitcode:
        raise SystemExit(f"{job.way}: the training ended with exit code {child.process.exitcode}; see above")
    return said["warnings"]


def apart(one: Path, other: Path) -> tuple[float, float]:
    """The largest differences of what two runs wrote: of the losses at any step, and of the weights."""
    tables = []
    for run in (one, other):
        with open(run / "metrics.csv", newline="", encoding="utf-8") as f:
            tables.append({(r["step"], r["name"]): float(r["value"]) for r in csv.DictReader(f)})
    if tables[0].keys() != tables[1].keys():
        return math.inf, math.inf
    losses = max(abs(value - tables[1][key]) for key, value in tables[0].items() if key[1] not in RATES)
    mine, theirs = (read_safetensors(run / "model.safetensors")[0] for run in (one, other))
    return losses, max((mine[name] - theirs[name]).abs().max().item() for name in mine)


if __name__ == "__main__":
    sys.exit(main())
