"""A task that is no speech: a line through noisy points. `events` lets a test act in the middle of a run."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from vcpipe.loader import Loader
from vcpipe.training.loop import Loaders
from vcpipe.training.settings import LoopSettings, lr_at
from vcpipe.training.state import Shown, State, set_lr, start_ema, update_ema
from vcpipe.training.update import adamw, forward, pieces, update


def build(cfg, device):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    state = State({"model": model}, {"model": adamw(model, cfg)}, device)
    state.cfg = cfg
    if cfg.ema:
        start_ema(state)
    return state


def step(state, batch):
    set_lr(state, lr_at(state.cfg, state.step))

    def losses_of(part):
        return {"loss": (forward(state, "model", part["x"])[:, 0] - part["y"]).square().mean()}

    losses = update(state, "model", pieces(state, batch), losses_of, state.cfg.grad_clip)
    values = {name: value.item() for name, value in losses.items()}
    if all(map(math.isfinite, values.values())):
        if state.cfg.ema:
            update_ema(state, state.cfg.ema)
        state.step += 1
    return values


def validate(state, loader):
    return {"loss": float(state.modules["model"][0].bias.detach().norm())}


def export(state):
    return {key: value.detach().clone() for key, value in state.modules["model"].state_dict().items()}


def rebuild(made_by, tensors, where):
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    model.load_state_dict(tensors)
    return model


class Rows:
    """Batches of 8 rows, of which rank `rank` of `world` has its share."""

    def __init__(self, rank=0, world=1, seed=0):
        self.rank, self.world, self.seed = rank, world, seed

    def __len__(self):
        return 5

    def __getitem__(self, step):
        rng = torch.Generator().manual_seed(step)
        x = torch.randn(8, 3, generator=rng).chunk(self.world)[self.rank]
        return {"x": x, "y": x.sum(1), "utt_id": [f"u{step}"] * len(x), "seconds": 2.0}

    def identity(self):
        return {"seed": self.seed}

    def close(self):
        pass


class Acting(Loader):
    """Calls `on[step]` with the batch of that step, when it is its turn."""

    def __init__(self, source, on):
        super().__init__(source)
        self.on = on

    def __next__(self):
        batch = super().__next__()
        if act := self.on.get(self.state()["step"] - 1):
            act(batch)
        return batch


@pytest.fixture
def toy():
    """`toy.settings(**changes)`, `toy.task`, and `toy.loaders(on)`, where `on[step]` is called before that batch."""

    def loaders(on=None, valid=(), **options):
        return Loaders(Acting(Rows(**options), on or {}), valid)

    def settings(**changes):
        values = {"steps": 12, "batch": 8, "lr": 0.01, "ema": 0.9}
        values |= {"validate_every": 4, "checkpoint_every": 5, "log_every": 2}
        return LoopSettings(**values | changes)

    shown = Shown({"tone": (torch.zeros(100), 8000)}, {"grey": torch.zeros(3, 4, 5)})
    functions = {"build": build, "step": step, "validate": validate, "export": export, "rebuild": rebuild}
    task = SimpleNamespace(REVISION=1, show=lambda state, loader: shown, **functions)
    return SimpleNamespace(task=task, settings=settings, loaders=loaders)
