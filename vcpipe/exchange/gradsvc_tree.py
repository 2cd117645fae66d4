"""Grad-SVC's `data_gvc/` as our shards: what `vcpipe.exchange.gradsvc` writes, and what the original wrote itself."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.exchange.arrays import read_npy, read_pt
from vcpipe.exchange.files import files_below, inside
from vcpipe.exchange.gradsvc import BANDS, FOLDERS, GRIDS, NAME, SUFFIXES, WIDTH
from vcpipe.exchange.tree import VECTOR_GRID, Item, Options, Source, Tree, read_sound, two_axes, utt_id_of

log = logging.getLogger(__name__)

MAX_APART = 4
"""Frames of 10 ms by which an original's files of one utterance may differ in length: its pitch has 3 more."""


def read(options: Options) -> Tree:
    """Finds what the folders have: `mel/` must be there, others may be; an utterance is what all that are there hold.

    Args:
        options: `root` is `data_gvc/` or the folder that has it; `columns` chooses among the columns, by name alone.

    Raises:
        InputError: when there are no mels, and for a list whose paths lead out of the folder.
    """
    top = options.root
    root = top / "data_gvc" if (top / "data_gvc").is_dir() else top
    wanted = options.columns or dict.fromkeys([*FOLDERS, "singer"], "")
    if stray := [name for name in wanted if name not in (*FOLDERS, "singer")]:
        raise InputError(f"--column {stray[0]}: {NAME} has no such column; it has {', '.join(FOLDERS)}, singer")
    names = [n for n in FOLDERS if n in wanted and (root / FOLDERS[n]).is_dir()]
    if not {"mel", "hubert", "pitch"} & set(names):
        raise InputError(f"{root}: expected folders mel, hubert, pitch, …, found none; give the data_gvc folder")
    found = {name: dict(_places(root / FOLDERS[name], SUFFIXES[name])) for name in names}
    complete = sorted(set.intersection(*(set(places) for places in found.values())))
    if left_out := len(set.union(*(set(places) for places in found.values()))) - len(complete):
        log.warning("%s: %d utterances lack one of %s and are left out", root, left_out, ", ".join(names))
    splits = dict(_listed(root))
    items, places = [], {}
    for place in complete:
        speaker = place.split("/")[0]
        items.append(Item(utt_id_of(speaker, PurePosixPath(place)), speaker, f"{place}.wav", splits.get(place, "")))
        places[items[-1].utt_id] = place
    limit = _Limits(found, places)
    sources = {n: _source(n, found[n], places, limit) for n in names}
    if "singer" in wanted and (root / "singer").is_dir():
        singers = {path.name.removesuffix(".spk.npy"): path for path in files_below(root / "singer", ".spk.npy")}
        sources["singer"] = Source(
            VECTOR_GRID,
            lambda speaker: _vector(read_npy(singers[speaker]), singers[speaker]),
            list(singers.values()),
            "speaker",
            frozenset(singers),
        )
    return Tree(NAME, root, items, sources)


def _places(folder: Path, suffix: str) -> list[tuple[str, Path]]:
    """`<spk>/<name>` of every file."""
    out = []
    for path in files_below(folder, suffix):
        place = path.relative_to(folder).as_posix().removesuffix(suffix)
        if place.count("/") != 1:
            raise InputError(f"{path}: expected {folder}/<speaker>/<name>{suffix}; move it into its speaker's folder")
        out.append((place, path))
    return out


def _listed(root: Path) -> list[tuple[str, str]]:
    """`<spk>/<name>` and split of the lines of `files/`, which lies in `data_gvc` or beside it."""
    out = []
    for split in ("train", "valid"):
        for folder in (root / "files", root.parent / "files"):
            path = folder / f"{split}.txt"
            if not path.is_file():
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                mel = inside(line.split("|")[0], f"{path}:{number}")
                out.append(("/".join(mel.parts[-2:]).removesuffix(SUFFIXES["mel"]), split))
            break
    return out


class _Limits:
    """How many units of 20 ms the frame files of an utterance have in common; looked up once an utterance."""

    def __init__(self, found: dict[str, dict[str, Path]], places: dict[str, str]):
        self.found, self.places = found, places
        self.names = [name for name in ("mel", "hubert", "pitch") if name in found]
        self._known: dict[str, int] = {}

    def __getitem__(self, utt_id: str) -> int:
        if utt_id not in self._known:
            place = self.places[utt_id]
            frames = {n: len(_rows(n, self.found[n][place])) * (2 if n == "hubert" else 1) for n in self.names}
            if max(frames.values()) - min(frames.values()) > MAX_APART:
                counts = ", ".join(f"{name} {count}" for name, count in frames.items())
                raise InputError(f"{place}: frames of 10 ms differ by more than {MAX_APART}: {counts}; make it again")
            self._known[utt_id] = min(frames.values()) // 2
        return self._known[utt_id]


def _source(name: str, paths: dict[str, Path], places: dict[str, str], limit: _Limits) -> Source:
    grid = GRIDS[name]
    files = [paths[place] for place in places.values()]
    if name == "speaker":
        return Source(grid, lambda i: _vector(read_npy(paths[places[i]]), paths[places[i]]), files, "utterance")
    per_unit = int(grid.fps / 50)

    def load(utt_id: str) -> NDArray[Any]:
        """At most so many rows that all columns have as many whole units; the rest of the last may stay."""
        return _rows(name, paths[places[utt_id]])[: limit[utt_id] * per_unit + per_unit - 1]

    return Source(grid, load, files)


def _rows(name: str, path: Path) -> NDArray[Any]:
    if name.startswith("wav"):
        return read_sound(path, GRIDS[name].rate)
    array = read_pt(path) if name == "mel" else read_npy(path)
    width = {"mel": (BANDS,), "hubert": (WIDTH,), "pitch": ()}[name]
    rows = array.T if name == "mel" else array
    if rows.ndim != 1 + len(width) or rows.shape[1:] != width or not len(rows):
        expected = {"mel": f"({BANDS}, T)", "hubert": f"(U, {WIDTH})", "pitch": "(T,)"}[name]
        raise InputError(f"{path}: expected {expected}, found {array.shape}; make it again with Grad-SVC")
    return two_axes(rows, str(path))


def _vector(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.shape != (WIDTH,):
        raise InputError(f"{path}: expected ({WIDTH},), found {array.shape}; make it again with Grad-SVC")
    return array[None]
