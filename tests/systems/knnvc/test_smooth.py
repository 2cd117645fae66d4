import itertools

import pytest
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import match as blocks
from vcpipe.systems.knnvc.match import neighbours, unit
from vcpipe.systems.knnvc.smooth import smooth_neighbours


def frames(n: int, d: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def cost(path: tuple[int, ...], query: Tensor, pool: Tensor, smoothness: float) -> float:
    """The definition: matches, and joins of each row with what follows the one before."""
    q, p = unit(query.double()), unit(pool.double())
    matches = sum(1 - float(q[t] @ p[row]) for t, row in enumerate(path))
    follows = [min(row + 1, len(pool) - 1) for row in path]
    return matches + smoothness * sum(1 - float(p[follows[t]] @ p[path[t + 1]]) for t in range(len(path) - 1))


@pytest.mark.parametrize("smoothness", [0.1, 0.5, 3.0])
def test_one_neighbour_is_the_cheapest_of_all_paths(smoothness: float) -> None:
    query, pool = frames(5), frames(30, seed=1)
    _, rows = smooth_neighbours(query, pool, 1, smoothness, candidates=4)
    candidates = neighbours(query, pool, 4)[1].tolist()
    best = min(itertools.product(*candidates), key=lambda path: cost(path, query, pool, smoothness))
    assert tuple(rows[:, 0].tolist()) == best


def test_the_others_lie_on_the_next_cheapest_paths() -> None:
    query, pool = frames(4), frames(30, seed=1)
    _, rows = smooth_neighbours(query, pool, 2, 0.5, candidates=4)
    paths = list(itertools.product(*neighbours(query, pool, 4)[1].tolist()))
    for t in range(4):
        through = {row: min(cost(p, query, pool, 0.5) for p in paths if p[t] == row) for row in {p[t] for p in paths}}
        assert rows[t].tolist() == sorted(through, key=lambda row: through[row])[:2]


@pytest.mark.parametrize("k", [1, 4])
def test_without_smoothness_they_are_the_nearest(k: int) -> None:
    query, pool = frames(40), frames(200, seed=1)
    for found, expected in zip(
        smooth_neighbours(query, pool, k, 0.0, candidates=16), neighbours(query, pool, k), strict=True
    ):
        assert torch.equal(found, expected)


def test_great_smoothness_keeps_runs_that_the_nearest_break() -> None:
    pool = frames(300, 32)
    query = pool[100:160] + 1.3 * frames(60, 32, seed=1)
    plain = neighbours(query, pool, 1)[1][:, 0]
    _, rows = smooth_neighbours(query, pool, 1, 10.0, candidates=300)
    assert (plain.diff() == 1).float().mean() < 0.9
    assert rows[:, 0].tolist() == list(range(100, 160))


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    query, pool = frames(50), frames(120, seed=1).half()
    whole = smooth_neighbours(query, pool, 3, 0.4, candidates=8)
    monkeypatch.setattr(blocks, "BLOCK_MIB", 0.01)
    for found, expected in zip(smooth_neighbours(query, pool, 3, 0.4, candidates=8), whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_similarities_belong_to_their_rows() -> None:
    query, pool = frames(20), frames(60, seed=1)
    similarity, rows = smooth_neighbours(query, pool, 3, 1.0, candidates=10)
    torch.testing.assert_close(similarity, torch.einsum("td,tkd->tk", unit(query), unit(pool)[rows]))


@pytest.mark.parametrize("length", [0, 1])
def test_sources_of_no_and_of_one_frame(length: int) -> None:
    similarity, rows = smooth_neighbours(frames(length), frames(20, seed=1), 4, 1.0, candidates=8)
    assert similarity.shape == rows.shape == (length, 4)


def test_a_pool_smaller_than_the_candidates_will_do() -> None:
    assert smooth_neighbours(frames(9), frames(6, seed=1), 4, 1.0, candidates=32)[1].shape == (9, 4)


def test_too_few_are_refused() -> None:
    with pytest.raises(InputError, match="at least k = 4 candidates, found 2"):
        smooth_neighbours(frames(9), frames(20), 4, 1.0, candidates=2)
    with pytest.raises(InputError, match="k is 4, but only 3 frames"):
        smooth_neighbours(frames(9), frames(3), 4, 1.0, candidates=8)
