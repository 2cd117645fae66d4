"""A small project with a config of its own, on which the tests run the real Snakefile."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
import yaml

from tests.conftest import tone

ROOT = Path(__file__).parents[2]
CORPUS, SHARDS = "mine", 2

Jobs = set[tuple[str, str]]


def config(root: Path) -> dict[str, Any]:
    return {
        "corpora": {CORPUS: {"kind": "folder", "root": str(root), "shards": SHARDS, "valid_share": 0.3}},
        "audio": {"16k": {"min_s": 0.3}},
        "features": {
            "tiny": {"kind": "tiny_random"},
            "other": {"kind": "tiny_random", "seed": 7},
        },
        "knnvc": {
            "corpus": CORPUS,
            "match": "tiny",
            "synthesis": "other",
            "prematch": {"min_pool_s": 0.5},
            "generator": {"preset": "vocos_small", "width": 8, "depth": 1},
            "rows": {"mean_shift": {"convert": {"method": "mean"}}, "world": {"convert": {"method": "world"}}},
            "training": {"preset": "cpu", "steps": 4, "batch": 2, "segment_frames": 8, "validate_every": 2},
        },
        "evaluate": {"pairs": 2, "quality": []},
    }


def with_softvc(root: Path) -> dict[str, Any]:
    """The same with a second system, as small as it gets."""
    training = {"preset": "cpu", "steps": 2, "batch": 2, "validate_every": 2}
    first = config(root)
    pitch = {"kind": "f0", "method": "praat", "ceil_hz": 600}
    bands = {"kind": "mel", "preset": "softvc", "mels": 16}
    return {
        **first,
        "features": {**first["features"], "mel": bands, "f0": pitch, "energy": {"kind": "energy", "hop": 160}},
        "softvc": {
            "corpus": CORPUS,
            **{name: name for name in ("mel", "f0", "energy")},
            "units": "tiny",
            "model": {"prenet": 8, "channels": 8, "lstm": 8, "lstm_layers": 1, "convs": 0},
            "training": {**training, "max_s": 1.0},
            "vocoder": {
                "generator": {"preset": "vocos_small", "width": 8, "depth": 1},
                "training": {**training, "segment_frames": 16},
            },
        },
    }


class Project:
    """A working directory with a config of its own, as a user has one."""

    def __init__(self, folder: Path, config: Callable[[Path], dict[str, Any]] = config, speakers: int = 6):
        self.folder, self.corpus = folder, folder / "my recordings"
        for s in range(speakers):
            for u in range(3):
                path = self.corpus / f"spk{s}" / f"u{u}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, tone(1.2, 90 + 20 * s, seed=10 * s + u), 16000)
        self.config = config(self.corpus)

    def write_config(self) -> None:
        """Lays the config where snakemake looks for it."""
        (self.folder / "config.yaml").write_text(yaml.safe_dump(self.config))

    def command(self, *arguments: str) -> list[str]:
        """What a user types, as a list."""
        return [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *arguments]

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Runs it with the config as it stands; what it printed."""
        self.write_config()
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=600,
        )
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == check, output
        return output

    def planned(
        self,
        target: str = "train_hifigan_prematched",
        *targets: str,
        keys: tuple[str, ...] = ("feature", "shard"),
    ) -> Jobs:
        """(rule, feature and shard, or other wildcards) of every job that a dry run announces."""
        jobs: Jobs = set()
        for block in re.split(r"\n(?=(?:local)?rule )", self.snakemake("--dry-run", target, *targets)):
            rule = re.match(r"(?:local)?rule (\w+):", block)
            if rule and rule[1] != "all":
                wildcards = dict(re.findall(r"(\w+)=([^\s,]+)", (re.search(r"wildcards: (.*)", block) or [""])[0]))
                jobs.add((rule[1], " ".join(wildcards[k] for k in keys if k in wildcards)))
        return jobs
