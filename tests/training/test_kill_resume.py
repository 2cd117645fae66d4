"""Trainings that are killed go on bit for bit: a small part of the benchmark, in a process of its own, for it forks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "kill_resume.py"
INSIDE = "30"
"""A seed that draws aimed kills from inside alone: those from outside come later by up to 5 ms, perhaps elsewhere."""
FORGETFUL = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from benchmarks import kill_resume
from vcpipe.loader import Loader
Loader.load_state = lambda self, state: None
kill_resume.main()
"""


def run(*arguments: str) -> tuple[int, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_killed_trainings_go_on_bit_for_bit() -> None:
    """One kill inside a checkpoint's files, one at a random time, one in a validation; several in one life."""
    tasks = ("vocos", "hifigan", "acoustic", "classifier")
    status, told = run(str(SCRIPT), "--kills", "3", "--stops", "1", "--steps", "36", "--seed", INSIDE, "--task", *tasks)
    assert status == 0, told
    for task in tasks:
        assert re.search(rf"^{task} +3 +\d+ +3 +0 .*validation \d.*files \d", told, re.MULTILINE), told
    assert "4 stops by SIGTERM and SIGUSR1" in told


@pytest.mark.slow
def test_a_training_that_goes_on_elsewhere_in_its_data_is_noticed() -> None:
    arguments = ("--kills", "1", "--stops", "0", "--steps", "20", "--task", "vocos", "--seed", "1")
    status, told = run("-c", FORGETFUL, *arguments)
    assert status == 1, told
    assert re.search(r"FAILED \(--kills 1 --task vocos --steps 20 --seed 1 --only 0\): files 0\.\d+", told), told
    assert re.search(r"row .*train/loss.*, expected .*train/loss", told), told


@pytest.mark.slow
def test_signals_that_reach_the_workers_too_are_obeyed_by_the_training_alone() -> None:
    status, told = run(str(SCRIPT), "--kills", "0", "--stops", "2", "--steps", "20", "--task", "workers")
    assert status == 0, told
    assert "2 stops by SIGTERM and SIGUSR1" in told
