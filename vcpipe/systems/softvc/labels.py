"""What is said of a frame's pitch and loudness as the number of a class: the labels of the literal hubert-pitdyn.

Pitch is in semitones, and unvoiced is a class of its own; loudness is in decibels. Both are read off shards on the
grid of the encoder, whose cells they are centred on. So no rate is assumed here, and none can be assumed wrongly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vcpipe.systems.softvc.classifier_settings import ClassifierSettings, Embds

COLUMNS = {"pits": 2, "dyns": 1}
"""Of the feature that labels are made of: f0 in Hz and voiced; RMS in dB."""


def classes_of(values: Tensor, embds: Embds, settings: ClassifierSettings) -> Tensor:
    """`(..., T, 2)` f0 in Hz and voiced, or `(..., T, 1)` RMS in dBFS, to `(..., T)` int64 classes."""
    return pitch_classes(values, settings) if embds == "pits" else dynamics_classes(values, settings)


def pitch_classes(f0: Tensor, settings: ClassifierSettings) -> Tensor:
    """`(..., T, 2)` f0 in Hz and voiced, to 0 where unvoiced, else the semitone above `low_hz`, counted from 1.

    A voice out of range is in the first or last class: it does not fold into another octave.
    """
    hz, voiced = f0[..., 0], (f0[..., 1] > 0) & (f0[..., 0] > 0)
    semitone = (12 * torch.log2(hz.clamp(min=1) / settings.low_hz)).floor().long()
    return torch.where(voiced, 1 + semitone.clamp(0, settings.classes("pits") - 2), 0)


def dynamics_classes(rms_db: Tensor, settings: ClassifierSettings) -> Tensor:
    """`(..., T, 1)` dBFS to 0 below `low_db`, else the bin, counted from 1."""
    width = (settings.high_db - settings.low_db) / settings.bins
    place = ((rms_db[..., 0] - settings.low_db) / width).floor().long()
    return (1 + place).clamp(0, settings.bins)
