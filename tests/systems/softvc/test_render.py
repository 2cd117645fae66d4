"""A table of trials to a row: from shards, with tiny networks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from tests.systems.softvc import made_up
from vcpipe.errors import InputError
from vcpipe.systems.softvc.cli import app
from vcpipe.systems.softvc.config import ConvertSettings, RowSettings
from vcpipe.systems.softvc.converter import Converter, MelVocoder
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
    """The lines of a row; a resynthesis is given the vocoder and what it reads."""
    alone = row.get("resynthesis", False)
    read = ("mel", "f0") if alone else tuple(made_up.FEATURES)
    made_by = {
        "row": RowSettings(**row).model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": ConvertSettings().model_dump(mode="json"),
        "wav": made_up.WAV,
        **{name: made_up.reads(name) for name in read},
    }
    folders = {name: folder / "corpus" / name for name in read}
    manifest = folder / "corpus/manifest.csv"
    files = (
        None if alone else folder / "run",
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
    sung: list[Any] = []

    def speak(self: MelVocoder, mel: torch.Tensor, loudness: float, told: Any = None) -> np.ndarray:
        heard.append(mel)
        sung.append(told)
        return np.zeros(3200, np.float32)

    monkeypatch.setattr(MelVocoder, "speak", speak)
    rendered(folder, tmp_path / "row", resynthesis=True)
    assert sorted(len(mel) for mel in heard) == [50, 50]
    assert all(mel.shape[1] == 16 for mel in heard)
    assert sorted(round(float(f0[f0[:, 1] > 0, 0].mean()), -1) for f0 in sung) == [110, 220]


def test_a_resynthesis_needs_no_acoustic_model_and_counts_none(folder: Path, tmp_path: Path) -> None:
    made_by = {
        "row": RowSettings(resynthesis=True).model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": {"loudness_lufs": -16.0},
        "wav": made_up.WAV,
        "mel": made_up.reads("mel"),
        "f0": made_up.reads("f0"),
    }
    command = ["render", "--slice", json.dumps(made_by), "--vocoder", folder / "vocoder", "--device", "cpu"]
    command += ["--manifest", folder / "corpus/manifest.csv", "--mel", folder / "corpus/mel"]
    command += ["--f0", folder / "corpus/f0"]
    command += ["--trials", folder / "trials.csv", "--out", tmp_path / "row/pairs.jsonl", "--threads", 1]
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    about = json.loads((tmp_path / "row/system.json").read_text())
    assert set(about["models"]) == {"vocoder", "mel", "f0"}
    network = MelVocoder.load(folder / "vocoder").network
    assert about["parameters"] == sum(p.numel() for p in network.parameters())
    assert about["run"] == str(folder / "vocoder")
    for name in ("low-0", "high-0"):
        assert any(name in path.name for path in (tmp_path / "row/audio").iterdir())


@pytest.mark.parametrize(
    ("resynthesis", "given", "words"),
    [
        (True, ["mel"], "--f0, --mel: expected for a resynthesis, found --mel"),
        (True, ["run", "mel"], "found --mel, --run; give those and no others"),
        (False, ["mel"], "--energy, --f0, --mel, --run, --units: expected for a conversion, found --mel"),
    ],
)
def test_options_that_are_not_those_of_the_row_are_refused(
    folder: Path, tmp_path: Path, resynthesis: bool, given: list[str], words: str
) -> None:
    made_by = {"row": {"resynthesis": resynthesis}, "convert": {}, "wav": made_up.WAV}
    folders = {name: folder / "corpus" / name for name in given if name != "run"}
    run = folder / "run" if "run" in given else None
    files = (folder / "corpus/manifest.csv", folders, folder / "trials.csv", tmp_path / "pairs.jsonl")
    with pytest.raises(InputError, match=words):
        render(made_by, run, folder / "vocoder", *files, made_up.CPU, 1)


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
