"""A vocoder over any number of frames at constant memory."""

from __future__ import annotations

import torch
from torch import Tensor

from vcpipe.nn.source_filter import SourceFilter

WINDOW = 1500
MARGIN = 40


@torch.inference_mode()
def vocode(vocoder: torch.nn.Module, units: Tensor, hop: int, window: int = WINDOW, margin: int = MARGIN) -> Tensor:
    """`(T, D)` units to `(T * hop,)` float32 samples on the CPU.

    Longer inputs are synthesised in windows of `window` frames with `margin` frames of context on both sides whose
    samples are thrown away. The generators hear at most 25 frames (hifigan_v1: 15) to each side, so that the
    seams are those of rounding. A `SourceFilter`'s pulses and noise go on across them: their phase and their place are
    those in the whole.
    """
    device = next(vocoder.parameters()).device
    pitched = vocoder if isinstance(vocoder, SourceFilter) else None
    source = pitched.source(units[None, :, -2:].to(device)) if pitched else torch.empty(0)
    out = torch.empty(len(units) * hop)
    for start in range(0, len(units), window):
        stop = min(start + window, len(units))
        left, right = max(0, start - margin), min(len(units), stop + margin)
        heard = units[None, left:right].to(device, torch.float32)
        if pitched:
            wave = pitched.synthesise(heard, source[:, left:right], pitched.noise(left, right - left))
        else:
            wave = vocoder(heard)
        wave = wave.reshape(-1).float().cpu()
        out[start * hop : stop * hop] = wave[(start - left) * hop : (stop - left) * hop]
    return out
