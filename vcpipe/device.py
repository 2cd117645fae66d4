"""Where the numbers are computed. Torch is imported only when a stage starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vcpipe.errors import InputError

if TYPE_CHECKING:
    import torch


def start_torch(device: str, threads: int) -> torch.device:
    """Imports torch with its threads set, and answers the device; refused when it is not there."""
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # beside another busy process, spinning threads cost tenfold
    import torch

    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    return choose(device, "--device")


def choose(device: str, option: str = "device") -> torch.device:
    """The device behind `auto` (cuda where there is one, else cpu), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: naming the `option` that was given, for another kind of device or one that is not there.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = torch.device("meta")
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"{option} {device}: expected auto, cpu, cuda or cuda:N; use {option} cpu")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{option} {device}: this torch sees no CUDA device; use {option} cpu")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"{option} {device}: expected cuda:0 to cuda:{torch.cuda.device_count() - 1}; use one of them")
    return chosen
