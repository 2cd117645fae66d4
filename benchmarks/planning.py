"""How long snakemake plans: a dry run and a no-op run over a made-up corpus of many utterances.

    python benchmarks/planning.py [--utterances 100000] [--speakers 1000] [--shards 64]

The recordings are empty files, so nothing is decoded; the no-op run is one after `--touch`, on empty results.
Prints the seconds of both, and of a snakemake that only starts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
TARGET = "train_hifigan_prematched"


def main() -> None:
    """Makes the corpus, plans, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--speakers", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _corpus(folder / "corpus", args.utterances, args.speakers)
        _config(folder, args.shards)
        start = _timed(folder, "--version")
        first = _timed(folder, "--dry-run", TARGET)
        again = _timed(folder, "--dry-run", TARGET)
        for path in _outputs(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        _timed(folder, "--touch", TARGET)
        no_op = _timed(folder, TARGET)
    print(f"{args.utterances} utterances, {args.speakers} speakers, {args.shards} shards")
    print(f"snakemake --version    {start:6.1f} s")
    print(f"first dry run          {first:6.1f} s  (walks the corpus and writes the lists)")
    print(f"dry run                {again:6.1f} s")
    print(f"run with nothing to do {no_op:6.1f} s")


def _corpus(root: Path, utterances: int, speakers: int) -> None:
    each = utterances // speakers
    for s in range(speakers):
        folder = root / f"speaker{s:05d}"
        folder.mkdir(parents=True)
        for u in range(each):
            (folder / f"{u:06d}.flac").touch()


def _config(folder: Path, shards: int) -> None:
    config = {
        "corpora": {"many": {"kind": "folder", "root": str(folder / "corpus"), "shards": shards}},
        "features": {"tiny": {"kind": "tiny_random"}},
        "knnvc": {"corpus": "many", "match": "tiny", "generator": "vocos_small", "training": {"preset": "cpu"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def _timed(folder: Path, *arguments: str) -> float:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *arguments]
    started = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.monotonic() - started


def _outputs(folder: Path) -> list[Path]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", "--summary"]
    done = subprocess.run([*command, TARGET], cwd=folder, check=True, capture_output=True, text=True)
    names = [line.split("\t")[0] for line in done.stdout.splitlines() if "\t" in line]
    outputs = [name for name in names if name.startswith("results/")]
    return [folder / name for name in (*outputs, f"logs/{TARGET}.tsv")]  # a timing is an output too


if __name__ == "__main__":
    main()
