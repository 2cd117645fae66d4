"""Training a vocoder: spectrogram losses, and discriminators where the config asks for them.

The order of HiFi-GAN (arXiv 2010.05646): first the discriminators on the detached wave, then the generator against
the updated discriminators. Generator and discriminators have one AdamW each with the same learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.nn.discriminators import hifigan_discriminators, judge, small_discriminators
from vcpipe.nn.hifigan import HifiGan, fused_weights
from vcpipe.nn.vocos import Vocos
from vcpipe.training.settings import lr_at
from vcpipe.training.state import Batch, Shown, State, set_lr, start_ema, update_ema
from vcpipe.vocoders import checkpoints
from vcpipe.vocoders.config import REVISION as REVISION
from vcpipe.vocoders.config import (
    GeneratorSettings,
    HifiGanSettings,
    LossWeights,
    MelScale,
    TrainingSettings,
    VocoderConfig,
    of_slice,
)
from vcpipe.vocoders.losses import MelLoss, StftLoss, adversarial_loss, discriminator_loss, feature_loss

DISCRIMINATORS = {"hifigan": hifigan_discriminators, "small": small_discriminators}
JUDGING_SCALE = MelScale(n_fft=1024, hop=320, mels=80)
SHOWN = 2


@dataclass
class VocoderState(State):
    """A run of a vocoder. `modules` are `model` and, when adversarial, `discriminators`."""

    cfg: VocoderConfig = field(kw_only=True)
    mel: MelLoss = field(kw_only=True)
    stft: StftLoss = field(kw_only=True)
    judging: MelLoss = field(kw_only=True)

    @property
    def training(self) -> TrainingSettings:
        """How the run is trained."""
        return self.cfg.training

    @property
    def weights(self) -> LossWeights:
        """What each term counts for."""
        return self.cfg.training.weights


def build(cfg: VocoderConfig, device: torch.device) -> VocoderState:
    """Models with first weights (random, or from `init_*`), optimisers, losses."""
    training = cfg.training
    modules: dict[str, nn.Module] = {"model": build_generator(cfg.generator, cfg.in_dim, cfg.hop)}
    if training.init_generator:
        checkpoints.load_generator(modules["model"], training.init_generator)
    if training.adversarial_from is not None:
        discriminators = DISCRIMINATORS[training.discriminators]()
        if training.init_discriminators:
            checkpoints.load_discriminators(discriminators, training.init_discriminators)
        modules["discriminators"] = discriminators
    for module in modules.values():
        module.to(device).train()
    state = VocoderState(
        modules=modules,
        optimizers={
            name: torch.optim.AdamW(
                module.parameters(), training.lr, betas=training.betas, weight_decay=training.weight_decay, fused=True
            )
            for name, module in modules.items()
        },
        device=device,
        cfg=cfg,
        mel=MelLoss(cfg.rate, training.mel_scales).to(device),
        stft=StftLoss().to(device),
        judging=MelLoss(cfg.rate, [JUDGING_SCALE]).to(device),
    )
    if training.ema is not None:
        start_ema(state)
    return state


def build_generator(settings: GeneratorSettings, in_dim: int, hop: int, normed: bool = True) -> nn.Module:
    """The generator for `in_dim` columns at `hop` samples per frame; `normed=False` takes fused weights."""
    values = settings.model_dump(exclude={"arch"})
    if isinstance(settings, HifiGanSettings):
        return HifiGan(in_dim, **values, normed=normed)
    return Vocos(in_dim, hop=hop, **values)


def step(state: VocoderState, batch: Batch) -> dict[str, float]:
    """One update from `units (B, T, D)` and `wav (B, hop * T)`; losses by name, `loss` is the generator's sum."""
    set_lr(state, lr_at(state.training, state.step))
    wave = batch["wav"].unsqueeze(1)
    wave_hat = state.modules["model"](batch["units"])
    start = state.training.adversarial_from
    adversarial = start is not None and state.step >= start
    losses: dict[str, Tensor] = {}
    if adversarial:
        losses["discriminator"] = _discriminator_loss(state, wave, wave_hat.detach())
        losses["discriminator_gradient"] = _update(state, "discriminators", losses["discriminator"])
        if not losses["discriminator_gradient"].isfinite():
            return _floats(losses)
    terms = _spectral_terms(state, wave, wave_hat)
    if adversarial:
        terms |= _judged_terms(state, wave, wave_hat)
    weights = state.weights.model_dump()
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    losses |= {"loss": total, **terms, "gradient": _update(state, "model", total)}
    if losses["gradient"].isfinite():
        if state.training.ema is not None:
            update_ema(state, state.training.ema)
        state.step += 1
    return _floats(losses)


def _discriminator_loss(state: VocoderState, wave: Tensor, wave_hat: Tensor) -> Tensor:
    scores, _ = judge(_discriminators(state), torch.cat([wave, wave_hat]))
    real, fake = zip(*(s.chunk(2) for s in scores), strict=True)
    return discriminator_loss(real, fake)


def _spectral_terms(state: VocoderState, wave: Tensor, wave_hat: Tensor) -> dict[str, Tensor]:
    terms = {}
    if state.weights.mel:
        terms["mel"] = state.mel(wave_hat[:, 0], wave[:, 0])
    if state.weights.stft:
        terms["stft"] = state.stft(wave_hat[:, 0], wave[:, 0])
    return terms


def _judged_terms(state: VocoderState, wave: Tensor, wave_hat: Tensor) -> dict[str, Tensor]:
    discriminators = _discriminators(state)
    with torch.no_grad():
        _, real = judge(discriminators, wave)
    discriminators.requires_grad_(False)  # their gradients would be thrown away
    scores, fake = judge(discriminators, wave_hat)
    discriminators.requires_grad_(True)
    return {"adversarial": adversarial_loss(scores), "feature": feature_loss(real, fake)}


def _discriminators(state: VocoderState) -> nn.ModuleDict:
    return cast(nn.ModuleDict, state.modules["discriminators"])


def _update(state: VocoderState, name: str, loss: Tensor) -> Tensor:
    """One step of an optimiser; the gradient's norm before clipping. No step where it or the loss is not finite."""
    optimizer = state.optimizers[name]
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    largest = math.inf if state.training.grad_clip is None else state.training.grad_clip
    norm = nn.utils.clip_grad_norm_(state.modules[name].parameters(), largest) + 0 * loss.detach()
    if norm.isfinite():
        optimizer.step()
    return norm


def _floats(losses: dict[str, Tensor]) -> dict[str, float]:
    values = torch.stack([v.detach() for v in losses.values()]).tolist()
    return dict(zip(losses, values, strict=True))


@torch.no_grad()
def validate(state: VocoderState, loader: Iterable[Batch]) -> dict[str, float]:
    """Means over whole utterances, one a batch: `loss` is that of the 80-band log-mel, which all recipes share."""
    sums: dict[str, float] = {}
    count = 0
    for wave, wave_hat in _heard(state, loader):
        values = {"loss": state.judging(wave_hat, wave), "mel": state.mel(wave_hat, wave)}
        values["stft"] = state.stft(wave_hat, wave)
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        count += 1
    if not count:
        raise InputError("validation has no utterances; give the corpus a valid split")
    return {name: value / count for name, value in sums.items()}


@torch.no_grad()
def show(state: VocoderState, loader: Iterable[Batch]) -> Shown:
    """The first utterances as audio and as spectrograms, the recording above what was made of it."""
    shown = Shown()
    for i, (wave, wave_hat) in enumerate(_heard(state, loader)):
        if i == SHOWN:
            break
        for name, audio in (("recording", wave), ("generated", wave_hat)):
            shown.audio[f"{i}/{name}"] = (audio[0].cpu(), state.cfg.rate)
        mel = state.judging.mels[0]
        shown.pictures[f"{i}/mel"] = _picture(torch.cat([mel(wave)[0], mel(wave_hat)[0]]).cpu())
    return shown


def _picture(mel: Tensor) -> Tensor:
    """`(2 * mels, T)` natural log, recording first, to `(3, 2 * mels, T)` grey in [0, 1], low bands at the bottom."""
    above, below = (half.flip(0) for half in mel.chunk(2))
    grey = (torch.cat([above, below]) / math.log(10) + 5).div(6).clamp(0, 1)
    return grey.expand(3, -1, -1)


def _heard(state: VocoderState, loader: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    with averaged(state):
        for batch in loader:
            yield batch["wav"].to(state.device), state.modules["model"](batch["units"].to(state.device))[:, 0]


@contextmanager
def averaged(state: State) -> Iterator[None]:
    """The model with its averaged parameters, where there are any; with its own again afterwards."""
    parameters = dict(state.modules["model"].named_parameters())
    own = {name: parameters[name].detach().clone() for name in state.ema}
    state.modules["model"].eval()
    try:
        with torch.no_grad():
            for name, value in state.ema.items():
                parameters[name].copy_(value)
        yield
    finally:
        with torch.no_grad():
            for name, value in own.items():
                parameters[name].copy_(value)
        state.modules["model"].train()


def export(state: VocoderState) -> dict[str, Tensor]:
    """The generator's weights, averaged where the config says so, weight norms multiplied out."""
    with averaged(state):
        return {name: value.clone() for name, value in fused_weights(state.modules["model"]).items()}


def rebuild(made_by: Mapping[str, Any], tensors: dict[str, Tensor], where: str) -> nn.Module:
    """The generator of a run folder, from its slice and its tensors."""
    cfg = of_slice(dict(made_by), where)
    model = build_generator(cfg.generator, cfg.in_dim, cfg.hop, normed=False)
    checkpoints.load_strict(model, tensors, where)
    return model
