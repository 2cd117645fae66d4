"""One transformer layer of WavLM, as kNN-VC trains on it: the wave as it is, 50 frames a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from vcpipe import weights
from vcpipe.config import FeatureSettings, Slice
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.grid import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vcpipe.nn.wavlm import WavLM

GRID = Grid(16000, 320)


class Settings(FeatureSettings):
    """Which layer of which weights. Everything here decides the numbers."""

    REVISION: ClassVar[int] = 1

    kind: Literal["wavlm"] = "wavlm"
    weights: str = Field("WavLM-Large.pt", description="a file, or a known name that is fetched once")
    sha256: str = Field("", description="of the weights; checked when given; known names bring their own")
    layer: NonNegativeInt = Field(6, description="0 is the transformer's input, n the output of its n-th layer")
    width: PositiveInt = Field(1024, description="columns of the layer; checked against the weights")
    window_s: PositiveFloat = Field(30.0, description="longer recordings are encoded in windows of this many seconds")
    margin_s: NonNegativeFloat = Field(1.5, description="context at a window's ends; the first layer needs 1.28 s")
    normalize: bool = Field(
        False, description="bring each window to mean 0 and variance 1; kNN-VC's weights want false"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field("float32", description="others need a CUDA device")

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        check_window(self.window_s, self.margin_s)
        return self

    @property
    def grid(self) -> Grid:
        """16 kHz, 50 frames a second."""
        return GRID

    @property
    def dim(self) -> int:
        """The width of the network."""
        return self.width

    def content(self) -> Slice:
        """The settings, with the digest of known weights filled in."""
        return {**super().content(), "sha256": self.sha256.lower() or weights.known_sha256(self.weights)}


def check_window(window_s: float, margin_s: float) -> None:
    """Windows and margins are whole frames, and a window is longer than its margins; else a ValueError."""
    for key, seconds in {"window_s": window_s, "margin_s": margin_s}.items():
        if abs(seconds * 50 - round(seconds * 50)) > 1e-6:
            raise ValueError(f"{key} {seconds:g} is not a whole number of frames of 0.02 s")
    if window_s <= 2 * margin_s:
        raise ValueError(f"window_s {window_s:g} must be longer than two margins of {margin_s:g} s")


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read.

    Raises:
        InputError: when the weights are missing, not WavLM, without that layer, or of another width.
    """
    from vcpipe.nn.wavlm import from_checkpoint

    if settings.precision != "float32" and device.type != "cuda":
        raise InputError(f"feature wavlm: precision {settings.precision} needs a CUDA device; set it to float32 here")
    path = weights.find(settings.weights, settings.sha256)
    model = from_checkpoint(weights.read_pickle_checkpoint(path), settings.layer, str(path))
    return WavLMLayer(
        settings, device, model, settings.window_s, settings.margin_s, settings.normalize, settings.precision
    )


class WavLMLayer(Extractor):
    """`(N,)` samples at 16 kHz to `(N // 320, D)`.

    Args:
        settings: of the feature.
        device: where it runs.
        model: the network, ready to run.
        window_s, margin_s: seconds.
        normalize: layer-normalise each wave over time first.
        precision: of the matrix products on a CUDA device.
    """

    def __init__(
        self,
        settings: FeatureSettings,
        device: torch.device,
        model: WavLM,
        window_s: float,
        margin_s: float,
        normalize: bool = False,
        precision: str = "float32",
    ):
        hop = GRID.hop
        super().__init__(settings, device, round(window_s * 50) * hop, round(margin_s * 50) * hop)
        if model.width != settings.dim:
            raise InputError(
                f"feature {settings.kind}: width is {settings.dim}, the weights have {model.width}; change it"
            )
        if model.hop != hop or not hop < model.field <= 2 * hop:
            raise InputError(
                f"feature {settings.kind}: weights with hop {model.hop} and field {model.field}, expected 320, 400"
            )
        self.model, self.normalize, self.precision = model.to(device), normalize, precision
        self.ragged = not model.group_norm

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32, zero beyond `lengths (B,)`, to `(B, max T, D)`; the waves may be normalised in place."""
        import torch

        if self.normalize:
            for wave, n in zip(waves, lengths.tolist(), strict=True):
                wave[:n] = torch.nn.functional.layer_norm(wave[:n], (n,))
        half = self.precision != "float32"
        with torch.autocast(self.device.type, getattr(torch, self.precision) if half else None, enabled=half):
            frames: Tensor = self.model(waves, lengths)
        return frames
