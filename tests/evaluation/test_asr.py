"""Counting wrong words, and the embedded recogniser."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vcpipe.errors import InputError
from vcpipe.evaluation.asr import (
    MAX_TEXT,
    asr_identity,
    char_errors,
    load_asr,
    normalise,
    normaliser_identity,
    word_errors,
)
from vcpipe.evaluation.intervals import summarise
from vcpipe.nn.whisper import MODEL_BIN, MODEL_BIN_SHA256, PACKAGE
from vcpipe.weights import wheel_file


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


def rates(pairs):
    """The figures of a row in whose trials each hypothesis was heard for its reference."""
    lines = []
    for reference, hypothesis in pairs:
        wrong_words, words = word_errors(reference, hypothesis)
        wrong_chars, chars = char_errors(reference, hypothesis)
        counts = {"word_errors": wrong_words, "words": words, "char_errors": wrong_chars, "chars": chars}
        lines.append({"source_utt": reference, "source_speaker": "a", "target_speaker": "b", **counts})
    return {name: found["value"] for name, found in summarise(lines, []).items()}


def test_rates_weigh_long_texts_more():
    pairs = [("one cat", "a dog"), ("the quick brown fox jumps over the dog", "the quick brown fox jumps over the dog")]
    found = rates(pairs)
    assert found["wer"] == pytest.approx(2 / 10)
    assert 0 < found["cer"] < 0.2
    assert rates([("one cat", "one dog"), (pairs[1][0], pairs[1][0])])["wer"] == pytest.approx(0.1)


def test_no_words_have_no_rate():
    assert rates([("", "hello")]) == {}


@pytest.mark.parametrize("name", ["whisper", "", "no/such/folder"])
@pytest.mark.parametrize("door", [load_asr, asr_identity])
def test_an_unknown_recogniser_is_refused(name, door):
    with pytest.raises(InputError, match=f"recogniser '{name}' is unknown; known: whisper_tiny_en, whisper_base"):
        door(name)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The embedded recogniser's files as a folder that somebody put there, away from everything else."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = tmp_path / "weights/faster-whisper-base.en"
    found.mkdir(parents=True)
    for path in wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256).parent.iterdir():
        if path.suffix != ".py" and path.is_file():
            (found / path.name).symlink_to(path)
    return found


def test_a_recogniser_from_a_folder_hears_the_same(folder, asr):
    wave = (0.1 * np.sin(np.arange(32000) * 0.05)).astype(np.float32)
    assert load_asr("whisper_base_en", 1)(wave) == asr(wave)
    by_name, by_path = asr_identity("whisper_base_en"), asr_identity(str(folder))
    assert (by_name["name"], by_path["name"]) == ("whisper_base_en", "faster-whisper-base.en")
    assert by_name["sha256"] == by_path["sha256"] == asr_identity("whisper_tiny_en")["sha256"] == MODEL_BIN_SHA256
    assert json.loads(json.dumps(by_name)) == by_name
    assert set(by_name) == {"name", "package", "version", "sha256", "settings"}
    assert by_name["settings"]["beam_size"] == 5 and by_name["settings"]["compute_type"] == "int8"


def test_the_paper_s_recogniser_is_not_rounded(folder):
    folder.rename(folder.with_name("faster-whisper-base"))
    assert asr_identity("whisper_base")["settings"]["compute_type"] == "float32"


def test_missing_weights_are_named_and_never_fetched(folder):
    with pytest.raises(
        InputError, match="'faster-whisper-large-v3': expected a folder with config.json, model.bin, tok.*"
    ):
        load_asr("whisper_large_v3")
    (folder / "vocabulary.txt").unlink()
    with pytest.raises(InputError, match=r"expected vocabulary.txt or vocabulary.json beside model.bin, found neither"):
        load_asr("whisper_base_en")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"expected a file tokenizer.json in it, found none; download the folder"):
        load_asr("whisper_base_en")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("model.bin", b"\x06\x00\x00\x00garbage", "model.bin: expected "),
        (
            "preprocessor_config.json",
            b'{"feature_size": 1000000000}',
            "feature_size: expected 80 or 128, found 1000000000",
        ),
        ("preprocessor_config.json", b'{"feature_size": 128}', "weights want 80 mel bands, its prep.* says 128"),
        ("preprocessor_config.json", b'{"n_fft": true}', "n_fft: expected 400, found True"),
        ("preprocessor_config.json", b"[1]", "expected a JSON object, found list"),
        ("preprocessor_config.json", b"{", "cannot be read as JSON"),
        ("tokenizer.json", b"{}", "cannot be loaded"),
        ("config.json", b"{", "cannot be loaded"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_folder_of_another_kind_is_refused(folder, name, content, told):
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=told):
        load_asr(str(folder), 1)


def test_a_huge_text_file_is_not_read(folder):
    (folder / "config.json").unlink()
    with open(folder / "config.json", "wb") as f:
        f.truncate(MAX_TEXT + 1)
    with pytest.raises(InputError, match="config.json: expected at most 67108864 bytes, found 67108865"):
        load_asr(str(folder))


def test_the_normaliser_is_named():
    found = normaliser_identity()
    assert set(found) == {"name", "package", "version", "sha256", "settings"}
    assert len(found["sha256"]) == 64 and found["settings"]["counted_by"].startswith("jiwer ")


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
