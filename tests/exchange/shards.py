"""Small corpora as shards: what the pipeline would have left, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, shard_names, speaker_shard, write_table
from vcpipe.store import Shard, write_shard

SHARDS = 3
SPEAKERS = {"ana": 3, "Zoë B": 2, "lone": 1}  # a blank, a letter beyond ASCII, a single utterance
MEL_GRADSVC = {"kind": "mel", "n_fft": 1024, "win": 1024, "fmin": 40.0, "fmax": 16000.0, "floor": 1e-5, "epsilon": 1e-9}


def utterances(seconds: float = 3.0, text: str = "Hello, world.") -> list[Utterance]:
    """Each a little longer than the one before, at 16 kHz; the last of each speaker but one is for validation."""
    out = []
    for speaker, count in SPEAKERS.items():
        for i in range(count):
            n = round(16000 * seconds) + 1777 * len(out)
            utt_id = f"{speaker}/take {i} é"
            split = "valid" if i and i == count - 1 else "train"
            out.append(Utterance(utt_id, speaker, f"{utt_id}.wav", n, 16000, text, split=split, recording=utt_id))
    return out


def manifest(folder: Path, rows: list[Utterance]) -> Path:
    write_table(folder / "manifest.csv", rows, Utterance)
    return folder / "manifest.csv"


def column(
    folder: Path,
    rows: Mapping[str, NDArray[Any]],
    speakers: Mapping[str, str],
    grid: Grid,
    feature: dict[str, Any] | None = None,
    row: str = "frame",
) -> Path:
    """Shards of the rows; `feature` is what made them, None: they are the recordings themselves, {}: imported."""
    made_by: dict[str, Any] = {"stage": "audio"} if feature is None else {"stage": "feature", "feature": feature}
    made_by = {"stage": "import"} if feature == {} else made_by
    first = next(iter(rows.values()))
    for number, name in enumerate(shard_names(SHARDS)):
        mine = [(i, a) for i, a in rows.items() if speaker_shard(speakers[i], SHARDS) == number]
        write_shard(
            folder / f"{name}.h5",
            iter(mine),
            made_by=made_by,
            grid=grid,
            dim=first.shape[1],
            dtype=first.dtype.name,
            row=row,  # type: ignore[arg-type]
        )
    return folder


def frames(us: list[Utterance], grid: Grid, dim: int, dtype: str = "float32", seed: int = 0) -> dict[str, Any]:
    """Random rows on a grid, as many as each utterance has whole hops."""
    rng = np.random.default_rng(seed)
    return {
        u.utt_id: rng.uniform(-0.9, 0.9, (grid.frames(u.n_samples * grid.rate // u.sample_rate), dim)).astype(dtype)
        for u in us
    }


def of(us: list[Utterance]) -> dict[str, str]:
    return {u.utt_id: u.speaker for u in us} | {u.speaker: u.speaker for u in us}


def read(folder: Path) -> dict[str, NDArray[Any]]:
    """All rows of all shards of a folder."""
    out: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.glob("*.h5")):
        with Shard(path, None) as shard:
            shard.verify()
            out |= dict(shard)
    return out


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
