"""The literal variant as a whole: classifiers, units with what they hear, an acoustic model, a converted voice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.systems.softvc import literal, made_up
from vcpipe.errors import InputError
from vcpipe.store import Shard
from vcpipe.systems.softvc.cli import app
from vcpipe.systems.softvc.config import AcousticTraining, ConvertSettings, RowSettings
from vcpipe.systems.softvc.converter import Converter
from vcpipe.systems.softvc.literal_settings import ADDED, EMBED_REVISION, ROLES
from vcpipe.systems.softvc.render import render
from vcpipe.systems.softvc.train import train_acoustic
from vcpipe.training import runs


def run(*command: Any) -> None:
    """A stage, as its rule calls it."""
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with shards of units beside pitch and dynamics, runs, and the slices of both as JSON."""
    folder = tmp_path_factory.mktemp("literal")
    corpus = folder / "corpus"
    place = made_up.write_corpus(corpus)
    with Shard(corpus / "wav/000.h5", made_up.WAV) as shard:
        literal.write_labels(corpus, {utt_id: wave[:, 0] for utt_id, wave in shard})
    content = literal.encoder(folder)
    embedded = {"stage": "embed", "revision": EMBED_REVISION, "units": made_up.reads("units"), "wav": made_up.WAV}
    for role in ROLES:
        made_by = literal.made_by(content, role, steps=2, validate_every=2)
        command = ["train-classifier", "--slice", json.dumps(made_by), "--manifest", place["manifest"]]
        command += ["--audio", corpus / "wav", "--labels", corpus / role]
        run(*command, "--state", folder / "state", "--out", folder / role, "--device", "cpu")
        embedded[role] = made_by
    command = ["embed", "--slice", json.dumps(embedded), "--units", corpus / "units/000.h5", "--device", "cpu"]
    command += ["--audio", corpus / "wav/000.h5", "--pits", folder / "pits", "--dyns", folder / "dyns"]
    run(*command, "--out", corpus / "units_pitdyn/000.h5")
    made_by = acoustic(embedded)
    place["units"] = [str(corpus / "units_pitdyn")]
    command = ["train", "--slice", json.dumps(made_by, sort_keys=True), "--data", json.dumps(place), "--device", "cpu"]
    command += ["--pits", folder / "pits", "--dyns", folder / "dyns", "--state", folder / "state"]
    run(*command, "--out", folder / "run")
    made_up.vocoder(folder)
    for name, value in (("embedded", embedded), ("made_by", made_by), ("place", place)):
        (folder / f"{name}.json").write_text(json.dumps(value, sort_keys=True))
    return folder


def acoustic(embedded: dict[str, Any], **training: Any) -> dict[str, Any]:
    made_by = made_up.made_by("literal", **training)
    made_by["units"] = {**made_by["units"], "dim": made_by["units"]["dim"] + ADDED}
    made_by["data"] = [{**made_by["data"][0], "units": [embedded]}]
    return {**made_by, "literal": {role: embedded[role] for role in ROLES}}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def alone(folder: Path, tmp_path: Path) -> Path:
    """The two runs that a conversion needs, with neither the classifiers nor the encoder's weights beside them."""
    for name in ("run", "vocoder"):
        (tmp_path / name).symlink_to(folder / name)
    (folder / "whisper.pt").unlink(missing_ok=True)
    return tmp_path


def test_a_run_folder_makes_of_a_recording_what_was_trained_on(folder: Path, alone: Path) -> None:
    converter = Converter.load(alone / "run", alone / "vocoder")
    corpus = folder / "corpus"
    with Shard(corpus / "units_pitdyn/000.h5", None) as embedded, Shard(corpus / "wav/000.h5", None) as recordings:
        assert embedded.dim == made_up.FEATURES["units"].dim + ADDED
        for utt_id, expected in embedded:
            found = converter.frames(torch.from_numpy(recordings.read(utt_id)[:, 0])).units
            np.testing.assert_allclose(found.numpy(), expected, rtol=2e-3, atol=2e-3)  # float16
    assert {"pits", "dyns"} < set(converter.models)


def test_a_recording_is_converted_and_its_contour_cannot_be_moved(alone: Path) -> None:
    converter = Converter.load(alone / "run", alone / "vocoder")
    wave = torch.from_numpy(literal.buzz(0.7, 150.0))
    made = converter(wave, "high")
    assert made.shape == (len(wave) // 320 * 320,) and np.isfinite(made).all() and np.abs(made).max() > 0
    with pytest.raises(InputError, match=r"transpose 2.0: .* told no contour"):
        converter(wave, "high", ConvertSettings(transpose=2.0))


def test_a_row_reads_the_shards(folder: Path, alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {**{name: made_up.reads(name) for name in made_up.FEATURES}, "units": read(folder, "embedded")}
    made_by = {
        "row": RowSettings(condition="literal").model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": {"loudness_lufs": -16.0},
        "wav": made_up.WAV,
        **streams,
    }
    folders = {name: folder / "corpus" / name for name in streams} | {"units": folder / "corpus/units_pitdyn"}
    (alone / "trials.csv").write_text("source,target,references\nlow-0,high,others\n")
    files = (alone / "run", alone / "vocoder", folder / "corpus/manifest.csv", folders, alone / "trials.csv")
    heard: list[torch.Tensor] = []
    real = Converter.mel

    def mel(self: Converter, source: Any, *rest: Any) -> torch.Tensor:
        heard.append(source.units)
        return real(self, source, *rest)

    monkeypatch.setattr(Converter, "mel", mel)
    render(made_by, *files, alone / "row/pairs.jsonl", made_up.CPU, 1)
    with Shard(folder / "corpus/units_pitdyn/000.h5", None) as shard:
        np.testing.assert_array_equal(heard[0], shard.read("low-0"))
    about = json.loads((alone / "row/system.json").read_text())
    assert about["models"]["pits"]["encoder"]["kind"] == "whisper"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "--pits and --dyns: expected the run folders of both .* found none"),
        ({"pits": "pits"}, "found pits for condition literal"),
        ({"pits": "dyns", "dyns": "pits"}, "dyns: made under other settings: embds is 'dyns'"),
        ({"pits": "pits", "dyns": "run"}, "run: expected the run of a classifier, found 'acoustic'"),
    ],
)
def test_classifiers_that_are_not_those_of_the_slice_are_refused(
    folder: Path, tmp_path: Path, given: dict[str, str], words: str
) -> None:
    runs_of = {role: folder / name for role, name in given.items()}
    files = ([read(folder, "place")], tmp_path / "state", tmp_path / "run", made_up.CPU)
    with pytest.raises(InputError, match=words):
        train_acoustic(read(folder, "made_by"), *files, classifiers=runs_of)


def test_a_condition_without_classifiers_takes_none(folder: Path, tmp_path: Path) -> None:
    files = ([read(folder, "place")], tmp_path / "state", tmp_path / "run", made_up.CPU)
    both = {role: folder / role for role in ROLES}
    with pytest.raises(InputError, match="found dyns, pits for condition none"):
        train_acoustic(made_up.made_by("none"), *files, classifiers=both)


def test_a_refined_run_keeps_the_classifiers(folder: Path, tmp_path: Path) -> None:
    before = runs.read_info(folder / "run")["slice"]
    training = AcousticTraining.model_validate({**before["training"], "steps": 1, "lr": 1e-9})
    made_by = {**before, "training": training.model_dump(mode="json", exclude=AcousticTraining.MACHINE)}
    both = {role: folder / role for role in ROLES}
    files = ([read(folder, "place")], tmp_path / "state", tmp_path / "run", made_up.CPU)
    train_acoustic({**made_by, "from": before, "same_speakers": True}, *files, base=folder / "run", classifiers=both)
    wave = torch.from_numpy(literal.buzz(0.5, 140.0))
    first, then = (Converter.load(path / "run", folder / "vocoder").frames(wave).units for path in (folder, tmp_path))
    assert torch.equal(first, then)
