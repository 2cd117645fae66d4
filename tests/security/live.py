"""Runs bombs: `python -m tests.security.live FOLDER`, files by the names of `LOADERS`. Shows that they are live."""

import pickle
import sys
from pathlib import Path

import h5py
import numpy as np
import torch
import webdataset
import yaml


def member(path: str) -> None:
    next(iter(webdataset.WebDataset(path, shardshuffle=False, empty_check=False).decode("torch")))


LOADERS = {
    "pkl": lambda path: pickle.loads(Path(path).read_bytes()),  # noqa: S301
    "pt": lambda path: torch.load(path, weights_only=False),
    "pt_legacy": lambda path: torch.load(path, weights_only=False),
    "npy": lambda path: np.load(path, allow_pickle=True),
    "npz": lambda path: np.load(path, allow_pickle=True)["values"],
    "yaml": lambda path: yaml.unsafe_load(Path(path).read_text()),
    "h5_attribute": lambda path: pickle.loads(h5py.File(path)["/"].attrs["slice"].tobytes()),  # noqa: S301
    "h5_dataset": lambda path: pickle.loads(h5py.File(path)["values"][0, 0].tobytes()),  # noqa: S301
    "tar": member,
}

if __name__ == "__main__":
    for kind, load in LOADERS.items():
        try:
            load(f"{sys.argv[1]}/{kind}")
        except Exception as error:  # the canary tells what happened
            print(kind, error, file=sys.stderr)
