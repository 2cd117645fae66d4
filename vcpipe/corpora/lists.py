"""Which recordings go into which shard: small tables that are refreshed whenever the workflow is read.

They are made before the jobs are planned, not by a job, so that a new speaker changes one list and only that shard's
jobs are planned again. A list is rewritten only when it differs. Standard library only.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, Reject, Row, Split, shard_names, speaker_shard, table, write_table
from vcpipe.settings import CorpusSettings

SPLITS = ("train", "valid", "test")


def refresh(name: str, settings: CorpusSettings, folder: Path) -> Counter[str]:
    """Scans a corpus and brings `folder`/lists and `folder`/splits up to date, one table a shard.

    Returns:
        How many utterances each split has.

    Raises:
        InputError: when the corpus is not where the config says, is empty, or its split files do not fit.
    """
    module = catalog.corpus(settings.kind, f"corpora.{name}.kind")
    root = Path(settings.root)
    found = [_stamped(c, settings.root) for c in module.scan(settings, root)]
    if not found:
        raise InputError(f"corpora.{name}: no recordings found in {root}; set `root` to where they lie")
    kept, rejects = _unique(found)
    splits = _splits(name, settings, kept)
    shards: dict[str, tuple[list[Candidate], list[Split]]] = {s: ([], []) for s in shard_names(settings.shards)}
    for candidate in sorted(kept, key=lambda c: (c.speaker, c.utt_id)):
        candidates, rows = shards[f"{speaker_shard(candidate.speaker, settings.shards):03d}"]
        candidates.append(replace(candidate, split=""))
        rows.append(Split(candidate.utt_id, splits[candidate.utt_id]))
    for shard, (candidates, rows) in shards.items():
        _write_if_new(folder / "lists" / f"{shard}.csv", candidates, Candidate)
        _write_if_new(folder / "splits" / f"{shard}.csv", rows, Split)
    _write_if_new(folder / "lists" / "rejects.csv", rejects, Reject)
    return Counter(splits.values())


def digest(path: str) -> str:
    """Of a list as it stands now: what a job was planned for, whatever happens to the list while it runs."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest() if os.path.isfile(path) else ""


def _stamped(candidate: Candidate, root: str) -> Candidate:
    if candidate.stamp:
        return candidate
    try:
        stat = os.stat(f"{root}/{candidate.path}")
    except OSError:
        return replace(candidate, stamp="unreadable")
    return replace(candidate, stamp=f"{stat.st_size}-{stat.st_mtime_ns}")


def _unique(candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[Reject]]:
    first: dict[str, Candidate] = {}
    rejects = []
    for c in candidates:
        if c.utt_id in first:
            rejects.append(Reject(c.utt_id, c.path, "duplicate", f"same utterance id as {first[c.utt_id].path}"))
        else:
            first[c.utt_id] = c
    return list(first.values()), rejects


def _splits(name: str, settings: CorpusSettings, candidates: list[Candidate]) -> dict[str, str]:
    """Split files first, then what the corpus says itself, then a stable hash of the utterance id."""
    named = _read_splits(name, Path(settings.splits), candidates) if settings.splits else {}
    out = {c.utt_id: named.get(c.utt_id) or c.split for c in candidates}
    undecided = sorted((fraction(utt_id), utt_id) for utt_id, split in out.items() if not split)
    for place, (share, utt_id) in enumerate(undecided):
        first = place == 0 and len(undecided) > 1 and settings.valid_share > 0  # a small corpus has one at least
        out[utt_id] = "valid" if first or share < settings.valid_share else "train"
    return out


def _read_splits(name: str, folder: Path, candidates: list[Candidate]) -> dict[str, str]:
    """Reads `<folder>/{train,valid,test}.csv`: by `utt_id`, or by `audio_path` as in the public kNN-VC files."""
    by_path = {c.path: c.utt_id for c in candidates}
    known = {c.utt_id for c in candidates}
    out: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.csv"
        if not path.is_file():
            continue
        with open(path, newline="", encoding="utf-8") as f:
            rows = csv.DictReader(f)
            columns = set(rows.fieldnames or ())
            if not columns & {"utt_id", "audio_path"}:
                raise InputError(
                    f"{path}: expected a column utt_id or audio_path, found {', '.join(columns) or 'none'}"
                )
            ids = [row["utt_id"] if "utt_id" in columns else by_path.get(row["audio_path"], "") for row in rows]
        for utt_id in known.intersection(ids):
            if utt_id in out and out[utt_id] != split:
                raise InputError(f"{path}: {utt_id} is in {out[utt_id]}.csv too; an utterance belongs to one split")
            out[utt_id] = split
    if not out:
        raise InputError(f"corpora.{name}.splits: {folder} names none of the corpus's utterances; give another folder")
    return out


def fraction(utt_id: str) -> float:
    """A stable hash of an utterance id in [0, 1)."""
    return int.from_bytes(hashlib.blake2b(utt_id.encode(), digest_size=8).digest(), "big") / 2**64


def _write_if_new(path: Path, rows: list[Row], kind: type[Row]) -> None:
    if not path.is_file() or path.read_bytes() != table(rows, kind).encode():
        write_table(path, rows, kind)
