"""One training of a run at a time. Torch-free, so that a second one is refused before it has read anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vcpipe.locks import held

_held: set[Path] = set()
os.register_at_fork(after_in_child=_held.clear)  # a child does not hold what its parent holds


@contextmanager
def training_lock(state_dir: Path, run_dir: Path) -> Iterator[None]:
    """Held while a run is trained, by the first of the processes that torchrun has started; within itself, it is free.

    Raises:
        InputError: on entering, when another process trains the run; it names that process.
    """
    run = run_dir.absolute()
    if os.environ.get("RANK", "0") != "0" or run in _held:
        yield
        return
    with ExitStack() as stack:
        for path in (states_of(state_dir, run_dir) / "lock", run.with_name(f".{run.name}.lock")):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(path, f"training of {run_dir}"))
        _held.add(run)
        stack.callback(_held.remove, run)
        yield


def states_of(state_dir: Path, run_dir: Path) -> Path:
    """The folder of the states of all configs of a run."""
    return state_dir / run_dir.name
