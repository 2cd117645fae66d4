"""k nearest neighbours by cosine, block by block, at bounded memory.

Source: Baas, van Niekerk, Kamper, "Voice conversion with just nearest neighbors", arXiv 2305.18975.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vcpipe.errors import InputError

BLOCK_MIB = 256
LEAST_DISTANCE = 1e-3
"""Of the weights by inverse distance: nearer frames count as if at this, so that the source itself has a weight too."""


def match(query: Tensor, pool: Tensor, synthesis: Tensor | None = None, k: int = 4, own: slice | None = None) -> Tensor:
    """Replaces every frame by the mean of its `k` nearest frames of the pool.

    Args:
        query: `(T, D)` frames of the source, any float type.
        pool: `(P, D)` frames to search, any float type; stays where it is, blocks travel to the query's device.
        synthesis: `(P, E)` frames that are averaged, row for row those of `pool`; the pool itself by default.
        k: neighbours, uniform weights.
        own: rows of the pool that may not be chosen (the utterance itself).

    Returns:
        `(T, E)` float32 on the query's device.

    Raises:
        InputError: when the shapes do not fit, or fewer than `k` rows may be chosen.
    """
    synthesis = check_synthesis(pool, pool if synthesis is None else synthesis)
    return average(nearest(query, pool, k, own), synthesis)


def check_synthesis(pool: Tensor, synthesis: Tensor) -> Tensor:
    """The synthesis set `(P, E)` itself.

    Raises:
        InputError: when it has not a row for each of the pool.
    """
    if len(synthesis) != len(pool):
        raise InputError(f"synthesis set: expected {len(pool)} frames like the matching set, found {len(synthesis)}")
    return synthesis


def average(rows: Tensor, synthesis: Tensor, weights: Tensor | None = None) -> Tensor:
    """Means of rows of `synthesis (P, E)`, in blocks: `(T, E)` float32 on the device of `rows`.

    Args:
        rows: `(T, k)` int64.
        weights: `(T, k)` float32 that sum to 1 in every row; uniform by default.
    """
    out = torch.empty(len(rows), synthesis.shape[1], device=rows.device)
    step = max(1, int(BLOCK_MIB * 2**20) // (4 * rows.shape[1] * synthesis.shape[1]))
    for start in range(0, len(rows), step):
        block = slice(start, start + step)
        frames = synthesis[rows[block].to(synthesis.device)].to(rows.device, torch.float32)
        out[block] = frames.mean(dim=1) if weights is None else (frames * weights[block, :, None]).sum(dim=1)
    return out


def weights(similarity: Tensor, weighting: str, temperature: float) -> Tensor | None:
    """How much each neighbour counts: `(T, k)` float32 that sum to 1 in every row, or None for a plain mean.

    Args:
        similarity: `(T, k)` cosines of the neighbours, as `neighbours` gives them.
        weighting: `uniform`; `softmax`: by exp(cosine / temperature); `inverse`: by 1 / (1 - cosine).
        temperature: of the softmax, in cosines: of two neighbours, the one nearer by this counts e times as much.
    """
    if weighting == "uniform":
        return None
    if weighting == "softmax":
        return torch.softmax(similarity / temperature, dim=1)
    if weighting == "inverse":
        return torch.nn.functional.normalize(1 / (1 - similarity).clamp(min=LEAST_DISTANCE), p=1, dim=1)
    raise InputError(f"weighting: expected uniform, softmax or inverse, found '{weighting}'")


def nearest(query: Tensor, pool: Tensor, k: int = 4, own: slice | None = None) -> Tensor:
    """Rows of the pool with the smallest `1 - cosine` to each frame: `(T, k)` int64, nearest first."""
    return neighbours(query, pool, k, own)[1]


def neighbours(query: Tensor, pool: Tensor, k: int = 4, own: slice | None = None) -> tuple[Tensor, Tensor]:
    """Cosines `(T, k)` float32 and rows `(T, k)` int64 of the `k` nearest frames of the pool, nearest first.

    Peak memory beyond the arguments is about `4 * BLOCK_MIB`, whatever the lengths.
    """
    if query.ndim != 2 or pool.ndim != 2 or query.shape[1] != pool.shape[1]:
        raise InputError(
            f"matching: expected frames of one width, found query {tuple(query.shape)} and pool {tuple(pool.shape)}; "
            "make both with the same feature"
        )
    free = len(pool) - (0 if own is None else len(range(*own.indices(len(pool)))))
    if free < k:
        raise InputError(f"matching: k is {k}, but only {free} frames may be chosen; give more reference speech")
    budget = int(BLOCK_MIB * 2**20) // 4
    pool_step = min(len(pool), max(k, budget // pool.shape[1]))
    query_step = max(1, budget // max(pool_step, query.shape[1]))
    if len(query) == 0:
        empty = torch.empty(0, k, device=query.device)
        return empty, empty.long()
    parts = [_neighbours(q, pool, k, own, pool_step) for q in query.split(query_step)]
    return torch.cat([values for values, _ in parts]), torch.cat([rows for _, rows in parts])


def _neighbours(query: Tensor, pool: Tensor, k: int, own: slice | None, step: int) -> tuple[Tensor, Tensor]:
    q = unit(query)
    best = torch.full((len(q), k), -torch.inf, device=q.device)
    where = torch.zeros((len(q), k), dtype=torch.int64, device=q.device)
    for start in range(0, len(pool), step):
        block = unit(pool[start : start + step].to(q.device))
        similarity = q @ block.T
        if own is not None:
            similarity[:, max(own.start - start, 0) : max(own.stop - start, 0)] = -torch.inf
        values, rows = similarity.topk(min(k, len(block)), dim=1)
        best, order = torch.cat([best, values], dim=1).topk(k, dim=1)
        where = torch.cat([where, rows + start], dim=1).gather(1, order)
    return best, where


def unit(frames: Tensor) -> Tensor:
    """Rows `(..., D)` scaled to length 1, in float32; a row of zeros stays zero."""
    return torch.nn.functional.normalize(frames.float(), dim=-1)
