"""The numbers of a corpus: per utterance, per speaker, in all; with F0 and without."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.manifest import Measured, Reject, Utterance, write_table
from vcpipe.stats import F0_COLUMNS, MEASURES, by_speaker, in_all, sizes, write_stats
from vcpipe.store import write_shard

CONFIG = load(
    {
        "corpora": {"mine": {"kind": "folder", "root": "x", "shards": 2}},
        "features": {"pitch": {"kind": "f0", "method": "praat"}, "other": {"kind": "f0", "method": "dio"}},
    }
)
SLICE = CONFIG.feature_slice("pitch", "mine")
UTTERANCES = [
    Utterance("a/1", "a", "a/1.wav", 16000, 16000, split="train"),
    Utterance("a/2", "a", "a/2.wav", 48000, 16000, split="train"),
    Utterance("b/1", "b", "b/1.wav", 32000, 16000, split="valid"),
]
MEASURED = [
    Measured("a/1", -3.0, -20.0, 0.0, 30.0, 0.5),
    Measured("a/2", -1.0, -26.0, 0.04, 40.0, 0.9),
    Measured("b/1", -6.0, -30.0, 0.0, 10.0, 0.8),
]
F0 = {"a/1": [100.0] * 10 + [0.0] * 10, "a/2": [200.0] * 30, "b/1": [0.0] * 20}


def folder(tmp_path: Path, f0: dict[str, list[float]] | None = None) -> Path:
    """A copy of a corpus of two shards, and its F0 in `f0`; the folder of the copy."""
    audio = tmp_path / "audio" / "16k" / "mine"
    write_table(audio / "manifest.csv", UTTERANCES, Utterance)
    write_table(
        audio / "rejects.csv",
        [Reject("c", "c.wav", "silent", "x"), Reject("d", "d", "noisy", "y"), Reject("e", "e", "silent", "x")],
        Reject,
    )
    for i, speaker in enumerate(("a", "b")):
        mine = [m for m in MEASURED if m.utt_id.startswith(speaker)]
        write_table(audio / "quality" / f"{i:03d}.csv", mine, Measured)
        if f0 is not None:
            rows = [(u, np.array([[hz, hz > 0] for hz in v], np.float32)) for u, v in f0.items() if u[0] == speaker]
            grid = CONFIG.features["pitch"].grid
            write_shard(tmp_path / "f0" / f"{i:03d}.h5", rows, made_by=SLICE, grid=grid, dim=2, dtype="float32")
    return audio


def made(tmp_path: Path, f0: dict[str, list[float]] | None = None) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """Rows of utterances, rows of speakers, and the totals."""
    audio, out = folder(tmp_path, f0), tmp_path / "stats"
    write_stats(audio, 2, tmp_path / "f0" if f0 else None, SLICE if f0 else None, tmp_path, out)
    with open(out / "utterances.csv", newline="") as u, open(out / "speakers.csv", newline="") as s:
        total = json.loads((out / "corpus.json").read_text())
        with open(out / "corpus.csv", newline="") as c:
            figures = {row["figure"]: row["value"] for row in csv.DictReader(c)}
        assert figures["utterances"] == str(total["utterances"])
        assert {f"rejects.{reason}": str(n) for reason, n in total["rejects"].items()}.items() <= figures.items()
        return list(csv.DictReader(u)), list(csv.DictReader(s)), total


def test_totals_are_sums_and_quantiles_of_the_utterances(tmp_path: Path) -> None:
    utterances, speakers, total = made(tmp_path)
    assert [u["utt_id"] for u in utterances] == ["a/1", "a/2", "b/1"]
    assert (total["corpus"], total["copy"], total["utterances"], total["speakers"]) == ("mine", "16k", 3, 2)
    assert total["hours"] == pytest.approx(6 / 3600, abs=5e-5)
    assert {s: v["utterances"] for s, v in total["splits"].items()} == {"train": 2, "valid": 1}
    assert sum(v["hours"] for v in total["splits"].values()) == pytest.approx(total["hours"], abs=1e-4)
    assert total["quantiles"]["seconds"] == {"0.05": 1.1, "0.25": 1.5, "0.5": 2.0, "0.75": 2.5, "0.95": 2.9}
    assert set(total["quantiles"]) == set(MEASURES) - {"f0_median_hz"}
    assert total["rejects"] == {"silent": 2, "noisy": 1}
    assert list(total["rejects"]) == ["silent", "noisy"], "the most frequent first"
    assert not any(column in utterances[0] or column in speakers[0] for column in F0_COLUMNS)


def test_a_speakers_shares_are_weighed_by_time_and_levels_are_medians(tmp_path: Path) -> None:
    _, (a, b), _ = made(tmp_path)
    assert (a["speaker"], a["utterances"], float(a["minutes"])) == ("a", "2", round(4 / 60, 3))
    assert float(a["clipped_share"]) == pytest.approx(0.03) and float(a["speech_share"]) == pytest.approx(0.8)
    assert (float(a["level_dbfs"]), float(a["snr_db"]), float(a["seconds_median"])) == (-23, 35, 2)
    assert (b["speaker"], float(b["snr_db"])) == ("b", 10)


def test_f0_is_pooled_over_a_speakers_voiced_frames_and_empty_without_any(tmp_path: Path) -> None:
    utterances, (a, b), total = made(tmp_path, F0)
    by_id = {u["utt_id"]: u for u in utterances}
    assert [by_id["a/1"][c] for c in F0_COLUMNS] == ["100.0"] * 3
    assert [a[c] for c in F0_COLUMNS] == ["100.0", "200.0", "200.0"], "30 frames of 200 Hz outweigh 10 of 100"
    assert [by_id["b/1"][c] for c in F0_COLUMNS] == [b[c] for c in F0_COLUMNS] == [""] * 3
    assert total["quantiles"]["f0_median_hz"]["0.5"] == 150


def test_a_corpus_without_a_voiced_frame_has_empty_columns(tmp_path: Path) -> None:
    utterances, speakers, total = made(tmp_path, {utt_id: [0.0] * 5 for utt_id in F0})
    assert all(row[c] == "" for row in [*utterances, *speakers] for c in F0_COLUMNS)
    assert "f0_median_hz" not in total["quantiles"]


def test_a_row_comes_in_the_order_of_the_manifest_with_f0_and_without(tmp_path: Path) -> None:
    interleaved = [UTTERANCES[0], UTTERANCES[2], UTTERANCES[1]]
    for f0 in (None, F0):
        audio = folder(tmp_path, f0)
        write_table(audio / "manifest.csv", interleaved, Utterance)
        write_stats(audio, 2, tmp_path / "f0" if f0 else None, SLICE if f0 else None, tmp_path, tmp_path / "stats")
        with open(tmp_path / "stats" / "utterances.csv", newline="") as f:
            assert [row["utt_id"] for row in csv.DictReader(f)] == ["a/1", "b/1", "a/2"]


def test_f0_of_other_settings_is_refused(tmp_path: Path) -> None:
    audio = folder(tmp_path, F0)
    with pytest.raises(InputError, match="000.h5: made under other settings: feature.method is 'praat' in the file"):
        write_stats(audio, 2, tmp_path / "f0", CONFIG.feature_slice("other", "mine"), tmp_path, tmp_path / "stats")
    assert not (tmp_path / "stats" / "corpus.json").exists()


def test_an_utterance_that_was_never_measured_is_named_with_what_to_run(tmp_path: Path) -> None:
    audio = folder(tmp_path)
    write_table(audio / "quality" / "001.csv", [], Measured)
    with pytest.raises(InputError, match="quality: utterance b/1 .* never measured; .*--forcerun prepare_audio"):
        write_stats(audio, 2, None, None, tmp_path, tmp_path / "stats")


def test_sizes_are_of_the_shards_of_this_corpus(tmp_path: Path) -> None:
    for name, corpus, n in (("mel", "mine", 10), ("mel", "mine", 20), ("pitch", "mine", 5), ("pitch", "other", 99)):
        path = tmp_path / name / corpus / f"{n:03d}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * n)
    (tmp_path / "mel" / "mine" / "notes.txt").write_text("not a shard")
    assert sizes(tmp_path, "mine") == {"mel": 30, "pitch": 5}
    assert sizes(tmp_path / "nowhere", "mine") == {}


def test_nothing_has_no_speakers_and_no_quantiles() -> None:
    assert by_speaker([]) == []
    assert in_all([]) == {"utterances": 0, "speakers": 0, "hours": 0, "splits": {}, "quantiles": {}}
