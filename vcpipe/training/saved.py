"""The state of an interrupted run on disk: tensors and JSON, never pickle; whole or absent, the previous one kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.settings import Slice, canonical
from vcpipe.store import difference
from vcpipe.training.state import State
from vcpipe.weights import read_safetensors, write_safetensors

log = logging.getLogger(__name__)

FORMAT = "vcpipe-state-1"


def folder(state_dir: Path, made_by: Slice) -> Path:
    """Where the state of a slice lies: one folder a slice, so that runs may share `state_dir`."""
    return state_dir / hashlib.blake2b(canonical(made_by).encode(), digest_size=10).hexdigest()


def save(at: Path, state: State, made_by: Slice, extra: dict[str, Any]) -> None:
    """Writes `at/current`; what stood there becomes `at/previous`. Refuses weights that are not finite."""
    tensors, groups = _tensors(state)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(
                f"step {state.step}: {name} is no longer finite; the last good state is kept; lower lr or set grad_clip"
            )
    temporary = at / f".writing.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_safetensors(temporary / "state.safetensors", tensors, {"format": FORMAT})
    note = {"format": FORMAT, "slice": made_by, "step": state.step, "groups": groups, "extra": extra}
    with atomic_path(temporary / "state.json") as tmp:
        tmp.write_text(json.dumps(note), encoding="utf-8")
    current, previous = at / "current", at / "previous"
    if current.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.replace(current, previous)
    os.replace(temporary, current)


def restore(at: Path, state: State, made_by: Slice) -> dict[str, Any] | None:
    """Brings a state back to what was saved and answers its `extra`; None when there is nothing to continue.

    A damaged state, and one of another slice, is passed over with a warning.
    """
    for name in ("current", "previous"):
        if not (at / name).exists():
            continue
        try:
            note = json.loads((at / name / "state.json").read_text(encoding="utf-8"))
            if note.get("format") != FORMAT or canonical(note["slice"]) != canonical(made_by):
                words = difference(note.get("slice") or {}, made_by) or "another format"
                log.warning("%s: the state of another run (%s); not used, the training starts afresh", at / name, words)
                continue
            tensors, _ = read_safetensors(at / name / "state.safetensors")
            _put(state, tensors, note)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, InputError) as error:
            log.warning("%s: damaged (%s); looking for an older state", at / name, error)
            continue
        return dict(note["extra"])
    return None


def _tensors(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors of a state by one name each, and what the optimisers hold beside tensors."""
    tensors = {
        f"module/{m}/{key}": value for m, module in state.modules.items() for key, value in module.state_dict().items()
    }
    tensors |= {f"ema/{key}": value for key, value in state.ema.items()}
    groups = {}
    for o, optimizer in state.optimizers.items():
        kept = optimizer.state_dict()
        groups[o] = kept["param_groups"]
        for index, values in kept["state"].items():
            tensors |= {f"optimizer/{o}/{index}/{key}": torch.as_tensor(value) for key, value in values.items()}
    tensors["rng/cpu"] = torch.get_rng_state()
    if state.device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(state.device)
    return tensors, groups


def _put(state: State, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    """The whole is checked for names before anything is changed."""
    present = {name for name in _tensors(state)[0] if not name.startswith(("optimizer/", "rng/"))}
    saved = {name for name in tensors if not name.startswith(("optimizer/", "rng/"))}
    if present != saved or set(note["groups"]) != set(state.optimizers):
        raise ValueError(f"its tensors are not those of this model, for example {min(present ^ saved, default='?')}")
    for m, module in state.modules.items():
        module.load_state_dict(_below(tensors, f"module/{m}/"))
    for key, value in state.ema.items():
        value.copy_(tensors[f"ema/{key}"])
    for o, optimizer in state.optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimizer/{o}/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": moments, "param_groups": note["groups"][o]})
    torch.set_rng_state(tensors["rng/cpu"])
    if state.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["rng/cuda"], state.device)
    state.step = int(note["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
