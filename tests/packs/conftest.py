"""A small corpus as shards, and packs of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vcpipe.columns import Column, Variant
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance
from vcpipe.packs.write import Written, write_packs
from vcpipe.store import write_shard

MADE_BY = {"stage": "packs", "revision": 1}
RATE, HOP = 16000, 320


@dataclass
class Corpus:
    folder: Path
    rows: list[Utterance]
    variants: dict[str, list[Variant]]

    @property
    def ids(self) -> list[str]:
        return [row.utt_id for row in self.rows]

    def columns(self, *names: str) -> list[Column]:
        return [Column(name, self.variants[name], self.ids) for name in names or self.variants]

    def pack(self, folder: Path, names: tuple[str, ...] = ("units", "wav"), **options: object) -> Written:
        values = {"made_by": MADE_BY, "n_tars": 4, "audio_columns": ["wav"], "audio_form": "flac", **options}
        return write_packs(folder, {n: self.variants[n] for n in names}, self.rows, **values)  # type: ignore[arg-type]


def make_corpus(folder: Path, ids: list[str], seed: int = 0, low: int = 3000, high: int = 12000) -> Corpus:
    """Units in two variants (float16, 6 columns; the second lacks the first utterance) and audio."""
    rng = np.random.default_rng(seed)
    samples = {i: int(rng.integers(low, high)) for i in ids}
    waves = {i: (0.3 * rng.standard_normal((n, 1))).clip(-1, 1).astype(np.float32) for i, n in samples.items()}
    variants: dict[str, list[Variant]] = {"units": [], "wav": []}

    def shards(name: str, rows: dict[str, np.ndarray], grid: Grid, dim: int, dtype: str) -> Variant:
        made_by, paths = {"stage": name}, []
        for half in range(2):
            part = [(i, rows[i]) for i in list(rows)[half::2]]
            paths.append(folder / name / f"{half:03d}.h5")
            write_shard(paths[-1], part, made_by=made_by, grid=grid, dim=dim, dtype=dtype)
        return Variant(tuple(paths), made_by)

    for name, some in (("plain", ids), ("matched", ids[1:])):
        units = {i: rng.standard_normal((samples[i] // HOP, 6)) for i in some}
        variants["units"].append(shards(name, units, Grid(RATE, HOP), 6, "float16"))
    variants["wav"].append(shards("wav", waves, Grid(RATE, 1), 1, "float32"))
    rows = [Utterance(i, f"s{n % 3}", i, samples[i], RATE, text=f"text “{n}”") for n, i in enumerate(ids)]
    return Corpus(folder, rows, variants)


ODD = ["a/b.c/d", "__meta__", "ünï/✓", "..", "../../up", "a b", "=41", "A", "a", "x" * 150]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus"), [*ODD, *(f"u{i:02d}" for i in range(27))])


@pytest.fixture(scope="session")
def packed(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs of the corpus, audio as FLAC; not to be written to."""
    folder = tmp_path_factory.mktemp("packs")
    corpus.pack(folder)
    return folder


@pytest.fixture(scope="session")
def packed16(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packs of the corpus, audio as whole numbers of 16 bits; not to be written to."""
    folder = tmp_path_factory.mktemp("packs16")
    corpus.pack(folder, audio_form="npy16")
    return folder


@pytest.fixture(params=["flac", "npy16"])
def either(request: pytest.FixtureRequest, packed: Path, packed16: Path) -> tuple[Path, float]:
    """Packs of either form, and how far their audio may be from that of the shards."""
    return (packed, 2.0**-23) if request.param == "flac" else (packed16, 2.0**-15)
