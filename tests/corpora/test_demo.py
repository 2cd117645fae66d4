from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vcpipe import audio
from vcpipe.corpora import demo, espeak
from vcpipe.corpora.demo import SPEAKERS, Settings
from vcpipe.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SMALL = Settings(speakers=2, utterances=3)


def digests(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers, three utterances each; not to be changed by a test."""
    root = tmp_path_factory.mktemp("demo") / "raw"
    demo.make(SMALL, root)
    return root


# who says what


def test_every_speaker_has_34_train_2_valid_and_4_test_utterances() -> None:
    counts = Counter((line.speaker, line.split) for line in demo.plan())
    expected = {(s, split): n for s in SPEAKERS for split, n in [("train", 34), ("valid", 2), ("test", 4)]}
    assert counts == expected
    assert Counter(speaker.sex for speaker in SPEAKERS.values()) == {"f": 4, "m": 4}


def test_a_held_out_sentence_is_said_once_and_is_no_train_sentence() -> None:
    said: dict[str, list[str]] = {}
    for line in demo.plan():
        said.setdefault(line.text, []).append(line.split)
    held_out = [splits for splits in said.values() if set(splits) != {"train"}]
    assert len(held_out) == 48
    assert all(len(splits) == 1 for splits in held_out)
    assert len(said) == 208


def test_a_train_sentence_is_shared_by_some_speakers_but_no_pool_is_anothers() -> None:
    pools = {s: {line.text for line in demo.plan() if line.speaker == s and line.split == "train"} for s in SPEAKERS}
    shared = [len(pools[a] & pools[b]) for a in SPEAKERS for b in SPEAKERS if a < b]
    assert max(shared) == 14
    assert all(len(pool) == 34 for pool in pools.values())


def test_sentences_are_distinct_and_of_9_to_15_words_without_digits() -> None:
    pools = demo.sentences()
    assert {split: len(pool) for split, pool in pools.items()} == {"train": 160, "valid": 16, "test": 32}
    everything = [text for pool in pools.values() for text in pool]
    assert len({text.lower() for text in everything}) == 208
    assert [text for text in everything if not 9 <= len(text.split()) <= 15] == []
    assert [text for text in everything if any(c.isdigit() for c in text) or text[-1] not in ".?"] == []


def test_a_smaller_corpus_is_the_beginning_of_the_whole_with_all_splits() -> None:
    whole = demo.plan()
    few = demo.plan(speakers=2, utterances=3)
    assert set(few) < set(whole)
    assert [line.utt_id for line in few] == ["ana-001", "ana-002", "ana-003", "ben-001", "ben-002", "ben-003"]
    assert {line.split for line in few if line.speaker == "ben"} == {"train", "valid", "test"}


def test_the_committed_splits_and_trials_are_those_of_the_plan(tmp_path: Path) -> None:
    demo.write_splits(tmp_path)
    written = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.csv"))
    assert [str(p) for p in written] == ["demo/test.csv", "demo/train.csv", "demo/valid.csv", "trials/demo.csv"]
    for name in written:
        assert (tmp_path / name).read_bytes() == (ROOT / "data_splits" / name).read_bytes(), name


def test_trials_are_balanced_over_targets_and_sexes() -> None:
    trials = rows(ROOT / "data_splits" / "trials" / "demo.csv")
    splits = {line.utt_id: line for line in demo.plan()}
    assert {t["references"] for t in trials} == {"train"}
    assert {t["source"] for t in trials} == {u for u, line in splits.items() if line.split == "test"}
    assert Counter(t["target"] for t in trials) == dict.fromkeys(SPEAKERS, 4)
    assert all(splits[t["source"]].speaker != t["target"] for t in trials)
    sexes = Counter((SPEAKERS[splits[t["source"]].speaker].sex, SPEAKERS[t["target"]].sex) for t in trials)
    assert sexes == {("f", "f"): 8, ("f", "m"): 8, ("m", "f"): 8, ("m", "m"): 8}


def test_who_says_what_how_is_that_of_the_revision() -> None:
    """Another digest means other recordings: raise `Settings.REVISION` and write the new one here."""
    content = repr((demo.plan(), SPEAKERS)).encode()
    assert (Settings.REVISION, hashlib.sha256(content).hexdigest()[:16]) == (1, "0f4de157ace90dac")


# making


def test_the_recordings_are_those_that_the_scan_lists(small: Path) -> None:
    found = demo.scan(SMALL, small)
    assert sorted(c.path for c in found) == sorted(str(p.relative_to(small)) for p in small.rglob("*.wav"))
    for c in found:
        info = soundfile.info(small / c.path)
        assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16"), c.utt_id
        assert 3 < info.duration < 6.5, c.utt_id
        wave = soundfile.read(small / c.path)[0]
        assert 0.2 < abs(wave).max() < 0.99, c.utt_id
    assert [(r["utt_id"], r["speaker"], r["split"], r["text"]) for r in rows(small / "texts.csv")] == [
        (c.utt_id, c.speaker, c.split, c.text) for c in found
    ]


def test_a_corpus_is_listed_alike_before_and_after_it_is_made(small: Path, tmp_path: Path) -> None:
    before = demo.scan(SMALL, tmp_path / "not there")
    assert before == demo.scan(SMALL, small)
    assert all(c.stamp and c.language in ("en-us", "en-gb") and c.group == "" for c in before)


def test_two_makings_are_the_same_bytes(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    time.sleep(1.1)  # the library would seed itself with the time of day, in seconds
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.setenv("LC_ALL", "C")
    demo.make(SMALL, tmp_path / "again")
    assert digests(tmp_path / "again") == digests(small)


def test_a_sentence_does_not_depend_on_what_was_said_before(small: Path, tmp_path: Path) -> None:
    line = demo.plan(2, 3)[-1]
    espeak.speak([espeak.Job(line.text, SPEAKERS[line.speaker].voice, str(tmp_path / "alone.wav"))])
    assert (tmp_path / "alone.wav").read_bytes() == (small / line.speaker / f"{line.utt_id}.wav").read_bytes()


def test_words_are_in_order_whole_and_where_the_sound_is(small: Path) -> None:
    words = rows(small / "alignments.csv")
    for line in demo.plan(2, 3):
        wave, rate = soundfile.read(small / line.speaker / f"{line.utt_id}.wav")
        mine = [(float(w["start_s"]), float(w["end_s"]), w["word"]) for w in words if w["utt_id"] == line.utt_id]
        assert " ".join(w for _, _, w in mine) == "".join(c for c in line.text if c not in ",.?")
        times = [t for start, end, _ in mine for t in (start, end)]
        assert times == sorted(times)
        assert times[-1] <= len(wave) / rate
        assert all(end - start > 0.03 for start, end, _ in mine)
        inside = np.concatenate([wave[round(s * rate) : round(e * rate)] for s, e, _ in mine])
        assert len(inside) > 0.7 * len(wave)
        assert np.sum(inside**2) > 0.97 * np.sum(wave**2)


def test_words_and_pauses_cover_each_recording_and_the_pauses_are_silent(small: Path) -> None:
    found = dict(demo.alignments(SMALL, small, ["ana-001", "ben-003", "nobody-001"]))
    texts = {line.utt_id: line.text for line in demo.plan(2, 3)}
    assert list(found) == ["ana-001", "ben-003"]
    for utt_id, words in found.items():
        wave, rate = soundfile.read(small / utt_id[:3] / f"{utt_id}.wav")
        assert " ".join(w.text for w in words if w.text) == "".join(c for c in texts[utt_id] if c not in ",.?")
        assert [w.start_s for w in words] == [0, *(w.stop_s for w in words[:-1])]
        assert words[-1].stop_s == pytest.approx(len(wave) / rate)
        pauses = np.concatenate([wave[round(w.start_s * rate) : round(w.stop_s * rate)] for w in words if not w.text])
        assert len(pauses) > 0.05 * len(wave)
        assert np.sum(pauses**2) < 0.001 * np.sum(wave**2)


def test_a_pause_within_words_that_are_spoken_as_one_is_theirs() -> None:
    kinds = [espeak.WORD, *[espeak.PHONEME] * 5, espeak.SENTENCE_END]
    phonemes = ["", "a", "_:", "w", "_:", "_", ""]
    marks = [espeak.Mark(k, 1000 * i, 0, p) for i, (k, p) in enumerate(zip(kinds, phonemes, strict=True))]
    assert espeak.word_times("at once.", marks, 9000, 1000) == [espeak.Word(0.0, 4.0, "at once")]


def test_words_of_a_corpus_that_is_not_made_are_asked_for_in_vain(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"alignments\.csv: the demo corpus is not made yet; run `snakemake"):
        list(demo.alignments(SMALL, tmp_path, ["ana-001"]))


def test_making_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    demo.make(SMALL, tmp_path / "raw")
    assert capfd.readouterr() == ("", "")


def test_a_whole_corpus_is_not_made_again_but_another_or_broken_one_is(small: Path, tmp_path: Path) -> None:
    root = tmp_path / "raw"
    shutil.copytree(small, root)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    demo.make(SMALL, root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before

    (root / "ben" / "ben-002.wav").unlink()
    demo.make(SMALL, root)
    assert digests(root) == digests(small)

    demo.make(Settings(speakers=2, utterances=4), root)
    assert len(list(root.rglob("*.wav"))) == 8

    (root / "made.json").write_text((root / "made.json").read_text().replace('"revision":1', '"revision":0'))
    (root / "ana" / "ana-001.wav").write_bytes(b"of an older revision")
    demo.make(Settings(speakers=2, utterances=4), root)
    assert soundfile.info(root / "ana" / "ana-001.wav").samplerate == 22050


def test_a_making_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def speak_some(jobs: object) -> None:
        espeak.speak(list(jobs)[:2])  # type: ignore[call-overload]
        raise RuntimeError("power cut")

    monkeypatch.setattr(demo, "speak", speak_some)
    with pytest.raises(RuntimeError, match="power cut"):
        demo.make(SMALL, tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_making_left_is_removed_and_it_is_made(small: Path, tmp_path: Path) -> None:
    left = tmp_path / ".raw.4711.tmp" / "ana"
    left.mkdir(parents=True)
    (left / "ana-001.wav").write_bytes(b"half")
    demo.make(SMALL, tmp_path / "raw")
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]
    assert digests(tmp_path / "raw") == digests(small)


def test_one_that_is_killed_while_it_replaces_another_is_made_by_the_same_command(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, replace = tmp_path / "raw", os.replace
    for survived in (0, 1):  # renames before the kill
        shutil.rmtree(root, ignore_errors=True)
        demo.make(Settings(speakers=2, utterances=4), root)
        left = [survived]

        def killed(source: Path, target: Path, left: list[int] = left) -> None:
            if not left[0]:
                raise SystemExit("killed")
            left[0] -= 1
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            patch.setattr(shutil, "rmtree", lambda *args, **options: None)
            with pytest.raises(SystemExit, match="killed"):
                demo.make(SMALL, root)
        demo.make(SMALL, root)
        assert digests(root) == digests(small)
        assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_recordings_of_somebody_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.wav").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"expected a demo corpus or nothing.*set `root`"):
        demo.make(SMALL, tmp_path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("mine.wav", b"precious")]


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="espeakng_loader, which is not installed"):
        demo.make(SMALL, tmp_path / "raw")


def test_a_recording_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    wav = tmp_path / "missing" / "a.wav"
    with pytest.raises(InputError, match=f"{wav}: No such file or directory; check that there is room"):
        espeak.speak([espeak.Job("Hello there.", SPEAKERS["ana"].voice, str(wav))])


def test_a_voice_that_the_library_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no voice is called xx-none"):
        espeak.speak([espeak.Job("Hello.", espeak.Voice("xx-none"), str(tmp_path / "a.wav"))])


# hearing


def test_every_utterance_is_nearest_to_its_own_speaker(tmp_path: Path) -> None:
    from vcpipe.evaluation.speaker import centroid, load_verifier

    settings = Settings(utterances=3)
    demo.make(settings, tmp_path / "raw")
    embed = load_verifier("ge2e")
    found: dict[str, list[np.ndarray]] = {}
    for c in demo.scan(settings, tmp_path / "raw"):
        found.setdefault(c.speaker, []).append(embed(audio.load(tmp_path / "raw" / c.path, 16000)))
    for a in found:
        for b in found:
            cosines = [float(x @ y) for i, x in enumerate(found[a]) for j, y in enumerate(found[b]) if a != b or i != j]
            assert np.mean(cosines) > 0.85 if a == b else np.mean(cosines) < 0.75, (a, b)
        for i, x in enumerate(found[a]):
            others = {s: centroid(e[:i] + e[i + 1 :]) if s == a else centroid(e) for s, e in found.items()}
            assert max(others, key=lambda s: float(x @ others[s])) == a


@pytest.mark.slow
def test_the_judge_understands_every_speaker(tmp_path: Path) -> None:
    from vcpipe.evaluation.asr import load_asr, word_errors

    def wer(pairs: list[tuple[str, str]]) -> float:
        errors, words = np.sum([word_errors(text, found) for text, found in pairs], axis=0)
        return float(errors / words)

    settings = Settings()
    demo.make(settings, tmp_path / "raw")
    hear = load_asr("whisper_tiny_en")
    heard: dict[str, list[tuple[str, str]]] = {}
    for c in demo.scan(settings, tmp_path / "raw"):
        if c.split != "train":
            heard.setdefault(c.speaker, []).append((c.text, hear(audio.load(tmp_path / "raw" / c.path, 16000))))
    assert wer([pair for pairs in heard.values() for pair in pairs]) < 0.05
    assert {s: wer(pairs) for s, pairs in heard.items() if wer(pairs) > 0.1} == {}
