"""Log-mel spectrograms as a feature; the numbers are those of `vcpipe.nn.mel`, on which vocoders train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from vcpipe.config import FeatureSettings
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW_S = 60
"""Seconds that are transformed at once. It decides memory, not numbers."""


class Settings(FeatureSettings):
    """A log-mel spectrogram; see `vcpipe.nn.mel.LogMel` for its exact definition."""

    REVISION: ClassVar[int] = 1

    kind: Literal["mel"] = "mel"
    dtype: Literal["float16", "float32"] = "float32"
    rate: PositiveInt = Field(16000, description="samples per second that it reads")
    n_fft: PositiveInt = Field(1024, description="samples of the Fourier transform")
    win: PositiveInt = Field(1024, description="samples of the Hann window")
    hop: PositiveInt = Field(320, description="samples per frame")
    mels: PositiveInt = Field(80, description="bands")
    fmin: NonNegativeFloat = Field(0.0, description="Hz, lower edge of the lowest band")
    fmax: PositiveFloat | None = Field(None, description="Hz, upper edge of the highest band; empty is rate / 2")
    floor: PositiveFloat = Field(1e-5, description="smallest magnitude before the logarithm")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        fmax = self.rate / 2 if self.fmax is None else self.fmax
        if not self.hop <= self.win <= self.n_fft:
            raise ValueError(f"expected hop <= win <= n_fft, found {self.hop}, {self.win}, {self.n_fft}")
        if fmax > self.rate / 2:
            raise ValueError(
                f"fmax {fmax:g} Hz is above half the rate, {self.rate / 2:g} Hz; lower it or leave it empty"
            )
        if self.fmin >= fmax:
            raise ValueError(f"fmin {self.fmin:g} Hz must be below fmax {fmax:g} Hz")
        return self

    @property
    def grid(self) -> Grid:
        """Of the spectrogram: one frame a hop."""
        return Grid(self.rate, self.hop)

    @property
    def dim(self) -> int:
        """The bands."""
        return self.mels


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor of a log-mel spectrogram."""
    return Mel(settings, device)


class Mel(Extractor):
    """`(N,)` samples to `(N // hop, mels)`. A window's margin covers every sample that its inner frames see."""

    settings: Settings

    def __init__(self, settings: Settings, device: torch.device):
        from vcpipe.nn.mel import LogMel

        hop = settings.hop
        margin = -(-settings.n_fft // hop) * hop
        super().__init__(settings, device, max(WINDOW_S * settings.rate // hop * hop, 3 * margin), margin)
        keys: set[str] = {"rate", "n_fft", "win", "hop", "mels", "fmin", "fmax", "floor"}
        arguments: dict[str, Any] = settings.model_dump(include=keys)
        self.model = LogMel(**arguments).to(device)

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` to `(B, N // hop, mels)`; every row is reflected at its own end."""
        equal = bool((lengths == waves.shape[1]).all())
        frames: Tensor = self.model(waves, None if equal else lengths)
        return frames.transpose(1, 2)
