"""A recording as a converter is given it: a file, or samples."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vcpipe import audio
from vcpipe.errors import InputError

Recording = str | Path | Tensor


def wave_of(recording: Recording, rate: int) -> Tensor:
    """`(N,)` float32 at `rate`, on the CPU, of a file or of samples in [-1, 1] at that rate.

    Raises:
        InputError: for samples that are not mono, or not finite.
    """
    if isinstance(recording, str | Path):
        return torch.from_numpy(audio.load(recording, rate))
    if recording.ndim != 1:
        raise InputError(f"recording: expected a mono wave (N,), found {tuple(recording.shape)}; mix it down first")
    if not torch.isfinite(recording).all():
        raise InputError("recording: NaN or infinite samples; repair the recording first")
    return recording.float().cpu()


def name_of(recording: Recording) -> str:
    """What errors call it."""
    return str(recording) if isinstance(recording, str | Path) else "recording"
