"""Packs from shards: tars of nearly the same size, byte for byte the same for the same input, and their index."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vcpipe.columns import Column, Variant, common
from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, atomic_path
from vcpipe.packing import COLUMN
from vcpipe.packs.flac import Bits, encode
from vcpipe.packs.index import NAME, dump
from vcpipe.packs.names import TAR, key_of, suffix_of
from vcpipe.packs.pcm import to_int16
from vcpipe.settings import Slice

AudioForm = Literal["npy16", "flac"]

PROBES = 8  # utterances that are encoded to learn how well the audio compresses


@dataclass(frozen=True)
class Written:
    """What `write_packs` did. `left_out` are utterances that a column lacks."""

    tars: int
    utterances: int
    left_out: list[str]
    bytes: int


def write_packs(
    folder: str | Path,
    columns: Mapping[str, Sequence[Variant]],
    utterances: Iterable[Utterance],
    *,
    made_by: Slice,
    target_mib: float | None = None,
    n_tars: int | None = None,
    audio_columns: Collection[str] = (),
    audio_form: AudioForm = "npy16",
    bits: Bits = 24,
) -> Written:
    """Writes the columns of the utterances as tars and `index.json`; one utterance is in memory at a time.

    Utterances are spread over the tars by a hash of their ids, so that each tar has a bit of every speaker. Tars are
    published one by one and the index last: without an index there are no packs. Equal input gives equal bytes.

    Args:
        folder: of the packs; what an earlier run left there is replaced.
        columns: by name, the variants that each has: shards, and the slice that they must have been made under. The
            values are stored as they are in the shards.
        utterances: rows of the manifest; those that a column lacks are left out.
        made_by: slice of the packs.
        target_mib: size of a tar; or give `n_tars`, their number. Never more tars than utterances.
        audio_columns: stored as sound; of single samples, in [-1, 1].
        audio_form: `npy16`, whole numbers of 16 bits, differs from float32 by at most 2**-15 (3e-5), and not at all
            where recordings of 16 bits were neither resampled nor scaled. Nothing is left to decode: crops of 0.44 s
            are read 3 times as fast as from `flac` (benchmarks/loading.py). That is half as large at 16 bits, and at 24
            bits as large, or half where `npy16` would be exact (LibriSpeech).
        bits: of FLAC. It is not float32: 24 bits differ from it by at most 2**-23 (1.2e-7), 16 bits by 2**-15 (3e-5).

    Raises:
        InputError: naming the column or the utterance that cannot be packed.
    """
    folder, rows = Path(folder), {u.utt_id: u for u in utterances}
    if (target_mib is None) == (n_tars is None) or (target_mib or n_tars or 0) <= 0:
        raise InputError("packs: give either target_mib or n_tars, the size or the number of tars, above 0")
    opened = [_column(name, variants, rows, name in audio_columns) for name, variants in columns.items()]
    if unknown := set(audio_columns) - set(columns):
        raise InputError(f"packs: audio column '{min(unknown)}' is none of the columns {', '.join(columns)}")
    forms: dict[str, str] = {c.name: audio_form if c.name in audio_columns else "npy" for c in opened}
    kept, frames = common(opened, rows)
    kept.sort(key=lambda utt_id: (hashlib.blake2b(utt_id.encode(), digest_size=8).digest(), utt_id))
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, NAME).unlink(missing_ok=True)
    dtypes = _Dtypes()
    entries: list[str] = []
    total = 0
    sizes = _sizes(opened, kept, forms, bits)
    wanted = n_tars if n_tars is not None else round(float(sizes.sum()) / ((target_mib or 1) * (1 << 20)))
    try:
        for ids in _shares(kept, sizes, max(1, min(wanted, len(kept)))):
            name = f"{len(entries):06d}.tar"
            with atomic_path(folder / name) as tmp, open(tmp, "wb") as f:
                tar = _Tar(f)
                samples = [_sample(tar, rows[i], frames[i], opened, forms, bits, dtypes) for i in ids]
                tar.close()
            entry = {"name": name, "bytes": tar.at, "sha256": tar.digest.hexdigest(), "samples": samples}
            entries.append(json.dumps(entry, separators=(",", ":")))
            total += tar.at
    finally:
        for column in opened:
            column.close()
    for path in folder.iterdir():
        if TAR.fullmatch(path.name) and int(path.stem) >= len(entries):
            path.unlink()
    described = {
        c.name: {
            "grid": str(c.grid),
            "dim": c.dim,
            "row": c.row,
            "form": forms[c.name],
            "dtypes": [dtypes.get((c.name, v), "<f4") for v in range(len(c.variants))],
            "variants": [variant.expect for variant in c.variants],
            **({"bits": bits} if forms[c.name] == "flac" else {}),
        }
        for c in opened
    }
    with atomic_path(folder / NAME) as tmp:
        tmp.write_text(dump(made_by, described, entries), encoding="utf-8")
    return Written(len(entries), len(kept), sorted(set(rows) - set(kept)), total)


class _Dtypes(dict[tuple[str, int], str]):
    """The dtype of each column and variant; one for all of its utterances."""

    def note(self, column: str, variant: int, dtype: np.dtype[Any], utt_id: str) -> None:
        found = dtype.newbyteorder("<").str
        if self.setdefault((column, variant), found) != found:
            raise InputError(f"{utt_id}: '{column}' is {found}, {self[column, variant]} elsewhere; extract it again")


class _Tar:
    """A tar that knows where its members stand. No times, owners or other traces of when and where it was written."""

    def __init__(self, f: IO[bytes]):
        self._f, self.at, self.digest = f, 0, hashlib.sha256()

    def add(self, name: str, data: bytes) -> int:
        """Writes a member; the offset of its bytes."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._write(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))
        offset = self.at
        self._write(data)
        self._write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset

    def close(self) -> None:
        """Writes what ends a tar."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._write(bytes(-self.at % tarfile.RECORDSIZE))

    def _write(self, data: bytes) -> None:
        self._f.write(data)
        self.digest.update(data)
        self.at += len(data)


def _column(name: str, variants: Sequence[Variant], rows: Mapping[str, Utterance], audio: bool) -> Column:
    if not COLUMN.fullmatch(name) or name == "json":
        raise InputError(f"packs: column '{name}': a name has small letters, digits and _, and is not json")
    column = Column(name, variants, rows)
    if audio and (column.dim, column.grid.hop, column.row) != (1, 1, "frame"):
        raise InputError(
            f"packs: '{name}' has {column.dim} columns on grid {column.grid}, only single samples (hop 1) are sound; "
            "take it out of the audio columns"
        )
    return column


def _sample(
    tar: _Tar,
    row: Utterance,
    frames: int,
    columns: Sequence[Column],
    forms: Mapping[str, str],
    bits: Bits,
    dtypes: _Dtypes,
) -> dict[str, Any]:
    """Writes the members of an utterance; its entry in the index."""
    key, members = key_of(row.utt_id), {}
    facts = {"utt_id": row.utt_id, "speaker": row.speaker, "text": row.text}
    lengths = {c.name: c.length(row.utt_id) for c in columns}
    tar.add(f"{key}.json", json.dumps({**facts, "lengths": lengths}, sort_keys=True, ensure_ascii=False).encode())
    for column in sorted(columns, key=lambda c: c.name):
        length = column.length(row.utt_id)
        for variant in column.holders(row.utt_id):
            array = column.read(row.utt_id, variant, 0, length)
            data, dtype = _encoded(row.utt_id, column, array, forms[column.name], bits)
            dtypes.note(column.name, variant, dtype, row.utt_id)
            suffix = suffix_of(column.name, variant, forms[column.name])
            members[suffix] = [tar.add(f"{key}.{suffix}", data), len(data), length]
    return {"utt_id": row.utt_id, "frames": frames, "members": members}


def _encoded(utt_id: str, column: Column, array: NDArray[Any], form: str, bits: Bits) -> tuple[bytes, np.dtype[Any]]:
    """The bytes of a member, and the type of what they hold."""
    try:
        if form == "flac":
            return encode(array[:, 0].astype(np.float32, copy=False), column.grid.rate, bits), array.dtype
        if form == "npy16":
            array = to_int16(array.astype(np.float32, copy=False))
        return _npy(array), array.dtype
    except InputError as error:
        raise InputError(f"{utt_id}: '{column.name}': {error}") from None


def _npy(array: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    np.lib.format.write_array(out, little, version=(1, 0), allow_pickle=False)
    return out.getvalue()


def _sizes(columns: Sequence[Column], kept: list[str], forms: Mapping[str, str], bits: Bits) -> NDArray[np.float64]:
    """About how many bytes each utterance will take: exact for `.npy`, by a few of them for sound."""
    sizes = np.full(len(kept), 1024.0)
    for c in columns:
        per_row = float(c.bytes_per_row)
        if forms[c.name] != "npy":
            probes = [kept[i * len(kept) // PROBES] for i in range(PROBES)]
            pairs = [(p, c.length(p)) for p in dict.fromkeys(probes)]
            encoded = [len(_encoded(p, c, c.read(p, c.holders(p)[0], 0, n), forms[c.name], bits)[0]) for p, n in pairs]
            per_row = sum(encoded) / max(1, sum(n for _, n in pairs))
        sizes += [len(c.holders(i)) * (c.length(i) * per_row + 1024) for i in kept]
    return sizes


def _shares(kept: list[str], sizes: NDArray[np.float64], count: int) -> Iterator[list[str]]:
    """The utterances of each tar: cut where the middle of an utterance passes the next equal share."""
    ends = np.cumsum(sizes)
    share = ((ends - sizes / 2) * count / ends[-1]).astype(int).tolist()
    for _, group in groupby(zip(share, kept, strict=True), key=lambda pair: pair[0]):
        yield [utt_id for _, utt_id in group]
