"""A training whose job is cancelled, and whose process is killed: it goes on, to the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.project import Project
from tests.cluster.slurm import kill, run

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_training_survives_scancel_and_kill(reference: Project, tmp_path: Path) -> None:
    project = Project(tmp_path / "project").copy_of(reference, "runs", "state", "demo")
    head = project.start("train_hifigan_prematched")
    project.wait_for_step(40)
    run("scancel", project.job(0))
    project.job(1)
    project.wait_for_step(200)
    kill(project.process("vcpipe knnvc train"))
    project.finish(head)

    states = [run("squeue", "--states=all", "-h", "-o", "%T", "-j", project.job(n)).strip() for n in range(3)]
    assert states == ["CANCELLED", "FAILED", "COMPLETED"]
    first, cancelled, killed = project.resumed_at()
    assert first is None
    assert cancelled and cancelled >= 40, "a cancelled one saves its state on the spot"
    assert killed and killed >= 190 and killed % 10 == 0, "a killed one has what it saved on its way"
    assert project.model() == reference.model()
