"""Lhotse Shar (github.com/lhotse-speech/lhotse): `cuts.000000.jsonl.gz` and a tar a field, `features.000000.tar`.

A cut becomes an utterance of the same id; its first supervision says the speaker, the text and the language. Of the
fields, recordings (wav or flac, any rate, as stored), features, and arrays in time are read, and arrays without time
as one vector an utterance. Arrays in numpy's format are always read; those in lilcom's need the package `lilcom`.
Lhotse counts frames by rounding, so that its features may have a frame more than whole hops, or less: columns of one
cut that differ by at most two frames are cut to the shortest.
"""

from __future__ import annotations

import glob
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.exchange.arrays import npy_of
from vcpipe.exchange.files import inside
from vcpipe.exchange.shar_tars import Member, json_of, members
from vcpipe.exchange.tree import VECTOR_GRID, Item, Options, Row, Source, Tree, grid_of, read_sound, two_axes
from vcpipe.grid import Grid

NAME = "lhotse-shar"
MAX_LINE = 1 << 20
MAX_APART = 2
SOUND = (".wav", ".flac", ".mp3", ".opus")


@dataclass
class Field:
    """One field: where its data lie, its grid, and how many rows each cut claims."""

    name: str
    tars: list[Path]
    grid: Grid
    row: Row
    found: dict[str, Member] = field(default_factory=dict)
    lacking: set[str] = field(default_factory=set)
    rows: dict[str, int] = field(default_factory=dict)


def read(options: Options) -> Tree:
    """Finds the cuts and fields; an utterance is a cut that has all of the fields that are read.

    Args:
        options: `columns` are `name=field`, empty: all there are; `grids` are of arrays that do not say their rate.

    Raises:
        InputError: naming the file and cut or member, for what is damaged, contradicts itself or could do harm.
    """
    root = options.root
    lists = sorted([*root.glob("cuts*.jsonl.gz"), *root.glob("cuts*.jsonl")])
    if not lists:
        raise InputError(f"{root}: expected cuts.000000.jsonl.gz, found none; give the folder that SharWriter wrote")
    items: dict[str, Item] = {}
    for path in lists:
        for item in _cuts(path):
            if items.setdefault(item.utt_id, item) is not item:
                raise InputError(f"{path}: cut {item.utt_id} comes twice; ids must be unique, leave one out")
    there = sorted({path.name.split(".")[0] for path in root.glob("*.tar")})
    columns = options.columns or {name: name for name in there}
    if not columns or (missing := [name for name in columns.values() if name not in there]):
        absent = missing[0] if columns else "a field"
        raise InputError(f"{root}: expected {absent}.000000.tar, found fields {', '.join(there) or 'none'}; correct it")
    fields = {name: _field(root, name, where, options) for name, where in columns.items()}
    for f in fields.values():
        if cut_off := next((i for i in items if i not in f.found and i not in f.lacking), None):
            raise InputError(f"{f.tars[-1]}: neither data nor a placeholder of cut {cut_off}: cut off? copy it again")
    complete = [item for utt_id, item in items.items() if all(utt_id in f.found for f in fields.values())]
    limits = _limits(fields, complete)
    return Tree(NAME, root, complete, {name: _source(f, limits, lists) for name, f in fields.items()})


def _cuts(path: Path) -> Iterator[Item]:
    """The cuts of a list, line by line."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as f:
            number = 0
            while line := f.readline(MAX_LINE + 1):
                number += 1
                where = f"{path}:{number}"
                if len(line) > MAX_LINE:
                    raise InputError(f"{where}: a line of more than {MAX_LINE} bytes; write it again with lhotse")
                yield _item(json_of(line, where), where)
            if not number:
                raise InputError(f"{path}: no cut in it, cut off? copy it again")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not gzip, or cut off ({error}); copy it again") from None


def _item(cut: dict[str, Any], where: str) -> Item:
    utt_id, supervisions = cut.get("id"), cut.get("supervisions")
    if not isinstance(utt_id, str) or not isinstance(supervisions, list) or cut.get("type", "MonoCut") != "MonoCut":
        raise InputError(f"{where}: expected a MonoCut with id and supervisions, found {str(cut)[:80]}; leave it out")
    inside(utt_id, f"{where}: id")
    first = supervisions[0] if supervisions and isinstance(supervisions[0], dict) else {}
    speaker = first.get("speaker")
    if not isinstance(speaker, str) or not speaker:
        raise InputError(f"{where}: cut {utt_id} has no supervision with a speaker; add one with lhotse")
    return Item(utt_id, speaker, utt_id, "", str(first.get("text") or ""), str(first.get("language") or ""))


def _field(root: Path, name: str, where: str, options: Options) -> Field:
    tars = sorted(root.glob(f"{glob.escape(where)}.*.tar")) or [root / f"{where}.tar"]
    out: Field | None = None
    lacking = set()
    for tar in tars:
        for key, member in members(tar):
            if member is None:
                lacking.add(key)
                continue
            grid, row, rows = _claims(member, key, options.grids.get(name, ""), name)
            out = out or Field(name, tars, grid, row)
            if (grid, row) != (out.grid, out.row):
                raise InputError(f"{member.where(key)}: on grid {grid}, those before on {out.grid}; separate the two")
            if key in out.found:
                raise InputError(f"{member.where(key)}: comes twice, also in {out.found[key].tar}; leave one out")
            out.found[key], out.rows[key] = member, rows
    if out is None:
        raise InputError(f"{root}: no cut has the field {where}; leave the column out")
    out.lacking = lacking
    return out


def _claims(member: Member, key: str, given: str, name: str) -> tuple[Grid, Row, int]:
    """Grid, row and number of rows that the JSON beside a member claims."""
    meta, where = member.meta, member.where(key)
    try:
        if "num_samples" in meta:
            return Grid(int(meta["sampling_rate"]), 1), "frame", int(meta["num_samples"])
        if "num_features" in meta:
            rate = int(meta["sampling_rate"])
            return _grid(rate, float(meta["frame_shift"]), where), "frame", int(meta["num_frames"])
        if "temporal_dim" in meta:
            shape = [int(n) for n in meta["array"]["shape"]]
            if not given:
                raise InputError(f"{where}: an array in time without a rate; add --grid {name}=16000/320 or what it is")
            return grid_of(given, name), "frame", shape[int(meta["temporal_dim"])]
        if "shape" in meta and len(meta["shape"]) == 1:
            return VECTOR_GRID, "utterance", 1
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        pass
    raise InputError(f"{where}: its JSON describes no recording, features or array; write it again with lhotse")


def _grid(rate: int, shift_s: float, where: str) -> Grid:
    hop = round(rate * shift_s)
    if hop < 1 or abs(hop - rate * shift_s) > 1e-3:
        raise InputError(f"{where}: frames every {shift_s} s are no whole number of samples at {rate}/s; leave it out")
    return Grid(rate, hop)


def _limits(fields: dict[str, Field], items: list[Item]) -> dict[str, dict[str, int]]:
    """How many rows of each column are kept of each cut, so that all columns have as many whole frames."""
    framed = {name: f for name, f in fields.items() if f.row == "frame"}
    out: dict[str, dict[str, int]] = {name: dict(f.rows) for name, f in fields.items()}
    if len(framed) < 2:
        return out
    coarsest = min((f.grid for f in framed.values()), key=lambda g: g.fps)
    ratios = {name: coarsest.ratio(f.grid) for name, f in framed.items()}
    for item in items:
        counts = {name: framed[name].rows[item.utt_id] // ratio for name, ratio in ratios.items()}
        if max(counts.values()) - min(counts.values()) > MAX_APART:
            found = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"cut {item.utt_id}: frames on grid {coarsest} differ by more than {MAX_APART}: {found}")
        for name, ratio in ratios.items():
            out[name][item.utt_id] = min(framed[name].rows[item.utt_id], min(counts.values()) * ratio + ratio - 1)
    return out


def _source(f: Field, limits: dict[str, dict[str, int]], lists: list[Path]) -> Source:
    def load(utt_id: str) -> NDArray[Any]:
        member = f.found[utt_id]
        rows = _rows(member, utt_id, f)
        if len(rows) != f.rows[utt_id]:
            raise InputError(
                f"{member.where(utt_id)}: its JSON claims {f.rows[utt_id]} rows, its data have {len(rows)}; write it "
                "again with lhotse"
            )
        return rows[: limits[f.name][utt_id]]

    return Source(f.grid, load, [*f.tars, *lists], f.row)


def _rows(member: Member, key: str, f: Field) -> NDArray[Any]:
    where, data = member.where(key), member.read(key)
    if f.grid.hop == 1 and "num_samples" in member.meta:
        if member.suffix not in SOUND:
            raise InputError(f"{where}: expected {', '.join(SOUND)} of a recording; write it again with lhotse")
        with tempfile.NamedTemporaryFile(suffix=member.suffix) as spool:
            spool.write(data)
            spool.flush()
            try:
                return read_sound(Path(spool.name), f.grid.rate)
            except InputError as error:
                raise InputError(str(error).replace(spool.name, where)) from None
    if member.suffix == ".npy":
        array = npy_of(data, where)
    elif member.suffix == ".llc":
        array = _lilcom(data, where)
    else:
        raise InputError(f"{where}: neither .npy nor .llc; write it again with lhotse, fields={{...: 'numpy'}}")
    if f.row == "utterance":
        if array.ndim != 1:
            raise InputError(f"{where}: expected a vector, found {array.shape}; write it again with lhotse")
        return array[None]
    if array.ndim == 2 and int(member.meta.get("temporal_dim", 0)) == 1:
        array = array.T
    return two_axes(array, where)


def _lilcom(data: bytes, where: str) -> NDArray[Any]:
    try:
        import lilcom
    except ImportError:
        raise InputError(f"{where}: compressed by lilcom, which is not installed; type `pip install lilcom`") from None
    try:
        return np.asarray(lilcom.decompress(data))
    except (ValueError, RuntimeError, TypeError) as error:
        raise InputError(f"{where}: lilcom cannot read it ({error}); write it again with lhotse") from None
