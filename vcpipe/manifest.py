"""Who said what, where: the table that every stage reads, and the stable assignment of speakers to shards."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from vcpipe.errors import InputError


@dataclass(frozen=True)
class Utterance:
    """One good recording of a corpus.

    `path` is relative to the corpus root, `n_samples` and `sample_rate` describe the prepared audio (mono, at the
    copy's rate). `group` is the recording session where the corpus knows one (LibriSpeech: the chapter). `recording`
    is the id under which the corpus lists the file, of which the utterance is the part from `start_s` to `stop_s`.
    """

    utt_id: str
    speaker: str
    path: str
    n_samples: int
    sample_rate: int
    text: str = ""
    language: str = ""
    group: str = ""
    split: str = ""
    recording: str = ""
    start_s: float = 0.0
    stop_s: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """A recording that a corpus lists, before anybody has looked inside.

    `stamp` is the size and the time of change of the file, so that a list differs when a recording does.
    """

    utt_id: str
    speaker: str
    path: str
    text: str = ""
    language: str = ""
    group: str = ""
    split: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class Reject:
    """A recording that cannot be used. `reason` is one of the codes of `vcpipe.audio.REASONS`."""

    utt_id: str
    path: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Split:
    """To which part of a corpus an utterance belongs: train, valid or test."""

    utt_id: str
    split: str


@dataclass(frozen=True)
class Measured:
    """What was measured of an utterance before anything was done to its recording.

    Of its own part of the recording where the copy is sliced, else of all of it: `level_dbfs` is the RMS over its
    length, `clipped_share` the share of samples on flattened peaks in the worst channel, `speech_share` the share of
    time with speech.
    """

    utt_id: str
    peak_dbfs: float
    level_dbfs: float
    clipped_share: float
    snr_db: float
    speech_share: float


Row = TypeVar("Row", Utterance, Candidate, Reject, Split, Measured)

CONVERT: dict[str, Callable[[str], object]] = {"int": int, "float": float, "str": str}


def speaker_shard(speaker: str, n_shards: int) -> int:
    """The shard of a speaker: a stable hash, so that a new speaker changes one shard and moves nobody else."""
    return int.from_bytes(hashlib.blake2b(speaker.encode(), digest_size=8).digest(), "big") % n_shards


def shard_names(n_shards: int) -> list[str]:
    """The file stems of a corpus's shards: `['000', '001', ...]`."""
    return [f"{i:03d}" for i in range(n_shards)]


def write_table(path: str | Path, rows: Iterable[Row], kind: type[Row]) -> None:
    """Writes rows as CSV with a header, whole or not at all."""
    with atomic_path(path) as tmp:
        tmp.write_text(table(rows, kind), encoding="utf-8", newline="")


def table(rows: Iterable[Row], kind: type[Row]) -> str:
    """Rows as CSV with a header."""
    names = [field.name for field in fields(kind)]
    out = io.StringIO(newline="")
    plain = csv.writer(out, lineterminator="\n")
    quoted = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    plain.writerow(names)
    for row in map(operator.attrgetter(*names), rows):  # the plain one leaves a carriage return as it is
        (quoted if any("\r" in str(value) for value in row) else plain).writerow(row)
    return out.getvalue()


def read_table(path: str | Path, kind: type[Row]) -> list[Row]:
    """Reads what `write_table` wrote; refuses a table with other columns."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such table; run `snakemake --cores all {path}` to make it")
    try:
        with open(path, newline="", encoding="utf-8") as f:
            header, *rows = list(csv.reader(f)) or [[]]
        expected = [field.name for field in fields(kind)]
        if header != expected:
            raise InputError(
                f"{path}: expected the columns {','.join(expected)}, found {','.join(header) or 'nothing'}"
            )
        convert = [CONVERT[str(field.type)] for field in fields(kind)]
        return [kind(*cast(Any, [c(v) for c, v in zip(convert, row, strict=True)])) for row in rows]
    except (ValueError, csv.Error) as error:  # not UTF-8, no number where one belongs, a row that is cut off
        raise InputError(f"{path}: damaged ({error}); make it again: `snakemake --cores all --force {path}`") from None


class atomic_path:
    """`with atomic_path(final) as tmp:` gives a temporary name beside `final` and renames it when the block succeeds.

    The file and its folder are flushed to disk before and after the rename; on an error nothing is left, and what a
    killed process left of the same file is removed.
    """

    def __init__(self, final: str | Path):
        self.final = Path(final)
        self.tmp = self.final.with_name(f".{self.final.name}.{os.getpid()}.tmp")

    def __enter__(self) -> Path:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        for stale in self.final.parent.glob(f".{glob.escape(self.final.name)}.*.tmp"):
            stale.unlink(missing_ok=True)
        return self.tmp

    def __exit__(self, exc_type: object, exc: object, tb: object) -> None:
        if exc_type is not None:
            _name(exc, self.final)
            self.tmp.unlink(missing_ok=True)
            return
        try:
            publish(self.tmp, self.final)
        except OSError as error:
            _name(error, self.final)
            raise


def _name(error: object, final: Path) -> None:
    """A full disk is told without the file (it is `write` that fails), and a person wants to know which."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(final)


def publish(tmp: Path, final: Path) -> None:
    """Renames a finished file; it and its folder are flushed to disk before and after."""
    _fsync(tmp)
    os.replace(tmp, final)
    _fsync(final.parent)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `snakemake --cores all {path}`")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSON lines, whole or not at all."""
    with atomic_path(path) as tmp:
        tmp.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), encoding="utf-8")


def by_speaker(rows: Iterable[Utterance]) -> Iterator[tuple[str, list[Utterance]]]:
    """Groups utterances by speaker, both in sorted order."""
    groups: dict[str, list[Utterance]] = {}
    for row in rows:
        groups.setdefault(row.speaker, []).append(row)
    for speaker in sorted(groups):
        yield speaker, sorted(groups[speaker], key=lambda u: u.utt_id)
