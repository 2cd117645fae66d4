"""From a tree of somebody's arrays to our shards and manifest: what all the readers of layouts share."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vcpipe import audio
from vcpipe.corpora.lists import fraction
from vcpipe.errors import InputError
from vcpipe.exchange.arrays import as_stored, stored_dtype
from vcpipe.exchange.files import whole_folder
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, shard_names, speaker_shard, write_table
from vcpipe.settings import Slice
from vcpipe.store import write_shard

log = logging.getLogger(__name__)

REVISION = 1
VALID_SHARE = 0.05
BLOCK = 1 << 20
VECTOR_GRID = Grid(16000, 160)
"""Of a row an utterance or a speaker, which has no frames."""

Row = Literal["frame", "utterance", "speaker"]


@dataclass(frozen=True)
class Options:
    """What a person says about a tree.

    Args:
        root: folder of the tree.
        columns: what to read, by the name that it gets; empty: what the layout has.
        grids: by column: `rate/hop`, or `utterance` for one vector a file; empty: what the layout says.
        speaker_level: which folder of a file's path names the speaker, from 0; -1 is the nearest; None: the only one.
    """

    root: Path
    columns: dict[str, str] = field(default_factory=dict)
    grids: dict[str, str] = field(default_factory=dict)
    speaker_level: int | None = None


@dataclass(frozen=True)
class Item:
    """An utterance that was found; `path` is that of its recording, where the layout knows one."""

    utt_id: str
    speaker: str
    path: str
    split: str = ""
    text: str = ""
    language: str = ""


@dataclass(frozen=True)
class Source:
    """A column that was found.

    Args:
        grid: of its rows.
        read: rows `(T, D)` of an utterance, or of a speaker, by its id.
        files: on which the rows depend.
        row: what a row stands for.
        ids: of the speakers that have a row.
    """

    grid: Grid
    read: Callable[[str], NDArray[Any]]
    files: Sequence[Path]
    row: Row = "frame"
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tree:
    """What was found below `root`: every item has every column, but for those of speakers."""

    layout: str
    root: Path
    items: Sequence[Item]
    sources: dict[str, Source]


def write_import(tree: Tree, to: Path, n_shards: int) -> int:
    """Writes `<to>/manifest.csv` and the shards `<to>/<column>/000.h5`, …, one row of a shard after another.

    A speaker stays within one shard, by the same hash as everywhere. Where the tree has no split, one in twenty
    utterances (one at least) is for validation, by a hash of its id.

    Returns:
        The number of utterances.

    Raises:
        InputError: naming the file that cannot be used, or the id that comes twice; nothing is written then.
    """
    items = sorted(tree.items, key=lambda i: (i.speaker, i.utt_id))
    if not items:
        raise InputError(f"{tree.root}: no utterance has all of {', '.join(tree.sources)}; give another --from")
    for before, item in zip(by_id := sorted(items, key=lambda i: i.utt_id), by_id[1:], strict=False):
        if before.utt_id == item.utt_id:
            raise InputError(f"{tree.root}: {before.path} and {item.path} are both utterance {item.utt_id}; rename one")
    shards: dict[str, list[Item]] = {name: [] for name in shard_names(n_shards)}
    for item in items:
        shards[f"{speaker_shard(item.speaker, n_shards):03d}"].append(item)
    with whole_folder(to) as tmp:
        lead, lengths = _lead(tree), dict[str, int]()
        for name, source in tree.sources.items():
            _write_column(tree, name, source, shards, tmp, lengths if name == lead else {})
        grid = tree.sources[lead].grid
        splits = _splits(items)
        rows = [
            Utterance(
                utt_id=i.utt_id,
                speaker=i.speaker,
                path=i.path,
                n_samples=grid.samples(lengths[i.utt_id]),
                sample_rate=grid.rate,
                text=i.text,
                language=i.language,
                split=splits[i.utt_id],
                recording=i.utt_id,
                stop_s=grid.samples(lengths[i.utt_id]) / grid.rate,
            )
            for i in sorted(items, key=lambda i: i.utt_id)
        ]
        write_table(tmp / "manifest.csv", rows, Utterance)
    log.info("%s: %d utterances, columns %s", to, len(rows), ", ".join(tree.sources))
    return len(rows)


def _lead(tree: Tree) -> str:
    """The column that says how long an utterance is: sound if there is some, else the finest."""
    framed = {name: source.grid for name, source in tree.sources.items() if source.row == "frame"}
    if not framed:
        raise InputError(f"{tree.root}: expected a column of frames or sound, found vectors only; give one by --column")
    return min(framed, key=lambda name: (framed[name].hop != 1, -framed[name].fps, name))


def _write_column(
    tree: Tree, name: str, source: Source, shards: dict[str, list[Item]], tmp: Path, lengths: dict[str, int]
) -> None:
    ids = {shard: _ids(source, items) for shard, items in shards.items()}
    first = next((some[0] for some in ids.values() if some), None)
    if first is None:
        raise InputError(f"{tree.root}: no speaker of its utterances has a row of '{name}'; leave the column out")
    example = source.read(first)
    dtype, dim = stored_dtype(example, f"{name} of {first}"), example.shape[1]
    made_by: Slice = {
        "stage": "import",
        "layout": tree.layout,
        "column": name,
        "grid": str(source.grid),
        "revision": REVISION,
        "source": digest(tree.root, source.files),
    }
    for shard, some in ids.items():

        def rows(some: list[str] = some) -> Iterator[tuple[str, NDArray[Any]]]:
            for row_id in some:
                array = as_stored(source.read(row_id), dtype, f"{tree.root}: {name} of {row_id}")
                if not len(array):
                    raise InputError(f"{tree.root}: {name} of {row_id} is empty; leave the utterance out")
                lengths[row_id] = len(array)
                yield row_id, array

        path = tmp / name / f"{shard}.h5"
        write_shard(path, rows(), made_by=made_by, grid=source.grid, dim=dim, dtype=dtype, row=source.row)


def _ids(source: Source, items: list[Item]) -> list[str]:
    if source.row == "speaker":
        return sorted({item.speaker for item in items} & source.ids)
    return [item.utt_id for item in items]


def digest(root: Path, files: Iterable[Path]) -> str:
    """Of the names and contents of files: the same tree elsewhere has the same."""
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        whole.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        with open(path, "rb") as f:
            while block := f.read(BLOCK):
                whole.update(block)
    return whole.hexdigest()


def _splits(items: Sequence[Item]) -> dict[str, str]:
    out = {item.utt_id: item.split for item in items}
    undecided = sorted((fraction(utt_id), utt_id) for utt_id, split in out.items() if not split)
    alone = "valid" in out.values() or len(out) == 1
    for place, (share, utt_id) in enumerate(undecided):
        out[utt_id] = "valid" if share < VALID_SHARE or (place == 0 and not alone) else "train"
    return out


def grid_of(text: str, column: str) -> Grid:
    """The grid that `rate/hop` says."""
    rate, slash, hop = text.partition("/")
    if not (slash and rate.isdecimal() and hop.isdecimal()):
        raise InputError(f"--grid {column}={text}: expected rate/hop such as 16000/320; correct it")
    return Grid(int(rate), int(hop))


def speaker_of(relative: PurePosixPath, level: int | None, root: Path) -> str:
    """The folder of a file's path that names its speaker; refused where it is not said and there are several."""
    folders = relative.parts[:-1]
    if level is None and len(folders) > 1:
        raise InputError(
            f"{root / relative}: lies in {len(folders)} folders; say which names the speaker, `--speaker-level 0` for "
            f"{folders[0]!r} or `--speaker-level -1` for {folders[-1]!r}"
        )
    if not -len(folders) <= (level or 0) < len(folders):
        raise InputError(f"{root / relative}: lies in {len(folders)} folders; expected one named after its speaker")
    return folders[level or 0]


def utt_id_of(speaker: str, relative: PurePosixPath) -> str:
    """The id of the utterance in a file: its name alone where that begins with the speaker, else its whole path.

    So `84/84-121123-0000` is `84-121123-0000` as in LibriSpeech, and `ana/001` is `ana/001` as in a plain folder.

    Args:
        speaker: who speaks.
        relative: path without its suffix.
    """
    return relative.name if relative.name.startswith((f"{speaker}-", f"{speaker}_")) else relative.as_posix()


def read_sound(path: Path, rate: int) -> NDArray[np.float32]:
    """A recording `(N, 1)` float32 in [-1, 1] of a tree whose recordings have this rate.

    Raises:
        InputError: for a damaged recording, and one of another rate.
    """
    try:
        wave, found = audio.read(path)
    except audio.BadAudio as bad:
        raise InputError(f"{path}: {bad.reason} ({bad.detail}); mend the recording or leave it out") from None
    if found != rate:
        raise InputError(f"{path}: {found} samples/s, expected {rate}; resample the tree, or leave its sound out")
    peak = float(np.abs(wave).max())
    return (wave / peak if peak > 1 else wave)[:, None]


def two_axes(array: NDArray[Any], where: str) -> NDArray[Any]:
    """`(T,)` as `(T, 1)`, `(T, D)` as it is; anything else is refused."""
    if array.ndim not in (1, 2) or array.shape[-1] == 0:
        raise InputError(f"{where}: expected an array (T,) or (T, D), found {array.shape}; leave it out")
    return array[:, None] if array.ndim == 1 else array
