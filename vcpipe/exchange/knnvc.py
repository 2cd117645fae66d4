"""kNN-VC (github.com/bshall/knn-vc): one `.pt` a recording, and the tables that its vocoder training reads.

`<path of the recording>.pt` is a float16 tensor `(T, D)` at 50 frames a second with `T == samples // 320`; D is 1024
for WavLM-Large. `train.csv` and `valid.csv` have the columns `audio_path,feat_path`, both relative: to the root of the
corpus, where its recordings must be 16 kHz, and to the folder written here. With the column `wav` the recordings are
written here too, as 16 kHz FLAC, so that one folder is both roots.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.exchange.arrays import read_pt
from vcpipe.exchange.columns import Columns, Need, sound
from vcpipe.exchange.files import distinct, files_below, inside, safe_name, whole_folder, write_pt, write_wav
from vcpipe.exchange.tree import Item, Options, Source, Tree, grid_of, speaker_of, two_axes, utt_id_of
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

NAME = "knn-vc"
GRID = Grid(16000, 320)
WIDTH = 1024
NEEDS = (
    Need("units", "features: {wavlm_l6: {kind: wavlm, layer: 6}}", fps=50, rate=16000),
    sound("wav", 16000, optional=True),
)
HEADER = ["audio_path", "feat_path"]
LISTS = {"train.csv": "train", "valid.csv": "valid"}


def export(manifest: Path, given: Sequence[str], to: Path) -> int:
    """Writes the layout.

    Args:
        manifest: table of the utterances.
        given: `name=FOLDER` of the columns in `NEEDS`.
        to: a new or empty folder.

    Returns:
        The number of utterances written.

    Raises:
        InputError: for a column that does not fit, and for an utterance that is only a part of its recording where
            the recordings are not written too.
    """
    with Columns(NAME, NEEDS, given) as columns, whole_folder(to) as tmp:
        utterances = columns.utterances(manifest)
        own_audio = "wav" in columns
        places = {u.utt_id: _place(u, own_audio, manifest) for u in utterances}
        distinct((str(place.with_suffix("")), utt_id) for utt_id, place in places.items())
        if columns["units"].dim != WIDTH:
            dim = columns["units"].dim
            log.warning("%s: %d columns, not %d: set hubert_dim to %d in config_v1_wavlm.json", to, dim, WIDTH, dim)
        tables: dict[str, list[list[str]]] = {name: [] for name in LISTS}
        for u in utterances:
            place = places[u.utt_id]
            units = columns["units"].read(u.utt_id)
            if u.sample_rate == GRID.rate and len(units) != GRID.frames(u.n_samples):
                raise InputError(
                    f"{u.utt_id}: {len(units)} frames, expected {GRID.frames(u.n_samples)} for {u.n_samples} samples; "
                    "make the shards of units again"
                )
            write_pt(tmp / place.with_suffix(".pt"), _tensor(units, u.utt_id))
            if own_audio:
                write_wav(tmp / place, columns["wav"].blocks(u.utt_id), GRID.rate, "FLAC")
            tables["valid.csv" if u.split == "valid" else "train.csv"].append(
                [str(place), str(place.with_suffix(".pt"))]
            )
        for name, rows in tables.items():
            with open(tmp / name, "w", encoding="utf-8", newline="") as f:
                csv.writer(f, lineterminator="\n").writerows([HEADER, *rows])
    return len(utterances)


def read(options: Options) -> Tree:
    """Finds the tree: every `.pt` below the root, the split of those that a table names, and no recordings.

    Raises:
        InputError: for a table with other columns, and for a path that leads out of the root.
    """
    root = options.root
    listed = dict(_listed(root))
    paths: dict[str, Path] = {}
    items = []
    for path in files_below(root, ".pt"):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        speaker = speaker_of(relative, options.speaker_level, root)
        recording, split = listed.get(str(relative), (str(relative), ""))
        items.append(Item(utt_id_of(speaker, relative.with_suffix("")), speaker, recording, split))
        paths[items[-1].utt_id] = path
    grid = grid_of(options.grids.get("units", str(GRID)), "units")

    def load(utt_id: str) -> NDArray[Any]:
        return two_axes(read_pt(paths[utt_id]), str(paths[utt_id]))

    return Tree(NAME, root, items, {"units": Source(grid, load, list(paths.values()))})


def _listed(root: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Path of the features: path of the recording, and split."""
    for name, split in LISTS.items():
        path = root / name
        if not path.is_file():
            continue
        with open(path, newline="", encoding="utf-8") as f:
            rows = csv.reader(f)
            header = next(rows, [])
            if header != HEADER:
                raise InputError(f"{path}: expected the columns {','.join(HEADER)}, found {','.join(header)[:80]}")
            for number, row in enumerate(rows, 2):
                if len(row) != len(HEADER):
                    raise InputError(f"{path}:{number}: expected {len(HEADER)} fields, found {len(row)}; correct it")
                recording, features = (str(inside(field, f"{path}:{number}")) for field in row)
                yield features, (recording, split)


def _place(u: Utterance, own_audio: bool, manifest: Path) -> PurePosixPath:
    """Where an utterance stands: as its recording in the corpus, or, cut out of one, by its id."""
    path = inside(u.path, f"{manifest}: path of {u.utt_id}")
    whole = u.start_s == 0 and u.recording in ("", u.utt_id)
    if own_audio:
        return (path if whole else path.with_suffix("") / safe_name(u.utt_id)).with_suffix(".flac")
    if not whole:
        raise InputError(
            f"{u.utt_id}: only a part of its recording {u.path}, which kNN-VC would read whole; write the recordings "
            "too, with --column wav=FOLDER_OF_SHARDS"
        )
    return path


def _tensor(units: NDArray[Any], utt_id: str) -> Tensor:
    import torch

    with np.errstate(over="ignore"):
        half = units.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(f"{utt_id}: units beyond 16-bit floats, which kNN-VC keeps; use those of WavLM")
    return torch.from_numpy(half)
