"""The stage: from shards to the run folder of a classifier of pitch or of dynamics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vcpipe.columns import Column, Variant
from vcpipe.data import Crops, Whole, fixed_subset
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.loader import Loader
from vcpipe.manifest import Utterance, read_table, shard_names
from vcpipe.settings import Slice
from vcpipe.systems.softvc import classifier_task as task
from vcpipe.systems.softvc.classifier_settings import GRID, ClassifierTraining, of_slice
from vcpipe.systems.softvc.labels import COLUMNS
from vcpipe.training import machine
from vcpipe.training.loop import Loaders
from vcpipe.training.loop import train as run_loop
from vcpipe.training.runs import Info
from vcpipe.training.settings import check_machine


def train_classifier(
    made_by: Slice,
    manifest: Path,
    audio: Path,
    labels: Path,
    state: Path,
    out: Path,
    device: torch.device,
    hardware: Mapping[str, Any] | None = None,
) -> Info:
    """Trains a classifier on the train split of a corpus, or goes on where the same slice was interrupted.

    Crops begin on frames of the encoder, that is on multiples of 320 samples, and come in another order each epoch.

    Args:
        made_by: slice of the run; `wav` and `labels` are the slices of the shards.
        manifest: of the whole corpus, with splits.
        audio: folder of the audio shards, at 16 kHz.
        labels: folder of the shards of f0 or of RMS in dB, 50 rows a second.
        state: folder for what an interrupted run needs.
        out: run folder.
        device: where the model is; under torchrun every process takes its own of that kind.
        hardware: keys of the training that decide how the machine is used and none of the numbers.
    """
    check_machine(hardware or {}, ClassifierTraining.MACHINE)
    cfg = of_slice({**made_by, "training": {**made_by["training"], **(hardware or {})}}, "--slice")
    utterances = read_table(manifest, Utterance)
    shards = shard_names(made_by["wav"]["shards"])

    def columns(utt_ids: list[str]) -> list[Column]:
        def column(name: str, folder: Path) -> Column:
            return Column(name, [Variant(tuple(folder / f"{n}.h5" for n in shards), made_by[name])], utt_ids)

        return [
            _fitting(column("labels", labels), GRID, COLUMNS[cfg.embds]),
            _fitting(column("wav", audio), Grid(GRID.rate, 1), 1),
        ]

    split = {name: [u.utt_id for u in utterances if u.split == name] for name in ("train", "valid")}
    for name, utt_ids in split.items():
        if not utt_ids:
            raise InputError(f"{manifest}: no utterance of split '{name}'; give the corpus one (corpora: splits)")
    training = cfg.training
    learnt = columns(split["train"])
    drawn = manifest.read_bytes() + json.dumps([column.checksums for column in learnt]).encode()
    runs_on = machine.start(device, training)
    crops = Crops(
        learnt,
        split["train"],
        frames=training.segment_frames,
        batch=runs_on.share(training.batch),
        seed=training.seed,
        cache_mib=training.cache_mib,
        rank=runs_on.rank,
        world=runs_on.world,
    )
    held_out = columns(split["valid"])
    usable = [i for i in split["valid"] if all(i in column for column in held_out)]
    max_frames = max(1, int(training.valid_max_s * GRID.rate) // GRID.hop)
    valid = Whole(held_out, fixed_subset(usable, training.valid_utterances), max_frames)
    loaders = Loaders(Loader(crops, training.workers), valid)
    data = hashlib.blake2b(drawn, digest_size=16).hexdigest()
    return run_loop(
        task, cfg, training, loaders, machine=runs_on, made_by=made_by, run_dir=out, state_dir=state, data=data
    )


def _fitting(column: Column, grid: Grid, dim: int) -> Column:
    if column.grid != grid or column.dim != dim:
        raise InputError(
            f"{column.name}: {column.dim} columns on grid {column.grid} in the shards, expected {dim} on {grid}; name "
            "an f0 or an RMS with hop 320 at 16 kHz"
        )
    return column
