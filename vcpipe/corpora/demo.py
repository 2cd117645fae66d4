"""The built-in corpus: eight synthetic speakers, forty sentences each, spoken on this machine in a few seconds.

It needs no recordings and no downloads, and is the same bytes at every making. `<root>/<speaker>/<utt_id>.wav` are
the recordings, `texts.csv` says what is said, `alignments.csv` when each word is, `made.json` what made it all.

Who says what is fixed (`plan`): a test or valid sentence is said by one speaker and is nobody's train sentence, so no
target speaker was ever heard saying what is converted to it. Of the train sentences each speaker shares some with the
next one. The tables in data_splits/ are what `write_splits` writes. Standard library only.
"""

from __future__ import annotations

import csv
import glob
import os
import shutil
import wave
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora import alignments as aligned
from vcpipe.corpora.espeak import Job, Voice, Word, speak
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings, canonical
from vcpipe.trials import COLUMNS

MADE = "made.json"
MEAN_S = 4.3  # of an utterance
ALIGNMENTS = "alignments.csv"
UTTERANCES = 40  # of a speaker
TRAIN_STEP = 20  # train sentences from the first of one speaker to the first of the next
TARGET_STEPS = (1, 2, 3, 4)  # from a source to the targets of its test sentences; sexes alternate along SPEAKERS


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: demo`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["demo"] = "demo"
    utterances: int = Field(UTTERANCES, ge=3, le=UTTERANCES, description="of each speaker, the first ones")
    speakers: int = Field(8, ge=2, le=8, description="the first ones; women and men in turn")


@dataclass(frozen=True)
class Speaker:
    """A made-up person. `language` is a BCP 47 tag in lower case."""

    sex: Literal["f", "m"]
    language: str
    voice: Voice


SPEAKERS = {
    "ana": Speaker("f", "en-us", Voice("en-us+f5", rate_wpm=150, pitch=38, word_gap=3)),
    "ben": Speaker("m", "en-us", Voice("en-us+sandro", rate_wpm=152, volume=70, word_gap=3)),
    "cleo": Speaker("f", "en-us", Voice("en-us+steph", rate_wpm=146, pitch=45, word_gap=3)),
    "dan": Speaker("m", "en-gb", Voice("en+Hugo", rate_wpm=156, volume=200, word_gap=3)),
    "emma": Speaker("f", "en-us", Voice("en-us+anika", rate_wpm=142, pitch=35, word_gap=3)),
    "finn": Speaker("m", "en-us", Voice("en-us+edward", rate_wpm=152, volume=75, word_gap=3)),
    "gwen": Speaker("f", "en-us", Voice("en-us+f4", rate_wpm=158, pitch=80, word_gap=3)),
    "hugo": Speaker("m", "en-us", Voice("en-us+robert", rate_wpm=148, word_gap=3)),
}


@dataclass(frozen=True)
class Line:
    """What one speaker says once."""

    utt_id: str
    speaker: str
    split: str
    text: str


def make(settings: Settings, root: Path) -> None:
    """Makes the corpus under `root`, unless it is there whole and made by the same settings and revision.

    It is built beside `root` and renamed, so that what is there is whole.

    Raises:
        InputError: when `root` holds something else, or the speaking library is not installed.
    """
    lines = plan(settings.speakers, settings.utterances)
    made_by = canonical(settings.content()) + "\n"
    if _is_whole(root, made_by, lines):
        return
    if root.exists() and not (root / MADE).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root}: expected a demo corpus or nothing, found other files; they are left alone: "
            "set `root` of the corpus in config.yaml to a new folder"
        )
    for stale in root.parent.glob(f".{glob.escape(root.name)}.*.tmp"):  # of a making that was killed
        shutil.rmtree(stale, ignore_errors=True)
    building, old = (root.with_name(f".{root.name}.{what}{os.getpid()}.tmp") for what in ("", "old."))
    try:
        _build(building, lines)
        (building / MADE).write_text(made_by, encoding="utf-8")
        if root.exists():
            os.replace(root, old)  # at once: of a corpus that is half removed nobody knows whose it is
        os.replace(building, root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus, which need not be made yet: its stamp is what decides its bytes, not the time of making."""
    return [
        Candidate(
            utt_id=line.utt_id,
            speaker=line.speaker,
            path=_path(line),
            text=line.text,
            language=SPEAKERS[line.speaker].language,
            split=line.split,
            stamp=f"revision-{settings.REVISION}",
        )
        for line in plan(settings.speakers, settings.utterances)
    ]


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[aligned.Word]]]:
    """The words of utterances, as the speaking library timed them; words that it runs together ("out of") are one.

    Raises:
        InputError: when the corpus is not made yet.
    """
    if not (root / ALIGNMENTS).is_file():
        raise InputError(
            f"{root / ALIGNMENTS}: the demo corpus is not made yet; run `snakemake --cores all` to make it"
        )
    words: dict[str, list[aligned.Word]] = {utt_id: [] for utt_id in utt_ids}
    with open(root / ALIGNMENTS, newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            if row["utt_id"] in words:
                word = aligned.Word(row["word"], float(row["start_s"]), float(row["end_s"]))
                words[row["utt_id"]].append(word)
    for line in plan(settings.speakers, settings.utterances):
        if line.utt_id in words:
            with wave.open(str(root / _path(line))) as recording:
                duration_s = recording.getnframes() / recording.getframerate()
            yield line.utt_id, aligned.cover(words[line.utt_id], duration_s)


def sexes(settings: Settings) -> dict[str, str]:
    """Whether a speaker's voice is a woman's (F) or a man's (M)."""
    return {name: speaker.sex.upper() for name, speaker in SPEAKERS.items()}


def seconds(settings: Settings) -> float:
    """About how much speech it is, before it is made."""
    return MEAN_S * len(plan(settings.speakers, settings.utterances))


def plan(speakers: int = len(SPEAKERS), utterances: int = UTTERANCES) -> list[Line]:
    """Who says what: the first utterances of the first speakers.

    Of every ten utterances of a speaker the first is for test, and of every twenty the second for valid; so the
    first three already have all the splits.
    """
    pools = sentences()
    lines = []
    for number, speaker in enumerate(list(SPEAKERS)[:speakers]):
        starts = {"train": TRAIN_STEP * number, "valid": 2 * number, "test": 4 * number}
        queues = {split: iter(pool[starts[split] :] + pool[: starts[split]]) for split, pool in pools.items()}
        for i in range(utterances):
            split = "test" if i % 10 == 0 else "valid" if i % 20 == 1 else "train"
            lines.append(Line(f"{speaker}-{i + 1:03d}", speaker, split, next(queues[split])))
    return lines


def sentences() -> dict[str, list[str]]:
    """The sentences of the package: 160 for train, 16 for valid, 32 for test."""
    text = (resources.files("vcpipe.corpora") / "demo_sentences.txt").read_text(encoding="ascii")
    pools: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("# "):
            pool = pools.setdefault(line.removeprefix("# "), [])
        else:
            pool.append(line)
    return pools


def write_splits(folder: Path) -> None:
    """Writes `demo/{train,valid,test}.csv` and `trials/demo.csv`: the tables of the whole corpus in data_splits/."""
    lines = plan()
    for split in ("train", "valid", "test"):
        rows = [(line.utt_id, line.speaker) for line in lines if line.split == split]
        _write_csv(folder / "demo" / f"{split}.csv", ("utt_id", "speaker"), rows)
    _write_csv(folder / "trials" / "demo.csv", COLUMNS, _trials(lines))


def _trials(lines: list[Line]) -> list[tuple[str, str, str, str, str]]:
    """Every test utterance to one target: all pairings of sexes alike, every speaker a target four times."""
    names = list(SPEAKERS)
    rows = []
    for number, speaker in enumerate(names):
        tests = [line.utt_id for line in lines if line.speaker == speaker and line.split == "test"]
        for utt_id, step in zip(tests, TARGET_STEPS, strict=True):
            rows.append((utt_id, names[(number + step) % len(names)], "train", "", "0"))
    return rows


def _is_whole(root: Path, made_by: str, lines: list[Line]) -> bool:
    """Whether `make` finished here with the same settings, and nothing was taken away since."""
    made = root / MADE
    if not made.is_file() or made.read_text(encoding="utf-8") != made_by:
        return False
    return all((root / name).is_file() for name in ("texts.csv", ALIGNMENTS, *map(_path, lines)))


def _build(folder: Path, lines: list[Line]) -> None:
    for speaker in {line.speaker for line in lines}:
        (folder / speaker).mkdir(parents=True)
    spoken = speak(Job(line.text, SPEAKERS[line.speaker].voice, str(folder / _path(line))) for line in lines)
    texts = [(line.utt_id, line.speaker, line.split, line.text) for line in lines]
    _write_csv(folder / "texts.csv", ("utt_id", "speaker", "split", "text"), texts)
    _write_csv(folder / ALIGNMENTS, ("utt_id", "start_s", "end_s", "word"), _alignments(lines, spoken))


def _alignments(lines: list[Line], spoken: list[list[Word]]) -> Iterable[tuple[str, str, str, str]]:
    for line, words in zip(lines, spoken, strict=True):
        for word in words:
            yield line.utt_id, f"{word.start_s:.4f}", f"{word.end_s:.4f}", word.word


def _path(line: Line) -> str:
    return f"{line.speaker}/{line.utt_id}.wav"


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
