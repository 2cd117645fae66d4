"""What is lost with a node, and with the process that started it all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import slurm
from tests.cluster.project import Project

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_training_survives_the_loss_of_its_node(reference: Project, daemons: Path, tmp_path: Path) -> None:
    project = Project(tmp_path / "project").copy_of(reference, "runs", "state", "demo")
    project.edit_profile("# slurm_partition: cpu", f"slurm_partition: {slurm.SPARE}")
    head = project.start("train_hifigan_prematched")
    project.wait_for_step(40)
    slurm.lose_node(daemons, slurm.SPARE)
    slurm.start_node(daemons, slurm.SPARE)
    project.finish(head)

    # one owner of retries: SLURM starts nothing again by itself
    states = [slurm.run("squeue", "--states=all", "-h", "-o", "%T", "-j", project.job(n)).strip() for n in range(2)]
    assert states == ["NODE_FAIL", "COMPLETED"]
    first, second = project.resumed_at()
    assert first is None and second and second % 10 == 0
    assert project.model() == reference.model()
