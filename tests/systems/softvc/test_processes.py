"""Trainings of several processes against the plain one, through the command line.

In float64: an instance norm leaves of some biases a gradient that is rounding alone, and Adam makes whole steps of it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.systems.softvc import made_up
from vcpipe.weights import read_safetensors

MODULE = "tests.training.in_float64"
FROZEN = {"freeze_decoder": 2, "weight_decay": 0.5}
"""The decoder stays as it is for two steps: decay alone would move it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made_up.write_corpus(tmp_path_factory.mktemp("corpus"))


def train(folder: Path, places: list[dict[str, Any]], processes: int = 1) -> tuple[dict[str, Tensor], str]:
    """The weights of a training without dropout, which every process draws for itself, and what it told."""
    made_by = made_up.made_by(corpora=len(places), steps=6, batch=4, validate_every=6, checkpoint_every=6, **FROZEN)
    made_by["model"]["dropout"] = 0.0
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *start, "-m", MODULE, "softvc", "train", "--slice", json.dumps(made_by)]
    for each in places:
        command += ["--data", json.dumps(each)]
    command += ["--state", str(folder / "state"), "--out", str(folder / "run"), "--device", "cpu", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_safetensors(folder / "run" / "model.safetensors")[0], done.stderr


def test_two_processes_train_as_one(tmp_path: Path, place: dict[str, Any]) -> None:
    """Buckets of unlike lengths on either process, padding, a batch that two corpora share, a frozen decoder."""
    alone, _ = train(tmp_path / "alone", [place] * 2)
    pair, told = train(tmp_path / "pair", [place] * 2, processes=2)
    assert told.count("step 6/6  loss") == 1, "the first process speaks for both"
    assert alone.keys() == pair.keys()
    assert max(float((alone[key] - pair[key]).abs().max()) for key in alone) <= 1e-9
