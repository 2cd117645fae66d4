"""Text to speech by the espeak-ng library of the wheel `espeakng_loader`, with the time of every word.

The library is global to its process and never quite forgets: the same sentence sounds a little different after
another one. So `speak` starts a program, which is this module, and that forks for every sentence: each is spoken by
a library that has said nothing yet, and its samples depend on nothing but its `Job`. Standard library only.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vcpipe.errors import InputError

PACKAGE = "espeakng_loader"
SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, before espeak_Synth returns
OPTIONS = 0x8001  # phoneme events; an error is returned instead of ending the process
ASCII_TEXT = 1  # espeakCHARS_UTF8, of which ASCII is a part
PARAMETERS = {"rate_wpm": 1, "volume": 2, "pitch": 3, "pitch_range": 4, "word_gap": 7}
SEED = 1  # of breath and flutter
NOT_WRITTEN = 3  # exit code of the program that speaks
WORD, SENTENCE_END, MESSAGE_END, PHONEME = 1, 5, 6, 7


@dataclass(frozen=True)
class Voice:
    """How somebody speaks.

    Attributes:
        name: of a voice of the library and, after a plus, of a variant: `en-us+f3`.
        rate_wpm: words a minute.
        pitch: 0 to 100, where 50 is the variant's own.
        pitch_range: of the intonation: 0 is flat, 50 the variant's own, 100 twice as lively.
        volume: amplitude, where 100 is the variant's own.
        word_gap: pause between words, in units of about 10 ms.
    """

    name: str
    rate_wpm: int = 175
    pitch: int = 50
    pitch_range: int = 50
    volume: int = 100
    word_gap: int = 0


@dataclass(frozen=True)
class Job:
    """One sentence (ASCII) to be spoken into a WAV file, whose folder exists."""

    text: str
    voice: Voice
    wav: str


@dataclass(frozen=True)
class Word:
    """A word and where it is spoken, in seconds. Words that are spoken as one ("out of") are one row."""

    start_s: float
    end_s: float
    word: str


def speak(jobs: Iterable[Job]) -> list[list[Word]]:
    """Speaks every job into its file (16-bit mono at the library's 22050 Hz) and returns its words.

    Raises:
        InputError: when the package is not installed, or a file cannot be written.
        RuntimeError: when the library refuses, with what it was given.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise InputError(f"the demo corpus is spoken by the package {PACKAGE}, which is not installed; run `make env`")
    package_root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-m", "vcpipe.corpora.espeak"],
        input=json.dumps([asdict(job) for job in jobs]),
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    if done.returncode == NOT_WRITTEN:
        raise InputError(f"{done.stderr.splitlines()[0]}; check that there is room, and that you may write there")
    if done.returncode:
        raise RuntimeError(f"espeak-ng: {done.stderr.strip()[-500:]}")
    return [[Word(*word) for word in json.loads(line)] for line in done.stdout.splitlines()]


def main() -> None:
    """Jobs as JSON on standard input; the words of each as a line of JSON on standard output."""
    jobs = [Job(voice=Voice(**raw.pop("voice")), **raw) for raw in json.load(sys.stdin)]
    library, rate = load_library()
    for job in jobs:
        in_copy(speak_one, library, rate, job)


def in_copy(call: Callable[..., None], *args: Any) -> None:
    """Runs a call in a copy of this process; ends this process as the copy ended when the call did not succeed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            call(*args)
            status = 0
        except OSError as error:
            os.write(2, f"{error.filename}: {error.strerror}\n".encode())
            status = NOT_WRITTEN
        except Exception as error:  # the copy must not go on with its parent's work
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(status)
    if status := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(status)


def speak_one(library: Any, rate: int, job: Job) -> None:
    """Writes a job's WAV file and prints its words. The library must be as `load_library` made it."""
    samples, events = synthesize(library, job)
    try:
        with wave.open(job.wav, "wb") as f:
            f.setnchannels(1)
            f.setsampwidth(2)
            f.setframerate(rate)
            f.writeframes(samples)
    except OSError as error:
        raise OSError(error.errno, error.strerror, job.wav) from None
    words = word_times(job.text, events, len(samples) // 2, rate)
    os.write(1, (json.dumps([(w.start_s, w.end_s, w.word) for w in words]) + "\n").encode())


class Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng's speak_lib.h. `sample` counts from the start of the sentence."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event))


@dataclass(frozen=True)
class Mark:
    """What the library says of a moment: `kind` is WORD, PHONEME or an end; `position` is an index of the text."""

    kind: int
    sample: int
    position: int
    phoneme: str


def load_library() -> tuple[Any, int]:
    """The library, ready to speak, and its samples per second."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), OPTIONS)
    if rate <= 0:
        raise RuntimeError(f"no voices found in {espeakng_loader.get_data_path()}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(SEED))  # it has taken the time of day
    return library, rate


def synthesize(library: Any, job: Job) -> tuple[bytes, list[Mark]]:
    """The samples (16 bits, the machine's byte order) and the marks of a sentence."""
    chunks: list[bytes] = []
    marks: list[Mark] = []

    @CALLBACK
    def receive(samples: int | None, count: int, events: Any) -> int:
        if samples and count:
            chunks.append(ctypes.string_at(samples, 2 * count))
        marks.extend(_marks(events))
        return 0

    library.espeak_SetSynthCallback(receive)
    _succeed(library.espeak_SetVoiceByName(job.voice.name.encode()), f"no voice is called {job.voice.name}")
    for name, number in PARAMETERS.items():
        value = getattr(job.voice, name)
        _succeed(library.espeak_SetParameter(number, value, 0), f"{job.voice.name}: {name} cannot be {value}")
    text = job.text.encode("ascii")
    size = ctypes.c_size_t(len(text) + 1)
    _succeed(library.espeak_Synth(text, size, 0, 1, 0, ASCII_TEXT, None, None), f"cannot speak: {job.text}")
    return b"".join(chunks), marks


def _marks(events: Any) -> Iterator[Mark]:
    i = 0
    while events[i].type:
        event = events[i]
        phoneme = event.id.decode("ascii", "replace") if event.type == PHONEME else ""
        yield Mark(event.type, event.sample, event.text_position - 1, phoneme)
        i += 1


def _succeed(status: int, message: str) -> None:
    if status:
        raise RuntimeError(message)


def word_times(text: str, marks: list[Mark], n_samples: int, rate: int) -> list[Word]:
    """The words of a text; each ends where the next begins, or before that with the pause that follows its sounds."""
    starts = [mark for mark in marks if mark.kind == WORD]
    nexts = [*(mark.sample for mark in starts[1:]), n_samples]
    ends = [*(mark.position for mark in starts[1:]), len(text)]
    words = []
    for mark, next_sample, end in zip(starts, nexts, ends, strict=True):
        stop = next_sample
        for inner in marks:  # a pause within a word ("at once") is over with the next sound
            if mark.sample < inner.sample < next_sample:
                pause = inner.kind in (SENTENCE_END, MESSAGE_END) or inner.phoneme.startswith("_")
                stop = min(stop, inner.sample) if pause else next_sample
        words.append(
            Word(round(mark.sample / rate, 4), round(stop / rate, 4), text[mark.position : end].strip(" ,.?!"))
        )
    return words


if __name__ == "__main__":
    main()
