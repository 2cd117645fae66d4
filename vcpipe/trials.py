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
        InputError: naming the line, for an unknown utterance, speaker or split, a reference of another speaker, or a
            source that is its own reference.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such trials file; set knnvc.demo.trials, or leave it empty to have some drawn")
    by_id = {u.utt_id: u for u in utterances}
    try:
        with open(path, newline="", encoding="utf-8") as f:
            header, *rows = list(csv.reader(f)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of trials ({error}); save it as CSV in UTF-8") from None
    if header != COLUMNS:
        raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header) or 'nothing'}")
    return [_trial(row, f"{path}:{line}", utterances, by_id) for line, row in enumerate(rows, start=2) if row]


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


def _trial(row: list[str], where: str, utterances: list[Utterance], by_id: dict[str, Utterance]) -> Trial:
    if len(row) != len(COLUMNS):
        raise InputError(f"{where}: expected {','.join(COLUMNS)}, found {len(row)} columns; correct the line")
    source, target, named = row
    if source not in by_id:
        raise InputError(f"{where}: source {source} is not in the manifest; see its rejects.csv")
    if named in ("train", "valid", "test"):
        references = tuple(u for u in utterances if u.speaker == target and u.split == named)
    else:
        for utt_id in named.split(";"):
            if utt_id not in by_id or by_id[utt_id].speaker != target:
                found = f"one of {by_id[utt_id].speaker}" if utt_id in by_id else "none in the manifest"
                raise InputError(
                    f"{where}: expected references of speaker {target}, '{utt_id}' is {found}; correct the line"
                )
        references = tuple(by_id[utt_id] for utt_id in named.split(";"))
    if not references or by_id[source] in references or by_id[source].speaker == target:
        raise InputError(
            f"{where}: expected references of speaker {target} without the source, found {len(references)} for "
            f"'{named}'; correct the line"
        )
    return Trial(by_id[source], target, references)
