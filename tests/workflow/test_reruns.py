"""What runs again after one edit, and what does not: a small corpus, tiny networks, the real Snakefile."""

from __future__ import annotations

import copy
import shutil
import time

import pytest

from tests.workflow.project import SHARDS, Jobs, Project, with_softvc
from vcpipe.manifest import speaker_shard

CONVERTED, JUDGED = "results/demo/softvc/pairs.jsonl", "results/demo/softvc/protocol.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("a project"), with_softvc)
    project.snakemake("train_hifigan_prematched", CONVERTED)
    return project


@pytest.fixture
def project(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The finished project, whose config a test may edit."""
    monkeypatch.setattr(finished, "config", copy.deepcopy(finished.config))
    return finished


def every_shard(*rules: str, feature: str = "") -> Jobs:
    return {(rule, f"{feature} {s:03d}".strip()) for rule in rules for s in range(SHARDS)}


TRAIN: Jobs = {("train_hifigan_prematched", "")}


def test_the_run_folder_is_whole_and_holds_what_inference_needs(finished: Project) -> None:
    names = {p.name for p in (finished.folder / "results/runs/hifigan_prematched").iterdir()}
    assert {"model.safetensors", "config.json", "metrics.csv"} <= names


def test_touching_nothing_runs_nothing(project: Project) -> None:
    assert project.planned() == set()
    assert "Nothing to be done" in project.snakemake("train_hifigan_prematched")


def test_a_comment_or_the_order_of_keys_runs_nothing(project: Project) -> None:
    project.config = {key: project.config[key] for key in reversed(project.config)}
    assert project.planned() == set()


def test_one_key_of_a_feature_runs_that_feature_and_what_depends_on_it(project: Project) -> None:
    project.config["features"]["tiny"]["seed"] = 3
    assert project.planned() == every_shard("extract", feature="tiny") | every_shard("prematch") | TRAIN


def test_one_key_of_the_trainer_runs_the_trainer_alone(project: Project) -> None:
    project.config["knnvc"]["training"]["lr"] = 1e-4
    assert project.planned() == TRAIN


def test_one_key_of_prematching_runs_from_there(project: Project) -> None:
    project.config["knnvc"]["prematch"]["topk"] = 3
    assert project.planned() == every_shard("prematch") | TRAIN


def test_the_conversion_settings_do_not_run_the_training(project: Project) -> None:
    project.config["knnvc"]["convert"] = {"topk": 2}
    assert project.planned() == set()


def test_how_the_machine_is_used_and_what_is_tolerated_run_nothing(project: Project) -> None:
    project.config["knnvc"]["training"] |= {"workers": 1, "log_every": 7}
    project.config["corpora"]["mine"]["max_reject_share"] = 0.5
    assert project.planned() == set()


def test_the_audio_settings_run_everything(project: Project) -> None:
    project.config["audio"]["16k"]["min_s"] = 0.4
    features = every_shard("extract", feature="tiny") | every_shard("extract", feature="other")
    assert project.planned() == every_shard("prepare_audio", "prematch") | features | {("manifest", "")} | TRAIN


ACOUSTIC: Jobs = {("train_acoustic", "pitdyn_continuous"), ("render_softvc", "softvc")}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("softvc.convert.transpose", 12, {("render_softvc", "softvc")}),
        ("softvc.vocoder.training.lr", 1e-4, {("train_soft_vocoder", ""), ("render_softvc", "softvc")}),
        ("softvc.training.lr", 1e-4, ACOUSTIC),
        ("features.energy.win", 800, every_shard("extract", feature="energy") | {("soft_statistics", "")} | ACOUSTIC),
        ("knnvc.training.lr", 1e-4, TRAIN),
    ],
)
def test_one_key_of_a_system_runs_nothing_of_the_other(
    project: Project, key: str, value: object, expected: Jobs
) -> None:
    """The row of the second one is converted and waits for its judge."""
    *sections, name = key.split(".")
    at = project.config
    for section in sections:
        at = at.setdefault(section, {})
    at[name] = value
    planned = project.planned("train_hifigan_prematched", JUDGED, keys=("feature", "acoustic", "row", "shard"))
    assert planned == expected | {("judge", "softvc")}


def test_a_new_speaker_runs_one_shard_of_each_stage(project: Project) -> None:
    folder = project.corpus / "newcomer"
    shutil.copytree(project.corpus / "spk0", folder)
    try:
        shard = f"{speaker_shard('newcomer', SHARDS):03d}"
        assert (
            project.planned()
            == {
                ("prepare_audio", shard),
                ("extract", f"tiny {shard}"),
                ("extract", f"other {shard}"),
                ("prematch", shard),
                ("manifest", ""),
            }
            | TRAIN
        )
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("section", "key", "words"),
    [
        ("knnvc", "prematchh", "'knnvc.prematchh' is unknown; did you mean 'prematch'"),
        ("features", "tinny", "config key 'features.tinny'"),
        ("audio", "rate", "'audio.rate': settings belong to a named copy"),
    ],
)
def test_a_wrong_key_stops_before_any_job(project: Project, section: str, key: str, words: str) -> None:
    project.config[section][key] = 1
    started = time.monotonic()
    output = project.snakemake("train_hifigan_prematched", check=False)
    assert words in output and "Traceback" not in output
    assert "rule " not in output, f"a job was planned within {time.monotonic() - started:.1f} s"
