"""What a stage costs beside its work, what a second core brings, and whether memory grows with the corpus.

    python benchmarks/stages.py overhead    one utterance a shard: process start, imports, header
    python benchmarks/stages.py cores       one shard with one and with two processes, in turns
    python benchmarks/stages.py memory      peak memory of each stage, with eight times the corpus against once

Every stage is the command that the workflow runs, on noise-excited vowels made here. Prints one table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from vcpipe.config import Config, load
from vcpipe.corpora import lists
from vcpipe.packing import pack_slice
from vcpipe.settings import canonical

RATE = 16000
CORPUS = "many"
FEATURES = {
    "f0_harvest": {"kind": "f0", "method": "harvest"},
    "f0_praat": {"kind": "f0", "method": "praat"},
    "f0_pyin": {"kind": "f0", "method": "pyin"},
    "energy": {"kind": "energy", "measure": "rms_db"},
    "mel": {"kind": "mel"},
    "whisper": {"kind": "whisper_tiny_en", "layer": 2},
    "ge2e": {"kind": "ge2e"},
    "log_f0": {"kind": "log_f0", "of": "f0_praat"},
    "speaker_f0": {"kind": "speaker_f0", "of": "f0_praat"},
    "units": {"kind": "kmeans", "of": "mel", "corpus": CORPUS, "clusters": 50, "max_frames": 20000},
}
PACKS = {"voc": {"corpus": CORPUS, "columns": {"mel": "mel", "wav": "16k"}, "target_mib": 16}}
TORCH_S, LIGHT_S = 4.0, 1.5  # goals for the overhead of a stage with and without torch
CORES = 1.8  # goal for two processes over one
FLAT = 1.1  # goal for the peak memory of eight times the corpus


class Stages:
    """A corpus of one shard, and the commands of its stages."""

    def __init__(self, folder: Path, utterances: int, seconds: float):
        self.folder = folder
        rng = np.random.default_rng(0)
        for number in range(utterances):
            path = folder / "corpus" / f"spk{number % 4}" / f"u{number:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, _vowel(seconds, 100 + 10 * (number % 7), rng), RATE)
        raw = {"kind": "folder", "root": str(folder / "corpus"), "shards": 1}
        self.config: Config = load({"corpora": {CORPUS: raw}, "features": FEATURES, "packs": PACKS})
        lists.refresh(CORPUS, self.config.corpora[CORPUS], folder)
        self.audio = folder / "audio" / "000.h5"

    def shard(self, feature: str) -> Path:
        return self.folder / "features" / feature / CORPUS / "000.h5"

    def prepare(self, threads: int = 1) -> list[str]:
        tables = {kind: str(self.folder / "audio" / kind / "000.csv") for kind in ("manifest", "rejects", "quality")}
        tables["manifest"] = str(self.folder / "audio" / "manifests" / "000.csv")
        options = [part for kind, path in tables.items() for part in (f"--{kind}", path)]
        made_by = canonical(self.config.audio_slice("16k", CORPUS))
        root, listed = str(self.folder / "corpus"), str(self.folder / "lists" / "000.csv")
        more = ["--shard", str(self.audio), *options, "--threads", str(threads)]
        return ["prepare", "--slice", made_by, "--root", root, "--listed", listed, *more]

    def gather(self) -> list[str]:
        places = ["--corpus", str(self.folder), "--audio", str(self.audio.parent)]
        return ["gather", *places, "--shards", "1", "--max-reject-share", "0"]

    def extract(self, feature: str, threads: int = 1) -> list[str]:
        made_by = canonical(self.config.feature_slice(feature, CORPUS))
        places = ["--audio", str(self.audio), "--out", str(self.shard(feature))]
        return ["extract", "--slice", made_by, *places, "--threads", str(threads)]

    def fit(self, feature: str, parent: str) -> list[str]:
        made_by = canonical(self.config.fit_slice(feature))
        model, manifest = self.folder / "units.safetensors", self.audio.parent / "manifest.csv"
        return ["fit", "--slice", made_by, "--manifest", str(manifest), "--out", str(model), str(self.shard(parent))]

    def derive(self, feature: str, parent: str, model: bool = False) -> list[str]:
        made_by = canonical(self.config.feature_slice(feature, CORPUS))
        places = ["--manifest", str(self.audio.parent / "manifests" / "000.csv"), "--out", str(self.shard(feature))]
        fitted = ["--model", str(self.folder / "units.safetensors")] if model else []
        return ["derive", "--slice", made_by, *places, *fitted, str(self.shard(parent))]

    def pack(self) -> list[str]:
        columns = {"mel": [[str(self.shard("mel"))]], "wav": [[str(self.audio)]]}
        places = ["--manifest", str(self.audio.parent / "manifest.csv"), "--out", str(self.folder / "packs/index.json")]
        return ["pack", "--slice", canonical(pack_slice(self.config, "voc")), "--columns", json.dumps(columns), *places]

    def stats(self) -> list[str]:
        made_by = canonical(self.config.feature_slice("f0_praat", CORPUS))
        places = ["--audio", str(self.audio.parent), "--f0", str(self.shard("f0_praat").parent), "--slice", made_by]
        out = ["--out", str(self.folder / "stats"), "--results", str(self.folder)]
        return ["stats", "--shards", "1", *places, *out]

    def all(self) -> dict[str, list[str]]:
        """Every stage in the order in which they depend on each other."""
        return {
            "prepare": self.prepare(),
            "gather": self.gather(),
            **{f"extract {name}": self.extract(name) for name in FEATURES if "of" not in FEATURES[name]},
            "fit units": self.fit("units", "mel"),
            "derive units": self.derive("units", "mel", model=True),
            "derive log_f0": self.derive("log_f0", "f0_praat"),
            "derive speaker_f0": self.derive("speaker_f0", "f0_praat"),
            "pack": self.pack(),
            "stats": self.stats(),
        }


def overhead(folder: Path) -> None:
    stages = Stages(folder, utterances=1, seconds=0.6).all()
    print(f"{'stage':<22}{'seconds':>9}{'goal':>7}")
    for name, command in stages.items():
        best = min(run(command)[0] for _ in range(3))
        torch = name.split()[-1] in ("mel", "whisper", "ge2e", "units", "pack")
        print(f"{name:<22}{best:>9.2f}{TORCH_S if torch else LIGHT_S:>7}")


def cores(folder: Path) -> None:
    few, many = Stages(folder / "few", utterances=24, seconds=5.0), Stages(folder / "many", utterances=400, seconds=8.0)
    for stages in (few, many):
        run(stages.prepare())
    print(f"{'stage':<22}{'one':>9}{'two':>9}{'times':>8}   (goal {CORES})")
    kinds: dict[str, Callable[[int], list[str]]] = {
        "prepare": many.prepare,
        "extract f0_praat": _extract(many, "f0_praat"),
        "extract f0_harvest": _extract(few, "f0_harvest"),
        "extract f0_pyin": _extract(few, "f0_pyin"),
    }
    for name, command in kinds.items():
        times: dict[int, list[float]] = {threads: [] for threads in (1, 2)}
        for _ in range(2):
            for threads in times:
                times[threads].append(run(command(threads))[0])
        one, two = min(times[1]), min(times[2])
        print(f"{name:<22}{one:>9.2f}{two:>9.2f}{one / two:>8.2f}", flush=True)


def memory(folder: Path) -> None:
    small = Stages(folder / "small", utterances=80, seconds=8.0).all()
    large = Stages(folder / "large", utterances=640, seconds=8.0).all()
    print(f"{'stage':<22}{'80 utts':>10}{'640 utts':>10}{'times':>8}   (MiB; goal {FLAT})")
    for name in small:
        if name in ("extract f0_harvest", "extract f0_pyin"):  # minutes of work, on the same path as f0_praat
            continue
        a, b = (run(stages[name])[1] / 1024 for stages in (small, large))
        print(f"{name:<22}{a:>10.0f}{b:>10.0f}{b / a:>8.3f}")


def run(arguments: list[str]) -> tuple[float, int]:
    """Seconds and peak memory in KiB of one command and its children."""
    started = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [str(Path(sys.executable).with_name("vcpipe")), *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    words = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments[:1])} failed: {words}")
    return time.monotonic() - started, usage.ru_maxrss


def _extract(stages: Stages, name: str) -> Callable[[int], list[str]]:
    return lambda threads: stages.extract(name, threads)


def _vowel(seconds: float, f0_hz: float, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(f0_hz * (1 + 0.1 * np.sin(2 * np.pi * 3 * t))) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    gate = np.sin(2 * np.pi * 0.7 * t) > -0.6
    return (0.1 * voice * gate + 0.003 * rng.normal(size=len(t))).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "cores", "memory"])
    with tempfile.TemporaryDirectory() as scratch:
        {"overhead": overhead, "cores": cores, "memory": memory}[parser.parse_args().what](Path(scratch))
