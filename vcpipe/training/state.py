"""Everything alive in a training run, and the contract between the loop and a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from vcpipe.training.machine import Machine

Batch = dict[str, Any]
"""Tensors by name, `utt_id` (a list of B ids) and `seconds` (of audio in all)."""


@dataclass
class State:
    """What a run is made of, and what its saved state holds. A task adds what it can rebuild from its config.

    Attributes:
        modules: trained, by name; `model` is the one that inference needs.
        optimizers: by name.
        device: where the modules are.
        step: updates made so far.
        ema: averaged parameters of `model`; empty when the config does not ask for them.
        facts: JSON values that inference has to know of the data; they go into the run's `config.json`.
        machine: on what it runs; the loop gives it to what `build` made.
    """

    modules: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    device: torch.device
    step: int = 0
    ema: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    machine: Machine = field(init=False, repr=False)

    def equip(self, machine: Machine) -> None:
        """Gives the state its machine, from where updates are possible."""
        self.machine = machine
        machine.equip(self.modules, self.optimizers)


@dataclass
class Shown:
    """What a task shows of its progress: `audio` name -> ((N,), rate), `pictures` name -> (3, H, W) in [0, 1]."""

    audio: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    pictures: dict[str, Tensor] = field(default_factory=dict)


S = TypeVar("S", bound=State)


class Task(Protocol[S]):
    """What is trained. A module with these functions is one.

    `step` makes one update from a batch that is on the state's device, with the help of `vcpipe.training.update`, and
    answers the losses by name: it does not count the step when one of them is not finite. `validate` answers numbers
    by name, `loss` among them (lower is better). `export` gives the tensors that inference needs, `rebuild` makes the
    module of them again.
    """

    REVISION: int

    def build(self, cfg: Any, device: torch.device) -> S:
        """The first state of a run, from its config."""
        ...

    def step(self, state: S, batch: Batch) -> dict[str, float]:
        """One update; `state.step` grows by one."""
        ...

    def validate(self, state: S, loader: Iterable[Batch]) -> dict[str, float]:
        """Numbers by name over the fixed subset."""
        ...

    def show(self, state: S, loader: Iterable[Batch]) -> Shown:
        """Sounds and pictures of the first utterances."""
        ...

    def export(self, state: S) -> dict[str, Tensor]:
        """The tensors that inference needs."""
        ...

    def rebuild(self, made_by: Mapping[str, Any], tensors: dict[str, Tensor], where: str) -> nn.Module:
        """The module of exported tensors; `where` names the folder in an error."""
        ...


def update_ema(state: State, decay: float) -> None:
    """Moves the averaged parameters towards the model's; faster in the first steps, whose weights are noise."""
    decay = min(decay, (1 + state.step) / (10 + state.step))
    with torch.no_grad():
        for name, parameter in state.modules["model"].named_parameters():
            state.ema[name].lerp_(parameter, 1 - decay)


def start_ema(state: State) -> None:
    """Begins averaging at the model's present parameters."""
    state.ema = {name: p.detach().clone() for name, p in state.modules["model"].named_parameters()}


def set_lr(state: State, lr: float) -> None:
    """Gives every optimiser the learning rate."""
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = lr


@contextmanager
def averaged(state: State) -> Iterator[None]:
    """The model with its averaged parameters, where there are any; with its own again afterwards."""
    parameters = dict(state.modules["model"].named_parameters())
    own = {name: parameters[name].detach().clone() for name in state.ema}
    state.modules["model"].eval()
    try:
        with torch.no_grad():
            for name, value in state.ema.items():
                parameters[name].copy_(value)
        yield
    finally:
        with torch.no_grad():
            for name, value in own.items():
                parameters[name].copy_(value)
        state.modules["model"].train()
