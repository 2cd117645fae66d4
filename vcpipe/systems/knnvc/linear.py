"""Voices as linear maps of frames: least squares on matched frames, the factorised form, and a shift of means.

Source: Kamper, van Niekerk, Zaïdi, Carbonneau, "LinearVC: Linear transformations of self-supervised features through
the lens of voice conversion", arXiv 2506.01510.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc.match import nearest

if TYPE_CHECKING:
    from vcpipe.systems.knnvc.frames import Frames

MAX_FRAMES = 8192
"""Matched frames of a fit at the most, the first ones, as in the paper: 164 s at 50 Hz."""
SWEEPS, EXTRA = 8, 32
"""Iterations of the factorisation, and columns beyond its rank that make them converge."""


@dataclass(frozen=True)
class Affine:
    """`x @ weight + bias` of frames: `weight (E, E)` or, for a map column by column, `(E,)`; `bias (E,)`; float64."""

    weight: Tensor
    bias: Tensor

    def __call__(self, frames: Tensor) -> Tensor:
        """`(T, E)` of any float type to `(T, E)` float32 on the same device."""
        weight, bias = (part.to(frames.device, torch.float32) for part in (self.weight, self.bias))
        mapped = frames.float() @ weight if weight.ndim == 2 else frames.float() * weight
        return mapped + bias


def fit(source: Frames, target: Frames, ridge: float = 0.0, bias: bool = False, orthogonal: bool = False) -> Affine:
    """The linear map from one speaker's frames to the nearest ones (k = 1) of another.

    Args:
        source: frames of the source's speaker: other recordings of theirs, else the source itself.
        target: the pool of the target.
        ridge: pulls the map towards leaving frames as they are, which decides in directions that the source's frames
            do not show: of them 250 in 5 s stand against 1024 columns. A share of the columns' mean energy; 0 is plain
            least squares, of several solutions the one that changes frames least.
        bias: fit a constant too.
        orthogonal: only turn the frames (Procrustes); `ridge` has no meaning then.
    """
    x, y = matched(source, target)
    zero = torch.zeros(x.shape[1], dtype=x.dtype)
    x_mean, y_mean = (x.mean(dim=0), y.mean(dim=0)) if bias else (zero, zero)
    x, y = x - x_mean, y - y_mean
    weight = _procrustes(x, y) if orthogonal else _change(x, y, ridge)
    return Affine(weight, y_mean - x_mean @ weight)


def matched(source: Frames, target: Frames) -> tuple[Tensor, Tensor]:
    """The source's frames and the target's nearest to each: twice `(N, E)` float64 on the CPU."""
    rows = nearest(source.match[:MAX_FRAMES], target.match, k=1)[:, 0]
    taken = target.synthesis[rows.to(target.synthesis.device)]
    return _exact(source.synthesis[:MAX_FRAMES]), _exact(taken)


def shift(source: Frames, target: Frames, scale: bool = False) -> Affine:
    """Moves the mean of the source's speaker to that of the target, column by column; `scale`: the spread too.

    The additive row of the LinearVC paper; there the means are of matched frames.
    """
    x, y = _exact(source.synthesis), _exact(target.synthesis)
    weight = torch.ones(x.shape[1], dtype=x.dtype)
    if scale:
        spread = x.std(dim=0, correction=0)
        weight = torch.where(spread > 0, y.std(dim=0, correction=0) / spread, weight)
    return Affine(weight, y.mean(dim=0) - x.mean(dim=0) * weight)


@dataclass(frozen=True)
class Content:
    """What several speakers' frames have in common.

    `basis (N, r)`, float64 with orthonormal columns, says how much of each direction of content is in each of the
    frames `anchor (N, D)`.
    """

    anchor: Tensor
    basis: Tensor

    def voice(self, speaker: Frames) -> Tensor:
        """`(r, E)` float64: how a speaker, of the factorisation or any other, says the content; S_k of the paper."""
        return self.basis.T @ _aligned(self.anchor, speaker).double()

    def convert(self, source: Frames, target: Frames, ridge: float = 0.0) -> Affine:
        """The map of rank `r`: out of the source's frames the content, out of the content the target's frames.

        The paper gets the content with the pseudo-inverse of the source's S_k. It magnifies what a frame has beside
        the content, the more the less speech there is, so that here the content is regressed on the frames, as in
        "Universal Speech Content Factorization", arXiv 2603.08977.

        Args:
            source: frames of the source's speaker.
            target: the pool of the target.
            ridge: pulls the regression towards 0; a share of the columns' mean energy.
        """
        weight = _least_squares(_aligned(self.anchor, source).double(), self.basis, ridge) @ self.voice(target)
        return Affine(weight, torch.zeros(weight.shape[1], dtype=weight.dtype))


def factorise(speakers: Sequence[Frames], rank: int = 100) -> Content:
    """Content that is shared, and a map for each speaker: `[X_1 ... X_K] = C [S_1 ... S_K]` of rank `rank`.

    Row n of every `X_k (N, E)` is the frame of speaker k that is nearest to the n-th of the first speaker, the anchor.
    The best C of a given rank are the first left singular vectors (here without the singular values, which the
    maps carry: conversion is the same). Found by subspace iteration over one speaker at a time, so that the matrix of
    all is never held.

    Args:
        speakers: pools; the first is the anchor, best the one with most speech.
        rank: directions of content; the paper's 100.

    Raises:
        InputError: for fewer than two speakers, or less frames of the anchor, or columns of all, than `rank`.
    """
    if len(speakers) < 2:
        raise InputError(f"linear_factorised: expected at least two speakers, found {len(speakers)}; add pools")
    anchor = speakers[0].match[:MAX_FRAMES].cpu()
    aligned = [_aligned(anchor, speaker) for speaker in speakers]
    most = min(len(anchor), sum(frames.shape[1] for frames in aligned))
    if rank > most:
        raise InputError(
            f"linear_factorised: rank {rank} of {len(anchor)} frames of {len(speakers)} speakers, expected at most "
            f"{most}; lower rank, or give the first speaker more speech"
        )
    start = torch.randn(len(anchor), min(rank + EXTRA, most), generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(start.double()).Q
    for _ in range(SWEEPS):
        basis = torch.linalg.qr(_spread(aligned, basis)).Q
    energy = torch.linalg.eigh(basis.T @ _spread(aligned, basis))  # the smallest first
    return Content(anchor, (basis @ energy.eigenvectors).flip(1)[:, :rank].contiguous())


def _spread(aligned: list[Tensor], basis: Tensor) -> Tensor:
    """`X Xᵀ basis`, speaker by speaker."""
    out = torch.zeros_like(basis)
    for frames in aligned:
        x = frames.double()
        out += x @ (x.T @ basis)
    return out


def _aligned(anchor: Tensor, speaker: Frames) -> Tensor:
    """The speaker's frame for each of the anchor's: `(N, E)` on the CPU, in the type of the pool."""
    rows = nearest(anchor, speaker.match, k=1)[:, 0]
    return speaker.synthesis[rows.to(speaker.synthesis.device)].cpu()


def _exact(frames: Tensor) -> Tensor:
    return frames.cpu().double()


def _change(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """The `W (E, E)` of least `|y - xW|² + ridge * energy * |W - I|²`: pulled to no change, not to silence."""
    return torch.eye(x.shape[1], dtype=x.dtype) + _least_squares(x, y - x, ridge)


def _least_squares(x: Tensor, y: Tensor, ridge: float) -> Tensor:
    """The `W (E, r)` of least `|y - xW|² + ridge * energy * |W|²`; of several, the smallest."""
    if ridge == 0:
        return torch.linalg.lstsq(x, y, driver="gelsd").solution
    root = (ridge * x.square().sum() / x.shape[1]).sqrt()
    rows = torch.cat([x, root * torch.eye(x.shape[1], dtype=x.dtype)])
    wanted = torch.cat([y, torch.zeros(x.shape[1], y.shape[1], dtype=y.dtype)])
    return torch.linalg.lstsq(rows, wanted, driver="gels").solution


def _procrustes(x: Tensor, y: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(x.T @ y)
    return u @ vh
