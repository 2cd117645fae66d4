"""First weights of an acoustic model: those of a published checkpoint, or of a run folder with other voices.

Published forms: `{"acoustic-model": tensors, "optimizer": ..., "step": ..., "loss": ...}` and plain tensors, with or
without a `module.` prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.settings import canonical
from vcpipe.store import difference
from vcpipe.systems.softvc import task
from vcpipe.systems.softvc.statistics import Voice
from vcpipe.training import runs
from vcpipe.weights import read_pickle_checkpoint

OURS = ("voices.", "condition.")
"""What a published model lacks; both begin at zero."""


class Base:
    """A trained model to go on from: its weights, the voices that it speaks with, and how all of them speak together.

    Args:
        folder: of its run.
        made_by: slice of the run that goes on `from` it.

    Raises:
        InputError: when the folder is of another run than the slice says.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]):
        trained, info = runs.load(folder, task)
        assert isinstance(trained, task.Trained)
        if canonical(info["slice"]) != canonical(made_by["from"]):
            words = difference(info["slice"], made_by["from"])
            raise InputError(f"{folder}: made under other settings: {words}; train it again with snakemake")
        self.tensors = trained.acoustic.state_dict()
        self.voices = task.voices_of(info)
        self.together = Voice(**info["facts"]["corpus"])

    def weights(self, n_new: int) -> dict[str, Tensor]:
        """Tensors for its own voices and so many more, which begin as the mean of those."""
        tensors = dict(self.tensors)
        tensors.pop("condition.energy", None)  # of the voices, which is measured
        table = tensors.pop("voices.weight", None)
        if table is not None:
            tensors["voices.weight"] = torch.cat([table, table.mean(dim=0, keepdim=True).expand(n_new, -1)])
        return tensors


def published(path: Path, made_by: Mapping[str, Any], n_voices: int) -> dict[str, Tensor]:
    """The tensors of a published checkpoint, for a model of so many voices.

    Raises:
        InputError: when the file is of another form, or a tensor is missing, left over or of another shape.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a published checkpoint of Soft-VC; mend softvc.training.init")
    content = read_pickle_checkpoint(path)
    inner = content.get("acoustic-model", content)
    if not isinstance(inner, Mapping) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise InputError(
            f"{path}: expected 'acoustic-model' with tensors, found {', '.join(sorted(map(str, content))[:5])}; is it "
            "the right file?"
        )
    tensors = {key.removeprefix("module."): value for key, value in inner.items()}
    wanted = task.build_model(made_by, n_voices).state_dict()
    _check(tensors, {key: value for key, value in wanted.items() if not key.startswith(OURS)}, path)
    return tensors


def _check(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    for key in sorted(wanted.keys() | tensors.keys()):
        ours = tuple(wanted[key].shape) if key in wanted else "no such tensor"
        theirs = tuple(tensors[key].shape) if key in tensors else "none"
        if ours != theirs:
            raise InputError(f"{path}: {key}: expected {ours}, found {theirs}; check softvc.model against the file")
