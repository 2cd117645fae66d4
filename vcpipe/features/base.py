"""What every extractor is: recordings in, frames out, the same in preparation, training and conversion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vcpipe.config import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Extractor:
    """`(N,)` samples at `settings.grid.rate` become `(T, D)` frames with `T == settings.grid.frames(N)`.

    A kind answers `encode`; everything else (batches, long recordings) is done here once. It promises: the
    same numbers in a batch as alone (to 1e-4), the same on every call, finite for silence.

    Args:
        settings: of the feature; `grid` and `dim` are read from it.
        device: where `encode` runs.
        window: samples that are encoded at once; longer recordings are encoded in windows.
        margin: samples on each side of a window that give context and are thrown away.
    """

    def __init__(self, settings: FeatureSettings, device: torch.device, window: int, margin: int):
        self.settings, self.grid, self.device = settings, settings.grid, device
        self.window, self.margin = window, margin

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32 in [-1, 1], zero beyond `lengths (B,)`, to `(B, max T, D)`; frames beyond are ignored."""
        raise NotImplementedError

    def __call__(self, wave: Tensor) -> Tensor:
        """One recording `(N,)` float32 in [-1, 1] to `(T, D)` float32 on the CPU."""
        raise NotImplementedError

    def batch(self, waves: Sequence[Tensor]) -> list[Tensor]:
        """Many recordings at once, in their order; the numbers are those of single calls."""
        raise NotImplementedError
