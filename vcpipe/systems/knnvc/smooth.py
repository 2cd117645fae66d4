"""Neighbours that also follow one another: the cheapest paths through the candidates of each frame.

The costs are those of unit selection (Hunt, Black 1996): how far a candidate is from the source's frame, and how badly
it joins the one before. On frames of self-supervised models: kNN-SVC, arXiv 2504.05686.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import match


def smooth_neighbours(query: Tensor, pool: Tensor, k: int, smoothness: float, candidates: int) -> tuple[Tensor, Tensor]:
    """Like `match.neighbours`, but the choice of a frame depends on the choices before and after it.

    A path takes one of `candidates` nearest rows for every frame. It costs `1 - cosine` of frame and row, and
    `smoothness` times `1 - cosine` of a row and the row that follows, in the pool, the one taken before: nothing where
    the pool simply goes on. Of each frame, the `k` candidates are chosen through which the cheapest paths lead. With
    k = 1 that is the cheapest path itself (Viterbi), with smoothness 0 the plain nearest neighbours.

    Args:
        query: `(T, D)` frames of the source, any float type.
        pool: `(P, D)` frames in the order in which they were spoken, any float type. Where one recording ends and the
            next begins, it is taken to go on.
        k: rows of each frame.
        smoothness: weight of a join against a match, from 0.
        candidates: rows of each frame that are looked at, at least k.

    Returns:
        cosines `(T, k)` float32 and rows `(T, k)` int64 on the query's device, the cheapest first.

    Raises:
        InputError: as `match.neighbours`; and when there are fewer candidates than k.
    """
    if candidates < k:
        raise InputError(f"smoothness: expected at least k = {k} candidates, found {candidates}; raise candidates")
    similarity, rows = match.neighbours(query, pool, k=min(max(candidates, k), max(len(pool), k)))
    if smoothness == 0 or len(query) < 2:
        return similarity[:, :k], rows[:, :k]
    here = 1 - similarity
    best = here.clone()  # of paths from the first frame to a candidate
    for t, join in enumerate(_joins(pool, rows), start=1):
        best[t] += (best[t - 1, :, None] + smoothness * join).amin(dim=0)
    onward = torch.zeros_like(here)  # of paths from a candidate to the last frame, itself not counted
    for t, join in _backward(pool, rows):
        onward[t] = (here[t + 1] + onward[t + 1] + smoothness * join).amin(dim=1)
    order = (best + onward).topk(k, dim=1, largest=False).indices
    return similarity.gather(1, order), rows.gather(1, order)


def _joins(pool: Tensor, rows: Tensor) -> Iterator[Tensor]:
    """For every frame but the first, `(n, n)`: what it costs that the second candidate comes after the first."""
    for start in range(0, len(rows) - 1, _step(pool, rows)):
        yield from _join_block(pool, rows, start)


def _backward(pool: Tensor, rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    """The same from the end, each with the frame of its first candidates; computed again, not kept."""
    for start in reversed(range(0, len(rows) - 1, _step(pool, rows))):
        block = _join_block(pool, rows, start)
        yield from ((start + i, block[i]) for i in reversed(range(len(block))))


def _join_block(pool: Tensor, rows: Tensor, start: int) -> Tensor:
    first = rows[start : min(start + _step(pool, rows), len(rows) - 1)].to(pool.device)
    second = rows[start + 1 : start + 1 + len(first)].to(pool.device)
    following = pool[(first + 1).clamp(max=len(pool) - 1)].to(rows.device)
    taken = pool[second].to(rows.device)
    return 1 - match.unit(following) @ match.unit(taken).transpose(1, 2)


def _step(pool: Tensor, rows: Tensor) -> int:
    """Frames whose candidates fit into a quarter of a block, as float32."""
    return max(1, int(match.BLOCK_MIB * 2**20) // (16 * rows.shape[1] * pool.shape[1]))
