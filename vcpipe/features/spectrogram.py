"""Linear spectrograms as a feature: what FasterSVC's pitch and content encoders read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from vcpipe.features.base import Extractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW_S = 30
"""Seconds that are transformed at once. It decides memory, not numbers."""


class Settings(FeatureSettings):
    """Magnitudes or powers under a Hann window; `vcpipe.nn.mel.Spectrogram` is the exact definition.

    The default is FasterSVC's: 24 kHz, 1920 samples every 480, centred with mirrored ends and the first frame dropped,
    which is `centre: end`: frame i is centred on the end of its cell and hears 40 ms beyond it. `centre: cell` is
    centred on the cell, as the project's other features are.
    """

    REVISION: ClassVar[int] = 1

    kind: Literal["spectrogram"] = "spectrogram"
    dtype: Literal["float16", "float32"] = "float32"
    rate: PositiveInt = Field(24000, description="samples per second that it reads")
    n_fft: PositiveInt = Field(1920, description="samples of the Fourier transform")
    win: PositiveInt = Field(1920, description="samples of the Hann window")
    hop: PositiveInt = Field(480, description="samples per frame")
    centre: Literal["cell", "start", "end"] = Field("end", description="where in its hop a frame is centred")
    pad: Literal["reflect", "zeros"] = Field("reflect", description="what is heard beyond the ends")
    power: Literal[1, 2] = Field(1, description="1 = magnitudes, 2 = powers")
    epsilon: NonNegativeFloat = Field(0.0, description="added to powers before the root")
    log: Literal["none", "ln"] = Field("none", description="ln: the natural logarithm of what is above the floor")
    floor: PositiveFloat = Field(1e-5, description="smallest value before the logarithm")

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        if not self.hop <= self.win <= self.n_fft:
            raise ValueError(f"expected hop <= win <= n_fft, found {self.hop}, {self.win}, {self.n_fft}")
        return self

    @property
    def grid(self) -> Grid:
        """One frame a hop."""
        return Grid(self.rate, self.hop)

    @property
    def dim(self) -> int:
        """Frequencies from 0 to half the rate."""
        return self.n_fft // 2 + 1


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor of a linear spectrogram."""
    return LinearSpectrogram(settings, device)


class LinearSpectrogram(Extractor):
    """`(N,)` samples to `(N // hop, n_fft // 2 + 1)`. A window's margin covers every sample that its frames see."""

    settings: Settings

    def __init__(self, settings: Settings, device: torch.device):
        from vcpipe.nn.mel import Spectrogram

        s, hop = settings, settings.hop
        margin = -(-s.n_fft // hop) * hop
        super().__init__(settings, device, max(WINDOW_S * s.rate // hop * hop, 3 * margin), margin)
        self.model = Spectrogram(s.n_fft, s.win, hop, centre=s.centre, pad=s.pad, power=s.power, epsilon=s.epsilon).to(
            device
        )

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` to `(B, N // hop, n_fft // 2 + 1)`; every row is padded at its own end."""
        equal = bool((lengths == waves.shape[1]).all())
        frames: Tensor = self.model(waves, None if equal else lengths).transpose(1, 2)
        return frames.clamp(min=self.settings.floor).log() if self.settings.log == "ln" else frames
