"""A source and a filter: pulses at a given pitch and noise, both shaped by a given envelope that a network corrects.

The pulses and the envelope alone are already WORLD's voice (Morise et al. 2016); the network is that of Vocos (arXiv
2306.00814), and what it adds is what the envelope does not say: phase, how much of a frame is noise, fine detail.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vcpipe.nn.mel import mel_edges
from vcpipe.nn.vocos import ConvNeXt, SpectrumHead, initialise

GUARD_HZ = 100.0
"""The harmonics end this far below half the rate."""
UNKNOWN_HZ = 120.0
"""Pitch of what has no voiced frame; only its pulses' rate, for they are silent."""
MEAN_LOG_POWER, SPREAD_LOG_POWER = -8.0, 4.0
"""Of an envelope of speech, roughly: what the network hears is brought to about [-1, 1]."""
CENTRE_HZ, LEAST_HZ = 200.0, 50.0
"""F0 reaches the network as ln(f0 / CENTRE_HZ), f0 at least LEAST_HZ."""
FIRST_NOISE = -1.0
"""Log gain of the noise beside the pulses before the network has learnt where noise belongs."""
MAX_LOG_GAIN = 4.0
"""Of a filter: 20 dB above the loudest envelope of a recording in [-1, 1]."""
BLOCK = 50
"""Frames of noise that are drawn from one seed."""


class SourceFilter(nn.Module):
    """`(B, T, D)` units to `(B, 1, hop * T)` samples.

    The columns of units are `[content (any number) | envelope (parts * bands) | f0 in Hz, voiced]`: the envelope is
    ln of power as the feature `envelope` has it, f0 is that of the feature `f0`. In training the pulses start at a
    random phase and the noise is drawn afresh; in evaluation both depend on a frame's place alone.

    Args:
        in_dim: D.
        hop: samples per frame, even.
        rate: samples per second.
        width, depth: channels and number of the ConvNeXt blocks.
        expand: hidden width of a block, in widths.
        overlap: filters that cover a sample; the inverse STFT is `overlap * hop / filters` samples long.
        bands, parts: mel bands of the envelope, and how often a frame has them.
        filters: in a frame, of which each is made of its share of the parts: two are quick enough for plosives.
    """

    interpolation: Tensor
    ramps: Tensor

    def __init__(
        self,
        in_dim: int,
        *,
        hop: int = 320,
        rate: int = 16000,
        width: int = 224,
        depth: int = 6,
        expand: int = 3,
        overlap: int = 4,
        bands: int = 64,
        parts: int = 4,
        filters: int = 2,
    ):
        super().__init__()
        self.content = in_dim - parts * bands - 2
        assert self.content >= 0, f"{in_dim} columns, expected {parts} x {bands} of an envelope and 2 of an f0 at least"
        assert parts % filters == 0, f"{filters} filters a frame of {parts} parts, expected a divisor"
        self.hop, self.rate, self.bands, self.parts, self.filters = hop, rate, bands, parts, filters
        self.lin_pre = nn.Linear(in_dim, width)
        self.embed = nn.Conv1d(width, width, 7, padding=3)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(ConvNeXt(width, expand, scale=1 / depth) for _ in range(depth))
        self.last_norm = nn.LayerNorm(width)
        self.head = SpectrumHead(width, hop // filters, overlap, values=3 * filters)
        self.apply(initialise)
        self.register_buffer("interpolation", band_interpolation(rate, bands, self.head.bins), persistent=False)
        self.register_buffer("ramps", neighbour_ramps(hop), persistent=False)

    def forward(self, units: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, 1, hop * T)`."""
        source = self.source(units[..., -2:])
        if self.training:
            source = source + torch.rand_like(source[:, :1, :1]) * source.new_tensor([0.0, 0.0, 1.0])
            noise = torch.randn(len(units), units.shape[1] * self.hop, device=units.device)
        else:
            noise = self.noise(0, units.shape[1])
        return self.synthesise(units, source, noise)

    def source(self, f0: Tensor) -> Tensor:
        """What the pulses of a whole recording are made of, so that they can be made in pieces.

        Args:
            f0: `(B, T, 2)` Hz and voiced; a frame is voiced where both are above 0.

        Returns:
            `(B, T, 3)` float32: Hz without gaps, voicing (0 or 1), and cycles since the last whole one when the frame
            begins. These are added up in double precision, or an hour of voice would end up beside its pitch.
        """
        voiced = (f0 > 0).all(-1)
        hz = without_gaps(f0[..., 0].float(), voiced)
        before, at, after = (x.double() for x in _neighbours(hz))
        share = self.ramps.double().sum(1) / self.rate
        cycles = before * share[0] + at * share[1] + after * share[2]
        start = (cycles.cumsum(1) - cycles).remainder(1)
        return torch.stack([hz, voiced.float(), start.float()], dim=-1)

    def noise(self, first: int, frames: int) -> Tensor:
        """`(1, hop * frames)` of variance 1: frame i of a recording always has the same, wherever a piece begins."""
        blocks = range(first // BLOCK, (first + frames - 1) // BLOCK + 1)
        drawn = [torch.randn(BLOCK * self.hop, generator=torch.Generator().manual_seed(block)) for block in blocks]
        skipped = (first - blocks.start * BLOCK) * self.hop
        piece = torch.cat(drawn)[skipped : skipped + frames * self.hop]
        return piece.to(self.ramps.device)[None]

    def synthesise(self, units: Tensor, source: Tensor, noise: Tensor) -> Tensor:
        """`(B, T, D)` units, `(B, T, 3)` as `source` has it and `(B or 1, hop * T)` noise to `(B, 1, hop * T)`."""
        out = self.head.out(self._features(units))
        with torch.autocast(units.device.type, enabled=False):  # neither phase nor transform in half precision
            of_filters = out.float().unflatten(-1, (self.filters, -1)).flatten(1, 2)
            pulses_gain, angle, noise_gain = of_filters.split(self.head.bins, dim=-1)
            instants = units[..., self.content : -2].float().unflatten(-1, (self.filters, -1, self.bands))
            envelope = instants.mean(-2).flatten(1, 2)  # (B, filters * T, bands)
            amplitude = 0.5 * (envelope @ self.interpolation)
            voice = torch.polar((amplitude + pulses_gain).clamp(max=MAX_LOG_GAIN).exp(), angle)
            breath = (amplitude + noise_gain + FIRST_NOISE).clamp(max=MAX_LOG_GAIN).exp()
            spectrum = self._stft(self.pulses(source)) * voice + self._stft(noise) * breath
            wave: Tensor = self.head.invert(spectrum).unsqueeze(1)
            return wave

    def pulses(self, source: Tensor) -> Tensor:
        """`(B, T, 3)` as `source` has it to `(B, hop * T)`: all harmonics up to half the rate alike, power 1 if voiced.

        The sum of H cosines is Dirichlet's kernel, `sin((2H + 1) x / 2) / (2 sin(x / 2)) - 1/2`.
        """
        hz, voicing, start = source.unbind(-1)
        hz = self._samples(hz)
        cycles = start[..., None] + (hz / self.rate).cumsum(-1)
        half = math.pi * (cycles - cycles.round())
        harmonics = ((self.rate / 2 - GUARD_HZ) / hz).floor().clamp(min=1)
        peak = half.abs() < 1e-4
        kernel = ((2 * harmonics + 1) * half).sin() / (2 * torch.where(peak, 1.0, half.sin())) - 0.5
        kernel = torch.where(peak, harmonics, kernel)
        return (kernel * (2 / harmonics).sqrt() * self._samples(voicing)).flatten(1)

    def _features(self, units: Tensor) -> Tensor:
        """`(B, T, D)` to `(B, T, width)`."""
        content, envelope, f0 = units.split([self.content, self.parts * self.bands, 2], dim=-1)
        voiced = (f0 > 0).all(-1, keepdim=True)
        pitch = torch.where(voiced, (f0[..., :1].clamp(min=LEAST_HZ) / CENTRE_HZ).log(), 0.0)
        envelope = (envelope - MEAN_LOG_POWER) / SPREAD_LOG_POWER
        x = self.lin_pre(torch.cat([content, envelope, pitch, voiced.to(units.dtype)], dim=-1))
        x = self.norm(self.embed(x.transpose(1, 2)).transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.last_norm(x)
        return features

    def _samples(self, values: Tensor) -> Tensor:
        """`(B, T)` at the centres of frames to `(B, T, hop)`, interpolated linearly, held at the ends."""
        before, at, after = (x[..., None] for x in _neighbours(values))
        return before * self.ramps[0] + at * self.ramps[1] + after * self.ramps[2]

    def _stft(self, wave: Tensor) -> Tensor:
        """`(B, hop * T)` to `(B, filters * T, bins)`: what `head.invert` undoes, the wave mirrored at its ends."""
        n, side = wave.shape[1], (self.head.n_fft - self.head.hop) // 2
        folded = torch.arange(-side, n + side, device=wave.device).remainder(2 * (n - 1))
        mirrored = wave[:, torch.minimum(folded, 2 * (n - 1) - folded)]
        window = self.head.window
        spectrum = torch.stft(mirrored, len(window), self.head.hop, window=window, center=False, return_complex=True)
        return spectrum.transpose(1, 2)


class MelSourceFilter(SourceFilter):
    """`(B, T, mels + 2)` log-mels and F0 to `(B, 1, hop * T)` samples: a neural source-filter vocoder.

    The columns of units are `[ln of magnitude in mel bands | f0 in Hz, voiced]`. The envelope is that of the mel
    without what is finer than a formant: the harmonics, which the pulses bring.

    Args:
        mels: bands, from 0 Hz to half the rate.
        hop, rate, width, depth, expand, overlap: as of `SourceFilter`.
        quefrencies: cosines along the bands that make up the envelope.
    """

    lifter: Tensor

    def __init__(self, mels: int, *, quefrencies: int = 24, **shape: int):
        super().__init__(2 * mels + 2, bands=mels, parts=1, filters=1, **shape)
        place = (torch.arange(mels) + 0.5) * math.pi / mels
        cosines = (place[:, None] * torch.arange(quefrencies)).cos()
        self.register_buffer("lifter", cosines @ torch.linalg.pinv(cosines), persistent=False)

    def synthesise(self, units: Tensor, source: Tensor, noise: Tensor) -> Tensor:
        """`(B, T, mels + 2)` units, and source and noise as of `SourceFilter`, to `(B, 1, hop * T)`."""
        mel, f0 = units[..., :-2], units[..., -2:]
        with torch.autocast(units.device.type, enabled=False):  # what is rounded here is heard as gain
            power = 2 * (mel.float() @ self.lifter.float())
        return super().synthesise(torch.cat([mel, power, f0], dim=-1), source, noise)


def without_gaps(hz: Tensor, voiced: Tensor) -> Tensor:
    """`(B, T)` Hz and bool to `(B, T)`: unvoiced frames get the nearest voiced one's value, of two the earlier's."""
    frames = hz.shape[1]
    index = torch.arange(frames, device=hz.device).expand_as(hz)
    last = torch.where(voiced, index, -frames).cummax(1).values
    following = torch.where(voiced, index, 2 * frames).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(index - last <= following - index, last, following)
    found = hz.gather(1, nearest.clamp(0, frames - 1))
    return torch.where(voiced.any(1, keepdim=True), found, UNKNOWN_HZ)


def band_interpolation(rate: int, bands: int, bins: int) -> Tensor:
    """`(bands, bins)` float32: values at the centres of mel bands to the bins of a transform, held beyond the ends."""
    centres = mel_edges(bands, 0.0, rate / 2)[1:-1]
    hz = torch.linspace(0, rate / 2, bins, dtype=torch.float64).clamp(centres[0], centres[-1])
    upper = torch.searchsorted(centres, hz).clamp(1, bands - 1)
    share = (hz - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
    matrix = torch.zeros(bands, bins, dtype=torch.float64)
    matrix[upper - 1, torch.arange(bins)] = 1 - share
    matrix[upper, torch.arange(bins)] = share
    return matrix.float()


def neighbour_ramps(hop: int) -> Tensor:
    """`(3, hop)` float32: what the frame before, the frame itself and the one after count for each of its samples."""
    place = (torch.arange(hop) + 0.5) / hop - 0.5  # from the centre of the frame, in frames
    return torch.stack([(-place).clamp(min=0), 1 - place.abs(), place.clamp(min=0)])


def _neighbours(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`(B, T)` to the same of the frames before, at and after each; the ends are their own neighbours."""
    padded = torch.cat([values[:, :1], values, values[:, -1:]], dim=1)
    return padded[:, :-2], values, padded[:, 2:]
