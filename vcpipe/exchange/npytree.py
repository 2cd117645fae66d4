"""Any tree of arrays, one `.npy` or `.pt` an utterance: `<root>/<column>/<speaker>/<utterance>.npy`.

Without columns, the root itself is the one column `units`. An array is `(T,)` or `(T, D)`, frames first; with
`--grid <column>=utterance` it is one vector `(D,)`. The suffix is all that follows the utterance's name, so that
`001.pit.npy` is of the utterance `001.pit` unless the column is given as `pitch=pitch:.pit.npy`.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.exchange.arrays import read_npy, read_pt
from vcpipe.exchange.files import files_below, inside
from vcpipe.exchange.tree import VECTOR_GRID, Item, Options, Source, Tree, grid_of, speaker_of, two_axes, utt_id_of

log = logging.getLogger(__name__)

NAME = "npy-tree"


def read(options: Options) -> Tree:
    """Finds the tree; an utterance is what all columns hold.

    Args:
        options: `columns` are `name=folder`, below the root, or `name=folder:suffix`; each needs its grid.

    Raises:
        InputError: for a column without a grid, and for a folder outside the root.
    """
    columns = options.columns or {"units": "."}
    found: dict[str, dict[str, Path]] = {}
    for name, where in columns.items():
        folder, _, suffix = where.partition(":")
        if name not in options.grids:
            raise InputError(
                f"--grid {name}=rate/hop is missing: nothing in the files says it; for kNN-VC and HuBERT 16000/320"
            )
        root = options.root / inside(folder, f"--column {name}")
        found[name] = _by_place(root, suffix)
    complete = sorted(set.intersection(*(set(places) for places in found.values())))
    if left_out := len(set.union(*(set(places) for places in found.values()))) - len(complete):
        log.warning("%s: %d utterances lack one of %s and are left out", options.root, left_out, ", ".join(columns))
    items = []
    places = {}
    for place in complete:
        relative = PurePosixPath(place)
        speaker = speaker_of(relative, options.speaker_level, options.root)
        items.append(Item(utt_id_of(speaker, relative), speaker, place))
        places[items[-1].utt_id] = place
    sources = {name: _source(options.grids[name], name, paths, places) for name, paths in found.items()}
    return Tree(NAME, options.root, items, sources)


def _by_place(root: Path, suffix: str) -> dict[str, Path]:
    """The files by their path below `root` without suffix."""
    suffixes = [suffix] if suffix else [s for s in (".npy", ".pt") if any(root.rglob(f"*{s}"))][:1] or [".npy"]
    if not suffixes[0].endswith((".npy", ".pt")):
        raise InputError(f"{root}: the suffix {suffix} is neither .npy nor .pt; give another")
    return {
        path.relative_to(root).as_posix().removesuffix(suffixes[0]): path for path in files_below(root, suffixes[0])
    }


def _source(grid: str, name: str, paths: dict[str, Path], places: dict[str, str]) -> Source:
    files = [paths[place] for place in places.values()]

    def load(utt_id: str) -> NDArray[Any]:
        path = paths[places[utt_id]]
        array = read_pt(path) if path.suffix == ".pt" else read_npy(path)
        if grid != "utterance":
            return two_axes(array, str(path))
        if array.ndim != 1:
            raise InputError(f"{path}: expected one vector (D,), found {array.shape}; or give the column's rate/hop")
        return array[None]

    if grid == "utterance":
        return Source(VECTOR_GRID, load, files, "utterance")
    return Source(grid_of(grid, name), load, files)
