"""A training's state as tensors by name and JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.training.state import State


def tensors_of(state: State) -> dict[str, Tensor]:
    """All tensors of a state by one name each. Refuses what is not finite: such a state is not worth going on from."""
    tensors = {
        f"module/{m}/{key}": value for m, module in state.modules.items() for key, value in module.state_dict().items()
    }
    tensors |= {f"ema/{key}": value for key, value in state.ema.items()}
    for o, optimizer in state.optimizers.items():
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{o}/{index}/{key}": torch.as_tensor(value) for key, value in values.items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise InputError(
                f"step {state.step}: {name} is no longer finite; the last good state is kept; lower lr or set grad_clip"
            )
    return tensors


def groups_of(state: State) -> dict[str, Any]:
    """What the optimisers hold beside tensors, as JSON values."""
    return {o: optimizer.state_dict()["param_groups"] for o, optimizer in state.optimizers.items()}


def put(state: State, tensors: Mapping[str, Tensor], groups: Mapping[str, Any], where: str) -> None:
    """Brings a state back. The whole is checked for names and shapes before anything is changed.

    Raises:
        InputError: when the tensors are not those of this state; `where` names the folder.
    """
    present = _shapes(tensors_of(state))
    saved = _shapes(tensors)
    if present != saved or set(groups) != set(state.optimizers):
        odd = min((name for name in present.keys() | saved.keys() if present.get(name) != saved.get(name)), default="?")
        raise InputError(
            f"{where}: not the state of this model, for example {odd} is {saved.get(odd, 'missing')}, expected "
            f"{present.get(odd, 'nothing of that name')}; remove the folder to start anew"
        )
    for m, module in state.modules.items():
        module.load_state_dict(_below(tensors, f"module/{m}/"))
    for key, value in state.ema.items():
        value.copy_(tensors[f"ema/{key}"])
    for o, optimizer in state.optimizers.items():
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, f"optimizer/{o}/").items():
            index, key = name.split("/")
            moments.setdefault(int(index), {})[key] = value
        optimizer.load_state_dict({"state": moments, "param_groups": groups[o]})


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Of the tensors that a state has from its first moment on; an optimiser's come with its first step."""
    return {name: list(value.shape) for name, value in tensors.items() if not name.startswith("optimizer/")}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
