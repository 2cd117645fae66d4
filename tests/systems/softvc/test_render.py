"""A table of trials to a row: from shards, with tiny networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.systems.softvc import made_up
from vcpipe.errors import InputError
from vcpipe.systems.softvc.config import ConvertSettings, RowSettings
from vcpipe.systems.softvc.converter import Converter
from vcpipe.systems.softvc.render import render

TRIALS = "source,target,references\nlow-0,high,others\nhigh-0,low,others\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    place = made_up.write_corpus(folder / "corpus")
    made_up.train(folder, place)
    made_up.vocoder(folder)
    (folder / "trials.csv").write_text(TRIALS)
    return folder


def rendered(folder: Path, out: Path, trials: Path | None = None, **row: Any) -> list[dict[str, Any]]:
    made_by = {
        "row": RowSettings(**row).model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": ConvertSettings().model_dump(mode="json"),
        "wav": made_up.WAV,
        **{name: made_up.reads(name) for name in made_up.FEATURES},
    }
    folders = {name: folder / "corpus" / name for name in made_up.FEATURES}
    manifest = folder / "corpus/manifest.csv"
    files = (
        folder / "run",
        folder / "vocoder",
        manifest,
        folders,
        trials or folder / "trials.csv",
        out / "pairs.jsonl",
    )
    render(made_by, *files, made_up.CPU, 1)
    return [json.loads(line) for line in (out / "pairs.jsonl").read_text().splitlines()]


def test_a_row_has_a_recording_and_a_line_for_each_trial(folder: Path, tmp_path: Path) -> None:
    lines = rendered(folder, tmp_path / "row")
    assert [(line["source_utt"], line["target_speaker"]) for line in lines] == [("low-0", "high"), ("high-0", "low")]
    about = json.loads((tmp_path / "row/system.json").read_text())
    assert (about["system"], about["row"], about["speaker_encoder"]) == ("softvc", "row", None)
    assert {"acoustic", "vocoder", "units", "mel", "f0", "energy"} == set(about["models"])
    assert about["parameters"] > 0
    for line in lines:
        wave, rate = soundfile.read(tmp_path / "row" / line["converted"])
        assert rate == 16000 and len(wave) == round(line["seconds"] * rate)


def test_the_contour_is_moved_by_the_speakers_other_recordings(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def convert(self: Converter, source: Any, voice: str, settings: Any, own: Any) -> np.ndarray:
        given.append((voice, own))
        return np.zeros(3200, np.float32)

    monkeypatch.setattr(Converter, "convert", convert)
    rendered(folder, tmp_path / "row")
    known = Converter.load(folder / "run", folder / "vocoder").voices  # of the same recordings: those not held out
    assert dict(given) == {"high": known["low"], "low": known["high"]}


def test_resynthesis_speaks_the_sources_own_mel(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[torch.Tensor] = []

    def speak(self: Converter, mel: torch.Tensor, loudness: float) -> np.ndarray:
        heard.append(mel)
        return np.zeros(3200, np.float32)

    monkeypatch.setattr(Converter, "speak", speak)
    rendered(folder, tmp_path / "row", resynthesis=True)
    assert sorted(len(mel) for mel in heard) == [50, 50]
    assert all(mel.shape[1] == 16 for mel in heard)


def test_the_same_speaker_row_turns_every_source_into_its_own_voice(folder: Path, tmp_path: Path) -> None:
    lines = rendered(folder, tmp_path / "row", same_speaker=True)
    assert {(line["source_speaker"], line["target_speaker"]) for line in lines} == {("low", "low"), ("high", "high")}


def test_a_target_that_is_no_voice_of_the_model_is_refused(folder: Path, tmp_path: Path) -> None:
    made_up.write_corpus(tmp_path / "corpus", {"low": 110.0, "other": 180.0})
    for name in ("run", "vocoder"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "trials.csv").write_text("source,target,references\nlow-0,other,others\n")
    with pytest.raises(InputError, match=r"trials.csv: expected targets that .* found 1 others, such as other.*refine"):
        rendered(tmp_path, tmp_path / "row")
