"""Mel spectrograms as a feature; the numbers are those of `vcpipe.nn.mel`, on which vocoders train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from vcpipe import catalog
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid
from vcpipe.settings import FeatureSettings, Slice

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WINDOW_S = 60
"""Seconds that are transformed at once. It decides memory, not numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "hifigan_16k_knnvc": {},
    "softvc": {"hop": 160, "mels": 128, "fmax": 8000.0},
    "pitdyn": {"hop": 160, "mels": 128, "fmax": 8000.0, "centre": "start", "pad": "zeros"},
    "sv2tts_encoder": {
        "n_fft": 400,
        "win": 400,
        "hop": 160,
        "mels": 40,
        "fmax": 8000.0,
        "centre": "start",
        "pad": "zeros",
        "power": 2,
        "log": "none",
    },
    "sv2tts_synthesizer": {
        "n_fft": 800,
        "win": 800,
        "hop": 200,
        "mels": 80,
        "fmin": 55.0,
        "fmax": 7600.0,
        "centre": "start",
        "pre_emphasis": 0.97,
        "log": "db",
        "ref_db": 20.0,
        "symmetric": 4.0,
    },
    "gradsvc": {"rate": 32000, "hop": 320, "mels": 100, "fmin": 40.0, "fmax": 16000.0, "epsilon": 1e-9},
    "gradsvc_speaker": {
        "hop": 256,
        "mels": 80,
        "fmax": 8000.0,
        "centre": "start",
        "pre_emphasis": 0.98,
        "log": "db",
        "ref_db": 20.0,
        "symmetric": 4.0,
    },
    "ljspeech_22k": {"rate": 22050, "hop": 256, "mels": 80, "fmax": 8000.0, "epsilon": 1e-9},
}
"""The published definitions by name: what each sets differently from the defaults, which are kNN-VC's.

Those with `centre: start` are librosa's centred transforms without their last frame, the one beyond the last whole hop.
Levels (peak to 0.6 in Grad-SVC, to 0.95 before its speaker encoder, to 0.9 in SV2TTS) are the preparation's business.
"""


class Settings(FeatureSettings):
    """A mel spectrogram; see `vcpipe.nn.mel.LogMel` for its exact definition.

    A preset stands for the keys that it sets: it is replaced by them when the settings are read, keys beside it win,
    and two ways to write one definition are one slice.
    """

    REVISION: ClassVar[int] = 1
    LATER: ClassVar[set[str]] = {"centre", "pad", "power", "epsilon", "pre_emphasis", "log", "ref_db", "symmetric"}
    """Keys younger than the first shards: left out of a slice at their default, so that those stay what they are."""

    kind: Literal["mel"] = "mel"
    dtype: Literal["float16", "float32"] = "float32"
    preset: str = Field(
        "",
        description="a published definition; keys beside it override its own",
        json_schema_extra={"enum": ["", *PRESETS]},
    )
    rate: PositiveInt = Field(16000, description="samples per second that it reads")
    n_fft: PositiveInt = Field(1024, description="samples of the Fourier transform")
    win: PositiveInt = Field(1024, description="samples of the Hann window")
    hop: PositiveInt = Field(320, description="samples per frame")
    mels: PositiveInt = Field(80, description="bands")
    fmin: NonNegativeFloat = Field(0.0, description="Hz, lower edge of the lowest band")
    fmax: PositiveFloat | None = Field(None, description="Hz, upper edge of the highest band; empty is rate / 2")
    floor: PositiveFloat = Field(1e-5, description="smallest magnitude before the logarithm")
    centre: Literal["cell", "start", "end"] = Field("cell", description="where in its hop a frame is centred")
    pad: Literal["reflect", "zeros"] = Field("reflect", description="what is heard beyond the ends")
    power: Literal[1, 2] = Field(1, description="1 = magnitudes, 2 = powers")
    epsilon: NonNegativeFloat = Field(0.0, description="added to powers before the root")
    pre_emphasis: float = Field(0.0, ge=0, lt=1, description="of the sample before, subtracted from each sample")
    log: Literal["ln", "db", "none"] = Field("ln", description="scale of the values")
    ref_db: float = Field(0.0, description="subtracted from decibels")
    symmetric: PositiveFloat | None = Field(None, description="decibels in [-100, 0] become [-this, this], cut off")

    @model_validator(mode="before")
    @classmethod
    def _expand(cls, values: Any) -> Any:
        """Puts the keys of a preset in its place; an unknown name is left, to be refused."""
        if isinstance(values, dict) and values.get("preset") in PRESETS:
            given = {key: value for key, value in values.items() if key != "preset"}
            return {**PRESETS[values["preset"]], **given}
        return values

    @field_validator("preset")
    @classmethod
    def _known(cls, name: str) -> str:
        if name:
            raise ValueError(f"no preset has this name; {catalog.nearest(name, list(PRESETS))}")
        return name

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
        if self.log != "db" and (self.ref_db or self.symmetric is not None):
            raise ValueError(f"ref_db and symmetric are of decibels, found log: {self.log}; set log: db or leave them")
        return self

    @property
    def grid(self) -> Grid:
        """Of the spectrogram: one frame a hop."""
        return Grid(self.rate, self.hop)

    @property
    def dim(self) -> int:
        """The bands."""
        return self.mels

    def content(self) -> Slice:
        """As ever, without a preset's name and without younger keys at their defaults."""
        content = super().content()
        fields = type(self).model_fields
        usual = {key for key in self.LATER if content[key] == fields[key].default}
        return {key: value for key, value in content.items() if key not in usual | {"preset"}}


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor of a mel spectrogram."""
    return Mel(settings, device)


class Mel(Extractor):
    """`(N,)` samples to `(N // hop, mels)`. A window's margin covers every sample that its inner frames see."""

    settings: Settings

    def __init__(self, settings: Settings, device: torch.device):
        from vcpipe.nn.mel import LogMel

        hop = settings.hop
        margin = -(-settings.n_fft // hop) * hop
        super().__init__(settings, device, max(WINDOW_S * settings.rate // hop * hop, 3 * margin), margin)
        keys: set[str] = {"rate", "n_fft", "win", "hop", "mels", "fmin", "fmax", "floor", *settings.LATER}
        arguments: dict[str, Any] = settings.model_dump(include=keys)
        self.model = LogMel(**arguments).to(device)

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` to `(B, N // hop, mels)`; every row is padded at its own end."""
        equal = bool((lengths == waves.shape[1]).all())
        frames: Tensor = self.model(waves, None if equal else lengths)
        return frames.transpose(1, 2)
