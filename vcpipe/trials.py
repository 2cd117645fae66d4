"""Who is converted to whom: trials and their tables. Standard library only.

A table has the columns `source,target,references,reference_s,seed`. The references are a split's name, `others` (all
of the target's utterances that are no source anywhere in the table), or utterance ids between semicolons. Only their
first `reference_s` seconds are heard; empty or 0 means all. `seed` is for systems that draw.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, atomic_path, by_speaker

COLUMNS = ["source", "target", "references", "reference_s", "seed"]
FIRST_COLUMNS = COLUMNS[:3]  # of older tables
SPLITS = ("train", "valid", "test")
OTHERS = "others"

Pools = dict[str, list[Utterance]]
"""The utterances of each speaker by their ids."""


@dataclass(frozen=True)
class Trial:
    """One conversion: `source` is spoken as `target` (a speaker) would, after hearing the `references` (utterances).

    `references` are those that are heard; where `reference_s` is not 0, of the last one perhaps only the beginning
    (`reference_samples`). `named` is what a table calls them; empty: their ids.
    """

    source: Utterance
    target: str
    references: tuple[Utterance, ...]
    reference_s: float = 0.0
    seed: int = 0
    named: str = ""

    @property
    def name(self) -> str:
        """What the trial is called in every row of results; no two of a table are called alike."""
        heard = f"-{self.reference_s:g}s" if self.reference_s else ""
        drawn = f"-seed{self.seed}" if self.seed else ""
        return f"{self.source.utt_id}-as-{self.target}{heard}{drawn}".replace("/", "_")


def reference_samples(trial: Trial) -> list[int]:
    """How many samples of each reference are heard, from its beginning."""
    return [n for _, n in _heard(trial.references, trial.reference_s)]


def read_trials(path: Path, utterances: list[Utterance]) -> list[Trial]:
    """Reads a table of trials; one of the first three columns only is read too.

    Raises:
        InputError: naming the line, for an unknown utterance, speaker or split, a reference of another speaker, a
            source that is its own reference, too few seconds of references, or a trial that is there twice.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such trials file; make it with `vcpipe trials`, or leave evaluate.trials empty to have some "
            "drawn"
        )
    try:
        with open(path, newline="", encoding="utf-8") as f:
            header, *rows = list(csv.reader(f)) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table of trials ({error}); save it as CSV in UTF-8") from None
    if header not in (COLUMNS, FIRST_COLUMNS):
        raise InputError(f"{path}: expected the columns {','.join(COLUMNS)}, found {','.join(header) or 'nothing'}")
    lines = [(f"{path}:{line}", row) for line, row in enumerate(rows, start=2) if row]
    for where, row in lines:
        if len(row) != len(header):
            raise InputError(f"{where}: expected {','.join(header)}, found {len(row)} columns; correct the line")
    references = References(utterances, {row[0] for _, row in lines})
    by_id = {u.utt_id: u for u in utterances}
    trials: dict[str, Trial] = {}
    for where, (source, target, named, *rest) in lines:
        if source not in by_id:
            raise InputError(f"{where}: source {source} is not in the manifest; see its rejects.csv")
        reference_s, seed = _numbers(where, *rest)
        found = references(target, named, reference_s, where)
        if by_id[source] in found or by_id[source].speaker == target:
            raise InputError(
                f"{where}: expected a target and references other than the source {source}, found speaker {target}, "
                f"'{named}'; correct the line"
            )
        trial = Trial(by_id[source], target, found, reference_s, seed, named)
        if trial.name in trials:
            raise InputError(
                f"{where}: a line above has the name {trial.name} too (a slash and _ are alike in it); remove one of "
                "the lines, or give it another seed"
            )
        trials[trial.name] = trial
    return list(trials.values())


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Writes a table that `read_trials` reads as the same trials, whole or not at all."""
    with atomic_path(path) as tmp, open(tmp, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(COLUMNS)
        for t in trials:
            named = t.named or ";".join(u.utt_id for u in t.references)
            writer.writerow([t.source.utt_id, t.target, named, f"{t.reference_s:g}" if t.reference_s else "", t.seed])


class References:
    """The utterances that a table's word stands for: `references(target, named, reference_s, where)`."""

    def __init__(self, utterances: Iterable[Utterance], sources: Set[str]):
        self.pools: Pools = dict(by_speaker(utterances))
        self.owner = {u.utt_id: u for pool in self.pools.values() for u in pool}
        self.sources = sources
        self.known: dict[tuple[str, str, float], tuple[Utterance, ...]] = {}

    def __call__(self, target: str, named: str, reference_s: float, where: str) -> tuple[Utterance, ...]:
        """Those that are heard, in the order of their ids, or in the order given where they are given."""
        key = (target, named, reference_s)
        if key not in self.known:
            self.known[key] = self._cut(self._all(target, named, where), key, where)
        return self.known[key]

    def _all(self, target: str, named: str, where: str) -> list[Utterance]:
        theirs = self.pools.get(target, [])
        if named == OTHERS:
            return [u for u in theirs if u.utt_id not in self.sources]
        if named in SPLITS:
            return [u for u in theirs if u.split == named]
        for utt_id in named.split(";"):
            if utt_id not in self.owner or self.owner[utt_id].speaker != target:
                found = f"one of {self.owner[utt_id].speaker}" if utt_id in self.owner else "none in the manifest"
                raise InputError(
                    f"{where}: expected references of speaker {target}, '{utt_id}' is {found}; correct the line"
                )
        return [self.owner[utt_id] for utt_id in named.split(";")]

    def _cut(self, found: list[Utterance], key: tuple[str, str, float], where: str) -> tuple[Utterance, ...]:
        target, named, reference_s = key
        if not found or seconds(found) < reference_s:
            wanted = f"{reference_s:g} s of references" if reference_s else "references"
            raise InputError(
                f"{where}: expected {wanted} of speaker {target}, found {seconds(found):.1f} s for '{named}'; correct "
                "the line"
            )
        return tuple(u for u, _ in _heard(found, reference_s))


def to_themselves(trials: Sequence[Trial], utterances: Iterable[Utterance]) -> list[Trial]:
    """Every source of some trials converted into its own speaker, whose references are no source of these trials.

    Where a speaker has no other recordings, they are the speaker's other sources. As many seconds of them are heard,
    with the same seed, as in the source's first trial, or all where there are less.

    Raises:
        InputError: when a speaker has nothing but the source.
    """
    pools: Pools = dict(by_speaker(utterances))
    sources = {trial.source.utt_id: trial.source for trial in trials}
    own = []
    for source in sources.values():
        others = [u for u in pools[source.speaker] if u.utt_id != source.utt_id]
        free = [u for u in others if u.utt_id not in sources]
        if not others:
            raise InputError(
                f"trials: expected other recordings of {source.speaker} than {source.utt_id}, found none; add some, or "
                "take the speaker out of the sources"
            )
        like = next(trial for trial in trials if trial.source.utt_id == source.utt_id)
        heard_s = min(like.reference_s, seconds(free or others))
        references = tuple(u for u, _ in _heard(free or others, heard_s))
        own.append(Trial(source, source.speaker, references, heard_s, like.seed, OTHERS if free else ""))
    return own


def _numbers(where: str, reference_s: str = "", seed: str = "") -> tuple[float, int]:
    try:
        values = float(reference_s or 0), int(seed or 0)
    except ValueError:
        values = -1.0, -1
    if not (math.isfinite(values[0]) and min(values) >= 0):
        raise InputError(
            f"{where}: expected seconds as reference_s and a whole number as seed, found '{reference_s}' and '{seed}'; "
            "correct the line"
        )
    return values


def _heard(references: Sequence[Utterance], reference_s: float) -> list[tuple[Utterance, int]]:
    """The first of the references up to `reference_s` seconds (0: all), with how many samples of each."""
    left = round(reference_s * references[0].sample_rate) if reference_s else sum(u.n_samples for u in references)
    out = []
    for u in references:
        if left > 0:
            out.append((u, min(left, u.n_samples)))
            left -= u.n_samples
    return out


def seconds(utterances: Iterable[Utterance]) -> float:
    """How long they are together."""
    return sum(u.n_samples / u.sample_rate for u in utterances)
