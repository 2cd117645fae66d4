"""A run folder with a tiny vocoder and tiny features."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vcpipe.features import tiny_random
from vcpipe.training import runs
from vcpipe.vocoders.config import REVISION, TrainingSettings, generator_settings
from vcpipe.vocoders.task import build_generator


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What training would leave: random weights of a small Vocos over `tiny_random` frames."""
    generator = generator_settings({"preset": "vocos_small", "width": 16, "depth": 2}, "generator")
    units = tiny_random.Settings()
    torch.manual_seed(0)
    vocoder = build_generator(generator, units.dim, units.grid.hop, normed=False)
    made_by: dict[str, Any] = {
        "stage": "train",
        "task": "vocoder",
        "revision": REVISION,
        "system": "knnvc",
        "generator": generator.model_dump(mode="json"),
        "training": TrainingSettings(steps=1).model_dump(mode="json"),
        "units": {"grid": str(units.grid), "dim": units.dim},
        "features": {"match": units.content(), "synthesis": units.content()},
    }
    folder = tmp_path_factory.mktemp("tiny")
    runs.publish(folder / "run", {"model": (dict(vocoder.state_dict()), 7)}, [], made_by, {})
    return folder / "run"
