"""The loss of the snakemake that started the jobs, and the recovery that docs/CLUSTER.md tells, word for word."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.project import ROOT, Project
from tests.cluster.slurm import kill, run, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

SHARDS = [f"results/features/prematched/demo/{shard}.h5" for shard in ("000", "001", "002")]


def test_jobs_that_outlived_their_head_are_neither_in_the_way_nor_taken_on_trust(
    reference: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project").copy_of(reference, "features/prematched", "runs", "state", "demo")
    project.local(options=["--cleanup-metadata", *SHARDS])  # as if they had never been made here
    head = project.start("train_hifigan_prematched")
    running = project.process(f"vcpipe knnvc prematch .*{SHARDS[2]}")
    kill(running, signal.SIGSTOP)
    os.kill(head.pid, signal.SIGKILL)
    head.wait()
    states = ["squeue", "--states=all", "-h", "-o", "%T", "--name", project.run_name()]
    wait_for(lambda: sorted(run(*states).split()) == ["COMPLETED", "COMPLETED", "RUNNING"], "the others", 180)

    page = (ROOT / "docs" / "CLUSTER.md").read_text()
    recipe = re.search(r"^```\n(name=.*?)^```", page, re.M | re.S)
    assert recipe
    printed = project.type(recipe[1].replace("profiles/mine demo", "profiles/mine train_hifigan_prematched"))

    assert re.findall("^removed '(.*)'", printed, re.M) == SHARDS[:2]
    assert sorted(run(*states).split()) == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert project.made("features") == reference.made("features")
    assert project.model() == reference.model()
    config = project.folder / "config.yaml"
    config.write_text(config.read_text().replace("topk: 4", "topk: 3"))
    planned = project.local("train_hifigan_prematched", options=["--dry-run"])
    assert Counter(re.findall(r"^rule (\w+):", planned, re.M))["prematch"] == 3, planned
