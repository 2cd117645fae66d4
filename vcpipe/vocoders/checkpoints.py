"""Published vocoder checkpoints, read into our modules with every key accounted for.

Forms that are in circulation: `{"generator": tensors}` and `{"mpd": ..., "msd": ..., "optim_g": ..., ...}` (HiFi-GAN,
kNN-VC), `{"generator": {"model": tensors, ...}, "discriminator": {...}}` (Soft-VC's training) and plain tensors
(Soft-VC's releases); with or without a `module.` prefix; weight norm as `weight_g`/`weight_v`, as
`parametrizations.weight.original0/1`, or multiplied out. In a spectrally normed layer (`weight_orig`) the tensor
`weight_v` is a vector of the power iteration and no direction of a weight norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.weights import read_pickle_checkpoint, read_safetensors

Tensors = dict[str, Tensor]

WEIGHTS = {"generator", "discriminator", "mpd", "msd"}
NOT_WEIGHTS = {"optim_g", "optim_d", "optimizer", "scheduler", "steps", "step", "epoch", "loss"}
SPECTRAL = {
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
}
WEIGHT_NORM = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
}


def load_generator(model: nn.Module, path: str | Path) -> None:
    """Gives a generator the weights of a published checkpoint or of one of our run folders.

    Raises:
        InputError: when the file is of another form, or a key is missing, left over or of another shape.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.safetensors"
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected a run folder or a checkpoint of a generator")
        tensors = read_safetensors(path)[0]
    else:
        tensors = _part(_read(path), "generator", path)
    load_strict(model, renamed(tensors, model), str(path))


def load_discriminators(model: nn.ModuleDict, path: str | Path) -> None:
    """Gives discriminators the weights of a published training checkpoint; optimisers in it are not used.

    Raises:
        InputError: when the file is of another form, or a key is missing, left over or of another shape.
    """
    path = Path(path)
    checkpoint = _read(path)
    if "mpd" in checkpoint and "msd" in checkpoint:
        families = {name: _part(checkpoint, name, path) for name in ("mpd", "msd")}
        tensors = {f"{family}.{key}": value for family, part in families.items() for key, value in part.items()}
    else:
        tensors = _part(checkpoint, "discriminator", path)
    load_strict(model, renamed(tensors, model), str(path))


def renamed(tensors: Mapping[str, Tensor], model: nn.Module) -> Tensors:
    """The tensors under the names of `model`'s layers, normed or not, whichever spelling they came in."""
    stripped = {_old_name(key.removeprefix("module.")): value for key, value in tensors.items()}
    wanted = model.state_dict().keys()
    out: Tensors = {}
    for key, value in stripped.items():
        layer, _, leaf = key.rpartition(".")
        names = SPECTRAL if f"{layer}.weight_orig" in stripped else WEIGHT_NORM
        if leaf == "weight_g" and f"{layer}.weight" in wanted:
            out[f"{layer}.weight"] = _multiplied(value, stripped.get(f"{layer}.weight_v"), key)
        elif leaf == "weight_v" and f"{layer}.weight" in wanted:
            continue  # multiplied with its weight_g
        elif leaf in names:
            out[f"{layer}.{names[leaf]}"] = value
        elif leaf == "weight" and f"{layer}.{WEIGHT_NORM['weight_v']}" in wanted:
            norm = torch.linalg.vector_norm(value, dim=tuple(range(1, value.ndim)), keepdim=True)
            out[f"{layer}.{WEIGHT_NORM['weight_g']}"] = norm
            out[f"{layer}.{WEIGHT_NORM['weight_v']}"] = value
        else:
            out[key] = value
    return out


def _old_name(key: str) -> str:
    """`weight_g` and its like for the newer spelling; other names as they are."""
    for old, new in (*SPECTRAL.items(), *WEIGHT_NORM.items()):
        layer, found, rest = key.rpartition(new)
        if found and not rest:
            return layer + old
    return key


def _multiplied(g: Tensor, v: Tensor | None, key: str) -> Tensor:
    """`g * v / |v|`, the norm over all axes but the first (in a transposed convolution that is the input channel)."""
    if v is None:
        raise InputError(f"{key} has no weight_v beside it; is the checkpoint whole?")
    return g * v / torch.linalg.vector_norm(v, dim=tuple(range(1, v.ndim)), keepdim=True)


def load_strict(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Loads when every name and shape fits, else raises an InputError that names the first that does not."""
    wanted = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    for problem, keys in (("lacks", wanted.keys() - found.keys()), ("has also", found.keys() - wanted.keys())):
        if keys:
            raise InputError(
                f"{where}: {problem} {len(keys)} tensors, for example {min(keys)}; it is of another model: check the "
                "generator's or discriminators' settings"
            )
    for key in sorted(wanted):
        if wanted[key] != found[key]:
            raise InputError(
                f"{where}: {key} is {found[key]}, expected {wanted[key]}; check the model's settings against the file"
            )
    model.load_state_dict(dict(tensors), strict=True)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a published checkpoint")
    return read_pickle_checkpoint(path)


def _part(checkpoint: dict[str, Any], name: str, path: Path) -> Tensors:
    """The tensors called `name`, whatever they are wrapped in; plain tensors are taken as they are."""
    part: object = checkpoint
    if not _plain(checkpoint):
        if strange := sorted(checkpoint.keys() - WEIGHTS - NOT_WEIGHTS):
            raise InputError(f"{path}: '{strange[0]}' is no part of a vocoder checkpoint; is it the right file?")
        if name not in checkpoint:
            raise InputError(f"{path}: expected '{name}', found {', '.join(sorted(checkpoint))}; is it the right file?")
        part = checkpoint[name]
        if isinstance(part, dict) and isinstance(part.get("model"), dict):
            part = part["model"]
    if not _plain(part):
        raise InputError(f"{path}: '{name}' is not a dictionary of tensors; is it the right file?")
    assert isinstance(part, dict)
    return dict(part)


def _plain(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, Tensor) for v in value.values())
