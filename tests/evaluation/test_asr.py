"""Counting wrong words, and the embedded recogniser."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vcpipe.errors import InputError
from vcpipe.evaluation.asr import char_errors, load_asr, normalise, rate, rates, word_errors


@pytest.fixture(scope="module")
def asr():
    return load_asr("whisper_tiny_en")


@pytest.mark.parametrize(
    ("reference", "hypothesis", "words", "chars"),
    [
        ("the cat sat", "the cat sat", (0, 3), (0, 11)),
        ("the cat sat", "the hat sat", (1, 3), (1, 11)),
        ("the cat sat", "the sat", (1, 3), (4, 11)),
        ("the cat sat", "", (3, 3), (11, 11)),
        ("the cat", "the cat sat on", (2, 2), (7, 7)),
        ("", "well then", (2, 0), (9, 0)),
        ("", "", (0, 0), (0, 0)),
    ],
)
def test_errors_are_counted(reference, hypothesis, words, chars):
    assert word_errors(reference, hypothesis) == words
    assert char_errors(reference, hypothesis) == chars


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("MISTER SMITH WON'T COME", "Mr. Smith won't come."),
        ("I HAVE TWENTY ONE HORSES", "I've 21 horses!"),
        ("THE COLOUR IS GREY", "the color is gray"),
    ],
)
def test_spelling_is_no_error(reference, hypothesis):
    assert normalise(reference) == normalise(hypothesis)
    assert word_errors(reference, hypothesis)[0] == 0


def test_rates_weigh_long_texts_more():
    pairs = [("one cat", "a dog"), ("the quick brown fox jumps over the dog", "the quick brown fox jumps over the dog")]
    found = rates(pairs)
    assert found["wer"] == pytest.approx(2 / 10)
    assert 0 < found["cer"] < 0.2
    assert rate([(1, 2), (0, 8)]) == pytest.approx(0.1)


def test_no_words_have_no_rate():
    with pytest.raises(InputError, match="expected reference texts with words, found none"):
        rates([("", "hello")])


def test_an_unknown_recogniser_is_refused():
    with pytest.raises(InputError, match="recogniser 'whisper' is unknown; known: whisper_tiny_en"):
        load_asr("whisper")


def test_nothing_is_heard_in_no_samples(asr):
    assert asr(np.zeros(0, np.float32)) == ""


def test_read_speech_is_recognised_the_same_every_time(asr):
    root = os.environ.get("VCPIPE_TEST_DATA")
    if not root:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    soxr = pytest.importorskip("soxr")
    corpus = Path(root, "corpora/LJSpeech-1.1")
    rows = [line.split("|") for line in (corpus / "metadata.csv").read_text().splitlines()[:4]]
    waves = [soundfile.read(corpus / "wavs" / f"{row[0]}.wav", dtype="float32") for row in rows]
    waves = [soxr.resample(wave, sr, 16000) for wave, sr in waves]
    started = time.monotonic()
    heard = [asr(wave) for wave in waves]
    print(f"recognition: {(time.monotonic() - started) / len(waves):.2f} s for each recording, one thread")
    found = rates((row[-1], text) for row, text in zip(rows, heard, strict=True))
    print(found, heard)
    assert found["wer"] < 0.1
    assert found["cer"] < 0.05
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(asr, waves)) == heard
