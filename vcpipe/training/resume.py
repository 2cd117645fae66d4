"""What an interrupted training needs to go on bit for bit: its state, its place in the data, its random generators."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.loader import Loader
from vcpipe.manifest import atomic_path
from vcpipe.settings import Slice, canonical
from vcpipe.store import difference
from vcpipe.training import checkpoints, rng, snapshot
from vcpipe.training.checkpoints import GONE, Checkpoint
from vcpipe.training.state import State

log = logging.getLogger(__name__)

FORMAT = "vcpipe-state-2"
DONE = "done"
"""A file in the folder of a run that is complete."""


def folder(states: Path, resumes: Slice) -> Path:
    """Where the state of a slice lies: one folder for each config of a run, so that one may be returned to."""
    return states / hashlib.blake2b(canonical(resumes).encode(), digest_size=10).hexdigest()


def save(
    at: Path,
    state: State,
    resumes: Slice,
    loader: Loader,
    generators: Tensor,
    note: dict[str, Any],
    best: Mapping[str, Tensor] | Path | None,
    previous: Path | None,
) -> Path:
    """Writes a checkpoint, and answers its folder.

    Args:
        at: folder of the run's states.
        state: models, optimisers, averages, step, and the machine's gradient scaler.
        resumes: what a run has to agree with to go on from here.
        loader: whose place is kept.
        generators: `(processes, n)` uint8, a row of `rng.capture` for each.
        note: more, as JSON values.
        best: weights of the lowest validation loss so far, or the file of an earlier checkpoint that holds them.
        previous: what `save` answered last, or the folder of `restore`.
    """
    scaler = state.machine.scaler
    whole = {
        **note,
        "format": FORMAT,
        "slice": resumes,
        "step": state.step,
        "groups": snapshot.groups_of(state),
        "loader": loader.state(),
        "world": len(generators),
        "threads": torch.get_num_threads(),
        "scaler": scaler.state_dict() if scaler is not None else {},
    }
    parts: dict[str, Mapping[str, Tensor] | Path] = {
        "state": snapshot.tensors_of(state),
        "generators": {str(rank): row.clone() for rank, row in enumerate(generators)},
    }
    if best is not None:
        parts["best"] = best
    return checkpoints.save(at, state.step, whole, parts, previous)


def restore(at: Path, state: State, resumes: Slice, loader: Loader) -> Checkpoint | None:
    """Brings a state, its loader and the random generators of this process back; None where nothing was saved.

    Another number of processes than before is mapped: the batches are the same, dealt anew.

    Raises:
        InputError: when all that was saved is damaged, or does not fit this model.
    """
    found = checkpoints.load(at)
    if found is None:
        return None
    note = found.note
    if note.get("format") != FORMAT:
        raise InputError(
            f"{found.folder}: expected the format {FORMAT}, found {note.get('format')}; go on with the version that "
            f"wrote it, or type `rm -r {at}` to start anew"
        )
    if canonical(note["slice"]) != canonical(resumes):
        log.warning("%s: the state of another run (%s); not used", found.folder, difference(note["slice"], resumes))
        return None
    snapshot.put(state, found.tensors("state"), note["groups"], str(found.folder))
    state.step = found.step
    loader.load_state(note["loader"])
    machine = state.machine
    if machine.scaler is not None and note["scaler"]:
        machine.scaler.load_state_dict(note["scaler"])
    rows = found.tensors("generators")
    if machine.world != note["world"] and machine.rank == 0:
        log.warning(
            "the training was run by %d processes and goes on with %d: the batches are the same, dealt anew; sums "
            "differ in their last digits, and dropout is drawn anew",
            note["world"],
            machine.world,
        )
    threads = torch.get_num_threads()
    if machine.device.type == "cpu" and threads != note["threads"] and machine.rank == 0:
        log.warning(
            "the training was run with %d threads and goes on with %d: sums differ in their last digits",
            note["threads"],
            threads,
        )
    if str(machine.rank) in rows:
        rng.put(rows[str(machine.rank)], machine.device)
    else:
        rng.seed_all(int(note["step"]) * 1000 + machine.rank)
    return found


def begin(at: Path, resumes: Slice) -> None:
    """Makes the folder of a run's states. Says why, where one was begun with another config or other data."""
    for leftover in at.parent.glob(f"{GONE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for done in at.parent.glob(f"*/{DONE}"):
        discard(done.parent)
    others = sorted(at.parent.glob("*/slice.json"), key=lambda path: path.stat().st_mtime)
    if others and others[-1].parent != at:
        before = json.loads(others[-1].read_text(encoding="utf-8"))
        log.warning(
            "the config of this run has changed (%s): it starts afresh; what was trained before stays in %s",
            difference(before, resumes) or "in its form",
            others[-1].parent,
        )
    discard(at)
    with atomic_path(at / "slice.json") as tmp:
        tmp.write_text(canonical(resumes), encoding="utf-8")


def finish(at: Path, last: Path | None) -> None:
    """Leaves the last checkpoint of a complete run, until another config of it is trained.

    A job that is killed after its run folder was written, and before anybody has noted that it succeeded, loses that
    folder: the same command then writes it again, without training.
    """
    for folder in [*at.glob("step-*"), *at.glob(".*.step-*")]:  # the latter of processes that were killed
        if folder != last:
            shutil.rmtree(folder, ignore_errors=True)
    (at / DONE).touch()


def discard(at: Path) -> None:
    """Deletes the folder of a run's states. It is renamed before, for half a state looks like a damaged one."""
    gone = at.with_name(GONE + at.name)
    with contextlib.suppress(OSError):
        os.rename(at, gone)
    shutil.rmtree(gone, ignore_errors=True)
