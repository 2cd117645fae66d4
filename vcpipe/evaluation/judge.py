"""Judges conversions: are the words still there, and is it the other speaker now?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.evaluation.asr import Asr, char_errors, rate, word_errors
from vcpipe.evaluation.speaker import Embedding, Verifier, cosine


@dataclass(frozen=True)
class Trial:
    """One recording, converted to the voice of one speaker. Waves are `(N,)` float32 in [-1, 1] at 16 kHz.

    Args:
        name: of the trial, for tables and errors.
        text: what the source says; '' where nobody wrote it down, and then its words are not judged.
        source: the recording that was converted.
        converted: what came out.
        source_speaker: centroid of the source speaker's recordings (`speaker.centroid`), best without `source`.
        target_speaker: centroid of the target speaker's recordings.
    """

    name: str
    text: str
    source: Wave
    converted: Wave
    source_speaker: Embedding
    target_speaker: Embedding


@dataclass(frozen=True)
class Row:
    """What was found of one trial: counts of the conversion's errors, and of its source recording's beside them."""

    name: str
    text: str
    hypothesis: str
    word_errors: int
    words: int
    char_errors: int
    chars: int
    source_hypothesis: str
    source_word_errors: int
    source_char_errors: int
    cos_target: float
    cos_source: float
    nearer_to_target: bool


@dataclass(frozen=True)
class Summary:
    """Rates are fractions over all words or characters of the trials with text, None where no trial has text."""

    n: int
    n_with_text: int
    wer: float | None
    cer: float | None
    source_wer: float | None
    source_cer: float | None
    nearer_to_target: float
    cos_target: float
    cos_source: float


def judge(trials: Iterable[Trial], asr: Asr, verifier: Verifier) -> tuple[list[Row], Summary]:
    """Judges every trial, in order. A recording that stands in several trials is recognised once.

    Args:
        trials: taken one at a time, so that only one trial's recordings are in memory.
        asr: of `load_asr`; called from two threads at once, for the two recordings of a trial.
        verifier: of `load_verifier`, the one that made the trials' centroids.

    Raises:
        InputError: when there are no trials, or a recording is not what `Trial` says.
    """
    heard: dict[bytes, str] = {}
    with ThreadPoolExecutor(2) as pool:

        def hear(*waves: Wave) -> list[str]:
            keys = [hashlib.sha256(wave.tobytes()).digest() for wave in waves]
            new = {key: wave for key, wave in zip(keys, waves, strict=True) if key not in heard}
            heard.update(zip(new, pool.map(asr, new.values()), strict=True))
            return [heard[key] for key in keys]

        rows = [_judge_one(trial, hear, verifier) for trial in trials]
    if not rows:
        raise InputError("judge: expected at least one trial, found none; check the list of trials")
    return rows, _summarise(rows)


def _judge_one(trial: Trial, hear: Callable[..., list[str]], verifier: Verifier) -> Row:
    for noun in ("source", "converted"):
        _check_wave(getattr(trial, noun), f"trial {trial.name}: {noun} recording")
    embedding = verifier(trial.converted)
    cos_target, cos_source = cosine(embedding, trial.target_speaker), cosine(embedding, trial.source_speaker)
    hypothesis, source_hypothesis = hear(trial.converted, trial.source)
    wrong_words, n_words = word_errors(trial.text, hypothesis)
    wrong_chars, n_chars = char_errors(trial.text, hypothesis)
    return Row(
        name=trial.name,
        text=trial.text,
        hypothesis=hypothesis,
        word_errors=wrong_words if n_words else 0,
        words=n_words,
        char_errors=wrong_chars if n_words else 0,
        chars=n_chars,
        source_hypothesis=source_hypothesis,
        source_word_errors=word_errors(trial.text, source_hypothesis)[0] if n_words else 0,
        source_char_errors=char_errors(trial.text, source_hypothesis)[0] if n_words else 0,
        cos_target=cos_target,
        cos_source=cos_source,
        nearer_to_target=cos_target > cos_source,
    )


def _summarise(rows: list[Row]) -> Summary:
    texts = [row for row in rows if row.words]
    return Summary(
        n=len(rows),
        n_with_text=len(texts),
        wer=rate((row.word_errors, row.words) for row in texts) if texts else None,
        cer=rate((row.char_errors, row.chars) for row in texts) if texts else None,
        source_wer=rate((row.source_word_errors, row.words) for row in texts) if texts else None,
        source_cer=rate((row.source_char_errors, row.chars) for row in texts) if texts else None,
        nearer_to_target=float(np.mean([row.nearer_to_target for row in rows])),
        cos_target=float(np.mean([row.cos_target for row in rows])),
        cos_source=float(np.mean([row.cos_source for row in rows])),
    )


def _check_wave(wave: Wave, what: str) -> None:
    if wave.ndim != 1 or wave.dtype != np.float32 or not len(wave):
        raise InputError(
            f"{what}: expected float32 samples (N,), N > 0, found {wave.dtype} {wave.shape}; convert it again"
        )
    if not np.isfinite(wave).all():
        raise InputError(
            f"{what}: expected numbers in every sample, found NaN or infinity; look at the model's metrics"
        )
