"""Judging conversions, with a recogniser and a verifier that are simple enough to check by hand."""

import dataclasses
import json

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.evaluation.judge import Trial, judge

SAYS = {1: "the cat sat", 2: "the hat sat", 3: "a dog", 4: ""}
VOICES = {1: [1.0, 0.0], 2: [0.6, 0.8], 3: [0.0, 1.0], 4: [0.8, 0.6]}
SOURCE, TARGET = np.eye(2, dtype=np.float32)


def wave(kind):
    return np.full(320, kind, np.float32)


def trial(name, text, source, converted):
    return Trial(name, text, wave(source), wave(converted), source_speaker=SOURCE, target_speaker=TARGET)


class Ear:
    """Hears what a recording's first sample says, and counts how often it was asked."""

    def __init__(self):
        self.n_calls = 0

    def __call__(self, samples):
        self.n_calls += 1
        return SAYS[int(samples[0])]


def voice(samples):
    return np.array(VOICES[int(samples[0])], np.float32)


TRIALS = [
    trial("right", "The cat sat.", 1, 1),
    trial("one word off", "The cat sat.", 1, 2),
    trial("nothing said", "a dog", 3, 4),
    trial("no text", "", 3, 3),
]


def test_every_number_of_a_row():
    rows, _ = judge(TRIALS, Ear(), voice)
    assert [row.name for row in rows] == [t.name for t in TRIALS]
    assert [row.hypothesis for row in rows] == ["the cat sat", "the hat sat", "", "a dog"]
    assert [row.source_hypothesis for row in rows] == ["the cat sat", "the cat sat", "a dog", "a dog"]
    assert [(row.word_errors, row.words) for row in rows] == [(0, 3), (1, 3), (2, 2), (0, 0)]
    assert [(row.char_errors, row.chars) for row in rows] == [(0, 11), (1, 11), (5, 5), (0, 0)]
    assert [(row.source_word_errors, row.source_char_errors) for row in rows] == [(0, 0)] * 4
    assert [row.cos_target for row in rows] == pytest.approx([0, 0.8, 0.6, 1])
    assert [row.cos_source for row in rows] == pytest.approx([1, 0.6, 0.8, 0])
    assert [row.nearer_to_target for row in rows] == [False, True, False, True]


def test_the_summary_is_over_all_words_and_all_trials():
    rows, summary = judge(TRIALS, Ear(), voice)
    assert (summary.n, summary.n_with_text) == (4, 3)
    assert summary.wer == pytest.approx(3 / 8)
    assert summary.cer == pytest.approx(6 / 27)
    assert (summary.source_wer, summary.source_cer) == (0, 0)
    assert summary.nearer_to_target == 0.5
    assert summary.cos_target == pytest.approx(0.6)
    assert summary.cos_source == pytest.approx(0.6)
    json.dumps([dataclasses.asdict(summary), *map(dataclasses.asdict, rows)], allow_nan=False)


def test_errors_of_the_source_recording_are_told_apart():
    _, summary = judge([trial("bad ear", "the cat sat", 2, 1)], Ear(), voice)
    assert (summary.wer, summary.source_wer) == (0, pytest.approx(1 / 3))
    assert (summary.cer, summary.source_cer) == (0, pytest.approx(1 / 11))


def test_without_any_text_words_are_not_judged():
    _, summary = judge([trial("no text", "", 3, 2)], Ear(), voice)
    assert (summary.n, summary.n_with_text) == (1, 0)
    assert summary.wer is summary.cer is summary.source_wer is summary.source_cer is None
    assert summary.nearer_to_target == 1


def test_a_recording_in_several_trials_is_heard_once():
    ear = Ear()
    judge((trial(str(i), "the cat sat", 1, 2) for i in range(5)), ear, voice)
    assert ear.n_calls == 2
    judge([trial("unchanged", "the cat sat", 1, 1)], ear, voice)
    assert ear.n_calls == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"converted": np.zeros(0, np.float32)}, "trial bad: converted recording: expected float32 samples .* found"),
        ({"converted": np.zeros(320)}, "trial bad: converted recording: .* found float64"),
        ({"source": np.zeros((2, 320), np.float32)}, r"trial bad: source recording: .* found float32 \(2, 320\)"),
        ({"converted": np.full(320, np.nan, np.float32)}, "trial bad: converted recording: .* found NaN"),
    ],
)
def test_what_is_no_recording_is_refused_by_the_trials_name(changes, message):
    bad = dataclasses.replace(trial("bad", "a dog", 3, 3), **changes)
    with pytest.raises(InputError, match=message):
        judge([TRIALS[0], bad], Ear(), voice)


def test_no_trials_are_refused():
    with pytest.raises(InputError, match="expected at least one trial, found none"):
        judge([], Ear(), voice)
