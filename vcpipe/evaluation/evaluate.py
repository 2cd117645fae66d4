"""From a row's converted recordings to what the judges say of them: `judged.jsonl`, `metrics.json`, `protocol.json`."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vcpipe import results
from vcpipe.errors import InputError
from vcpipe.evaluation.asr import char_errors, word_errors
from vcpipe.evaluation.intervals import summarise
from vcpipe.evaluation.judge import (
    FILE,
    UTTERANCE,
    Findings,
    Judge,
    Judges,
    Place,
    Question,
    Recordings,
    Task,
    answer,
    content,
    load_judges,
    unpack,
)
from vcpipe.evaluation.protocol import Enrolment, Parallel, protocol
from vcpipe.evaluation.speaker import Embedding, centroid, check_independent, cosine
from vcpipe.manifest import Utterance, atomic_path, read_lines, read_table
from vcpipe.settings import Slice

log = logging.getLogger(__name__)

COSTS = ("peak_mib", "model_mib", "parameters")
SYSTEM_KEYS = {"row", "system", "models", "settings", "speaker_encoder", *COSTS}
PAIR_KEYS = {"name", "row", "text", "source_utt", "source_speaker", "target_speaker", "references", "reference_s"}
PAIR_KEYS |= {"seed", "converted", "rtf"}
SAME = ("source_utt", "source_speaker", "target_speaker")
SPEAKERS = ("source_speaker", "target_speaker")
AGAIN = "render the row again"

Line = dict[str, Any]


def judge_row(
    made_by: Slice,
    folder: Path,
    manifest: Path,
    shards: Path,
    cache: Path,
    threads: int = 1,
    judges: Judges | None = None,
) -> None:
    """Judges every trial of a row; writes its three files, all or none.

    Args:
        made_by: slice with the names of the judges (`judge`) and the slice of the audio shards (`wav`).
        folder: of the row, with `pairs.jsonl`, `system.json` and the converted recordings.
        manifest: of the corpus that sources and references are from.
        shards: folder of the corpus's audio shards.
        cache: folder in which findings are kept, for all rows.
        threads: processes that judge.
        judges: who judges; those that `made_by` names by default.

    Raises:
        InputError: naming the row and the trial, when a recording is missing or cannot be judged, when a speaker has no
            recording to be known by, or when the verifier has conditioned the system.
    """
    settings = made_by["judge"]
    utterances = read_table(manifest, Utterance)
    row = _read_row(folder, {u.utt_id: u for u in utterances})
    check_independent(settings["verifier"], row.system)
    enrolment = Enrolment(row.pairs, utterances, settings["enrolment"])
    parallel = Parallel(row.pairs, utterances)
    judges = judges or load_judges(settings)
    read = partial(Recordings, shards, made_by["wav"])
    key = _keys(row, read())
    found = answer(_tasks(row, judges, enrolment, parallel, key), judges, cache, read, threads)
    report = _Report(row, judges, enrolment, parallel, key, found)

    judged, genuine = [report.trial(line) for line in row.pairs], report.genuine()
    about = protocol(made_by, row.system, row.pairs, judges, enrolment.about())
    figures = {
        "row": row.name,
        "n": len(judged),
        "measures": summarise(judged, genuine, settings["seed"], settings["resamples"]),
        "genuine": genuine,
        "costs": {name: row.system[name] for name in COSTS},
        "protocol": results.digest(about),
    }
    _write(folder, about, figures, judged)
    log.info("%s: %d trials", folder / "metrics.json", len(judged))


@dataclass(frozen=True)
class Row:
    """What a render stage left in a folder."""

    folder: Path
    system: Line
    pairs: list[Line]

    @property
    def name(self) -> str:
        """Of the row."""
        return str(self.system["row"])

    def trial(self, line: Line) -> str:
        """A trial in errors."""
        return f"row {self.name}, trial {line['name']}"

    def converted(self, line: Line) -> Place:
        """Its converted recording."""
        return FILE, str(self.folder / line["converted"])


Key = Callable[[Place, str], str]
"""The key of a recording's content, by its place; and what it is, for errors."""


def _keys(row: Row, read: Recordings) -> Key:
    known: dict[Place, str] = {}

    def key(place: Place, what: str) -> str:
        if place not in known:
            try:
                known[place] = content(read(place))
            except InputError as error:
                raise InputError(f"{what}: {error}") from None
        return known[place]

    return key


def _tasks(row: Row, judges: Judges, enrolment: Enrolment, parallel: Parallel, key: Key) -> Iterator[Task]:
    """All that must be found: of natural recordings first, then of each trial."""
    heard = {line["source_utt"] for line in row.pairs}
    enrolled = {
        utt_id for line in row.pairs for speaker in SPEAKERS for utt_id in _voices(row, line, speaker, enrolment)
    }
    for utt_id in sorted(heard | enrolled):
        place, what = (UTTERANCE, utt_id), f"row {row.name}, recording {utt_id}"
        asked = (judges.asr, judges.verifier) if utt_id in heard else (judges.verifier,)
        yield Task(what, tuple(Question(judge, (place,), key(place, what)) for judge in asked))
    for line in row.pairs:
        what, converted, source = row.trial(line), row.converted(line), (UTTERANCE, line["source_utt"])
        alone = (judges.asr, judges.verifier, *judges.quality)
        questions = [Question(judge, (converted,), key(converted, what)) for judge in alone]
        questions.append(_of_two(judges.prosody, source, converted, what, key))
        if same := parallel(line):
            questions.append(_of_two(judges.mcd, converted, (UTTERANCE, same), what, key))
        yield Task(what, tuple(questions))


def _of_two(judge: Judge, one: Place, two: Place, what: str, key: Key) -> Question:
    return Question(judge, (one, two), f"{key(one, what)}-{key(two, what)}")


def _voices(row: Row, line: Line, speaker: str, enrolment: Enrolment) -> tuple[str, ...]:
    """The recordings behind the centroid of a trial's `source_speaker` or `target_speaker`."""
    try:
        return enrolment(line[speaker], line["source_utt"])
    except InputError as error:
        raise InputError(f"{row.trial(line)}: {error}") from None


@dataclass(frozen=True)
class _Report:
    """What was found, put together."""

    row: Row
    judges: Judges
    enrolment: Enrolment
    parallel: Parallel
    key: Key
    found: Findings

    def trial(self, line: Line) -> Line:
        """A line of `judged.jsonl`."""
        what, converted, source = self.row.trial(line), self.row.converted(line), (UTTERANCE, line["source_utt"])
        own, same = self.key(converted, what), self.parallel(line)
        hypothesis, said = self.found(self.judges.asr, own), self.found(self.judges.asr, self.key(source, what))
        cos_target, cos_source = (
            cosine(unpack(self.found(self.judges.verifier, own)), self.centroid(line, speaker))
            for speaker in ("target_speaker", "source_speaker")
        )
        of_text, of_source, echo = (
            _counted(*texts) for texts in ((line["text"], hypothesis), (line["text"], said), (said, hypothesis))
        )
        out = {name: line[name] for name in ("name", *SAME, "text", "rtf", "reference_s")}
        out |= {"hypothesis": hypothesis, "source_hypothesis": said}
        out |= of_text | {f"echo_{name}": value for name, value in echo.items()}
        out |= {f"source_{name}": of_source[name] for name in ("word_errors", "char_errors")}
        out |= {"cos_target": cos_target, "cos_source": cos_source}
        one = line["source_speaker"] == line["target_speaker"]
        out["nearer_to_target"] = None if one else cos_target > cos_source
        for judge in self.judges.quality:
            out |= self.found(judge, own)
        out |= self.found(self.judges.prosody, _of_two(self.judges.prosody, source, converted, what, self.key).key)
        asked = same and _of_two(self.judges.mcd, converted, (UTTERANCE, same), what, self.key).key
        return out | (self.found(self.judges.mcd, asked) if asked else {"mcd_db": None})

    def genuine(self) -> list[Line]:
        """Cosines of every source to its own speaker, known without it."""
        lines = {line["source_utt"]: line for line in self.row.pairs}
        return [
            {
                "speaker": line["source_speaker"],
                "utt": utt_id,
                "cos": cosine(self.voice(utt_id), self.centroid(line, "source_speaker")),
            }
            for utt_id, line in sorted(lines.items())
        ]

    def centroid(self, line: Line, speaker: str) -> Embedding:
        """Of a trial's `source_speaker` or `target_speaker`."""
        return centroid([self.voice(utt_id) for utt_id in _voices(self.row, line, speaker, self.enrolment)])

    def voice(self, utt_id: str) -> Embedding:
        """Of a natural recording."""
        return unpack(self.found(self.judges.verifier, self.key((UTTERANCE, utt_id), utt_id)))


def _counted(reference: str, hypothesis: str) -> dict[str, int]:
    """Errors and units; all 0 where nothing is known to be said, for then nothing is known to be wrong."""
    (wrong_words, words), (wrong_chars, chars) = word_errors(reference, hypothesis), char_errors(reference, hypothesis)
    known = {"word_errors": wrong_words, "words": words, "char_errors": wrong_chars, "chars": chars}
    return known if words else dict.fromkeys(known, 0)


def _read_row(folder: Path, utterances: dict[str, Utterance]) -> Row:
    """The row, once it is clear that every trial can be judged as far as tables and names of files tell."""
    system_json, pairs_jsonl = folder / "system.json", folder / "pairs.jsonl"
    if not system_json.is_file():
        raise InputError(f"{system_json}: expected what made the row, found no such file; {AGAIN}")
    try:
        system, pairs = json.loads(system_json.read_text(encoding="utf-8")), read_lines(pairs_jsonl)
    except ValueError as error:
        raise InputError(f"{folder}: its system.json or pairs.jsonl is damaged ({error}); {AGAIN}") from None
    _demand(system_json, system, SYSTEM_KEYS)
    for number, line in enumerate(pairs, start=1):
        _demand(f"{pairs_jsonl}:{number}", line, PAIR_KEYS)
    row = Row(folder, system, pairs)
    if not pairs:
        raise InputError(f"{pairs_jsonl}: expected at least one trial, found none; check the list of trials")
    names = Counter(line["name"] for line in pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"{pairs_jsonl}: expected a name once, found '{twice[0]}' twice; {AGAIN}")
    speakers = {u.speaker for u in utterances.values()}
    for line in pairs:
        _check_trial(row, line, utterances, speakers)
    return row


def _demand(where: object, found: Any, keys: set[str]) -> None:
    missing = keys - found.keys() if isinstance(found, dict) else keys
    if missing:
        raise InputError(f"{where}: expected the keys {', '.join(sorted(keys))}, missing {sorted(missing)[0]}; {AGAIN}")


def _check_trial(row: Row, line: Line, utterances: dict[str, Utterance], speakers: set[str]) -> None:
    where, source, (_, converted) = row.trial(line), utterances.get(line["source_utt"]), row.converted(line)
    if line["row"] != row.name:
        raise InputError(f"{where}: found one of the row {line['row']}; {AGAIN}")
    if source is None:
        raise InputError(
            f"{where}: expected its source {line['source_utt']} in the manifest, found no such utterance; is it the "
            f"manifest of the row's corpus? else {AGAIN}"
        )
    if source.speaker != line["source_speaker"]:
        raise InputError(
            f"{where}: expected a source of speaker {line['source_speaker']}, found {line['source_utt']} of "
            f"{source.speaker} in the manifest; {AGAIN}"
        )
    if line["target_speaker"] not in speakers:
        raise InputError(
            f"{where}: expected recordings of its target {line['target_speaker']} in the manifest, found none; is it "
            f"the manifest of the row's corpus? else {AGAIN}"
        )
    if not Path(converted).is_file():
        raise InputError(f"{where}: expected its conversion at {converted}, found no such file; {AGAIN}")


def _write(folder: Path, about: Line, figures: Line, judged: list[Line]) -> None:
    """The protocol is renamed last, and an old one is gone before: where there is one, all of it is there."""
    (folder / "protocol.json").unlink(missing_ok=True)
    with (
        atomic_path(folder / "protocol.json") as protocol_tmp,
        atomic_path(folder / "metrics.json") as metrics_tmp,
        atomic_path(folder / "judged.jsonl") as judged_tmp,
    ):
        lines = (json.dumps(line, sort_keys=True, allow_nan=False) + "\n" for line in judged)
        judged_tmp.write_text("".join(lines), encoding="utf-8")
        for path, value in ((metrics_tmp, figures), (protocol_tmp, about)):
            text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8")
