"""The stage: from shards to the run folder of a vocoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vcpipe.columns import Column, Variant
from vcpipe.data import Crops, Whole, fixed_subset
from vcpipe.errors import InputError
from vcpipe.loader import Loader
from vcpipe.manifest import Utterance, read_table, shard_names
from vcpipe.settings import Slice
from vcpipe.store import Shard
from vcpipe.training import machine
from vcpipe.training.loop import Loaders
from vcpipe.training.loop import train as run_loop
from vcpipe.training.runs import Info
from vcpipe.training.settings import check_machine
from vcpipe.vocoders import task
from vcpipe.vocoders.config import TrainingSettings, VocoderConfig, of_slice


def train_vocoder(
    made_by: Slice,
    manifest: Path,
    audio: Path,
    units: Sequence[Path],
    state: Path,
    out: Path,
    device: torch.device,
    hardware: Mapping[str, Any] | None = None,
) -> Info:
    """Trains a vocoder on the train split of a corpus, or goes on where the same slice was interrupted.

    Args:
        made_by: slice of the run; `wav` and each of `variants` are the slices of the shards.
        manifest: of the whole corpus, with splits.
        audio: folder of the audio shards.
        units: folder of the shards of each variant, in the order of the slice; an utterance that one lacks is
            drawn from the others.
        state: folder for what an interrupted run needs.
        out: run folder.
        device: where the models are; under torchrun every process takes its own of that kind.
        hardware: keys of the training that decide how the machine is used and none of the numbers.
    """
    check_machine(hardware or {}, TrainingSettings.MACHINE)
    cfg = of_slice({**made_by, "training": {**made_by["training"], **(hardware or {})}}, "--slice")
    if len(units) != len(made_by["variants"]):
        raise InputError(f"--units: {len(units)} folders for the {len(made_by['variants'])} variants of the slice")
    utterances = read_table(manifest, Utterance)
    shards = shard_names(made_by["wav"]["shards"])

    def columns(utt_ids: list[str]) -> list[Column]:
        variants = [_variant(f, shards, expect) for f, expect in zip(units, made_by["variants"], strict=True)]
        wav = Column("wav", [_variant(audio, shards, made_by["wav"])], utt_ids)
        return [_fitting(Column("units", variants, utt_ids), cfg), wav]

    split = {name: [u.utt_id for u in utterances if u.split == name] for name in ("train", "valid")}
    for name, utt_ids in split.items():
        if not utt_ids:
            raise InputError(f"{manifest}: no utterance of split '{name}'; give the corpus one (corpora: splits)")
    training = cfg.training
    data = _digest(manifest, [audio, *units], shards)
    runs_on = machine.start(device, training)
    crops = Crops(
        columns(split["train"]),
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
    max_frames = max(1, int(training.valid_max_s * cfg.rate) // cfg.hop)
    valid = Whole(held_out, fixed_subset(usable, training.valid_utterances), max_frames)
    loaders = Loaders(Loader(crops, training.workers), valid)
    return run_loop(
        task, cfg, training, loaders, machine=runs_on, made_by=made_by, run_dir=out, state_dir=state, data=data
    )


def _digest(manifest: Path, folders: Sequence[Path], shards: Sequence[str]) -> str:
    """Of all that is drawn from: the manifest's bytes and the checksums of the shards."""
    digest = hashlib.blake2b(manifest.read_bytes(), digest_size=16)
    for folder in folders:
        for name in shards:
            with Shard(folder / f"{name}.h5", expect=None) as shard:
                digest.update(shard.checksum.encode())
    return digest.hexdigest()


def _variant(folder: Path, shards: list[str], expect: Slice) -> Variant:
    return Variant(tuple(folder / f"{name}.h5" for name in shards), expect)


def _fitting(units: Column, cfg: VocoderConfig) -> Column:
    if units.grid != cfg.grid or units.dim != cfg.in_dim:
        raise InputError(
            f"units: {units.dim} columns on grid {units.grid} in the shards, the slice says {cfg.in_dim} on {cfg.grid}"
        )
    return units
