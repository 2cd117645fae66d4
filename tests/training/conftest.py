"""A task that is no speech: a line through noisy points. `events` lets a test act in the middle of a run."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vcpipe.training.loop import Loaders
from vcpipe.training.settings import LoopSettings, lr_at
from vcpipe.training.state import Shown, State, set_lr, start_ema, update_ema


def build(cfg, device):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, betas=cfg.betas)
    state = State({"model": model}, {"model": optimizer}, device)
    state.cfg = cfg
    if cfg.ema:
        start_ema(state)
    return state


def step(state, batch):
    set_lr(state, lr_at(state.cfg, state.step))
    loss = (state.modules["model"](batch["x"])[:, 0] - batch["y"]).square().mean()
    if math.isfinite(loss.item()):
        state.optimizers["model"].zero_grad()
        loss.backward()
        state.optimizers["model"].step()
        if state.cfg.ema:
            update_ema(state, state.cfg.ema)
        state.step += 1
    return {"loss": loss.item()}


def validate(state, loader):
    return {"loss": float(state.modules["model"][0].bias.detach().norm())}


def export(state):
    return {key: value.detach().clone() for key, value in state.modules["model"].state_dict().items()}


def rebuild(made_by, tensors, where):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    model.load_state_dict(tensors)
    return model


@pytest.fixture
def toy():
    """`toy.settings(**changes)`, `toy.task`, and `toy.loaders(on)`, where `on[step]` is called before that batch."""

    def batch_at(step):
        rng = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=rng)
        return {"x": x, "y": x.sum(1), "utt_id": [f"u{step}"], "seconds": 2.0}

    def loaders(on=None):
        def stream(start, stop):
            for number in range(start, stop):
                batch = batch_at(number)
                if on and number in on:
                    on[number](batch)
                yield batch

        return Loaders(stream, [])

    def settings(**changes):
        values = {"steps": 12, "lr": 0.01, "validate_every": 4, "checkpoint_every": 5, "log_every": 2, "ema": 0.9}
        return LoopSettings(**values | changes)

    shown = Shown({"tone": (torch.zeros(100), 8000)}, {"grey": torch.zeros(3, 4, 5)})
    functions = {"build": build, "step": step, "validate": validate, "export": export, "rebuild": rebuild}
    task = SimpleNamespace(REVISION=1, show=lambda state, loader: shown, **functions)
    return SimpleNamespace(task=task, settings=settings, loaders=loaders)
