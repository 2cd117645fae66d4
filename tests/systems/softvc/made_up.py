"""A corpus of two buzzing voices as shards, and run folders with tiny networks, for the tests of Soft-VC."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.systems.softvc.literal import buzz
from vcpipe.features import energy, f0, mel, tiny_random
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.settings import FeatureSettings
from vcpipe.store import write_shard
from vcpipe.systems.softvc import statistics
from vcpipe.systems.softvc.config import ACOUSTIC_REVISION, AcousticTraining
from vcpipe.systems.softvc.model_settings import ModelSettings
from vcpipe.systems.softvc.train import train_acoustic
from vcpipe.training import runs
from vcpipe.vocoders.config import REVISION as VOCODER_REVISION
from vcpipe.vocoders.config import TrainingSettings, generator_settings
from vcpipe.vocoders.task import build_generator

CPU = torch.device("cpu")
WAV = {"stage": "audio", "shards": 1}
FEATURES: dict[str, FeatureSettings] = {
    "units": tiny_random.Settings(),
    "mel": mel.Settings(preset="softvc", mels=16),
    "f0": f0.Settings(method="praat", ceil_hz=600),
    "energy": energy.Settings(hop=160),
}
VOICES = {"low": 110.0, "high": 220.0}
MODEL = {"prenet": 8, "channels": 16, "lstm": 12, "lstm_layers": 2, "convs": 1}


def reads(name: str) -> dict[str, Any]:
    """The slice of the shards of a stream."""
    return {"stage": "feature", "feature": FEATURES[name].content(), "reads": WAV}


def statistics_slice() -> dict[str, Any]:
    return {"stage": "statistics", "revision": 1, "f0": reads("f0"), "energy": reads("energy")}


def made_by(condition: str = "continuous", corpora: int = 1, **training: Any) -> dict[str, Any]:
    """The slice of an acoustic run."""
    values = {"preset": "cpu", "steps": 3, "batch": 2 * corpora, "warmup": 0, "validate_every": 2, "max_s": 0.5}
    values |= {"checkpoint_every": 1, "log_every": 1, "valid_utterances": 2, **training}
    data = {"share": 1 / corpora, "shards": 1, **{name: [reads(name)] for name in FEATURES}}
    return {
        "stage": "train",
        "task": "acoustic",
        "revision": ACOUSTIC_REVISION,
        "system": "softvc",
        "condition": condition,
        "model": ModelSettings.model_validate(MODEL).model_dump(mode="json"),
        "units": {"grid": "16000/320", "dim": FEATURES["units"].dim, "n": 0},
        "mel": {"grid": "16000/160", "dim": 16},
        "features": {name: settings.content() for name, settings in FEATURES.items()},
        "training": AcousticTraining.model_validate(values).model_dump(mode="json", exclude=AcousticTraining.MACHINE),
        "data": [{**data, "statistics": statistics_slice()}] * corpora,
    }


def write_corpus(folder: Path, voices: dict[str, float] = VOICES) -> dict[str, Any]:
    """Manifest, shards and statistics of three utterances of each voice, the first of them held out; where they lie."""
    waves = {f"{v}-{i}": buzz(0.5 + 0.1 * i, hz + 3 * i, seed=i) for v, hz in voices.items() for i in range(3)}
    rows = [
        Utterance(k, k.split("-")[0], k, len(w), 16000, split="valid" if k.endswith("0") else "train")
        for k, w in waves.items()
    ]
    write_table(folder / "manifest.csv", rows, Utterance)
    place: dict[str, Any] = {"manifest": str(folder / "manifest.csv"), "statistics": str(folder / "voices.json")}
    audio = ((k, w[:, None]) for k, w in waves.items())
    write_shard(folder / "wav/000.h5", audio, made_by=WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    for name, settings in FEATURES.items():
        module = {"units": tiny_random, "mel": mel, "f0": f0, "energy": energy}[name]
        extract = module.load(settings, CPU)  # type: ignore[attr-defined]
        write_shard(
            folder / name / "000.h5",
            ((k, np.asarray(extract(torch.from_numpy(w)))) for k, w in waves.items()),
            made_by=reads(name),
            grid=settings.grid,
            dim=settings.dim,
            dtype=settings.dtype,
        )
        place[name] = [str(folder / name)]
    statistics.write_statistics(
        statistics_slice(), folder / "manifest.csv", folder / "f0", folder / "energy", Path(place["statistics"])
    )
    return place


def train(folder: Path, place: dict[str, Any], condition: str = "continuous", **training: Any) -> Path:
    """A run folder of three steps."""
    train_acoustic(made_by(condition, **training), [place], folder / "state", folder / "run", CPU)
    return folder / "run"


def vocoder(folder: Path, generator: str = "mel_source_filter_small") -> Path:
    """A run folder of a vocoder with random weights."""
    pitched = generator.startswith("mel_source_filter")
    small = {"width": 8, "depth": 1, "quefrencies": 8} if pitched else {"width": 8, "depth": 1}
    settings = generator_settings({"preset": generator, **small}, "generator")
    dim = 18 if pitched else 16
    torch.manual_seed(0)
    network = build_generator(settings, dim, 160, normed=False)
    about = {
        "stage": "train",
        "task": "vocoder",
        "revision": VOCODER_REVISION,
        "system": "softvc",
        "generator": settings.model_dump(mode="json"),
        "training": TrainingSettings(steps=1).model_dump(mode="json"),
        "units": {"grid": "16000/160", "dim": dim},
        "features": {name: FEATURES[name].content() for name in (("mel", "f0") if pitched else ("mel",))},
    }
    runs.publish(folder / "vocoder", {"model": (dict(network.state_dict()), 1)}, [], about, {})
    return folder / "vocoder"
