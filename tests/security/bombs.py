"""Files that make a folder, the canary, when what is in them is run; and one way for each that would run it."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import torch

from tests.corpora.tars import good_tar


class Bomb:
    """An object whose unpickling makes the canary."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.canary),)


def pkl(canary: Path) -> bytes:
    return pickle.dumps(Bomb(canary), protocol=2)  # which torch's reader takes furthest


def pt(canary: Path) -> bytes:
    """As torch.save writes it, a zip."""
    return _saved(canary, True)


def pt_legacy(canary: Path) -> bytes:
    """As torch.save wrote it before version 1.6."""
    return _saved(canary, False)


def _saved(canary: Path, as_zip: bool) -> bytes:
    out = io.BytesIO()
    tensors = {"conv_pre.weight": torch.zeros(2), "conv_pre.bias": Bomb(canary)}
    content = {"generator": tensors, "discriminator": tensors, "model": tensors, "model_state": tensors, "cfg": {}}
    torch.save(content, out, _use_new_zipfile_serialization=as_zip)
    return out.getvalue()


def npy(canary: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Bomb(canary)], object), allow_pickle=True)
    return out.getvalue()


def npz(canary: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("values.npy", npy(canary))
    return out.getvalue()


def yaml(canary: Path) -> bytes:
    return f"corpora: !!python/object/apply:os.mkdir [{json.dumps(str(canary))}]\n".encode()


def h5_attribute(canary: Path) -> bytes:
    """A pickle where a shard has its slice."""
    return _shard({"slice": np.void(pkl(canary))}, np.zeros((2, 1), np.float32))


def h5_dataset(canary: Path) -> bytes:
    """Pickles where a shard has its numbers."""
    return _shard({}, np.array([[np.void(pkl(canary))]] * 2))


def _shard(attributes: dict[str, object], values: np.ndarray) -> bytes:
    out = io.BytesIO()
    with h5py.File(out, "w") as f:
        f["values"], f["offsets"], f["utt_id"] = values, np.array([0, 2]), np.array([b"u"])
        about = {"format": "vcpipe-shard-3", "slice": "{}", "grid": "16000/320", "row": "frame", "checksum": "0"}
        f.attrs.update({**{key: np.bytes_(value) for key, value in about.items()}, **attributes})
    return out.getvalue()


def tar(canary: Path) -> bytes:
    """Members that webdataset's own decoder unpickles."""
    members = {f"u.{suffix}": pkl(canary) for suffix in ("pyd", "pkl", "pickle")}
    return good_tar({**members, "u.pth": pt(canary), "u.units.npy": npy(canary)})


BOMBS = {f.__name__: f for f in (pkl, pt, pt_legacy, npy, npz, yaml, h5_attribute, h5_dataset, tar)}
