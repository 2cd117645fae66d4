"""Training a vocoder: spectrogram losses, and discriminators where the config asks for them.

The order of HiFi-GAN (arXiv 2010.05646): first the discriminators on the detached wave, then the generator against
the updated discriminators. Generator and discriminators have one AdamW each with the same learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.nn.discriminators import hifigan_discriminators, small_discriminators
from vcpipe.nn.hifigan import HifiGan, fused_weights
from vcpipe.nn.source_filter import MelSourceFilter, SourceFilter
from vcpipe.nn.vocos import Vocos
from vcpipe.training.settings import lr_at
from vcpipe.training.state import Batch, Shown, State, averaged, set_lr, start_ema, update_ema
from vcpipe.training.update import adamw, floats, forward, forward_only, pieces, update
from vcpipe.vocoders import checkpoints
from vcpipe.vocoders.config import REVISION as REVISION
from vcpipe.vocoders.config import (
    GeneratorSettings,
    HifiGanSettings,
    LossWeights,
    MelScale,
    MelSourceFilterSettings,
    SourceFilterSettings,
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
    modules: dict[str, nn.Module] = {"model": build_generator(cfg.generator, cfg.in_dim, cfg.hop, rate=cfg.rate)}
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
        optimizers={name: adamw(module, training) for name, module in modules.items()},
        device=device,
        cfg=cfg,
        mel=MelLoss(cfg.rate, training.mel_scales).to(device),
        stft=StftLoss().to(device),
        judging=MelLoss(cfg.rate, [JUDGING_SCALE]).to(device),
    )
    if training.ema is not None:
        start_ema(state)
    return state


def build_generator(
    settings: GeneratorSettings, in_dim: int, hop: int, normed: bool = True, rate: int = 16000
) -> nn.Module:
    """The generator for `in_dim` columns at `hop` samples per frame; `normed=False` takes fused weights.

    Only those with a source hear what `rate` is: their pitch is in Hz.
    """
    values = settings.model_dump(exclude={"arch"})
    if isinstance(settings, HifiGanSettings):
        return HifiGan(in_dim, **values, normed=normed)
    if isinstance(settings, SourceFilterSettings):
        return SourceFilter(in_dim, hop=hop, rate=rate, **values)
    if isinstance(settings, MelSourceFilterSettings):
        return MelSourceFilter(in_dim - 2, hop=hop, rate=rate, **values)
    return Vocos(in_dim, hop=hop, **values)


def step(state: VocoderState, batch: Batch) -> dict[str, float]:
    """One update from `units (B, T, D)` and `wav (B, hop * T)`; losses by name, `loss` is the generator's sum."""
    set_lr(state, lr_at(state.training, state.step))
    start, largest = state.training.adversarial_from, state.training.grad_clip
    adversarial = start is not None and state.step >= start
    parts = pieces(state, batch)
    wave_hat = forward(state, "model", batch["units"]) if len(parts) == 1 else None
    losses: dict[str, Tensor] = {}
    if adversarial:
        found = update(state, "discriminators", parts, lambda part: _discriminator_loss(state, part, wave_hat), largest)
        losses["discriminator"] = found.pop("loss")
        losses |= {f"discriminator_{name}": value for name, value in found.items()}
        if not all(map(math.isfinite, floats(losses).values())):
            return floats(losses)
    losses |= update(state, "model", parts, lambda part: _generator_losses(state, part, wave_hat, adversarial), largest)
    values = floats(losses)
    if all(map(math.isfinite, values.values())):
        if state.training.ema is not None:
            update_ema(state, state.training.ema)
        state.step += 1
    return values


def _discriminator_loss(state: VocoderState, part: Batch, wave_hat: Tensor | None) -> dict[str, Tensor]:
    """Of one piece of the batch; `wave_hat` is what the generator made of it, where that is kept."""
    wave = part["wav"].unsqueeze(1)
    if wave_hat is None:
        with torch.no_grad():
            wave_hat = forward_only(state, "model", part["units"])
    scores, _ = forward(state, "discriminators", torch.cat([wave, wave_hat.detach()]))
    real, fake = zip(*(s.chunk(2) for s in scores), strict=True)
    return {"loss": discriminator_loss(real, fake)}


def _generator_losses(
    state: VocoderState, part: Batch, wave_hat: Tensor | None, adversarial: bool
) -> dict[str, Tensor]:
    wave = part["wav"].unsqueeze(1)
    if wave_hat is None:
        wave_hat = forward(state, "model", part["units"])
    terms = _spectral_terms(state, wave, wave_hat)
    if adversarial:
        terms |= _judged_terms(state, wave, wave_hat)
    weights = state.weights.model_dump()
    return {"loss": torch.stack([weights[name] * value for name, value in terms.items()]).sum(), **terms}


def _spectral_terms(state: VocoderState, wave: Tensor, wave_hat: Tensor) -> dict[str, Tensor]:
    terms = {}
    if state.weights.mel:
        terms["mel"] = state.mel(wave_hat[:, 0], wave[:, 0])
    if state.weights.stft:
        terms["stft"] = state.stft(wave_hat[:, 0], wave[:, 0])
    return terms


def _judged_terms(state: VocoderState, wave: Tensor, wave_hat: Tensor) -> dict[str, Tensor]:
    discriminators = state.modules["discriminators"]
    with torch.no_grad():
        _, real = forward_only(state, "discriminators", wave)
    discriminators.requires_grad_(False)  # their gradients would be thrown away
    scores, fake = forward_only(state, "discriminators", wave_hat)
    discriminators.requires_grad_(True)
    return {"adversarial": adversarial_loss(scores), "feature": feature_loss(real, fake)}


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
        shown.pictures[f"{i}/mel"] = mel_picture(torch.cat([mel(wave)[0], mel(wave_hat)[0]]).cpu())
    return shown


def mel_picture(mel: Tensor) -> Tensor:
    """`(2 * mels, T)` natural log, recording first, to `(3, 2 * mels, T)` grey in [0, 1], low bands at the bottom."""
    above, below = (half.flip(0) for half in mel.chunk(2))
    grey = (torch.cat([above, below]) / math.log(10) + 5).div(6).clamp(0, 1)
    return grey.expand(3, -1, -1)


def _heard(state: VocoderState, loader: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
    with averaged(state):
        for batch in loader:
            yield batch["wav"].to(state.device), state.modules["model"](batch["units"].to(state.device))[:, 0]


def export(state: VocoderState) -> dict[str, Tensor]:
    """The generator's weights, averaged where the config says so, weight norms multiplied out."""
    with averaged(state):
        return {name: value.clone() for name, value in fused_weights(state.modules["model"]).items()}


def rebuild(made_by: Mapping[str, Any], tensors: dict[str, Tensor], where: str) -> nn.Module:
    """The generator of a run folder, from its slice and its tensors."""
    cfg = of_slice(dict(made_by), where)
    model = build_generator(cfg.generator, cfg.in_dim, cfg.hop, normed=False, rate=cfg.rate)
    checkpoints.load_strict(model, tensors, where)
    return model.eval()
