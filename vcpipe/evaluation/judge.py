"""Judges at work: every recording, and every pair of recordings, is judged once, by its content, in child processes.

A judge is a function of one recording or of two. What it finds is kept in a cache of its own under the digest of their
samples, so that a recording that stands in many trials, or in the rows of many systems, costs its time once. Work goes
to processes, not threads: Praat and WORLD hold the interpreter's lock, one crash of C code is then told with the
recording's name, and a worker has one recording, or two, in memory.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vcpipe import audio
from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.evaluation.cache import Cache
from vcpipe.evaluation.protocol import versions
from vcpipe.evaluation.speaker import Embedding
from vcpipe.guarded import Failure, Guarded, Raised
from vcpipe.manifest import shard_names
from vcpipe.settings import Slice
from vcpipe.store import Shards

log = logging.getLogger(__name__)

RATE = 16000
LIMIT_S = 900.0  # for one recording and all its judges, with their models to be loaded
TELL_S = 60.0
UTTERANCE, FILE = "utterance", "file"
Place = tuple[str, str]
"""Where a recording is: `("utterance", id)` in audio shards, or `("file", path)`."""


@dataclass(frozen=True)
class Judge:
    """One who listens.

    Args:
        name: of its cache's files.
        identity: all that its findings depend on beside the recordings: `name`, `package`, `version`, `sha256`,
            `settings`, whatever there is of them.
        load: makes the function of one recording or two, `(N,)` float32 in [-1, 1] at 16 kHz each, to what JSON can
            hold. Called once in every process that judges, when it is first needed there.
    """

    name: str
    identity: Slice
    load: Callable[[], Callable[..., Any]]


@dataclass(frozen=True)
class Judges:
    """Everyone who judges a row, and what they find.

    `asr` finds the words of a recording, `verifier` what `pack` makes of its embedding, each of `quality` some measures
    by name. `prosody` finds measures of the source and the converted recording, `mcd` of the converted one and one of
    the target speaker who says the same. A measure is a number, or None where nothing can be said.
    """

    asr: Judge
    verifier: Judge
    quality: tuple[Judge, ...]
    prosody: Judge
    mcd: Judge

    @property
    def everyone(self) -> tuple[Judge, ...]:
        """All of them, in one order."""
        return (self.asr, self.verifier, *self.quality, self.prosody, self.mcd)


def load_judges(settings: Slice) -> Judges:
    """The judges that a config names; models are not loaded before somebody needs them.

    Args:
        settings: with `asr`, `verifier` and the list `quality`, by name.

    Raises:
        InputError: for a name that is unknown, or whose package or weights are missing.
    """
    from vcpipe.evaluation import asr, cepstra, prosody, quality, speaker

    def verifier() -> Callable[[Wave], str]:
        embed = speaker.load_verifier(settings["verifier"], "cpu")
        return lambda wave: pack(embed(wave))

    frames = {**cepstra.identity(), "versions": versions("praat-parselmouth", "pyworld", "librosa")}
    return Judges(
        asr=Judge("asr", asr.asr_identity(settings["asr"]), partial(asr.load_asr, settings["asr"], 1)),
        verifier=Judge("verifier", speaker.verifier_identity(settings["verifier"]), verifier),
        quality=tuple(
            Judge(f"quality-{name}", quality.quality_identity(name), partial(quality.load_quality, name))
            for name in settings["quality"]
        ),
        prosody=Judge("prosody", {"name": "prosody", **prosody.identity(), "frames": frames}, lambda: prosody.compare),
        mcd=Judge("mcd", {"name": "mcd", **frames}, lambda: lambda a, b: {"mcd_db": cepstra.mcd(a, b)}),
    )


def pack(embedding: Embedding) -> str:
    """An embedding `(D,)` float32 as text, to the bit."""
    return base64.b64encode(np.ascontiguousarray(embedding, "<f4").tobytes()).decode()


def unpack(text: str) -> Embedding:
    """The embedding `(D,)` float32 that `pack` made a text of."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)


class Recordings:
    """Reads recordings by their places.

    Args:
        folder: of the audio shards.
        wav: the slice that they were made under.
    """

    def __init__(self, folder: Path, wav: Slice):
        self._folder, self._wav = folder, wav
        self._shards: Shards | None = None  # opened by the process that reads

    def __call__(self, place: Place) -> Wave:
        """`(N,)` float32 mono in [-1, 1] at 16 kHz, N > 0, finite."""
        kind, name = place
        if kind == FILE:
            return audio.load(name, RATE)
        if self._shards is None:
            self._shards = Shards(self._folder, shard_names(self._wav["shards"]), self._wav)
            if other := [part for part in self._shards.parts if part.grid.rate != RATE]:
                raise InputError(
                    f"{other[0].path}: expected recordings at {RATE} Hz, found {other[0].grid.rate}; give the judge "
                    "the copy of the corpus at 16 kHz"
                )
        wave: Wave = self._shards.read(name)[:, 0]
        if not len(wave):
            raise InputError(f"{self._folder}: utterance {name}: expected a recording, found no samples in it")
        return wave


Findings = Callable[[Judge, str], Any]
"""What a judge has found of a content, `(judge, key)`; None for what it was not asked."""


@dataclass(frozen=True)
class Question:
    """What one judge finds of one recording or two; `key` is that of their content."""

    judge: Judge
    places: tuple[Place, ...]
    key: str


@dataclass(frozen=True)
class Task:
    """Questions that one process shall answer one after the other, each recording read once; `what` is for errors."""

    what: str
    questions: tuple[Question, ...]


def content(wave: Wave) -> str:
    """What a recording is known by: a digest of its samples, of `(N,)` float32."""
    return hashlib.blake2b(np.ascontiguousarray(wave, "<f4").tobytes(), digest_size=16).hexdigest()


def answer(
    tasks: Iterable[Task], judges: Judges, folder: Path, read: Callable[[], Recordings], workers: int
) -> Findings:
    """Has the judges find whatever their caches don't have yet.

    What was found before an error stays in the caches, so that the next call goes on from there.

    Args:
        tasks: taken one after the other, so that what another process has found meanwhile is not found again.
        judges: whose caches are opened.
        folder: of the caches.
        read: makes what reads recordings, once in every process.
        workers: processes, each of which takes one core.

    Raises:
        InputError: naming the task, when a recording cannot be judged or a judge crashes.
        RuntimeError: for a fault of a judge's own code, with its traceback.
    """
    caches = {judge.name: Cache(folder, judge.name, judge.identity) for judge in judges.everyone}
    under_way: deque[tuple[Task, list[Question]]] = deque()
    progress = _Progress()

    def items() -> Iterator[list[Any]]:
        asked: set[tuple[str, str]] = set()
        for task in tasks:
            mine = {(q.judge.name, q.key): q for q in task.questions}
            mine = {key: q for key, q in mine.items() if key not in asked}
            asked.update(mine)
            missing = [q for (name, key), q in mine.items() if caches[name].get(key) is None]
            progress.known += len(mine) - len(missing)
            if missing:
                under_way.append((task, missing))
                yield [[q.judge.name, q.places] for q in missing]

    with Guarded(_worker(judges, read), workers, LIMIT_S) as pool:
        for found in pool.map(items()):
            task, questions = under_way.popleft()
            if isinstance(found, Failure):
                raise _fault(task, questions, found)
            for question, value in zip(questions, found, strict=True):
                caches[question.judge.name].put(question.key, value)
            progress.add(len(questions))
    log.info("judged: %d findings, and %d known from %s", progress.new, progress.known, folder)
    return lambda judge, key: caches[judge.name].get(key)


class _Progress:
    """How many findings there were, told once a minute."""

    def __init__(self) -> None:
        self.new = self.known = 0
        self._told = time.monotonic()

    def add(self, count: int) -> None:
        self.new += count
        if time.monotonic() - self._told > TELL_S:
            self._told = time.monotonic()
            log.info("judging: %d findings so far", self.new)


def _worker(judges: Judges, read: Callable[[], Recordings]) -> Callable[[list[Any]], list[Any]]:
    """The work of a child process: judges and shards are loaded there, when they are first needed."""
    by_name = {judge.name: judge for judge in judges.everyone}
    loaded: dict[str, Callable[..., Any]] = {}
    reader: list[Recordings] = []

    def work(item: list[Any]) -> list[Any]:
        if not reader:
            reader.append(read())
        waves: dict[Place, Wave] = {}
        out = []
        for name, listed in item:
            places = [(kind, what) for kind, what in listed]
            for place in places:
                if place not in waves:
                    waves[place] = reader[0](place)
            if name not in loaded:
                loaded[name] = by_name[name].load()
            out.append(loaded[name](*(waves[place] for place in places)))
        return out

    return work


def _fault(task: Task, questions: list[Question], failure: Failure) -> InputError | RuntimeError:
    who = ", ".join(question.judge.name for question in questions)
    if isinstance(failure, Raised):
        return failure.error(task.what, f"judged by {who}")
    return InputError(
        f"{task.what}: expected what {who} say of it, found that their process ended ({failure.words}); run it again "
        "with fewer --threads or more memory, and listen to the recording if it ends here once more"
    )
