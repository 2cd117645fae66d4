"""A training that is longer than its job may be."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.cluster.project import Project
from tests.cluster.slurm import kill, run

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_a_training_saves_its_state_when_its_time_is_up_and_goes_on_with_more(
    reference: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project").copy_of(reference, "runs", "state", "demo")
    head = project.start("train_hifigan_prematched")
    project.wait_for_step(20)
    # A minute is SLURM's shortest limit, and it looks twice a minute. Meanwhile the training stands still, or it
    # would be done: at its limit SLURM wakes it (SIGCONT) and tells it to stop (SIGTERM).
    run("scontrol", "update", f"JobId={project.job(0)}", "TimeLimit=1")
    kill(project.process("vcpipe knnvc train"), signal.SIGSTOP)
    project.finish(head)

    shown = [run("squeue", "--states=all", "-h", "-o", "%T %l", "-j", project.job(n)).split() for n in range(2)]
    assert shown == [["TIMEOUT", "1:00"], ["COMPLETED", "16:00:00"]]
    first, second = project.training_logs()
    stopped = re.search(r"signal 15.* step (\d+)", first)
    assert stopped and project.resumed_at() == [None, int(stopped[1])], first + second
    assert project.model() == reference.model()
