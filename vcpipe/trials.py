"""Who is converted to whom: a committed table, or one drawn from the held-out utterances."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance

COLUMNS = ["source", "target", "references"]


@dataclass(frozen=True)
class Trial:
    """One conversion: `source` is spoken as `target` (a speaker) would, after hearing the `references` (utterances)."""

    source: Utterance
    target: str
    references: tuple[Utterance, ...]


def read_trials(path: Path, utterances: list[Utterance]) -> list[Trial]:
    """Reads a CSV of `source,target,references`; references are a split's name or utterance ids between semicolons.

    Raises:
        InputError: naming the line, for an unknown utterance, speaker or split, or a source that is its own reference.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such trials file; set knnvc.demo.trials, or leave it empty to have some drawn")
    by_id = {u.utt_id: u for u in utterances}
    trials = []
    with open(path, newline="", encoding="utf-8") as f:
        reader = csv.DictReader(f)
        if reader.fieldnames != COLUMNS:
            raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}, found {reader.fieldnames}")
        for line, row in enumerate(reader, start=2):
            if row["source"] not in by_id:
                raise InputError(f"{path}:{line}: source {row['source']} is not in the manifest; see its rejects.csv")
            source = by_id[row["source"]]
            references = _references(row, utterances, by_id)
            if not references or source in references or source.speaker == row["target"]:
                raise InputError(
                    f"{path}:{line}: expected references of speaker {row['target']} without the source, found "
                    f"{len(references)} for '{row['references']}'; correct the line"
                )
            trials.append(Trial(source, row["target"], references))
    return trials


def draw_trials(utterances: list[Utterance], count: int, seed: int) -> list[Trial]:
    """`count` conversions of held-out utterances, sources and targets taken in turn.

    Sources come from the split test, else valid, else train. The references are the target's training utterances,
    or all of them where there are none.
    """
    splits = {u.split for u in utterances}
    held_out = next(split for split in ("test", "valid", "train") if split in splits)
    speakers = sorted({u.speaker for u in utterances})
    if len(speakers) < 2:
        raise InputError(f"trials: expected at least two speakers, found {len(speakers)}; add a speaker to the corpus")
    sources = sorted((u for u in utterances if u.split == held_out), key=lambda u: u.utt_id)
    rng = random.Random(seed)
    rng.shuffle(sources)
    trials = []
    for i, source in enumerate(sources[:count]):
        others = [s for s in speakers if s != source.speaker]
        target = others[i % len(others)]
        theirs = [u for u in utterances if u.speaker == target]
        trials.append(Trial(source, target, tuple([u for u in theirs if u.split == "train"] or theirs)))
    return sorted(trials, key=lambda t: (t.source.utt_id, t.target))


def _references(row: dict[str, str], utterances: list[Utterance], by_id: dict[str, Utterance]) -> tuple[Utterance, ...]:
    if row["references"] in ("train", "valid", "test"):
        return tuple(u for u in utterances if u.speaker == row["target"] and u.split == row["references"])
    named = [by_id.get(utt_id) for utt_id in row["references"].split(";")]
    return tuple(u for u in named if u is not None and u.speaker == row["target"])
