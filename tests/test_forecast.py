"""The forecast of sizes against what is written, and of lengths against what the recordings have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, tone
from vcpipe import forecast as module
from vcpipe.config import Config, load
from vcpipe.corpora import lists
from vcpipe.forecast import Entry, Length, feature_bytes, forecast, human, table
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.store import write_shard

SHARDS = 2
FEATURES: dict[str, Any] = {
    "mel": {"kind": "mel"},
    "tiny": {"kind": "tiny_random"},
    "pitch": {"kind": "f0", "method": "praat"},
    "voice": {"kind": "ge2e"},
    "range": {"kind": "speaker_f0", "of": "pitch"},
    "units": {"kind": "kmeans", "of": "tiny", "corpus": "mine"},
}


def config(root: Path, **features: Any) -> Config:
    return load(
        {
            "corpora": {"mine": {"kind": "folder", "root": str(root), "shards": SHARDS}},
            "audio": {"16k": {}, "24k": {"rate": 24000}},
            "features": features,
        }
    )


def utterances(n: int, speakers: int, rate: int = RATE) -> list[Utterance]:
    """Of 1 to 8 s, under ids of the usual length."""
    lengths = np.random.default_rng(0).uniform(1, 8, n)
    return [
        Utterance(f"p{i % speakers:03d}-{i:06d}", f"p{i % speakers:03d}", "x.wav", round(s * rate), rate)
        for i, s in enumerate(lengths)
    ]


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("n", [60, 2000])
def test_the_size_of_a_feature_is_forecast_within_a_tenth(tmp_path: Path, name: str, n: int) -> None:
    checked = config(tmp_path, **FEATURES)
    settings, rows = checked.features[name], utterances(n, 12)
    written = 0
    for part in range(SHARDS):
        mine = [u for u in rows if int(u.speaker[1:]) % SHARDS == part]
        frames = {
            "frame": {u.utt_id: settings.grid.frames(u.n_samples) for u in mine},
            "utterance": {u.utt_id: 1 for u in mine},
            "speaker": {u.speaker: 1 for u in mine},
        }[settings.ROWS]
        path = tmp_path / f"{part}.h5"
        write_shard(
            path,
            ((i, np.zeros((t, settings.dim), settings.dtype)) for i, t in frames.items()),
            made_by=checked.feature_slice(name, "mine"),
            grid=settings.grid,
            dim=settings.dim,
            dtype=settings.dtype,
            row=settings.ROWS,
        )
        written += path.stat().st_size
    length = Length(sum(u.n_samples for u in rows) / RATE, n, 12, "measured")
    assert feature_bytes(settings, length, SHARDS) == pytest.approx(written, rel=0.1)


def test_a_copy_is_forecast_within_a_tenth_and_its_manifest_is_believed(tmp_path: Path) -> None:
    checked, results = config(tmp_path / "nowhere", mel=FEATURES["mel"]), tmp_path / "results"
    folder = results / "audio" / "16k" / "mine"
    rows = utterances(30, 4)
    for part in range(SHARDS):
        mine = [u for u in rows if int(u.speaker[1:]) % SHARDS == part]
        write_shard(
            folder / f"{part:03d}.h5",
            ((u.utt_id, np.zeros((u.n_samples, 1), np.float32)) for u in mine),
            made_by=checked.audio_slice("16k", "mine"),
            grid=Grid(RATE, 1),
            dim=1,
            dtype="float32",
        )
    write_table(folder / "manifest.csv", rows, Utterance)
    lengths, entries = forecast(checked, results)
    seconds = sum(u.n_samples for u in rows) / RATE
    found = lengths["mine"]
    assert found.seconds == pytest.approx(seconds)
    assert (found.utterances, found.speakers, found.how) == (30, 4, "measured")
    by_name = {e.what: e for e in entries}
    assert by_name["audio 16k"].forecast == pytest.approx(by_name["audio 16k"].on_disk, rel=0.1)
    assert by_name["audio 24k"] == Entry("audio 24k", "mine", 0, 0), "no recordings to estimate it from"
    assert by_name["feature mel"].forecast > 0 == by_name["feature mel"].on_disk


def recordings(root: Path, n: int) -> float:
    """Recordings of several kinds, rates and depths, loud and soft; how long they are together, in seconds."""
    random, total = np.random.default_rng(3), 0.0
    kinds = [("wav", 16000, "PCM_16"), ("wav", 44100, "PCM_24"), ("flac", 22050, "PCM_16"), ("ogg", 16000, "VORBIS")]
    for i in range(n):
        suffix, rate, subtype = kinds[random.choice(4, p=[0.4, 0.4, 0.1, 0.1])]
        path = root / f"spk{i % 20:02d}" / f"u{i:04d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = random.normal(0, random.uniform(0.001, 0.2), round(random.uniform(0.1, 0.6) * rate))
        soundfile.write(path, wave, rate, subtype=subtype)
        total += len(wave) / rate
    path = root / "spk00" / "only.WAV"
    soundfile.write(path, tone(2.0, rate=48000), 48000, subtype="FLOAT")
    return total + 2.0


def test_a_length_is_estimated_from_headers_within_a_twentieth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 1000
    seconds = recordings(tmp_path / "corpus", n)
    looked_at: list[Path] = []
    read = module._seconds

    def noted(path: Path) -> float:
        looked_at.append(path)
        return read(path)

    monkeypatch.setattr(module, "_seconds", noted)
    lengths, _ = forecast(config(tmp_path / "corpus"), tmp_path / "results")
    found = lengths["mine"]
    assert found.seconds == pytest.approx(seconds, rel=0.05)
    assert (found.utterances, found.speakers) == (n + 1, 20)
    assert found.how == f"estimated from {len(looked_at)} headers"
    assert len(looked_at) == len(set(looked_at)) < n / 2


def test_recordings_that_cannot_be_read_count_for_nothing(tmp_path: Path) -> None:
    root = tmp_path / "corpus" / "spk"
    root.mkdir(parents=True)
    for i in range(4):
        soundfile.write(root / f"{i}.wav", tone(1.0), RATE)
    (root / "empty.wav").write_bytes(b"")
    (root / "not.flac").write_bytes(b"no audio")
    lengths, _ = forecast(config(tmp_path / "corpus"), tmp_path / "results")
    assert lengths["mine"].seconds == pytest.approx(4.0, rel=0.01)
    assert lengths["mine"].how == "estimated from 4 headers"


def test_a_corpus_is_looked_through_once_however_much_is_made_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus" / "spk").mkdir(parents=True)
    soundfile.write(tmp_path / "corpus" / "spk" / "a.wav", tone(1.0), RATE)
    calls: list[object] = []
    refresh = lists.refresh

    def noted(*given: Any) -> object:
        calls.append(given)
        return refresh(*given)

    monkeypatch.setattr(lists, "refresh", noted)
    _, entries = forecast(config(tmp_path / "corpus", **FEATURES), tmp_path / "results")
    assert len(entries) == 8 and all(e.forecast > 0 for e in entries) and len(calls) == 1


def test_the_table_says_what_is_unknown_and_why(tmp_path: Path) -> None:
    words = table(config(tmp_path / "nowhere", mel=FEATURES["mel"]), tmp_path / "results")
    assert f"unknown: {tmp_path / 'nowhere'}: no such folder" in words
    (line,) = [line for line in words.splitlines() if line.startswith("feature mel")]
    assert line.split() == ["feature", "mel", "mine", "?", "-"]
    assert "too little" not in words


def test_the_table_adds_up_and_warns_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus" / "spk").mkdir(parents=True)
    soundfile.write(tmp_path / "corpus" / "spk" / "a.wav", tone(30.0), RATE)
    checked = config(tmp_path / "corpus", mel=FEATURES["mel"])
    entries = forecast(checked, tmp_path / "results")[1]
    total = sum(e.forecast for e in entries)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": total - (1 << 20)})())
    words = table(checked, tmp_path / "results")
    assert f"all of it{'':<47}{human(total):>12}{'0 B':>12}" in words
    assert words.splitlines()[-1].startswith("1.0 MiB too little: free some, or move results/")


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (2 << 50, "2048.0 TiB"),
    ],
)
def test_sizes_in_words(n_bytes: int, words: str) -> None:
    assert human(n_bytes) == words
