"""`index.json`: what lies where in a folder of packs, so that any crop of any utterance is found without searching.

{"format", "made_by": slice, "columns": {name: {"grid", "dim", "row", "form", "dtypes", "variants": [slice or null]}},
 "tars": [{"name", "bytes", "sha256", "samples": [{"utt_id", "frames", "members": {suffix: [offset, bytes, rows]}}]}]}
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.packing import COLUMN
from vcpipe.packs.decode import DTYPES
from vcpipe.packs.names import TAR, suffix_of
from vcpipe.settings import Slice, canonical
from vcpipe.store import Row

FORMAT = "vcpipe-packs-1"
NAME = "index.json"
ROWS = ("frame", "utterance")
AUDIO_FORMS = ("flac", "npy16")


@dataclass(frozen=True)
class Tar:
    """One file: its name, its size and its SHA-256, and which samples it holds."""

    name: str
    bytes: int
    sha256: str
    first: int
    count: int


@dataclass(frozen=True)
class Stored:
    """A column as the packs hold it. `dtypes` and `variants` are by variant; `first`: its place in `Index.members`.

    Forms: `npy`, the values as they are; of sound `flac`, or `npy16`, whole numbers of 16 bits.
    """

    grid: Grid
    dim: int
    row: Row
    form: str
    dtypes: tuple[str, ...]
    variants: tuple[Slice | None, ...]
    first: int


@dataclass(frozen=True)
class Index:
    """The index of a folder of packs, checked. `members[sample, column and variant]` is offset, bytes, rows; or -1."""

    digest: str
    made_by: Slice
    columns: dict[str, Stored]
    tars: tuple[Tar, ...]
    utt_ids: list[str]
    frames: NDArray[np.int64]
    members: NDArray[np.int64]


def parse(text: bytes, where: str) -> Index:
    """Checks the bytes of an index: it may come from anywhere, and offsets become reads.

    Raises:
        InputError: naming the file, for anything that `write_packs` does not write.
    """
    try:
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']!r}, expected {FORMAT!r}")
        columns = _columns(raw["columns"])
        suffixes = [
            suffix_of(name, v, stored.form) for name, stored in columns.items() for v in range(len(stored.variants))
        ]
        tars, utt_ids, frames, members = _samples(raw["tars"], suffixes)
        index = Index(
            hashlib.sha256(text).hexdigest(),
            dict(raw["made_by"]),
            columns,
            tars,
            utt_ids,
            np.asarray(frames, np.int64),
            np.asarray(members, np.int64).reshape(len(utt_ids), len(suffixes), 3),
        )
        _check(index)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, InputError) as error:
        reason = f"no key {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{where}: not the index of packs ({reason}); make the packs again with snakemake") from None
    return index


def dump(made_by: Slice, columns: Mapping[str, Mapping[str, Any]], tars: Sequence[str]) -> str:
    """The text of an index; `tars` are the JSON texts of its entries, one a line."""
    head = f'{{"columns":{canonical(dict(columns))},"format":"{FORMAT}","made_by":{canonical(made_by)},"tars":[\n'
    return head + ",\n".join(tars) + "\n]}\n"


def _columns(raw: Mapping[str, Any]) -> dict[str, Stored]:
    out: dict[str, Stored] = {}
    first = 0
    for name in raw:
        c = raw[name]
        rate, hop = c["grid"].split("/")
        grid, dtypes, variants = Grid(int(rate), int(hop)), tuple(c["dtypes"]), tuple(c["variants"])
        form, row, dim = c["form"], c.get("row", "frame"), c["dim"]
        audio = form in AUDIO_FORMS and row == "frame" and dim == grid.hop == 1
        if not COLUMN.fullmatch(name) or row not in ROWS or type(dim) is not int or dim < 1:
            raise ValueError(f"column {name!r}")
        if not (audio or form == "npy"):
            raise ValueError(f"the form of column {name}")
        if not 0 < len(variants) == len(dtypes) or not set(dtypes) <= DTYPES:
            raise ValueError(f"the variants of column {name}")
        if form == "npy16" and set(dtypes) != {"<i2"}:
            raise ValueError(f"the type of column {name}")
        out[name] = Stored(grid, dim, row, form, dtypes, variants, first)
        first += len(variants)
    return out


def _samples(
    raw: Sequence[Mapping[str, Any]], suffixes: Sequence[str]
) -> tuple[tuple[Tar, ...], list[str], list[int], list[list[list[int]]]]:
    tars: list[Tar] = []
    utt_ids: list[str] = []
    frames: list[int] = []
    members: list[list[list[int]]] = []
    missing = [-1, -1, -1]
    for t in raw:
        if not TAR.fullmatch(t["name"]) or not re.fullmatch("[0-9a-f]{64}", t["sha256"]):
            raise ValueError(f"tar {t['name']!r}")
        tars.append(Tar(t["name"], int(t["bytes"]), t["sha256"], len(utt_ids), len(t["samples"])))
        for sample in t["samples"]:
            utt_ids.append(str(sample["utt_id"]))
            frames.append(sample["frames"])
            found = sample["members"]
            members.append([found.get(suffix, missing) for suffix in suffixes])
    return tuple(tars), utt_ids, frames, members


def _check(index: Index) -> None:
    """Every member lies within its tar and has as many bytes as its rows; every name comes once."""
    if not index.utt_ids or len(set(index.utt_ids)) != len(index.utt_ids):
        raise ValueError("no utterance, or one that comes twice")
    if len({tar.name for tar in index.tars}) != len(index.tars):
        raise ValueError("a tar that comes twice")
    if index.frames.min() < 1:
        raise ValueError("an utterance without a frame")
    ends = np.repeat([tar.bytes for tar in index.tars], [tar.count for tar in index.tars])
    for name, stored in index.columns.items():
        present = np.zeros(len(index.utt_ids), bool)
        for v, dtype in enumerate(stored.dtypes):
            offset, size, rows = index.members[:, stored.first + v].T
            here = offset >= 0
            present |= here
            bad = here & ((size < 1) | (rows < 1) | (offset > ends - size))
            if stored.row == "utterance":
                bad |= here & (rows != 1)
            if stored.form != "flac":
                bad |= here & (rows > size // (np.dtype(dtype).itemsize * stored.dim))
            if bad.any():
                raise ValueError(f"{index.utt_ids[int(bad.argmax())]}: a member of column {name} that does not fit")
        if not present.all():
            raise ValueError(f"{index.utt_ids[int((~present).argmax())]} without column {name}")
