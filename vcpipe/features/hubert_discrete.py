"""Soft-VC's discrete units: the number of the k-means centre nearest to a layer of HuBERT, 50 times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from vcpipe import weights
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import SpeechFrames, WeightsSettings, check_precision
from vcpipe.settings import Slice

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vcpipe.nn.ssl import SpeechTransformer

MAX_UNITS = 1 << 15


class Settings(WeightsSettings):
    """Which HuBERT, which layer, and which centres; the wave is never normalised."""

    REVISION: ClassVar[int] = 1

    kind: Literal["hubert_discrete"] = "hubert_discrete"
    dtype: Literal["int16"] = "int16"
    weights: str = Field("hubert-discrete-96b248c5.pt", description="a file, or a known name that is fetched once")
    layer: NonNegativeInt = Field(7, description="0 is the transformer's input, n the output of its n-th layer")
    centers: str = Field(
        "kmeans100-50f36a95.pt", description="the k-means centres: a file, or a known name that is fetched once"
    )
    centers_sha256: str = Field("", description="of the centres; checked when given; known names bring their own")

    @property
    def dim(self) -> int:
        """One: the number of the unit."""
        return 1

    def content(self) -> Slice:
        """The settings, with the digests of known files filled in."""
        digest = self.centers_sha256.lower() or weights.known_sha256(self.centers)
        return {**super().content(), "centers_sha256": digest}


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights and centres found, checked and read; frame i is centred on its samples.

    Raises:
        InputError: when a file is missing or of another kind, or the centres are not of the layer's width.
    """
    import torch

    from vcpipe.nn import hubert, kmeans

    check_precision(settings.kind, settings.precision, device)
    model = hubert.load(weights.find(settings.weights, settings.sha256), settings.layer)
    path = weights.find(settings.centers, settings.centers_sha256)
    centers = kmeans.load(path)
    if centers.shape[1] != model.width or len(centers) > MAX_UNITS:
        raise InputError(
            f"{path}: expected at most {MAX_UNITS} centres of {model.width} columns, found {tuple(centers.shape)}; "
            "name the centres that belong to these weights and this layer"
        )
    return DiscreteUnits(settings, device, model, torch.from_numpy(centers))


class DiscreteUnits(SpeechFrames):
    """`(N,)` samples at 16 kHz to `(N // 320, 1)`: whole numbers from 0 to K - 1.

    Args:
        settings: of the feature.
        device: where it runs.
        model: the network, ready to run.
        centers: `(K, D)` float32.
    """

    def __init__(self, settings: Settings, device: torch.device, model: SpeechTransformer, centers: Tensor):
        super().__init__(
            settings,
            device,
            model,
            settings.window_s,
            settings.margin_s,
            precision=settings.precision,
            width=centers.shape[1],
        )
        self.centers = centers.to(device)

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32, zero beyond `lengths (B,)`, to `(B, max T, 1)`."""
        from vcpipe.nn import kmeans

        frames = super().encode(waves, lengths).float()
        return kmeans.nearest(frames.flatten(0, 1), self.centers).reshape(*frames.shape[:2], 1)
