"""Training the acoustic model: every frame from the recording's own frame before it, and L1 over those that count.

Source: arXiv 2111.02392. As published, the loss of an utterance is the mean over its own frames and bands; unlike
there, frames of padding are in neither the loss nor the statistics of the instance norms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.systems.softvc import classifier_task
from vcpipe.systems.softvc.acoustic import Acoustic
from vcpipe.systems.softvc.condition import HEADS, Head
from vcpipe.systems.softvc.config import ACOUSTIC_REVISION as REVISION
from vcpipe.systems.softvc.config import AcousticTraining
from vcpipe.systems.softvc.model_settings import ModelSettings
from vcpipe.systems.softvc.statistics import Voice
from vcpipe.systems.softvc.units import module_of
from vcpipe.training.settings import lr_at
from vcpipe.training.state import Batch, Shown, State, averaged, set_lr, start_ema, update_ema
from vcpipe.training.update import adamw, floats, forward, pieces, update
from vcpipe.vocoders.checkpoints import load_strict
from vcpipe.vocoders.task import mel_picture

__all__ = ["REVISION", "AcousticConfig", "build", "export", "rebuild", "show", "step", "validate"]
SHOWN = 2


@dataclass(frozen=True)
class AcousticConfig:
    """All that decides an acoustic model.

    Attributes:
        made_by: slice of the run.
        training: how it is trained.
        voices: how those speak that it learns to speak as, by name, in order.
        corpus: how all of them speak together.
        first: tensors to start from, by the names of the model; empty: random ones.
        kept: tensors of the networks that make the units, which inference needs too.
    """

    made_by: Mapping[str, Any]
    training: AcousticTraining
    voices: Mapping[str, Voice]
    corpus: Voice
    first: Mapping[str, Tensor] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class AcousticState(State):
    """A run of an acoustic model, whose one module is `model`."""

    cfg: AcousticConfig = field(kw_only=True)

    @property
    def training(self) -> AcousticTraining:
        """How the run is trained."""
        return self.cfg.training


def build(cfg: AcousticConfig, device: torch.device) -> AcousticState:
    """The model with its first weights, and its optimiser."""
    model = build_model(cfg.made_by, len(cfg.voices))
    if isinstance(model.condition, Head):
        model.condition.measure(cfg.corpus, list(cfg.voices.values()))
    if cfg.first:
        own = model.state_dict()
        model.load_state_dict({**own, **cfg.first})
    model.to(device).train()
    state = AcousticState(
        modules={"model": model}, optimizers={"model": adamw(model, cfg.training)}, device=device, cfg=cfg
    )
    state.facts = {
        "voices": [{"name": name, **asdict(voice)} for name, voice in cfg.voices.items()],
        "corpus": asdict(cfg.corpus),
    }
    if cfg.training.ema is not None:
        start_ema(state)
    return state


def voices_of(info: Mapping[str, Any]) -> dict[str, Voice]:
    """The voices of a run, by name and in the order of the model, from its `config.json`."""
    named = ({**voice} for voice in info["facts"]["voices"])
    return {voice.pop("name"): Voice(**voice) for voice in named}


def build_model(made_by: Mapping[str, Any], n_voices: int) -> Acoustic:
    """The model that a slice describes, with random weights."""
    settings = ModelSettings.model_validate(made_by["model"])
    head = HEADS.get(made_by["condition"])
    units = made_by["units"]
    return Acoustic(
        settings,
        settings.prenet if units["n"] else units["dim"],
        made_by["mel"]["dim"],
        n_units=units["n"],
        condition=None if head is None else head(settings.channels, n_voices),
        n_voices=n_voices,
    )


def step(state: AcousticState, batch: Batch) -> dict[str, float]:
    """One update from `units`, `mel`, `condition`, `voice` and `lengths`; `loss` is the L1 of the log-mel."""
    set_lr(state, lr_at(state.training, state.step))
    model = state.modules["model"]
    assert isinstance(model, Acoustic)
    frozen = model.decoder.parameters() if state.step < state.training.freeze_decoder else ()
    found = update(
        state,
        "model",
        pieces(state, batch),
        lambda part: {"loss": _loss(state, part)},
        state.training.grad_clip,
        frozen,
    )
    values = floats(found)
    if all(map(math.isfinite, values.values())):
        if state.training.ema is not None:
            update_ema(state, state.training.ema)
        state.step += 1
    return values


def _loss(state: AcousticState, part: Batch) -> Tensor:
    """The mean over utterances of the mean over their frames and bands."""
    mel, lengths = part["mel"], part["lengths"]
    made = forward(state, "model", _units(part), mel, lengths, part["condition"], part["voice"])
    return masked_l1(made, mel, lengths)


def masked_l1(made: Tensor, mel: Tensor, lengths: Tensor) -> Tensor:
    """`(B, 2n, mels)` each, of which `lengths (B,)` units count: the mean of rows of their mean distance."""
    n_frames = 2 * lengths
    mask = torch.arange(mel.shape[1], device=mel.device) < n_frames[:, None]
    rows = ((made - mel).abs().mean(dim=2) * mask).sum(dim=1) / n_frames
    return rows.mean()


def _units(batch: Batch) -> Tensor:
    """Soft units as they are, `(B, n, D)`; numbers of discrete ones without their axis, `(B, n)`."""
    units: Tensor = batch["units"]
    return units[..., 0].long() if units.shape[-1] == 1 else units


@torch.no_grad()
def validate(state: AcousticState, loader: Iterable[Batch]) -> dict[str, float]:
    """The mean over utterances, one a batch, of `loss`; every frame from the recording's own frame before it."""
    losses = []
    with averaged(state):
        for batch in loader:
            given = {key: v.to(state.device) if isinstance(v, Tensor) else v for key, v in batch.items()}
            made = state.modules["model"](
                _units(given), given["mel"], given["lengths"], given["condition"], given["voice"]
            )
            losses.append(masked_l1(made, given["mel"], given["lengths"]).item())
    if not losses:
        raise InputError("validation has no utterances; give the corpus a valid split")
    return {"loss": sum(losses) / len(losses)}


@torch.no_grad()
def show(state: AcousticState, loader: Iterable[Batch]) -> Shown:
    """The first utterances as spectrograms: the recording above what is made without hearing it."""
    shown = Shown()
    model = state.modules["model"]
    assert isinstance(model, Acoustic)
    with averaged(state):
        for i, batch in enumerate(loader):
            if i == SHOWN:
                break
            given = {key: v.to(state.device) if isinstance(v, Tensor) else v for key, v in batch.items()}
            made = model.generate(_units(given), given["condition"], given["voice"])
            both = torch.cat([given["mel"][0].T, made[0].T]).cpu()
            shown.pictures[f"{i}/mel"] = mel_picture(both)
    return shown


def export(state: AcousticState) -> dict[str, Tensor]:
    """The model's weights, averaged where the config says so, under `acoustic.`; those that make units beside them."""
    with averaged(state):
        weights = state.modules["model"].state_dict()
        own = {f"acoustic.{name}": value.detach().clone() for name, value in weights.items()}
    return {**own, **state.cfg.kept}


def rebuild(made_by: Mapping[str, Any], tensors: dict[str, Tensor], where: str) -> Trained:
    """The model of a run folder, with the networks that make its units, where it has some.

    Raises:
        InputError: when the folder is of another task or revision, or its tensors are not those of its slice.
    """
    if made_by.get("task") != "acoustic" or made_by.get("system") != "softvc":
        raise InputError(f"{where}: expected the run of an acoustic model of softvc, found {made_by.get('task')!r}")
    if made_by.get("revision") != REVISION:
        raise InputError(
            f"{where}: made by revision {made_by.get('revision')} of the acoustic model's code, this is revision "
            f"{REVISION}; train it again with snakemake, or use the vcpipe that made it"
        )
    voices = tensors.get("acoustic.voices.weight")
    model = build_model(made_by, 1 if voices is None else len(voices))
    load_strict(model, _part(tensors, "acoustic"), where)
    units = module_of(made_by["features"]["units"], _part(tensors, "units"), where)
    literal = {
        role: classifier_task.rebuild(content, _part(tensors, role), where)
        for role, content in made_by.get("literal", {}).items()
    }
    return Trained(model.eval(), units, literal)


class Trained(nn.Module):
    """What a run folder holds.

    Args:
        acoustic: the model.
        units: the network that makes its units of a feature, or None.
        literal: the classifiers whose embeddings stand beside its units, by what they tell apart; of condition
            `literal` alone.
    """

    def __init__(self, acoustic: Acoustic, units: nn.Module | None, literal: Mapping[str, nn.Module]):
        super().__init__()
        self.acoustic, self.units, self.literal = acoustic, units, nn.ModuleDict(literal)


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
