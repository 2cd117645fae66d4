"""Run folders with tiny vocoders and tiny features."""

from pathlib import Path
from typing import Any

import pytest
import torch

from vcpipe.features import envelope, f0, tiny_random
from vcpipe.settings import FeatureSettings
from vcpipe.training import runs
from vcpipe.vocoders.config import REVISION, TrainingSettings, generator_settings
from vcpipe.vocoders.task import build_generator

SOURCE_FILTER = {"preset": "source_filter_small", "width": 8, "depth": 1, "bands": 16, "parts": 2}


def publish(folder: Path, generator: dict[str, Any], features: dict[str, FeatureSettings]) -> Path:
    """What training would leave: random weights over all features but the one for matching."""
    settings = generator_settings(generator, "generator")
    grid, dim = features["match"].grid, sum(f.dim for name, f in features.items() if name != "match")
    torch.manual_seed(0)
    vocoder = build_generator(settings, dim, grid.hop, normed=False)
    made_by: dict[str, Any] = {
        "stage": "train",
        "task": "vocoder",
        "revision": REVISION,
        "system": "knnvc",
        "generator": settings.model_dump(mode="json"),
        "training": TrainingSettings(steps=1).model_dump(mode="json"),
        "units": {"grid": str(grid), "dim": dim},
        "features": {name: feature.content() for name, feature in features.items()},
    }
    runs.publish(folder / "run", {"model": (dict(vocoder.state_dict()), 7)}, [], made_by, {})
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Vocos over `tiny_random` frames."""
    units = tiny_random.Settings()
    generator = {"preset": "vocos_small", "width": 16, "depth": 2}
    return publish(tmp_path_factory.mktemp("tiny"), generator, {"match": units, "synthesis": units})


@pytest.fixture(scope="session")
def streams_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small source-filter vocoder, which hears content and F0 beside an envelope."""
    units = tiny_random.Settings()
    features: dict[str, FeatureSettings] = {
        "match": units,
        "synthesis": envelope.Settings(bands=16, parts=2),
        "content": units,
        "pitch": f0.Settings(method="praat", hop=320, ceil_hz=600),
    }
    return publish(tmp_path_factory.mktemp("streams"), SOURCE_FILTER, features)
