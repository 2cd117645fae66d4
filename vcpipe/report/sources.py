"""What a page tells beside the figures: how a model learnt, what it learnt from, and how long every step took."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcpipe.errors import InputError
from vcpipe.settings import Slice
from vcpipe.store import Shard

RATES = ("lr", "steps_per_s", "audio_s_per_s", "data_wait", "memory_mib", "gradient")
"""Columns of a training that are no loss."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Corpus:
    """The statistics of a copy of a corpus: their folder, the content of corpus.json, and the slice of its audio."""

    copy: str
    name: str
    folder: Path
    total: dict[str, Any]
    made_by: Slice


@dataclass(frozen=True)
class Timing:
    """One job of the workflow: of which rule, on what, which shard, its seconds, and the most memory in MiB."""

    rule: str
    of: str
    shard: str
    seconds: float
    peak_mib: float | None


def learning(run: Path) -> dict[str, dict[str, Points]]:
    """The losses of a run by name, those of `train` and of `valid`: `{name: {part: [(step, value), ...]}}`.

    Raises:
        InputError: when metrics.csv is missing or damaged.
    """
    path = run / "metrics.csv"
    found: dict[str, dict[str, Points]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                part, name = row["name"].split("/", 1)
                value = float(row["value"])
                if name not in RATES and math.isfinite(value):
                    found.setdefault(name, {}).setdefault(part, []).append((float(row["step"]), value))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: expected rows of step, name, value, found {error!r}; train it again") from None
    return {name: found[name] for name in sorted(found, key=lambda name: (name != "loss", name))}


def corpora(results: Path) -> list[Corpus]:
    """The copies of corpora that have statistics, with the slice that their audio shards carry."""
    out = []
    for file in sorted(results.glob("stats/*/*/corpus.json")):
        folder = file.parent
        copy, name = folder.parent.name, folder.name
        shard = next(iter(sorted((results / "audio" / copy / name).glob("*.h5"))), None)
        if shard is None:
            continue  # statistics that outlived their recordings: of which ones they were cannot be told
        with Shard(shard, None) as opened:
            out.append(Corpus(copy, name, folder, json.loads(file.read_text(encoding="utf-8")), opened.slice))
    return out


def timings(logs: Path) -> list[Timing]:
    """Every benchmark below a folder, by rule; `<rule>/<what>/<shard>.tsv`, or `<rule>.tsv`."""
    out = []
    for file in sorted(logs.rglob("*.tsv")):
        *above, last = file.relative_to(logs).with_suffix("").parts
        parts = [*above, last]
        shard = last if len(parts) > 1 and last.isdigit() else ""
        of = "/".join(parts[1:-1] if shard else parts[1:])
        with open(file, newline="", encoding="utf-8") as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        seconds = _number(rows[-1].get("s")) if rows else None
        if seconds is not None:  # a job that is running has no line yet
            out.append(Timing(parts[0], of, shard, seconds, _number(rows[-1].get("max_rss"))))
    return out


def concerning(found: Iterable[Timing], mine: Sequence[str], names: Iterable[str]) -> list[Timing]:
    """The jobs of a row and those that it shares with others; those first that bear a name of its own.

    Args:
        found: all jobs.
        mine: names of the row and of its run.
        names: of all rows and runs; a job with a name that is not of `mine` is another's.
    """
    known = sorted(set(names), key=len, reverse=True)

    def owner(job: Timing) -> str:
        words = job.of.split("/")
        return next((name for name in known if name in words or job.rule.endswith(f"_{name}")), "")

    owned = [(owner(job), job) for job in found]
    return [job for name, job in owned if name in mine] + [job for name, job in owned if not name]


def _number(text: str | None) -> float | None:
    """A cell of a benchmark; None for what was too short to be measured."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
