"""One training of a run at a time. Torch-free, so that a second one is refused before it has read anything."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from vcpipe.locks import held


def training_lock(state_dir: Path, run_dir: Path) -> AbstractContextManager[None]:
    """Held while a run is trained, by the first of the processes that torchrun has started.

    Raises:
        InputError: on entering, when another process trains the run; it names that process.
    """
    if os.environ.get("RANK", "0") != "0":
        return nullcontext()
    folder = states_of(state_dir, run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return held(folder / "lock", f"training of {run_dir}")


def states_of(state_dir: Path, run_dir: Path) -> Path:
    """The folder of the states of all configs of a run."""
    return state_dir / run_dir.name


def refuse_second(state_dir: Path, run_dir: Path) -> None:
    """Raises what `training_lock` does, and holds nothing."""
    with training_lock(state_dir, run_dir):
        pass
