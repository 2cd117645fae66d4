"""Tiny encoders, a corpus of buzzing voices and the slices of classifiers, for the tests of the literal variant."""

import numpy as np
import torch

from tests.nn import encoder_files, whisper_files
from vcpipe.features import energy, f0, hubert_soft, whisper
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.nn.whisper import Size
from vcpipe.settings import check
from vcpipe.store import write_shard
from vcpipe.systems.softvc.classifier_settings import REVISION, ClassifierSettings, ClassifierTraining

CPU = torch.device("cpu")
WAV = {"stage": "audio", "shards": 1}
SIZE = Size(n_mels=80, width=64, heads=1, layers=2, frames=1500)
FEATURES = {
    "pits": f0.Settings(method="praat", hop=320),
    "dyns": energy.Settings(hop=320),
}


def labels_slice(embds):
    return {"stage": "feature", "feature": FEATURES[embds].content()}


def encoder(folder, kind="whisper"):
    """The content of a feature whose encoder is tiny and random, its weights in `folder`."""
    path = folder / f"{kind}.pt"
    if kind == "whisper":
        torch.save(whisper_files.openai(whisper_files.random_encoder(SIZE)), path)
        return whisper.Settings(weights=str(path), layer=1, width=64).content()
    torch.save(encoder_files.SoftVC().released(), path)
    return hubert_soft.Settings(weights=str(path)).content()


def made_by(content, embds="pits", classifier=None, **training):
    """The slice of a run."""
    values = {"preset": "cpu", "steps": 6, "batch": 2, "segment_frames": 20, "warmup": 0, "log_every": 2}
    values |= {"validate_every": 3, "checkpoint_every": 2, "valid_max_s": 1.0, **training}
    return {
        "stage": "train",
        "task": "classifier",
        "revision": REVISION,
        "system": "softvc",
        "embds": embds,
        "encoder": content,
        "classifier": check(ClassifierSettings, classifier or {}, "c").model_dump(mode="json"),
        "training": check(ClassifierTraining, values, "t").model_dump(mode="json"),
        "wav": WAV,
        "labels": labels_slice(embds),
    }


def buzz(seconds, hz, seed=0):
    """`(N,)` float32: a voice that comes and goes, whose samples are no whole number of frames."""
    n = round(seconds * 16000) + 77
    t = np.arange(n) / 16000
    voice = 0.3 * np.sign(np.sin(2 * np.pi * hz * t)) * (np.sin(2 * np.pi * 1.5 * t) > 0)
    return (voice + np.random.default_rng(seed).normal(0, 0.003, n)).astype(np.float32)


def write_corpus(folder, count=6, seconds=1.0):
    """A manifest, audio shards, and shards of f0, of loudness and of units; the recordings by name."""
    waves = {f"u{i}": buzz(seconds + 0.2 * i, 110 * 1.3**i, seed=i) for i in range(count)}
    rows = [Utterance(k, "s", k, len(w), 16000, split="valid" if k < "u2" else "train") for k, w in waves.items()]
    write_table(folder / "manifest.csv", rows, Utterance)
    audio = ((k, w[:, None]) for k, w in waves.items())
    write_shard(folder / "wav/000.h5", audio, made_by=WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    write_labels(folder, waves)
    return waves


def write_labels(folder, waves):
    """Shards of f0 and of loudness on the grid of the encoder."""
    for embds, module in (("pits", f0), ("dyns", energy)):
        settings = FEATURES[embds]
        extract = module.load(settings)
        found = ((k, extract(w)) for k, w in waves.items())
        write_shard(
            folder / embds / "000.h5",
            found,
            made_by=labels_slice(embds),
            grid=settings.grid,
            dim=settings.dim,
            dtype="float32",
        )
