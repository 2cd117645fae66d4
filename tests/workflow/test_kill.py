"""A run that is killed while it prepares and extracts, and the same command again: a small part of the benchmark."""

from __future__ import annotations

import base64
import copy
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kill_pipeline import RECORDS, Kill, Pipeline, Quiet, attempt_in_time, quiet_run

pytestmark = [pytest.mark.slow, pytest.mark.workflow]

CONFIG: dict[str, Any] = {
    "corpora": {"demo": {"kind": "demo", "shards": 2, "speakers": 4, "utterances": 3}},
    "audio": {"16k": {}},
    "features": {
        "pitch": {"kind": "f0", "method": "praat"},
        "loudness": {"kind": "energy", "measure": "rms_db"},
        "contour": {"kind": "log_f0", "of": "pitch"},
    },
}
TARGETS = ("features", "results/audio/16k/demo/manifest.csv")
CORES = 2


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Quiet:
    """What a run leaves that nobody disturbed."""
    return quiet_run(Pipeline(tmp_path_factory.mktemp("kill") / "quiet", CONFIG, TARGETS, CORES))


@pytest.fixture
def make(tmp_path: Path) -> Callable[[int], Pipeline]:
    """A project of its own for every attempt."""
    return lambda number: Pipeline(tmp_path / f"a project {number}", CONFIG, TARGETS, CORES)


def test_a_killed_run_is_finished_by_the_same_command_and_knows_what_made_every_file(
    quiet: Quiet, make: Callable[[int], Pipeline]
) -> None:
    pipeline, outcome = attempt_in_time(make, Kill(0, "write", 0.5, 0.0), quiet, signal.SIGKILL)
    assert not outcome.late
    assert outcome.faults == []
    unknown = base64.urlsafe_b64encode(b"results/features/pitch/demo/001.h5").decode()
    (pipeline.folder / RECORDS[0] / unknown).unlink()  # as of a job that went on when its head was killed
    config = copy.deepcopy(CONFIG)
    config["features"]["pitch"]["floor_hz"] = 60
    pipeline.configure(config)
    status, words = pipeline.run("--dry-run", *TARGETS)
    assert status == 0, words
    planned = re.findall(r"\nrule (extract|derive):.*?feature=(\w+), corpus=demo, shard=(\d+)", words, re.DOTALL)
    assert set(planned) == {
        (rule, feature, shard)
        for rule, feature in (("extract", "pitch"), ("derive", "contour"))
        for shard in ("000", "001")
    }


def test_after_ctrl_c_nothing_needs_to_be_unlocked(quiet: Quiet, make: Callable[[int], Pipeline]) -> None:
    _, outcome = attempt_in_time(make, Kill(1, "rename", 0.6, 0.0), quiet, signal.SIGINT)
    assert not outcome.late
    assert outcome.faults == []
