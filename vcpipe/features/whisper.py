"""Layers of a Whisper encoder (tiny to large, multilingual and .en), 50 times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vcpipe import weights
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.features.ssl import LayerSettings, autocast, check_precision
from vcpipe.settings import FeatureSettings

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from vcpipe.nn.whisper import WhisperEncoder

MAX_WINDOW_S = 30.0


class Settings(LayerSettings):
    """Which layers of which size.

    Tiny has 4 layers of width 384, base 6 of 512, small 12 of 768, medium 24 of 1024, large 32 of 1280.
    """

    REVISION: ClassVar[int] = 1

    kind: Literal["whisper"] = "whisper"
    weights: str = Field(
        "whisper-small.pt",
        description="a known name (whisper-<size>.pt: tiny, tiny.en, base, base.en, small, small.en, medium, "
        "medium.en, large-v1, large-v2, large-v3, large-v3-turbo), or a file (OpenAI's .pt; Hugging Face's "
        "model.safetensors or pytorch_model.bin; CTranslate2's model.bin)",
    )
    layer: NonNegativeInt = Field(12, description="0 is the transformer's input, n the output of its n-th layer")
    width: PositiveInt = Field(768, description="columns of the layer; checked against the weights")
    positions: bool = Field(True, description="add the sinusoidal positions that the model was trained with")
    final_norm: bool = Field(False, description="the closing LayerNorm; after the last layer, what the decoder reads")
    window_s: float = Field(
        28.0, gt=0, le=MAX_WINDOW_S, description="longer recordings are encoded in windows of this, margins included"
    )
    margin_s: float = Field(2.0, ge=0, description="context at each end of a window, thrown away")


def load(settings: Settings, device: torch.device) -> Extractor:
    """The extractor, with its weights found, checked and read.

    Raises:
        InputError: when the weights are missing, not Whisper, without that layer, or of another width.
    """
    from vcpipe.nn import whisper_weights
    from vcpipe.nn.ssl import LayerMix

    check_precision(settings.kind, settings.precision, device)
    path = weights.find(settings.weights, settings.sha256)
    encoder = whisper_weights.load(path)
    LayerMix(settings.mix).check(encoder.size.layers, str(path))
    if encoder.size.width != settings.width:
        raise InputError(
            f"feature {settings.kind}: width is {settings.width}, the weights have {encoder.size.width}; change it"
        )
    s = settings
    return WhisperFrames(s, device, encoder, s.window_s, s.margin_s, s.mix, s.positions, s.final_norm, s.precision)


class WhisperFrames(Extractor):
    """Frame i is centred on its samples `[320 i, 320 (i + 1))`, that is on `320 i + 160`.

    Whisper's own frames are centred on `320 i`, half a frame earlier: the mel frames start 160 samples later here.
    The convolutions see 25 ms + 30 ms around that centre, the transformer layers the whole window. As in Whisper, a
    recording's loudness shifts its log-mel; only the floor follows the maximum of each window.

    Args:
        settings: of the feature.
        device: where it runs.
        encoder: ready to run.
        window_s, margin_s: seconds.
        mix: the weight of each layer that is wanted.
        positions: whether sinusoidal positions are added.
        final_norm: whether the closing LayerNorm is applied.
        precision: of the matrix products on a CUDA device.
    """

    def __init__(
        self,
        settings: FeatureSettings,
        device: torch.device,
        encoder: WhisperEncoder,
        window_s: float,
        margin_s: float,
        mix: dict[int, float],
        positions: bool = True,
        final_norm: bool = False,
        precision: str = "float32",
    ):
        grid = settings.grid
        super().__init__(
            settings, device, grid.samples(round(window_s * grid.fps)), grid.samples(round(margin_s * grid.fps))
        )
        encoder.layers = encoder.layers[: max(mix)]
        self.encoder, self.mix = encoder.to(device), mix
        self.positions, self.final_norm, self.precision = positions, final_norm, precision

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """`(B, N)` float32 in [-1, 1] at 16 kHz, `lengths (B,)` at least 320, to `(B, max(lengths) // 320, D)`."""
        from vcpipe.nn.whisper import MEL_HOP, log_mel

        mel = log_mel(waves, lengths, MEL_HOP, self.encoder.size.n_mels)
        with autocast(self.device, self.precision):
            frames: Tensor = self.encoder(mel, lengths // self.grid.hop, self.mix, self.positions, self.final_norm)
        return frames
