"""On what a training runs: one process or several, in which precision, a batch at once or in pieces. Fabric does it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.guarded import end_with_parent
from vcpipe.training.settings import LoopSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PATIENCE = timedelta(hours=2)  # of the processes that wait while the first one validates


@dataclass
class Machine:
    """Fabric, and the modules and optimisers of a state as it wraps them.

    Attributes:
        fabric: devices, processes and precision.
        accumulate: pieces of a batch whose gradients are summed up before a step.
        compiled: whether modules go through `torch.compile`.
        modules: to call in an update: gradients of all processes are averaged in its backward pass.
        optimizers: to step with.
    """

    fabric: Fabric
    accumulate: int = 1
    compiled: bool = False
    modules: dict[str, Any] = field(default_factory=dict)
    optimizers: dict[str, Any] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process; 0 is the one that validates, writes and speaks."""
        return self.fabric.global_rank

    @property
    def world(self) -> int:
        """How many processes train together."""
        return self.fabric.world_size

    @property
    def scaler(self) -> Any:
        """The gradient scaler of float16; None otherwise."""
        return getattr(self.fabric.strategy.precision, "scaler", None)

    def share(self, batch: int) -> int:
        """Crops of a batch that fall to this process; refused where it cannot be dealt evenly."""
        if batch % (self.world * self.accumulate):
            raise InputError(
                f"training.batch: {batch} crops cannot be dealt to {self.world} processes in {self.accumulate} pieces "
                f"each; give a multiple of {self.world * self.accumulate}, or start another number of processes"
            )
        return batch // self.world

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.world == 1:
            return values
        return cast(Tensor, self.fabric.all_reduce(values.clone(), reduce_op="mean"))

    def largest(self, value: int) -> int:
        """The largest of the processes' numbers."""
        if self.world == 1:  # a tensor on a GPU would make it wait for the host
            return value
        found = cast(Tensor, self.fabric.all_reduce(torch.tensor(value, device=self.device), reduce_op="max"))
        return int(found)

    def gathered(self, row: Tensor) -> Tensor:
        """`(n,)` of each process to `(processes, n)` on the CPU, the same everywhere."""
        rows = cast(Tensor, self.fabric.all_gather(row.to(self.device)))
        return rows.reshape(self.world, -1).cpu()

    def equip(self, modules: dict[str, nn.Module], optimizers: dict[str, torch.optim.Optimizer]) -> None:
        """Wraps what an update calls. The modules themselves stay as they are, and share their parameters."""
        for name, module in modules.items():
            wrapped: Any = torch.compile(module, dynamic=False) if self.compiled else module
            self.modules[name] = self.fabric.setup_module(wrapped)
        for name, optimizer in optimizers.items():
            self.optimizers[name] = self.fabric.setup_optimizers(optimizer)


def start(device: torch.device, settings: LoopSettings) -> Machine:
    """The machine of this process: alone on `device`, or one of those that torchrun has started.

    Args:
        device: cpu, or cuda with or without an index; under torchrun without, since each process takes its own.
        settings: precision, accumulate and compile.

    Raises:
        InputError: when the batch cannot be dealt to so many processes, or an index is given to several.
    """
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    several = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1
    if several and device.index is not None:
        raise InputError(f"--device {device}: several processes take a device each; use --device {device.type}")
    if several:
        end_with_parent(signal.SIGTERM)  # torchrun may be killed
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if several else 1
    single: Any = [device.index or 0] if device.type == "cuda" else 1
    fabric = Fabric(
        accelerator=device.type,
        devices=here if several else single,
        num_nodes=int(os.environ["WORLD_SIZE"]) // here if several else 1,
        strategy=DDPStrategy(broadcast_buffers=False, timeout=PATIENCE) if several else "auto",
        plugins=[TorchElasticEnvironment() if several else LightningEnvironment(), _precision(settings, device)],
    )
    fabric.launch()
    machine = Machine(fabric, settings.accumulate, settings.compile)
    machine.share(settings.batch)
    return machine


def _precision(settings: LoopSettings, device: torch.device) -> Any:
    """Fabric's plugin; named, it would quietly take another on a CPU."""
    from lightning_fabric.plugins.precision.amp import MixedPrecision
    from lightning_fabric.plugins.precision.precision import Precision

    if settings.precision == "32":
        return Precision()
    return MixedPrecision("bf16-mixed" if settings.precision == "bf16" else "16-mixed", device.type)
