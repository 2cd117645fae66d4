"""The rows that need no system: whose recording stands where, and that a row's files are whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, tone
from vcpipe.errors import InputError
from vcpipe.evaluation.drawing import Protocol, draw_trials
from vcpipe.evaluation.references import KINDS, noise_like, write_reference_row
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, read_lines
from vcpipe.store import Shards, write_shard
from vcpipe.trials import Trial

SPEAKERS, EACH = "abc", 5
WAVES = {f"{s}/{n}": tone(1.0 + 0.1 * n, 100 + 50 * i, seed=n) for i, s in enumerate(SPEAKERS) for n in range(EACH)}
UTTERANCES = [Utterance(i, i[0], f"{i}.wav", len(w), RATE, f"says {i}", split="test") for i, w in WAVES.items()]
BY_ID = {u.utt_id: u for u in UTTERANCES}
TRIALS = draw_trials(UTTERANCES, Protocol(0, 2, 0, min_s=0.5, min_reference_s=1.0, reference_s=1.5, seed=4))
LINE = {
    *("name", "row", "system", "text", "source_utt", "source_speaker", "source_split", "target_speaker", "references"),
    *("reference_utt", "reference_s", "seed", "converted", "settings", "seconds", "rtf", "vcpipe"),
}
SYSTEM = {
    *("row", "system", "label", "kind", "about", "parameters", "model_mib", "peak_mib", "device", "threads"),
    *("speaker_encoder", "models", "settings", "run"),
}


@pytest.fixture
def waves(tmp_path: Path) -> Iterator[Shards]:
    rows = ((i, w[:, None]) for i, w in WAVES.items())
    (tmp_path / "copy").mkdir()
    write_shard(tmp_path / "copy" / "000.h5", rows, made_by={}, grid=Grid(RATE, 1), dim=1, dtype="float32")
    with Shards(tmp_path / "copy", ["000"], {}) as shards:
        yield shards


def row(kind: str, folder: Path, waves: Shards, trials: list[Trial] = TRIALS) -> list[dict[str, Any]]:
    write_reference_row(kind, folder, UTTERANCES, trials, waves)
    return read_lines(folder / "pairs.jsonl")


def heard(folder: Path, line: dict[str, Any]) -> np.ndarray:
    wave, rate = soundfile.read(folder / line["converted"], dtype="float32")
    assert rate == RATE and soundfile.info(folder / line["converted"]).subtype == "PCM_16"
    return wave


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_row_has_a_line_and_a_recording_a_trial_and_says_what_it_is(tmp_path: Path, waves: Shards, kind: str) -> None:
    lines = row(kind, tmp_path / "my_row", waves)
    assert [line["name"] for line in lines] == [t.name for t in TRIALS] and len({t.name for t in TRIALS}) == 12
    assert all(set(line) == LINE for line in lines)
    assert sorted(p.name for p in (tmp_path / "my_row" / "audio").iterdir()) == sorted(f"{t.name}.wav" for t in TRIALS)
    system = json.loads((tmp_path / "my_row" / "system.json").read_text())
    assert set(system) == SYSTEM and (system["row"], system["kind"]) == ("my_row", "reference")
    assert {line["row"] for line in lines} == {"my_row"} and {line["system"] for line in lines} == {system["system"]}
    for line, trial in zip(lines, TRIALS, strict=True):
        assert line["target_speaker"] == trial.target and line["seed"] == 4 and line["reference_s"] == 1.5
        assert line["references"] == [u.utt_id for u in trial.references] and "/" not in line["name"]
        assert line["reference_utt"] == line["references"][0]
        assert line["seconds"] == pytest.approx(len(heard(tmp_path / "my_row", line)) / RATE, abs=1e-3)


def test_the_source_row_is_the_sources_to_the_last_bit_of_16(tmp_path: Path, waves: Shards) -> None:
    for line, trial in zip(row("source", tmp_path / "source", waves), TRIALS, strict=True):
        assert (line["source_utt"], line["source_speaker"]) == (trial.source.utt_id, trial.source.speaker)
        assert line["text"] == trial.source.text
        np.testing.assert_allclose(heard(tmp_path / "source", line), WAVES[trial.source.utt_id], rtol=0, atol=2**-15)


def test_recordings_are_the_targets_own_sources_each_as_often(tmp_path: Path, waves: Shards) -> None:
    lines = row("recordings", tmp_path / "recordings", waves)
    for line, trial in zip(lines, TRIALS, strict=True):
        assert line["source_speaker"] == line["target_speaker"] == trial.target
        assert line["text"] == f"says {line['source_utt']}" and BY_ID[line["source_utt"]].speaker == trial.target
        assert line["source_utt"] not in line["references"]
        np.testing.assert_allclose(heard(tmp_path / "recordings", line), WAVES[line["source_utt"]], rtol=0, atol=2**-15)
    assert Counter(line["source_utt"] for line in lines) == {t.source.utt_id: 2 for t in TRIALS}


def test_a_target_who_is_no_source_speaks_what_nobody_hears_as_reference(tmp_path: Path, waves: Shards) -> None:
    source, b = BY_ID["a/0"], [BY_ID[f"b/{n}"] for n in range(EACH)]
    (some,) = row("recordings", tmp_path / "some", waves, [Trial(source, "b", tuple(b[:4]))])
    assert some["source_utt"] == "b/4"
    everything = [Trial(source, "b", tuple(b)), Trial(BY_ID["a/1"], "b", tuple(b))]
    assert [line["source_utt"] for line in row("recordings", tmp_path / "all", waves, everything)] == ["b/0", "b/1"]


def test_noise_is_white_and_as_long_and_loud_as_the_source(tmp_path: Path, waves: Shards) -> None:
    lines = row("noise", tmp_path / "noise", waves)
    made = [heard(tmp_path / "noise", line) for line in lines]
    for noise, line, trial in zip(made, lines, TRIALS, strict=True):
        source = WAVES[trial.source.utt_id]
        assert line["source_utt"] == trial.source.utt_id and len(noise) == len(source)
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(np.sqrt(np.mean(source**2)), rel=1e-3)
        power = np.abs(np.fft.rfft(noise)) ** 2
        low, high = power[: len(power) // 2].mean(), power[len(power) // 2 :].mean()
        assert low == pytest.approx(high, rel=0.1)
        assert abs(np.corrcoef(noise, source)[0, 1]) < 0.05
    same = [w for w, t in zip(made, TRIALS, strict=True) if t.source == TRIALS[0].source]
    assert len(same) == 2 and abs(np.corrcoef(*same)[0, 1]) < 0.05, "each trial has noise of its own"


def test_noise_repeats_and_changes_with_the_seed() -> None:
    trial = TRIALS[0]
    wave = WAVES[trial.source.utt_id]
    again = Trial(trial.source, trial.target, trial.references, trial.reference_s, trial.seed)
    other = Trial(trial.source, trial.target, trial.references, trial.reference_s, trial.seed + 1)
    np.testing.assert_array_equal(noise_like(wave, trial), noise_like(wave, again))
    assert abs(np.corrcoef(noise_like(wave, trial), noise_like(wave, other))[0, 1]) < 0.05
    assert noise_like(wave, trial).dtype == np.float32 and not noise_like(np.zeros(99, np.float32), trial).any()


def test_what_cannot_be_a_row_is_refused_before_anything_is_written(tmp_path: Path, waves: Shards) -> None:
    with pytest.raises(InputError, match="--kind silence: expected one of recordings, source, noise"):
        row("silence", tmp_path / "row", waves)
    with pytest.raises(InputError, match="expected at least one trial, found none"):
        row("noise", tmp_path / "row", waves, [])
    assert not (tmp_path / "row").exists()
