"""Discriminators of waveforms: HiFi-GAN's two families (arXiv 2010.05646) and a narrow set for a CPU.

Each takes `(B, 1, N)` and returns `(scores, features)`: one `(B, *)` score map for each sub-discriminator, and for
each the outputs of its layers, the score included. Module names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

SLOPE = 0.1
Judged = tuple[list[Tensor], list[list[Tensor]]]


class Discriminators(nn.ModuleDict):
    """Families of sub-discriminators by name."""

    def forward(self, wave: Tensor) -> Judged:
        """`(B, 1, N)` to the scores and features of all sub-discriminators of all families, in order."""
        scores: list[Tensor] = []
        features: list[list[Tensor]] = []
        for family in self.values():
            more_scores, more_features = family(wave)
            scores += more_scores
            features += more_features
        return scores, features


def hifigan_discriminators() -> Discriminators:
    """The published set: periods 2 to 11 and three scales, 70.7 million parameters."""
    return Discriminators({"mpd": MultiPeriod(), "msd": MultiScale()})


def small_discriminators() -> Discriminators:
    """A set for a CPU: two narrow periods and three spectrogram resolutions, well under a million parameters."""
    return Discriminators({"mpd": MultiPeriod((3, 7), (8, 24, 48, 64, 64)), "mrd": MultiResolution()})


class MultiPeriod(nn.Module):
    """Sub-discriminators that see the wave folded to rows of `p` samples."""

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), channels: Sequence[int] = (32, 128, 512, 1024, 1024)):
        super().__init__()
        self.discriminators = nn.ModuleList(Period(p, channels) for p in periods)

    def forward(self, wave: Tensor) -> Judged:
        """`(B, 1, N)` to the scores and features of all sub-discriminators."""
        return _collect(d(wave) for d in self.discriminators)


class Period(nn.Module):
    """Convolutions along every `period`-th sample."""

    def __init__(self, period: int, channels: Sequence[int]):
        super().__init__()
        self.period = period
        widths = [1, *channels]
        last = len(channels) - 1
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3 if i < last else 1, 1), padding=(2, 0)))
            for i, (a, b) in enumerate(zip(widths, channels, strict=False))
        )
        self.conv_post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wave: Tensor) -> list[Tensor]:
        """`(B, 1, N)` to the outputs of the layers, the score last."""
        x = F.pad(wave, (0, -wave.shape[-1] % self.period), "reflect")
        return _layers(x.unflatten(-1, (-1, self.period)), self.convs, self.conv_post)


class MultiScale(nn.Module):
    """Sub-discriminators of the wave as it is, halved, and halved twice; the first with spectral norm."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList([Scale(spectral_norm), Scale(weight_norm), Scale(weight_norm)])

    def forward(self, wave: Tensor) -> Judged:
        """`(B, 1, N)` to the scores and features of all sub-discriminators."""
        waves = [wave]
        for _ in self.discriminators[1:]:
            waves.append(F.avg_pool1d(waves[-1], 4, 2, padding=2))
        return _collect(d(w) for d, w in zip(self.discriminators, waves, strict=True))


class Scale(nn.Module):
    """Strided, grouped convolutions along the wave."""

    def __init__(self, norm: Callable[[nn.Module], nn.Module]):
        super().__init__()
        self.convs = nn.ModuleList(
            norm(nn.Conv1d(a, b, kernel, stride, groups=groups, padding=kernel // 2))
            for a, b, kernel, stride, groups in (
                (1, 128, 15, 1, 1),
                (128, 128, 41, 2, 4),
                (128, 256, 41, 2, 16),
                (256, 512, 41, 4, 16),
                (512, 1024, 41, 4, 16),
                (1024, 1024, 41, 1, 16),
                (1024, 1024, 5, 1, 1),
            )
        )
        self.conv_post = norm(nn.Conv1d(1024, 1, 3, padding=1))

    def forward(self, wave: Tensor) -> list[Tensor]:
        """`(B, 1, N)` to the outputs of the layers, the score last."""
        return _layers(wave, self.convs, self.conv_post)


class MultiResolution(nn.Module):
    """Sub-discriminators of log-magnitude spectrograms at several window lengths (after UnivNet, arXiv 2106.07889)."""

    def __init__(self, n_ffts: Sequence[int] = (256, 512, 1024), channels: int = 8):
        super().__init__()
        self.discriminators = nn.ModuleList(Resolution(n, channels) for n in n_ffts)

    def forward(self, wave: Tensor) -> Judged:
        """`(B, 1, N)` to the scores and features of all sub-discriminators."""
        return _collect(d(wave) for d in self.discriminators)


class Resolution(nn.Module):
    """Two-dimensional convolutions over `(frames, bins)` that thin out the bins; frames overlap by half."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int):
        super().__init__()
        self.n_fft = n_fft
        c = channels
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2)))
            for a, b, kernel, stride in (
                (1, c, (3, 9), (1, 4)),
                (c, 2 * c, (3, 9), (1, 2)),
                (2 * c, 4 * c, (3, 5), (2, 2)),
                (4 * c, 4 * c, (3, 3), (1, 1)),
            )
        )
        self.conv_post = weight_norm(nn.Conv2d(4 * c, 1, (3, 3), padding=1))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, wave: Tensor) -> list[Tensor]:
        """`(B, 1, N)` to the outputs of the layers, the score last."""
        with torch.autocast(wave.device.type, enabled=False):  # there is no transform in half precision
            spectrum = torch.stft(
                wave[:, 0].to(self.window.dtype),
                self.n_fft,
                self.n_fft // 2,
                window=self.window,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            level = 0.5 * (power + 1e-8).log()
        return _layers(level.transpose(1, 2).unsqueeze(1), self.convs, self.conv_post)


def _layers(x: Tensor, convs: nn.ModuleList, conv_post: nn.Module) -> list[Tensor]:
    """The outputs of all layers; the last is the score."""
    outs = []
    for conv in convs:
        x = F.leaky_relu(conv(x), SLOPE)
        outs.append(x)
    return [*outs, conv_post(x)]


def _collect(layers: Iterable[list[Tensor]]) -> Judged:
    features = list(layers)
    return [f[-1].flatten(1) for f in features], features
