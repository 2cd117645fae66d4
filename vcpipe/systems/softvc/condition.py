"""Pitch and dynamics as the acoustic model hears them: two heads, behind one switch, that begin silent.

The pitch is ln Hz less the mean of the corpus, in its spread: absolute, so that a voice's steps are where another
voice's were learned. The loudness is that of a voice less its mean, in its spread. A head reads the frames
`(B, T, 3)` of `columns`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vcpipe.systems.softvc.statistics import Voice

COLUMNS = 3
WIDTH = 256  # of a head
PITCH_BINS, LOWEST_HZ, HIGHEST_HZ = 255, 50.0, 1100.0
"""Bins of the pitch, alike in semitones (0.21 each), and what they reach; bin 0 stands for what is not voiced."""
ENERGY_BINS, ENERGY_SPAN = 64, 4.0
"""Bins of the loudness, and how many spreads to either side of a voice's mean they reach."""
WAVES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""The continuous head reads the pitch as sines of so many periods an octave. With 32 a semitone is 2.7 of them; those
with less than one tell octaves apart, to the others an octave is the same pitch again."""
LEAST_SPREAD, LEAST_DB = 0.05, 1e-3
"""Of the pitch, in ln Hz, and of the loudness: flat recordings have none to divide by."""


def columns(f0: NDArray[np.floating], energy_db: NDArray[np.floating]) -> NDArray[np.float32]:
    """`(T, 2)` Hz and voiced, and `(T, 1)` dB, to `(T, 3)`: ln Hz, 0 where not voiced; voiced; dB."""
    voiced = (f0[:, 0] > 0) & (f0[:, 1] > 0)
    ln_hz = np.log(np.where(voiced, f0[:, 0], 1.0))
    return np.stack([ln_hz, voiced, energy_db[:, 0]], axis=1).astype(np.float32)


class Head(nn.Module):
    """What the heads have in common: the numbers that normalise, which come with the weights.

    Args:
        n_voices: that the model speaks with; the one after the last stands for anybody else.
    """

    pitch: Tensor
    energy: Tensor

    def __init__(self, n_voices: int):
        super().__init__()
        self.register_buffer("pitch", torch.tensor([math.log(150.0), 0.3]))
        self.register_buffer("energy", torch.tensor([[-30.0, 10.0]]).repeat(n_voices + 1, 1))

    def measure(self, corpus: Voice, voices: Sequence[Voice]) -> None:
        """Takes the means and spreads from what is known of the corpus and of each voice."""
        self.pitch.copy_(torch.tensor([corpus.mean_log_f0, max(corpus.std_log_f0, LEAST_SPREAD)]))
        rows = [[v.energy_mean_db, max(v.energy_std_db, LEAST_DB)] for v in (*voices, corpus)]
        self.energy.copy_(torch.tensor(rows))

    def normalised(self, condition: Tensor, voice: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pitch, voiced and loudness, each `(B, T)`; the first and the last in spreads around their mean."""
        ln_hz, voiced, db = condition.unbind(2)
        mean, spread = self.pitch
        energy = self.energy[voice]
        return (ln_hz - mean) / spread, voiced, (db - energy[:, :1]) / energy[:, 1:]


class Continuous(Head):
    """Numbers and sines of them through two convolutions, the last of which begins at zero."""

    def __init__(self, channels: int, n_voices: int):
        super().__init__(n_voices)
        self.mix = nn.Conv1d(3 + 2 * len(WAVES), WIDTH, 3, padding=1)
        self.out = nn.Conv1d(WIDTH, channels, 3, padding=1)
        _silent(self.out)

    def forward(self, condition: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T, 3)` and `(B,)` to `(B, T, channels)`; no other hears the frames that `mask (B, T, 1)` leaves out."""
        pitch, voiced, energy = self.normalised(condition, voice)
        octaves = condition[..., 0] / math.log(2)
        turns = 2 * math.pi * octaves[..., None] * torch.tensor(WAVES, device=octaves.device)
        waves = torch.cat([turns.sin(), turns.cos()], dim=2) * voiced[..., None]
        x = torch.cat([torch.stack([pitch * voiced, voiced, energy], dim=2), waves], dim=2)
        x = torch.relu(self.mix(_masked(x, mask).transpose(1, 2))).transpose(1, 2)
        return self.out(_masked(x, mask).transpose(1, 2)).transpose(1, 2)


class Quantised(Head):
    """Numbers of bins, each with a vector of its own, that begin at zero behind a convolution."""

    def __init__(self, channels: int, n_voices: int):
        super().__init__(n_voices)
        self.pitches = nn.Embedding(PITCH_BINS + 1, WIDTH)
        self.energies = nn.Embedding(ENERGY_BINS, WIDTH)
        self.out = nn.Conv1d(WIDTH, channels, 3, padding=1)
        _silent(self.out)

    def forward(self, condition: Tensor, voice: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T, 3)` and `(B,)` to `(B, T, channels)`; no other hears the frames that `mask (B, T, 1)` leaves out."""
        pitch, energy = self.bins(condition, voice)
        x = torch.relu(self.pitches(pitch) + self.energies(energy))
        return self.out(_masked(x, mask).transpose(1, 2)).transpose(1, 2)

    def bins(self, condition: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers of pitch, 0 where not voiced, and of loudness: `(B, T)` each."""
        _, voiced, energy = self.normalised(condition, voice)
        low, high = math.log(LOWEST_HZ), math.log(HIGHEST_HZ)
        number = _bin(condition[..., 0], low, high, PITCH_BINS) + 1
        return torch.where(voiced > 0, number, 0), _bin(energy, -ENERGY_SPAN, ENERGY_SPAN, ENERGY_BINS)


HEADS: dict[str, type[Continuous] | type[Quantised]] = {"continuous": Continuous, "quantised": Quantised}


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask


def _bin(value: Tensor, low: float, high: float, count: int) -> Tensor:
    """Numbers 0 to `count - 1` of bins of equal width between `low` and `high`."""
    return ((value - low) / (high - low) * count).long().clamp(0, count - 1)


def _silent(layer: nn.Conv1d) -> None:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
