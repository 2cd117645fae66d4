"""k nearest neighbours by cosine, block by block, at bounded memory.

Source: Baas, van Niekerk, Kamper, "Voice conversion with just nearest neighbors", arXiv 2305.18975.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vcpipe.errors import InputError

BLOCK_MIB = 256


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
    synthesis = pool if synthesis is None else synthesis
    if len(synthesis) != len(pool):
        raise InputError(f"synthesis set: expected {len(pool)} frames like the matching set, found {len(synthesis)}")
    out = torch.empty(len(query), synthesis.shape[1], device=query.device)
    step = max(1, int(BLOCK_MIB * 2**20) // (4 * k * synthesis.shape[1]))
    indices = nearest(query, pool, k, own)
    for start in range(0, len(query), step):
        rows = indices[start : start + step].to(synthesis.device)
        out[start : start + step] = synthesis[rows].to(query.device, torch.float32).mean(dim=1)
    return out


def nearest(query: Tensor, pool: Tensor, k: int = 4, own: slice | None = None) -> Tensor:
    """Rows of the pool with the smallest `1 - cosine` to each frame: `(T, k)` int64, nearest first.

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
    parts = [_nearest(q, pool, k, own, pool_step) for q in query.split(query_step)]
    return torch.cat(parts) if parts else torch.empty(0, k, dtype=torch.int64, device=query.device)


def _nearest(query: Tensor, pool: Tensor, k: int, own: slice | None, step: int) -> Tensor:
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
    return where


def unit(frames: Tensor) -> Tensor:
    """Rows scaled to length 1, in float32; a row of zeros stays zero."""
    return torch.nn.functional.normalize(frames.float(), dim=1)
