"""Training a classifier of pitch or of dynamics: cross-entropy over frames, of all of them or of hidden spans."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.systems.softvc.classifier import Classifier, encoder_like, load_encoder, span_mask
from vcpipe.systems.softvc.classifier_settings import GRID, ClassifierConfig, of_slice
from vcpipe.systems.softvc.classifier_settings import REVISION as REVISION
from vcpipe.systems.softvc.labels import classes_of
from vcpipe.training.settings import lr_at
from vcpipe.training.state import Batch, Shown, State, averaged, set_lr, start_ema, update_ema
from vcpipe.training.update import adamw, floats, forward, pieces, update
from vcpipe.vocoders.checkpoints import load_strict

SHOWN = 2


@dataclass
class ClassifierState(State):
    """A run of a classifier. Its one module is `model`."""

    cfg: ClassifierConfig = field(kw_only=True)


def build(cfg: ClassifierConfig, device: torch.device) -> ClassifierState:
    """The classifier on the published encoder, and its optimiser."""
    model = _classifier(cfg, load_encoder(cfg.encoder)).to(device).train()
    optimizers: dict[str, torch.optim.Optimizer] = {"model": adamw(model, cfg.training)}
    state = ClassifierState({"model": model}, optimizers, device, cfg=cfg)
    if cfg.training.ema is not None:
        start_ema(state)
    return state


def _classifier(cfg: ClassifierConfig, encoder: Any) -> Classifier:
    return Classifier(encoder, cfg.classes, masked=cfg.training.mask_share > 0, level=cfg.classifier.level)


def step(state: ClassifierState, batch: Batch) -> dict[str, float]:
    """One update from `wav (B, T * 320)`, `labels (B, T, 2 or 1)` and `lengths (B,)`; losses by name."""
    training = state.cfg.training
    set_lr(state, lr_at(training, state.step))
    parts = pieces(state, batch)
    values = floats(update(state, "model", parts, lambda part: _losses(state, part), training.grad_clip))
    if all(map(math.isfinite, values.values())):
        if training.ema is not None:
            update_ema(state, training.ema)
        state.step += 1
    return values


def _losses(state: ClassifierState, part: Batch) -> dict[str, Tensor]:
    """A mean over frames within each crop, then over crops, so that pieces of a batch average to the whole."""
    training, lengths = state.cfg.training, part["lengths"]
    mask = span_mask(lengths, training.mask_share) if training.mask_share else None
    _, logits = forward(state, "model", part["wav"], lengths * GRID.hop, mask)
    labels, real = _labels(state, part, logits.shape[1])
    entropy = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    if mask is None:
        return {"loss": _mean(entropy, real)}
    hidden, seen = _mean(entropy, real & mask), _mean(entropy, real & ~mask)
    return {"loss": training.alpha * hidden + (1 - training.alpha) * seen, "hidden": hidden, "seen": seen}


def _mean(values: Tensor, of: Tensor) -> Tensor:
    return ((values * of).sum(1) / of.sum(1).clamp(min=1)).mean()


def _labels(state: ClassifierState, batch: Batch, frames: int) -> tuple[Tensor, Tensor]:
    """`(B, T)` classes, and which of them are of frames of a recording and not of zeros after it."""
    cfg = state.cfg
    labels = classes_of(batch["labels"][:, :frames].to(state.device), cfg.embds, cfg.classifier)
    lengths = batch["lengths"].to(state.device)
    return labels, torch.arange(frames, device=state.device) < lengths[:, None]


@torch.no_grad()
def validate(state: ClassifierState, loader: Iterable[Batch]) -> dict[str, float]:
    """Means over all frames, none of them hidden.

    `loss` is the cross-entropy, `accuracy` the share of frames whose class is the likeliest, `near` of those whose
    likeliest class is that one or beside it; unvoiced is beside none. `majority` is the accuracy of always giving the
    most frequent class. With `voiced_` before them: over voiced frames alone.
    """
    pits = state.cfg.embds == "pits"
    found = list(_heard(state, loader))
    if not found:
        raise InputError("validation has no utterances; give the corpus a valid split")
    logits, labels = (torch.cat([row[i][0] for row in found]) for i in (0, 1))
    guess = logits.argmax(1)
    right, near = guess == labels, (guess - labels).abs() <= 1
    if pits:
        near &= (guess > 0) == (labels > 0)
    counts = torch.bincount(labels, minlength=state.cfg.classes)
    scores = {
        "loss": float(F.cross_entropy(logits, labels)),
        "accuracy": float(right.float().mean()),
        "near": float(near.float().mean()),
        "majority": float(counts.max() / len(labels)),
    }
    voiced = labels > 0
    if pits and bool(voiced.any()):
        scores |= {
            "voiced_accuracy": float(right[voiced].float().mean()),
            "voiced_near": float(near[voiced].float().mean()),
            "voiced_majority": float(counts[1:].max() / voiced.sum()),
        }
    return scores


@torch.no_grad()
def show(state: ClassifierState, loader: Iterable[Batch]) -> Shown:
    """The first utterances: above which classes they are, below how likely each is, the first class at the bottom."""
    shown = Shown()
    for i, (logits, labels) in enumerate(_heard(state, loader)):
        if i == SHOWN:
            break
        parts = [F.one_hot(labels[0], state.cfg.classes).float(), logits[0].softmax(1)]
        shown.pictures[f"{i}/classes"] = torch.cat([part.T.flip(0) for part in parts]).cpu().expand(3, -1, -1)
    return shown


def _heard(state: ClassifierState, loader: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores `(1, T, classes)` and classes `(1, T)` of whole utterances, one a batch."""
    with averaged(state):
        for batch in loader:
            lengths = (batch["lengths"] * GRID.hop).to(state.device)
            _, logits = state.modules["model"](batch["wav"].to(state.device), lengths)
            yield logits, _labels(state, batch, logits.shape[1])[0]


def export(state: ClassifierState) -> dict[str, Tensor]:
    """All weights, those of the encoder too, averaged where the config says so."""
    with averaged(state):
        return {name: value.detach().clone() for name, value in state.modules["model"].state_dict().items()}


def rebuild(made_by: Mapping[str, Any], tensors: dict[str, Tensor], where: str) -> nn.Module:
    """The classifier of a run folder, from its slice and its tensors alone."""
    cfg = of_slice(dict(made_by), where)
    model = _classifier(cfg, encoder_like(cfg.encoder, tensors, where))
    load_strict(model, tensors, where)
    return model.eval()
