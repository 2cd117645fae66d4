"""Soft units: a small network that tells from a frame which of K units it is, and the vector by which it tells.

The head and its loss are HuBERT-Soft's (van Niekerk et al. 2022, section 2): cross-entropy of the cosines between a
projection and a learned vector for each unit, over 0.1. Here the encoder below is not trained: its frames come in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.weights import read_safetensors, write_safetensors

log = logging.getLogger(__name__)

TEMPERATURE = 0.1
LEAST_SPREAD = 1e-4
"""Added to the spread of a column, so that one that does not move becomes 0."""
WARMUP = 0.1
"""Share of the steps in which the learning rate rises; it falls to zero in the others."""
BLOCK_ROWS = 4096


def cosines(units: Tensor, labels: Tensor) -> Tensor:
    """`(..., D)` with `(K, D)`, to `(..., K)` in [-1, 1]."""
    return F.normalize(units, dim=-1) @ F.normalize(labels, dim=-1).T


def normalised(frames: Tensor) -> Tensor:
    """Frames `(..., T, D)` of whole recordings with mean 0 and spread 1 in every column, float32."""
    frames = frames.float()
    spread = frames.std(dim=-2, correction=0, keepdim=True) + LEAST_SPREAD
    return (frames - frames.mean(dim=-2, keepdim=True)) / spread


class SoftUnits(nn.Module):
    """Frames of a feature to soft units.

    Args:
        columns: D of the frames.
        hidden: width of the one hidden layer.
        dim: of a soft unit.
        labels: K, how many units there are.
        dropout: of the hidden layer, when training.
        normalise: frames are brought to mean 0 and spread 1 over the recording first, which takes most of the speaker
            out of them.
    """

    def __init__(
        self, columns: int, hidden: int, dim: int, labels: int, dropout: float = 0.0, *, normalise: bool = True
    ):
        super().__init__()
        self.normalise = normalise
        self.hidden = nn.Linear(columns, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, dim)
        self.labels = nn.Parameter(torch.randn(labels, dim))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames `(T, D)` of one whole recording, or `(B, T, D)` of several of one length, to `(..., T, dim)` float32.

        Raises:
            InputError: when the frames are not of the width that it was trained on.
        """
        columns = self.hidden.in_features
        if frames.ndim not in (2, 3) or frames.shape[-1] != columns:
            raise InputError(
                f"soft units: expected frames (T, {columns}) or (B, T, {columns}), found {tuple(frames.shape)}; name "
                "the feature that they were trained on"
            )
        return self.project(normalised(frames) if self.normalise else frames.float())

    def project(self, frames: Tensor) -> Tensor:
        """`(..., D)` to `(..., dim)`, each frame by itself, normalised already where that is asked for."""
        units: Tensor = self.out(self.dropout(self.norm(F.gelu(self.hidden(frames)))))
        return units

    def logits(self, units: Tensor) -> Tensor:
        """Soft units `(..., dim)` to `(..., K)`: cosines to the units' vectors, over 0.1."""
        return cosines(units, self.labels) / TEMPERATURE


def train(
    frames: NDArray[Any],
    labels: NDArray[Any],
    *,
    hidden: int,
    dim: int,
    dropout: float,
    normalise: bool,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
) -> SoftUnits:
    """The network that was shown which unit each of these frames is; the same for the same frames and seed.

    Args:
        frames: `(N, D)`, normalised already where `normalise` asks for that: they need not be of whole recordings.
        labels: `(N,)` whole numbers from 0; the largest decides how many units there are.
        hidden, dim, dropout, normalise: of the network.
        steps: of AdamW, whose learning rate rises to `learning_rate` and falls to zero.
        batch: frames in a step, drawn at random.
        learning_rate: the highest.
        seed: of the first weights, the batches and the dropout.

    Raises:
        InputError: for no frames, for frames and labels that do not fit, and for what is not finite or below 0.
    """
    if frames.ndim != 2 or labels.shape != frames.shape[:1] or not len(frames):
        raise InputError(
            f"soft units: expected frames (N, D) and labels (N,), N > 0, found {frames.shape} and {labels.shape}; name "
            "two features of one corpus"
        )
    if not np.isfinite(frames).all() or labels.min() < 0:
        raise InputError("soft units: found frames that are not finite, or labels below 0; make the features again")
    x, y = torch.from_numpy(np.ascontiguousarray(frames, np.float32)), torch.from_numpy(labels.astype(np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SoftUnits(x.shape[1], hidden, dim, int(y.max()) + 1, dropout, normalise=normalise)
        optimiser = torch.optim.AdamW(model.parameters(), learning_rate, betas=(0.9, 0.98))
        rising = max(1, round(WARMUP * steps))
        for step in range(steps):
            share = min((step + 1) / rising, (steps - step) / max(1, steps - rising))
            optimiser.param_groups[0]["lr"] = learning_rate * share
            chosen = torch.randint(len(x), (batch,))
            loss = F.cross_entropy(model.logits(model.project(x[chosen])), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    model.eval().requires_grad_(False)
    right = sum(
        int((model.logits(model.project(x[at : at + BLOCK_ROWS])).argmax(1) == y[at : at + BLOCK_ROWS]).sum())
        for at in range(0, len(x), BLOCK_ROWS)
    )
    log.info("soft units: %.1f %% of %d frames of the training are told to be their unit", 100 * right / len(x), len(x))
    return model


def save(path: str | Path, model: SoftUnits, made_by: str = "") -> None:
    """Writes the network as safetensors with the slice that it depends on, whole or not at all."""
    metadata = {"kind": "soft_units", "normalise": str(int(model.normalise)), "slice": made_by}
    write_safetensors(path, model.state_dict(), metadata)


def load(path: str | Path) -> SoftUnits:
    """The network that `save` wrote, on the CPU and ready to run.

    Raises:
        InputError: for a file of another kind, or one whose sizes do not fit together.
    """
    tensors, metadata = read_safetensors(path)
    if metadata.get("normalise") not in ("0", "1"):
        found = metadata.get("kind", "something else")
        raise InputError(
            f"{path}: expected a network of soft units, found {found}; name the model.safetensors of a feature of kind "
            "soft_units"
        )
    return of_tensors(tensors, metadata["normalise"] == "1", str(path))


def of_tensors(tensors: Mapping[str, Tensor], normalise: bool, where: str) -> SoftUnits:
    """The network of these tensors, named as in its `state_dict`, on the CPU and ready to run.

    Args:
        where: they are from, for errors.

    Raises:
        InputError: when they are not those of such a network, or their sizes do not fit together.
    """
    try:
        hidden, columns = tensors["hidden.weight"].shape
        labels, dim = tensors["labels"].shape
        model = SoftUnits(columns, hidden, dim, labels, normalise=normalise)
        model.load_state_dict(dict(tensors))
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"{where}: expected the tensors of a network of soft units, found {', '.join(sorted(tensors)) or 'none'} "
            f"({' '.join(str(error).split())[:120]}); make it again with snakemake"
        ) from None
    return model.eval().requires_grad_(False)
