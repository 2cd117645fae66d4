"""From a folder of recordings, good and bad, to shards, manifest and rejects."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, tone
from vcpipe.audio import REASONS
from vcpipe.config import Config, load
from vcpipe.corpora import lists
from vcpipe.corpora.prepare import gather, prepare_shard
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, Measured, Reject, Split, Utterance, read_table, shard_names, speaker_shard
from vcpipe.recordings import workers
from vcpipe.recordings.process import process
from vcpipe.store import Shards

SHARDS = 3


def config(root: Path, audio: dict[str, object] | None = None, **corpus: object) -> Config:
    raw = {"kind": "folder", "root": str(root), "shards": SHARDS, **corpus}
    return load({"corpora": {"mine": raw}, "audio": {"16k": {"min_s": 0.3, "max_s": 5, **(audio or {})}}})


def run(checked: Config, out: Path, threads: int = 1) -> None:
    """What the workflow does: lists, one job a shard, and the gathering."""
    corpus = checked.corpora["mine"]
    lists.refresh("mine", corpus, out)
    for name in shard_names(corpus.shards):
        listed, good, bad, quality = (out / t / f"{name}.csv" for t in ("lists", "manifests", "rejects", "quality"))
        made_by, shard = checked.audio_slice("16k", "mine"), out / f"{name}.h5"
        prepare_shard(made_by, listed, Path(corpus.root), shard, good, bad, quality, threads)
    gather(out, out, corpus.shards, corpus.max_reject_share)


def test_every_good_recording_is_in_the_manifest_and_in_the_shard_of_its_speaker(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder(speakers=4, utterances=3)
    (root / "spk0" / "u0.txt").write_text("hello\n there ")
    (root / ".hidden").mkdir()
    (root / "spk0" / "notes.pdf").write_bytes(b"%PDF")
    before = sorted(root.rglob("*"))
    run(checked := config(root), tmp_path / "out")
    rows = read_table(tmp_path / "out" / "manifest.csv", Utterance)
    assert [u.utt_id for u in rows] == [f"spk{s}/u{u}" for s in range(4) for u in range(3)]
    assert rows[0].text == "hello there"
    with Shards(tmp_path / "out", shard_names(SHARDS), checked.audio_slice("16k", "mine")) as shards:
        for u in rows:
            assert len(shards.read(u.utt_id)) == u.n_samples
            assert u.utt_id in shards.parts[speaker_shard(u.speaker, SHARDS)]
    assert read_table(tmp_path / "out" / "rejects.csv", Reject) == []
    assert sorted(root.rglob("*")) == before


def test_bad_recordings_are_listed_with_their_reason_and_do_not_stop_the_rest(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder(speakers=2, utterances=3)
    (root / "spk0" / "empty.wav").write_bytes(b"")
    (root / "spk0" / "text.flac").write_text("no audio")
    soundfile.write(root / "spk1" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "spk1" / "u1.flac", tone(1.0), RATE)
    run(config(root, max_reject_share=0.5), tmp_path / "out")
    rejects = {r.path: r.reason for r in read_table(tmp_path / "out" / "rejects.csv", Reject)}
    assert rejects == {
        "spk0/empty.wav": "empty",
        "spk0/text.flac": "not_audio",
        "spk1/silent.wav": "silent",
        "spk1/u1.wav": "duplicate",
    }
    assert len(read_table(tmp_path / "out" / "manifest.csv", Utterance)) == 6


def test_more_rejects_than_allowed_is_an_error_that_keeps_the_table(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder(speakers=2, utterances=2)
    (root / "spk0" / "bad.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 of 5 recordings \(20.0%\) cannot be used \(1 empty\).*allows 5.0%"):
        run(config(root), tmp_path / "out")
    assert len(read_table(tmp_path / "out" / "rejects-of-failed-run.csv", Reject)) == 1
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_no_good_recording_is_an_error_whatever_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "corpus" / "a").mkdir(parents=True)
    (tmp_path / "corpus" / "a" / "bad.wav").write_bytes(b"")
    with pytest.raises(InputError, match="none is left"):
        run(config(tmp_path / "corpus", max_reject_share=1.0), tmp_path / "out")


def test_a_missing_or_empty_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; set `root`"):
        lists.refresh("mine", config(tmp_path / "nowhere").corpora["mine"], tmp_path / "out")
    with pytest.raises(InputError, match="corpora.mine: no recordings found"):
        lists.refresh("mine", config(tmp_path).corpora["mine"], tmp_path / "out")


def test_a_recording_without_a_speaker_folder_is_refused(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(1, 1)
    soundfile.write(root / "loose.wav", tone(1.0), RATE)
    with pytest.raises(InputError, match="no speaker folder"):
        lists.refresh("mine", config(root).corpora["mine"], tmp_path / "out")


def test_a_new_speaker_changes_one_list_and_nothing_changes_none(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root, out = make_folder(speakers=6, utterances=2), tmp_path / "out"
    corpus = config(root).corpora["mine"]

    def state() -> dict[str, tuple[int, str]]:
        return {p.name: (p.stat().st_mtime_ns, p.read_text()) for p in sorted((out / "lists").iterdir())}

    lists.refresh("mine", corpus, out)
    first = state()
    lists.refresh("mine", corpus, out)
    assert state() == first
    make_folder(speakers=7, utterances=2, root=tmp_path / "more")
    (tmp_path / "more" / "spk6").rename(root / "spk6")
    lists.refresh("mine", corpus, out)
    changed = [name for name, value in state().items() if value != first[name]]
    assert changed == [f"{speaker_shard('spk6', SHARDS):03d}.csv"]


def test_a_changed_recording_changes_its_list(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root, out = make_folder(2, 2), tmp_path / "out"
    corpus = config(root).corpora["mine"]
    lists.refresh("mine", corpus, out)
    path = out / "lists" / f"{speaker_shard('spk1', SHARDS):03d}.csv"
    before = {c.utt_id: c.stamp for c in read_table(path, Candidate)}
    soundfile.write(root / "spk1" / "u0.wav", tone(2.0), RATE)
    lists.refresh("mine", corpus, out)
    after = {c.utt_id: c.stamp for c in read_table(path, Candidate)}
    assert [utt_id for utt_id in before if before[utt_id] != after[utt_id]] == ["spk1/u0"]


@pytest.mark.parametrize("column", ["utt_id", "audio_path"])
def test_split_files_decide_in_both_forms(make_folder: Callable[..., Path], tmp_path: Path, column: str) -> None:
    root = make_folder(2, 3)
    suffix = ".wav" if column == "audio_path" else ""
    extra = ",feat_path" if column == "audio_path" else ""
    for split, number in (("train", 0), ("valid", 1), ("test", 2)):
        ids = [f"spk{s}/u{number}{suffix}" + (",x.pt" if extra else "") for s in range(2)]
        (tmp_path / f"{split}.csv").write_text("\n".join([column + extra, *ids]) + "\n")
    lists.refresh("mine", config(root, splits=str(tmp_path)).corpora["mine"], tmp_path / "out")
    rows = [r for name in shard_names(SHARDS) for r in read_table(tmp_path / "out" / "splits" / f"{name}.csv", Split)]
    assert {r.utt_id: r.split for r in rows} == {
        f"spk{s}/u{n}": split for s in range(2) for n, split in enumerate(("train", "valid", "test"))
    }


def test_split_files_may_name_utterances_that_are_not_there(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(2, 3)
    for split, number in (("train", 0), ("valid", 1)):
        lines = ["audio_path,feat_path", f"spk0/u{number}.wav,x.pt", f"elsewhere/{split}.wav,x.pt"]
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    counts = lists.refresh("mine", config(root, splits=str(tmp_path)).corpora["mine"], tmp_path / "out")
    assert counts["valid"] >= 1 and sum(counts.values()) == 6


@pytest.mark.parametrize("share", [0.001, 0.5])
def test_a_small_corpus_holds_one_utterance_out_at_least(
    make_folder: Callable[..., Path], tmp_path: Path, share: float
) -> None:
    corpus = config(make_folder(2, 3), valid_share=share).corpora["mine"]
    counts = lists.refresh("mine", corpus, tmp_path / "out")
    assert counts["valid"] >= 1 and counts["train"] >= 1


def test_an_utterance_in_two_splits_is_refused(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder(1, 1)
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("utt_id\nspk0/u0\n")
    with pytest.raises(InputError, match="spk0/u0 is in train.csv too"):
        lists.refresh("mine", config(root, splits=str(tmp_path)).corpora["mine"], tmp_path / "out")


SLICE: dict[str, Any] = {"slice": {"by": "energy", "top_db": 30, "min_s": 0.5, "max_s": 2, "silence_s": 0.3}}


def phrases(n: int, seconds: float = 1.2, pause_s: float = 0.8) -> np.ndarray:
    """So many steady sounds, with a pause of faint noise after each."""
    sound = 0.3 * np.sin(np.arange(round(seconds * RATE)) * 0.07)
    wave = np.concatenate([np.concatenate([sound, np.zeros(round(pause_s * RATE))]) for _ in range(n)])
    return wave + np.random.default_rng(0).normal(0, 1e-3, len(wave))


def written(root: Path, name: str, wave: np.ndarray, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    if text:
        path.with_suffix(".txt").write_text(text)


def test_slices_have_the_split_of_their_recording_and_a_text_only_when_it_stayed_whole(tmp_path: Path) -> None:
    root, splits = tmp_path / "corpus", tmp_path / "splits"
    splits.mkdir()
    for split, number in (("train", 0), ("valid", 1), ("test", 2)):
        written(root, f"spk/long{number}.wav", phrases(3), "one two three")
        written(root, f"spk/short{number}.wav", phrases(1, 0.9, 0.2), "one")
        (splits / f"{split}.csv").write_text(f"utt_id\nspk/long{number}\nspk/short{number}\n")
    run(config(root, {"max_s": 60, **SLICE}, splits=str(splits)), tmp_path / "out")
    rows = read_table(tmp_path / "out" / "manifest.csv", Utterance)
    assert {u.utt_id for u in rows} == {
        f"spk/{name}{n}/{i:03d}" for n in range(3) for name, parts in (("long", 3), ("short", 1)) for i in range(parts)
    }
    for u in rows:
        assert u.split == ("train", "valid", "test")[int(u.recording[-1])]
        assert u.recording == u.utt_id.rpartition("/")[0] and u.path == f"{u.recording}.wav"
        assert u.text == ("one" if "short" in u.utt_id else "")
        assert u.n_samples == round((u.stop_s - u.start_s) * RATE)
    long = [u for u in rows if u.recording == "spk/long0"]
    assert all(a.stop_s <= b.start_s for a, b in itertools.pairwise(long))


def test_a_gate_rejects_with_its_number_and_what_it_rejects_is_no_fault_of_the_corpus(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    for n in range(3):
        written(root, f"spk/clipped{n}.wav", np.clip(4 * phrases(1), -1, 1))
    for n in range(2):
        written(root, f"spk/clean{n}.wav", phrases(1))
    run(config(root, {"gates": {"max_clipped_share": 0.01}}, max_reject_share=0.0), tmp_path / "out")
    rejects = read_table(tmp_path / "out" / "rejects.csv", Reject)
    assert [(r.utt_id, r.reason) for r in rejects] == [(f"spk/clipped{n}", "clipped") for n in range(3)]
    share = float(rejects[0].detail.split("%")[0])
    assert 1 < share < 100 and rejects[0].detail.endswith("gates.max_clipped_share is 1.0000%")
    assert len(read_table(tmp_path / "out" / "manifest.csv", Utterance)) == 2


def test_gates_that_leave_nothing_are_named_as_what_to_loosen(tmp_path: Path) -> None:
    written(tmp_path / "corpus", "spk/a.wav", phrases(1))
    checked = config(tmp_path / "corpus", {"gates": {"min_snr_db": 99}})
    with pytest.raises(InputError, match=r"out: 0 of 1 .*\(1 noisy\), none is left; see .*loosen .*gates") as caught:
        run(checked, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_what_was_measured_is_of_the_recording_before_anything_was_done_to_it(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    written(root, "spk/a.wav", phrases(1))
    written(root, "spk/b.wav", 0.1 * phrases(1))
    run(config(root, {"min_s": 0.5, "loudness": {"kind": "peak", "level": 0.9}}), tmp_path / "out")
    measured = {
        m.utt_id: m for s in shard_names(SHARDS) for m in read_table(tmp_path / "out/quality" / f"{s}.csv", Measured)
    }
    assert measured["spk/a"].peak_dbfs == pytest.approx(20 * np.log10(0.3), abs=0.2)
    assert measured["spk/a"].level_dbfs - measured["spk/b"].level_dbfs == pytest.approx(20, abs=0.01)
    assert measured["spk/a"].snr_db == pytest.approx(measured["spk/b"].snr_db, abs=0.01)
    with Shards(tmp_path / "out", shard_names(SHARDS), None) as shards:
        assert all(np.abs(shards.read(utt_id)).max() == pytest.approx(0.9, abs=1e-4) for utt_id in measured)


def test_each_utterance_of_the_manifest_and_no_other_was_measured(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    written(root, "spk/long.wav", phrases(3))
    written(root, "spk/silent.wav", np.zeros(RATE))
    run(config(root, {"max_s": 60, **SLICE}, max_reject_share=0.5), tmp_path / "out")
    utterances = {u.utt_id for u in read_table(tmp_path / "out" / "manifest.csv", Utterance)}
    tables = [read_table(tmp_path / "out/quality" / f"{s}.csv", Measured) for s in shard_names(SHARDS)]
    assert {m.utt_id for table in tables for m in table} == utterances == {f"spk/long/{i:03d}" for i in range(3)}


def test_more_processes_make_the_same_files(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    checked = config(make_folder(speakers=2, utterances=4))
    for threads in (1, 4):
        run(checked, tmp_path / str(threads), threads)
    for path in sorted((tmp_path / "1").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "4" / path.relative_to(tmp_path / "1")).read_bytes(), path


def test_a_recording_that_kills_its_process_is_a_reject_like_any_other(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deadly(path: str, settings: Any, utt_id: str) -> Any:
        if utt_id == "spk1/u1":
            os.abort()
        return process(path, settings, utt_id)

    monkeypatch.setattr(workers, "process", deadly)
    run(config(make_folder(2, 3), max_reject_share=0.2), tmp_path / "out")
    (reject,) = read_table(tmp_path / "out" / "rejects.csv", Reject)
    assert (reject.utt_id, reject.path, reject.reason) == ("spk1/u1", "spk1/u1.wav", "crashed")
    assert reject.reason in REASONS and "SIGABRT" in reject.detail
    assert len(read_table(tmp_path / "out" / "manifest.csv", Utterance)) == 5
