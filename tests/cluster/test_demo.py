"""The demo from nothing to its page through SLURM, with a job lost and the config edited on the way."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.cluster.project import Project
from tests.cluster.slurm import kill, run, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

FEATURES = "results/features/whisper_l2/demo"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One feature job was killed; config.yaml asked for another layer before any feature was made."""
    project = Project(tmp_path_factory.mktemp("demo") / "a project").make()
    head = project.start("train_hifigan_prematched", "demo")
    project.job(0)
    config = project.folder / "config.yaml"
    config.write_text(config.read_text().replace("layer: 2", "layer: 1"))
    kill(project.process(f"vcpipe extract .*{FEATURES}/001.h5"))
    others = [project.folder / FEATURES / f"{shard}.h5" for shard in ("000", "002")]
    wait_for(lambda: all(path.exists() for path in others), "the other shards", 180)
    inodes = [path.stat().st_ino for path in others]
    project.finish(head)
    assert [path.stat().st_ino for path in others] == inodes
    return project


def test_every_stage_ran_as_a_job_of_its_own(finished: Project) -> None:
    # the gathering of a table, the page and the target itself are no work for a queue
    rules = Counter(re.findall(r"^rule (\w+):", finished.printed(), re.M))
    assert set(rules) == {
        "make_corpus", "prepare_audio", "extract", "prematch", "train_hifigan_prematched", "render_knnvc", "judge",
    }  # fmt: skip
    states = run("squeue", "--states=all", "--noheader", "--format=%T", "--name", finished.run_name()).split()
    assert Counter(states) == {"COMPLETED": sum(rules.values()) - 1, "FAILED": 1}


def test_a_killed_feature_job_costs_its_shard_only(finished: Project) -> None:
    shards = re.findall(r"wildcards: feature=whisper_l2, corpus=demo, shard=(\d+)", finished.printed())
    assert Counter(shards) == {"000": 1, "001": 2, "002": 1}


def test_a_run_keeps_the_config_that_it_was_started_with(finished: Project, reference: Project) -> None:
    made, expected = (project.made("audio", "features", "corpora") for project in (finished, reference))
    assert made.keys() == expected.keys()
    assert [name for name in made if made[name] != expected[name]] == []


def test_weights_and_marks_are_those_of_a_run_without_slurm(finished: Project, reference: Project) -> None:
    assert finished.model() == reference.model()
    ours, theirs = (
        json.loads((p.folder / "results/demo/knnvc/metrics.json").read_text())["measures"]
        for p in (finished, reference)
    )
    assert ours | {"rtf": 0} == theirs | {"rtf": 0}
    assert (finished.folder / "results/demo/knnvc/index.html").stat().st_size > 1000


def test_the_next_run_sees_the_edit(finished: Project) -> None:
    planned = finished.local("demo", options=["--dry-run"])
    assert Counter(re.findall(r"^rule (\w+):", planned, re.M))["extract"] == 3, planned
