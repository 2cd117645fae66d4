"""The public GE2E speaker encoder: a recording at 16 kHz in, a 256-dimensional unit vector out.

Source: Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018); weights and procedure as published
in the package `resemblyzer` 0.1.4 (Apache-2.0), without its trimming of silences.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.weights import read_pickle_checkpoint, wheel_file

RATE = 16000
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
N_MELS = 40
DIM = 256
PARTIAL = 160  # mel frames that are embedded at once, 1.6 s
PARTIALS_PER_S = 1.3
MIN_COVERAGE = 0.75
TARGET_DBFS = -30.0
MAX_BATCH = 256  # partials

PACKAGE = "resemblyzer"
WEIGHTS = "pretrained.pt"
WEIGHTS_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"


def load_ge2e(device: torch.device | str = "cpu") -> SpeakerEncoder:
    """The encoder with the public weights, ready for inference.

    Raises:
        InputError: when the package is not installed or carries other weights, and for an old PyTorch.
    """
    path = wheel_file(PACKAGE, WEIGHTS, WEIGHTS_SHA256)
    weights = read_pickle_checkpoint(path)["model_state"]
    encoder = SpeakerEncoder()
    encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    return encoder.eval().requires_grad_(False).to(device)


class SpeakerEncoder(nn.Module):
    """Three LSTM layers, the last state through a linear layer and ReLU, scaled to length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(N_MELS, DIM, num_layers=3, batch_first=True)
        self.linear = nn.Linear(DIM, DIM)

    def forward(self, mel: Tensor) -> Tensor:
        """`(B, T, 40)` power mel, T = 160 as trained, to `(B, 256)`: not negative, of length 1 (or 0)."""
        _, (hidden, _) = self.lstm(mel)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)

    @torch.no_grad()
    def embed_utterance(self, wave: Tensor) -> Tensor:
        """The mean over overlapping stretches of 1.6 s, of length 1.

        Args:
            wave: `(N,)` float32 in [-1, 1] at 16 kHz, best after `raise_volume`.

        Returns:
            `(256,)` float32 on the CPU.
        """
        if wave.ndim != 1 or not len(wave):
            raise InputError(f"speaker encoder: expected a recording (N,) with N > 0, found {tuple(wave.shape)}")
        starts = partial_starts(len(wave))
        n_needed = (starts[-1] + PARTIAL) * HOP
        wave = F.pad(wave, (0, max(0, n_needed - len(wave))))
        partials = power_mel(wave.to(self.linear.weight.device)).unfold(0, PARTIAL, 1)[starts].transpose(1, 2)
        embeddings = torch.cat([self(batch) for batch in partials.split(MAX_BATCH)])
        return mean_embedding(embeddings).cpu()


def partial_starts(n_samples: int, per_s: float = PARTIALS_PER_S, min_coverage: float = MIN_COVERAGE) -> list[int]:
    """The mel frames at which the stretches of a recording begin.

    The last one may reach beyond the end, over zeros; with less than `min_coverage` of it inside, it is left out,
    unless it is the only one.

    Args:
        n_samples: of the recording, at 16 kHz.
        per_s: stretches that begin per second, rounded to whole mel frames (1.3: every 77; 1.25: every 80, half of
            one); at least 0.625, with which they do not overlap.
        min_coverage: share of the last stretch.
    """
    n_frames = math.ceil((n_samples + 1) / HOP)
    step = round(RATE / per_s / HOP)
    starts = list(range(0, max(1, n_frames - PARTIAL + step + 1), step))
    coverage = (n_samples - starts[-1] * HOP) / (PARTIAL * HOP)
    return starts[:-1] if coverage < min_coverage and len(starts) > 1 else starts


def mean_embedding(embeddings: Tensor) -> Tensor:
    """`(K, 256)` of a recording's stretches to their mean, `(256,)` of length 1."""
    return F.normalize(embeddings.mean(0), dim=0)


def power_mel(wave: Tensor) -> Tensor:
    """`(N,)` at 16 kHz to `(1 + N // 160, 40)`: power in mel bands, not its logarithm; zeros around the recording."""
    return inner_power_mel(F.pad(wave, (WINDOW // 2, WINDOW // 2)))


def inner_power_mel(wave: Tensor) -> Tensor:
    """`(N,)` at 16 kHz, N >= 400, to `(1 + (N - 400) // 160, 40)`: `power_mel` without zeros around the recording."""
    window = torch.hann_window(WINDOW, device=wave.device)
    spectrum = torch.stft(wave, WINDOW, HOP, window=window, center=False, return_complex=True)
    return spectrum.abs().square().T @ _mel_filters().to(wave.device)


def raise_volume(wave: Tensor) -> Tensor:
    """Scales a recording `(N,)` up to -30 dBFS (RMS); a louder or a silent one is returned as it is."""
    rms = wave.square().mean().sqrt()
    target = 10 ** (TARGET_DBFS / 20)
    return wave * (target / rms) if 0 < rms < target else wave


@lru_cache
def _mel_filters() -> Tensor:
    """`(201, 40)` triangles of equal area on Slaney's mel scale, 0 to 8 kHz."""
    from torchaudio.functional import melscale_fbanks

    with torch.inference_mode(False):  # kept for later calls, which may need gradients
        filters: Tensor = melscale_fbanks(
            WINDOW // 2 + 1, 0.0, RATE / 2, N_MELS, RATE, norm="slaney", mel_scale="slaney"
        )
    return filters
