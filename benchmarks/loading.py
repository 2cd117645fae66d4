"""Utterances per second of reading random crops: shards and packs against one file per item; a table of ratios.

    python benchmarks/loading.py [--utterances 2000] [--passes 1] [--folder DIR]

Crops of 0.44 s of units (float16, 1024 columns, 50 Hz) and audio (16 kHz), from made-up utterances of 10 to 15 s. File
per item is one `torch.load` of a whole utterance's units and one FLAC of its audio, then the crop: the common practice.
Packs hold the audio as whole numbers of 16 bits, the default, or as FLAC of 24 bits. `raw tars` reads every byte of
the first, file by file, and does nothing with them. All read in one process. Cold is with every file put out of the
page cache first (`posix_fadvise`); what lies below it, the disk's own cache, stays: compare numbers of one run only.

Goals: shards and packs at least 10 times file per item; packs at most 20 % slower than the raw tars.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from vcpipe.columns import Column, Variant
from vcpipe.data import Crops
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance
from vcpipe.packs.stream import Packs, Stream
from vcpipe.packs.write import write_packs
from vcpipe.store import write_shard

RATE, HOP, DIM = 16000, 320, 1024
FRAMES, BATCH, SEED = 22, 16, 0
SHARDS, TARGET_MIB = 4, 256
SLICES = {"units": {"stage": "units"}, "wav": {"stage": "audio"}}
SPEED_GOAL, RAW_GOAL = 10, 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=1, help="over the utterances, warm; the best counts")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        print(f"{arguments.utterances} utterances, crops of {FRAMES * HOP / RATE:.2f} s")
        began = time.perf_counter()
        samples = make(folder, arguments.utterances)
        print(f"written in {time.perf_counter() - began:.0f} s: {sizes(folder)}")
        return measure(folder, samples, arguments.passes)


def measure(folder: Path, samples: dict[str, int], passes: int) -> int:
    crops, stream, flac = shards(folder, samples), packs(folder, "packs"), packs(folder, "packs_flac")
    readers: dict[str, Callable[[], int]] = {
        "file per item": lambda: per_item(folder, samples),
        "shards (map)": lambda: all_batches(crops, len(samples)),
        "packs (stream)": lambda: all_batches(stream, len(samples)),
        "packs of FLAC": lambda: all_batches(flac, len(samples)),
        "raw tars": lambda: raw(folder, len(samples)),
        "packs, SHA-256": lambda: checked(stream, len(samples)),
    }
    speed: dict[str, tuple[float, float]] = {}
    for name, read in readers.items():
        for source in (crops, stream, flac):
            source.close()
        drop(folder)
        cold = timed(read)
        timed(read)  # whatever the first pass did not touch
        speed[name] = cold, max(timed(read) for _ in range(passes))
    print(
        f"{'':16}{'cold utt/s':>12}{'warm utt/s':>12}{'cold ratio':>12}{'warm ratio':>12}"
        f"{'cold/raw':>10}{'warm/raw':>10}"
    )
    base, whole = speed["file per item"], speed["raw tars"]
    for name, (cold, warm) in speed.items():
        ratios = f"{cold / base[0]:12.1f}{warm / base[1]:12.1f}{cold / whole[0]:10.2f}{warm / whole[1]:10.2f}"
        print(f"{name:16}{cold:12.0f}{warm:12.0f}{ratios}")
    met = True
    for name in ("shards (map)", "packs (stream)", "packs of FLAC"):
        for i, kind in enumerate(("cold", "warm")):
            met &= verdict(f"{name}, {kind}, times file per item", speed[name][i] / base[i], SPEED_GOAL)
    for i, kind in enumerate(("cold", "warm")):
        met &= verdict(f"packs (stream), {kind}, of the raw tars", speed["packs (stream)"][i] / whole[i], RAW_GOAL)
    return 0 if met else 1


def verdict(name: str, found: float, goal: float) -> bool:
    print(f"{name:46}{found:8.2f}  goal {goal:<5g}{'met' if found >= goal else 'MISSED'}")
    return found >= goal


def make(folder: Path, count: int) -> dict[str, int]:
    """Files, shards and packs of the same made-up utterances; the samples of each."""
    rng = np.random.default_rng(SEED)
    samples = {f"spk{i % 20:02d}-{i:06d}": int(rng.uniform(10, 15) * RATE) for i in range(count)}
    units = rng.normal(size=(4 * 15 * RATE // HOP, DIM)).astype(np.float16)
    voice = voiced(rng, 4 * 15 * RATE)

    def pair(number: int, utt_id: str) -> tuple[np.ndarray, np.ndarray]:
        n, at = samples[utt_id], number % 45
        return units[at * RATE // HOP :][: n // HOP], voice[at * RATE :][:n]

    (folder / "files").mkdir()
    for i, utt_id in enumerate(samples):
        u, w = pair(i, utt_id)
        torch.save(torch.from_numpy(u), folder / "files" / f"{utt_id}.pt")
        soundfile.write(folder / "files" / f"{utt_id}.flac", w, RATE)
    for s in range(SHARDS):
        ids = [(i, u) for i, u in enumerate(samples) if i % SHARDS == s]
        for name, grid, dim, dtype in (
            ("units", Grid(RATE, HOP), DIM, "float16"),
            ("wav", Grid(RATE, 1), 1, "float32"),
        ):
            rows = ((u, pair(i, u)[name == "wav"].reshape(-1, dim)) for i, u in ids)
            path = folder / name / f"{s:03d}.h5"
            write_shard(path, rows, made_by=SLICES[name], grid=grid, dim=dim, dtype=dtype)
    rows = [Utterance(u, u[:5], u, n, RATE) for u, n in samples.items()]
    options = {"made_by": {"stage": "packs"}, "target_mib": TARGET_MIB, "audio_columns": ["wav"]}
    columns = {name: [variant(folder, name)] for name in SLICES}
    write_packs(folder / "packs", columns, rows, **options)
    write_packs(folder / "packs_flac", columns, rows, audio_form="flac", **options)
    return samples


def voiced(rng: np.random.Generator, n: int) -> np.ndarray:
    """Something that compresses about as speech does (9 bits a sample at 16 bits)."""
    t = np.arange(n) / RATE
    buzz = np.sign(np.sin(2 * np.pi * 140 * t)) * np.sin(2 * np.pi * 1.7 * t) ** 2
    return (0.1 * np.convolve(buzz, np.ones(12) / 12, "same") + 0.004 * rng.standard_normal(n)).astype(np.float32)


def variant(folder: Path, name: str) -> Variant:
    return Variant(tuple(sorted((folder / name).glob("*.h5"))), SLICES[name])


def shards(folder: Path, samples: dict[str, int]) -> Crops:
    columns = [Column(name, [variant(folder, name)], samples) for name in SLICES]
    return Crops(columns, samples, frames=FRAMES, batch=BATCH, seed=SEED)


def packs(folder: Path, name: str) -> Stream:
    return Stream(Packs(folder / name, None, verify=False), frames=FRAMES, batch=BATCH, seed=SEED)


def all_batches(source: Crops | Stream, count: int) -> int:
    for step in range(count // BATCH):
        source[step]
    return count // BATCH * BATCH


def checked(stream: Stream, count: int) -> int:
    """The first epoch with `verify`: every tar is read and hashed, then its crops."""
    stream.packs.tars.check()
    return all_batches(stream, count)


def per_item(folder: Path, samples: dict[str, int]) -> int:
    rng = np.random.default_rng(SEED)
    ids, order = list(samples), rng.permutation(len(samples))
    for at in range(0, len(ids) // BATCH * BATCH, BATCH):
        units, wavs = [], []
        for i in order[at : at + BATCH]:
            path = folder / "files" / ids[i]
            whole = torch.load(path.with_suffix(".pt"), weights_only=True)
            wave, _ = soundfile.read(path.with_suffix(".flac"), dtype="float32")
            start = int(rng.integers(len(whole) - FRAMES + 1))
            units.append(whole[start : start + FRAMES].float())
            wavs.append(torch.from_numpy(wave[start * HOP : (start + FRAMES) * HOP]))
        torch.stack(units), torch.stack(wavs)
    return len(ids) // BATCH * BATCH


def raw(folder: Path, count: int) -> int:
    block = memoryview(bytearray(1 << 20))
    for path in sorted((folder / "packs").glob("*.tar")):
        with open(path, "rb", buffering=0) as f:
            while f.readinto(block):
                pass
    return count


def timed(read: Callable[[], int]) -> float:
    began = time.perf_counter()
    count = read()
    return count / (time.perf_counter() - began)


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def drop(folder: Path) -> None:
    """Puts every file out of the page cache."""
    for path in files(folder):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def sizes(folder: Path) -> str:
    total = {part.name: sum(path.stat().st_size for path in files(part)) for part in sorted(folder.iterdir())}
    return ", ".join(f"{name} {size / (1 << 20):.0f} MiB" for name, size in total.items())


if __name__ == "__main__":
    raise SystemExit(main())
