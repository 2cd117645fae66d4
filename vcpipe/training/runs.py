"""The run folder: what inference needs and nothing else, and how it came about.

`model.safetensors` (the weights), `config.json` (slice, step, scores, version, commit), `metrics.csv`, TensorBoard
events; `best.safetensors` or `last.safetensors` beside them where it differs from the model.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe import __version__
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.manifest import publish as put_in_place
from vcpipe.settings import Slice
from vcpipe.training.state import Task
from vcpipe.weights import read_safetensors, write_safetensors

FORMAT = "vcpipe-run-1"
Info = dict[str, Any]


def load(run_dir: str | Path, task: Task[Any], device: torch.device | str = "cpu") -> tuple[nn.Module, Info]:
    """The trained module of a run folder, in inference mode, and the folder's `config.json`.

    Args:
        run_dir: of a finished run.
        task: whose run it is.
        device: where the module goes.

    Raises:
        InputError: when the folder is not a run, is damaged, or was made by another task or revision of the code.
    """
    folder = Path(run_dir)
    info = read_info(folder)
    path = folder / "model.safetensors"
    tensors, metadata = read_safetensors(path)
    if metadata.get("checksum") != info["checksum"] or checksum(tensors) != info["checksum"]:
        raise InputError(f"{path}: damaged, or not the weights that {folder / 'config.json'} describes; train it again")
    module = task.rebuild(info["slice"], tensors, str(folder))
    return module.to(device).eval().requires_grad_(False), info


def read_info(run_dir: str | Path) -> Info:
    """The `config.json` of a run folder, checked for its form."""
    path = Path(run_dir) / "config.json"
    if not path.is_file():
        raise InputError(
            f"{run_dir}: not a run folder (it has no config.json); give the folder that a training rule made"
        )
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        if info["format"] != FORMAT:
            raise InputError(f"{path}: expected format {FORMAT}, found {info['format']}; train it again with snakemake")
        if not (
            isinstance(info["slice"], dict) and isinstance(info["checksum"], str) and isinstance(info["step"], int)
        ):
            raise TypeError("slice, checksum or step is not what it should be")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error!r}); train it again with snakemake") from None
    return dict(info)


def publish(
    run_dir: Path,
    weights: Mapping[str, tuple[dict[str, Tensor], int]],
    others: list[Path],
    made_by: Slice,
    notes: Info,
) -> None:
    """Makes the run folder under a temporary name, then puts it in place of what stood there.

    Args:
        run_dir: final name.
        weights: tensors and their step by the name of the file; `model` is the one that inference reads.
        others: files that are copied under their own names.
        made_by: slice of the run.
        notes: more for `config.json`.
    """
    temporary = run_dir.with_name(f".{run_dir.name}.{os.getpid()}.tmp")
    old = run_dir.with_name(f".{run_dir.name}.{os.getpid()}.old")
    for leftover in _siblings(run_dir, "tmp"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        sums = {name: checksum(tensors) for name, (tensors, _) in weights.items()}
        for name, (tensors, step) in weights.items():
            metadata = {"checksum": sums[name], "step": str(step)}
            write_safetensors(temporary / f"{name}.safetensors", tensors, metadata)
        for other in others:
            with atomic_path(temporary / other.name) as tmp:
                shutil.copyfile(other, tmp)
        info = {
            "format": FORMAT,
            "slice": made_by,
            "step": weights["model"][1],
            "checksum": sums["model"],
            "version": __version__,
            "commit": commit(),
            **notes,
        }
        with atomic_path(temporary / "config.json") as tmp:
            tmp.write_text(json.dumps(info, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if run_dir.exists():
            os.replace(run_dir, old)
        put_in_place(temporary, run_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for leftover in _siblings(run_dir, "old"):
        shutil.rmtree(leftover, ignore_errors=True)


def _siblings(run_dir: Path, kind: str) -> list[Path]:
    """What this process and those that were killed have beside a run folder; one process at a time writes it."""
    return list(run_dir.parent.glob(f".{glob.escape(run_dir.name)}.*.{kind}"))


def checksum(tensors: dict[str, Tensor]) -> str:
    """A digest of names, shapes and values."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def commit() -> str:
    """The git commit of the code, with `+` when files were changed since; empty where there is none."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10)
        dirty = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "."], cwd=here.parent, capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return head.stdout.strip() + ("+" if dirty.returncode else "") if head.returncode == 0 else ""
