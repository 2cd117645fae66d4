"""What is told is learned: mels whose loudest band is the pitch, and units that say nothing of it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.systems.softvc import made_up
from vcpipe.systems.softvc import task
from vcpipe.systems.softvc.config import AcousticTraining
from vcpipe.systems.softvc.statistics import Voice
from vcpipe.training import machine

BANDS, UNITS, BATCH = 16, 12, 8
LOW, HIGH = math.log(80.0), math.log(640.0)
VOICE = Voice(math.log(220.0), math.log(220.0), 0.5, 90.0, 500.0, 1.0, 1000, -20.0, 5.0)


def band_of(ln_hz: Tensor) -> Tensor:
    return (ln_hz - LOW) / (HIGH - LOW) * (BANDS - 1)


def batch(seed: int) -> dict[str, Any]:
    """Units at random, a pitch that moves, and mels that fall off to both sides of the pitch."""
    rng = torch.Generator().manual_seed(seed)
    n = 2 * UNITS
    start, slope = torch.rand(2, BATCH, 1, generator=rng)
    ln_hz = (LOW + (HIGH - LOW) * (start + (slope - 0.5) * torch.arange(n) / n)).clamp(LOW, HIGH)
    mel = -0.5 * (torch.arange(BANDS) - band_of(ln_hz)[..., None]).abs()
    condition = torch.stack([ln_hz, torch.ones_like(ln_hz), torch.full_like(ln_hz, -20.0)], dim=2)
    return {
        "units": torch.randn(BATCH, UNITS, 64, generator=rng),
        "mel": mel,
        "condition": condition,
        "voice": torch.zeros(BATCH, dtype=torch.long),
        "lengths": torch.full((BATCH,), UNITS),
        "utt_id": [str(i) for i in range(BATCH)],
        "seconds": 1.0,
    }


def error(condition: str, decoder: str) -> float:
    """In bands: how far the loudest band of what is made lies from the pitch that was asked for."""
    made_by = made_up.made_by(condition)
    made_by["model"] |= {"decoder": decoder, "dropout": 0.0, "channels": 32, "lstm": 32}
    training = AcousticTraining.model_validate({"preset": "cpu", "steps": 150, "batch": BATCH, "lr": 5e-3, "warmup": 5})
    torch.manual_seed(0)
    state = task.build(task.AcousticConfig(made_by, training, {"v": VOICE}, VOICE), made_up.CPU)
    state.equip(machine.start(made_up.CPU, training))
    for step in range(training.steps):
        task.step(state, batch(step))
    held_out = batch(10_000)
    model = state.modules["model"].eval()
    made = model.generate(held_out["units"], held_out["condition"], held_out["voice"])
    wanted = band_of(held_out["condition"][..., 0])
    return float((made.argmax(dim=2) - wanted).abs().median())


@pytest.mark.parametrize(
    ("head", "decoder", "bands"),
    [("continuous", "parallel", 1.0), ("quantised", "parallel", 1.0), ("continuous", "lstm", 2.5)],
)
def test_a_pitch_that_is_told_is_made(head: str, decoder: str, bands: float) -> None:
    assert error(head, decoder) < bands


@pytest.mark.parametrize("decoder", ["parallel", "lstm"])
def test_a_pitch_that_nobody_told_is_not(decoder: str) -> None:
    assert error("none", decoder) > 3.0
