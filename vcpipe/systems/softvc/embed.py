"""Units with what the classifiers make of the same frames beside them: what the literal variant's decoder hears.

Columns: the units, 256 of pitch, 256 of dynamics. The bins are only labels of the training; what is passed on is the
embedding before the softmax, as in hubert-pitdyn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vcpipe.config import feature_settings
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.features.extract import Recording
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings, Slice
from vcpipe.store import Shard, difference, write_shard
from vcpipe.systems.softvc import classifier_task
from vcpipe.systems.softvc.classifier import DIM, Classifier
from vcpipe.systems.softvc.classifier_settings import GRID, Embds
from vcpipe.systems.softvc.literal_settings import EMBED_REVISION as REVISION
from vcpipe.systems.softvc.literal_settings import ROLES
from vcpipe.training import runs

log = logging.getLogger(__name__)


class _Settings(FeatureSettings):
    """What an extractor is asked: the frames of a classifier."""

    REVISION: ClassVar[int] = REVISION
    kind: Literal["classifier"] = "classifier"

    @property
    def grid(self) -> Grid:
        """That of the encoder."""
        return GRID

    @property
    def dim(self) -> int:
        """Columns of an embedding."""
        return DIM


class Embeddings(Extractor):
    """`(N,)` samples at 16 kHz to `(N // 320, 256)`: the classifier's embeddings, by the `forward` it was trained with.

    Args:
        model: of a run folder.
        device: where it runs.
        window_s, margin_s: seconds, as of the feature whose encoder it is.
    """

    def __init__(self, model: Classifier, device: torch.device, window_s: float, margin_s: float):
        window, margin = (GRID.samples(round(s * GRID.fps)) for s in (window_s, margin_s))
        super().__init__(_Settings(), device, window, margin)
        self.model, self.ragged = model.to(device), model.encoder.ragged

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32 in [-1, 1], zero beyond `lengths (B,)`, to `(B, max T, 256)`."""
        embeddings: Tensor = self.model(waves, lengths)[0]
        return embeddings


def load(run: Path, device: torch.device, expect: Slice | None, embds: Embds) -> Embeddings:
    """The extractor of a run folder, which needs nothing beside it.

    Args:
        run: of the classifier.
        device: where it runs.
        expect: the slice that it must have been trained under; None takes any.
        embds: what it must tell apart.

    Raises:
        InputError: when the folder is no run of a classifier, or another one's.
    """
    model, info = runs.load(run, classifier_task, device)
    found = info["slice"]
    if expect is not None and (words := difference(found, expect)):
        raise InputError(f"{run}: made under other settings: {words}; train it again with snakemake")
    if found["embds"] != embds:
        raise InputError(f"{run}: tells {found['embds']} apart, expected {embds}; give the two runs in their order")
    return of_model(model, found, device)


def of_model(model: nn.Module, made_by: Mapping[str, Any], device: torch.device) -> Embeddings:
    """The extractor of a trained classifier, whose run was made under a slice."""
    settings: Any = feature_settings(made_by["encoder"])
    assert isinstance(model, Classifier)
    return Embeddings(model, device, settings.window_s, settings.margin_s)


def embed_shard(
    made_by: Slice, units: Path, audio: Path, pits: Path, dyns: Path, out: Path, device: torch.device
) -> None:
    """The embeddings of every utterance that is in a shard of units and in one of recordings, beside its units.

    Args:
        made_by: slice with, under `units`, `wav`, `pits` and `dyns`, those of what is read.
        units: shard of the units.
        audio: shard of the same recordings at 16 kHz, or of a changed copy, whose pitch and dynamics are then heard.
        pits, dyns: run folders of the classifiers.
        out: the shard `(T, D + 512)`.
        device: where the classifiers run.
    """
    started = time.monotonic()
    folders = dict(zip(ROLES, (pits, dyns), strict=True))
    extractors = [load(folders[role], device, made_by[role], role) for role in ROLES]
    with Shard(units, made_by["units"]) as own, Shard(audio, made_by["wav"]) as recordings:
        if own.grid != GRID:
            raise InputError(f"{units}: grid {own.grid}, expected {GRID}, that of the classifiers; name other units")
        dim = own.dim + len(ROLES) * DIM
        rows = _rows(own, recordings, extractors)
        count = write_shard(out, rows, made_by=made_by, grid=GRID, dim=dim, dtype="float16")
    log.info("%s: %d utterances in %.1f s", out, count, time.monotonic() - started)


def _rows(units: Shard, recordings: Shard, extractors: list[Embeddings]) -> Iterator[tuple[str, NDArray[Any]]]:
    for utt_id, frames in units:
        if utt_id not in recordings:  # a changed copy may have rejected it, and then has no mel of it either
            continue
        wave = Recording(recordings, utt_id)
        if GRID.frames(wave.shape[0]) != len(frames):
            raise InputError(
                f"{units.path}: {utt_id} has {len(frames)} frames, expected {GRID.frames(wave.shape[0])} as in "
                f"{recordings.path}; make both again with snakemake"
            )
        yield utt_id, np.concatenate([frames, *(extractor(wave).numpy() for extractor in extractors)], axis=1)
