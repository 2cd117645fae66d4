"""What every training run has in its config. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vcpipe.errors import InputError
from vcpipe.settings import Settings


class LoopSettings(Settings):
    """How long, how much at once, and how often to look."""

    MACHINE: ClassVar[set[str]] = {"checkpoint_every", "log_every", "workers", "cache_mib", "accumulate", "compile"}
    """Keys that change how the machine is used and none of the numbers: no part of a slice."""

    steps: PositiveInt = Field(2_500_000, description="updates of the model; time is never a limit, so runs repeat")
    batch: PositiveInt = Field(16, description="crops per step, of all processes together")
    seed: NonNegativeInt = Field(1234, description="of the first weights and of every crop")
    lr: PositiveFloat = Field(2e-4, description="highest learning rate")
    schedule: Literal["exponential", "cosine"] = Field("exponential", description="how lr falls over the steps")
    lr_decay: float = Field(0.999, gt=0, le=1, description="exponential: factor at every lr_decay_every steps")
    lr_decay_every: PositiveInt = Field(1783, description="steps; one epoch of train-clean-100 has 1783 of 16 crops")
    warmup: NonNegativeInt = Field(0, description="steps over which lr rises from zero")
    lr_floor: float = Field(0.0, ge=0, le=1, description="cosine: share of lr that is left at the end")
    betas: tuple[float, float] = Field((0.8, 0.99), description="of AdamW")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    grad_clip: PositiveFloat | None = Field(None, description="largest norm of the gradient; null: as it comes")
    ema: float | None = Field(None, gt=0, lt=1, description="decay of averaged weights, which are then the result")
    precision: Literal["32", "bf16", "16"] = Field("32", description="of the forward passes: float32, or mixed")
    keep: Literal["last", "best"] = Field("last", description="which weights the run folder's model.safetensors holds")
    validate_every: PositiveInt = Field(1000, description="steps")
    checkpoint_every: PositiveInt = Field(5000, description="steps")
    log_every: PositiveInt = Field(25, description="steps")
    valid_utterances: PositiveInt = Field(64, description="size of the fixed subset that validation hears")
    valid_max_s: PositiveFloat = Field(10.0, description="longer ones are heard up to here")
    accumulate: PositiveInt = Field(1, description="pieces of a batch that are computed one after the other")
    compile: bool = Field(False, description="torch.compile the models: a slow start, then quicker steps")
    workers: NonNegativeInt = Field(0, description="processes that cut crops; 0: a thread beside the training")
    cache_mib: NonNegativeInt = Field(2048, description="training data up to this size is kept in memory")


def check_machine(hardware: Mapping[str, Any], known: Set[str]) -> None:
    """Refuses, among the keys that a training is given beside its slice, one that changes its numbers."""
    if odd := set(hardware) - known:
        raise InputError(
            f"--machine: '{min(odd)}' changes the numbers and belongs into --slice; expected {', '.join(sorted(known))}"
        )


def lr_at(settings: LoopSettings, step: int) -> float:
    """The learning rate of the step with this number, counted from 0: a function of the step and nothing else."""
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.schedule == "exponential":
        return settings.lr * rise * settings.lr_decay ** (step // settings.lr_decay_every)
    done = max(0, step - settings.warmup) / max(1, settings.steps - settings.warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return settings.lr * rise * (settings.lr_floor + (1 - settings.lr_floor) * fall)
