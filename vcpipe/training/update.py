"""The parts of a task's step: forward passes and updates, alike on one device and on several, whole and in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe.training.settings import LoopSettings
from vcpipe.training.state import Batch, State

SMALLEST_SCALE = 1.0  # of float16's gradients; below it the numbers themselves are at fault


def adamw(module: nn.Module, settings: LoopSettings) -> torch.optim.AdamW:
    """AdamW in one kernel; not so in float16, where the fused one would unscale behind the clipping's back."""
    fused = settings.precision != "16"
    return torch.optim.AdamW(
        module.parameters(), settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=fused
    )


def pieces(state: State, batch: Batch) -> list[Batch]:
    """A batch in as many equal pieces as the machine wants."""
    count = state.machine.accumulate
    if count == 1:
        return [batch]
    size = len(batch["utt_id"]) // count
    whole = {key: value for key, value in batch.items() if not isinstance(value, Tensor | list)}
    cut = {key: value for key, value in batch.items() if key not in whole}
    return [{**whole, **{k: v[i * size : (i + 1) * size] for k, v in cut.items()}} for i in range(count)]


def forward(state: State, name: str, *inputs: Any) -> Any:
    """A module's output in the machine's precision, as float32, for `update` of the same module."""
    return state.machine.modules[name](*inputs)


def forward_only(state: State, name: str, *inputs: Any) -> Any:
    """As `forward`, for an update of another module: no process waits for gradients of this one."""
    machine = state.machine
    if machine.world == 1:
        return machine.modules[name](*inputs)
    precision = machine.fabric.strategy.precision
    with precision.forward_context():
        return precision.convert_output(state.modules[name](*precision.convert_input(inputs)))


def update(
    state: State,
    name: str,
    batches: Sequence[Batch],
    losses_of: Callable[[Batch], dict[str, Tensor]],
    largest: float | None,
    frozen: Iterable[nn.Parameter] = (),
) -> dict[str, Tensor]:
    """One step of an optimiser, on the gradients of all pieces and all processes.

    They are averaged, then unscaled, then clipped. So every loss has to be a mean over crops of equal size.

    Args:
        state: of the run, on its machine.
        name: of the module and its optimiser.
        batches: this process's share of the batch, in equal pieces.
        losses_of: scalars by name of a piece; `loss` is what is made smaller.
        largest: norm of the gradient, beyond which it is scaled down to it; None: as it comes.
        frozen: parameters that the optimiser passes over, decay and moments included.

    Returns:
        Means of the losses over the pieces, and `gradient`, its norm before clipping. Where that or the loss is not
        finite, nothing has changed; but in float16 too large a gradient is no fault: it is `skipped`, and the next
        ones are scaled less.
    """
    machine = state.machine
    module, optimizer = machine.modules[name], machine.optimizers[name]
    optimizer.zero_grad(set_to_none=True)
    sums: dict[str, Tensor] = {}
    for number, batch in enumerate(batches, start=1):
        with machine.fabric.no_backward_sync(module, enabled=number < len(batches)):
            losses = losses_of(batch)
            machine.fabric.backward(losses["loss"] / len(batches))
        for key, value in losses.items():
            sums[key] = sums.get(key, 0) + value.detach() / len(batches)
    for parameter in frozen:
        parameter.grad = None
    limit = math.inf if largest is None else largest
    norm = machine.fabric.clip_gradients(module, optimizer, max_norm=limit, error_if_nonfinite=False)
    assert norm is not None
    mean = machine.mean(sums["loss"])
    seen = norm + 0 * mean  # the same in every process, which must go the same way
    if seen.isfinite():
        optimizer.step()
    elif machine.scaler is not None and mean.isfinite() and machine.scaler.get_scale() > SMALLEST_SCALE:
        optimizer.step()  # the scaler leaves it out, and lowers the scale
        return {**sums, "skipped": torch.ones_like(norm)}
    return {**sums, "gradient": seen}


def floats(losses: dict[str, Tensor]) -> dict[str, float]:
    """Scalars by name as numbers, in one transfer from the device."""
    values = torch.stack([v.detach() for v in losses.values()]).tolist()
    return dict(zip(losses, values, strict=True))
