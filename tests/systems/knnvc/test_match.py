import pytest
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import match as module
from vcpipe.systems.knnvc.match import average, match, nearest, neighbours, weights


def frames(n: int, d: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def by_hand(query: Tensor, pool: Tensor, k: int, banned: range = range(0)) -> list[list[int]]:
    """The definition, frame by frame: `1 - cosine`, smallest first."""
    out = []
    for q in query.double():
        distance = [
            2.0 if i in banned else float(1 - torch.dot(q, p) / (q.norm() * p.norm()))
            for i, p in enumerate(pool.double())
        ]
        out.append(sorted(range(len(pool)), key=lambda i: distance[i])[:k])
    return out


@pytest.mark.parametrize("k", [1, 4, 9])
def test_nearest_is_the_definition(k: int) -> None:
    query, pool = frames(20), frames(50, seed=1)
    assert nearest(query, pool, k).tolist() == by_hand(query, pool, k)


def test_blocks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    query, pool = frames(30), frames(200, seed=1)
    whole = nearest(query, pool, 4, own=slice(60, 90))
    monkeypatch.setattr(module, "BLOCK_MIB", 0.001)
    assert torch.equal(nearest(query, pool, 4, own=slice(60, 90)), whole)
    assert whole.tolist() == by_hand(query, pool, 4, range(60, 90))


def test_the_mean_is_of_the_synthesis_frames_with_uniform_weights() -> None:
    query, pool, synthesis = frames(10), frames(40, seed=1), frames(40, 5, seed=2)
    expected = torch.stack([synthesis[rows].mean(0) for rows in nearest(query, pool, 3)])
    torch.testing.assert_close(match(query, pool, synthesis, 3), expected)


def test_an_utterance_never_finds_itself() -> None:
    pool = frames(60)
    found = nearest(pool[20:40], pool, 4, own=slice(20, 40))
    assert not ((found >= 20) & (found < 40)).any()
    assert (nearest(pool[20:40], pool, 4)[:, 0] == torch.arange(20, 40)).all()


def test_half_precision_pools_and_silence_give_finite_frames() -> None:
    pool = torch.cat([frames(50), torch.zeros(10, 16)]).half()
    assert torch.isfinite(match(torch.zeros(7, 16), pool)).all()


def test_too_small_a_pool_and_other_widths_are_refused() -> None:
    with pytest.raises(InputError, match="k is 4, but only 3 frames"):
        match(frames(5), frames(3))
    with pytest.raises(InputError, match="k is 4, but only 2 frames"):
        match(frames(5), frames(10), own=slice(0, 8))
    with pytest.raises(InputError, match="one width"):
        match(frames(5, 16), frames(10, 12))
    with pytest.raises(InputError, match="expected 10 frames"):
        match(frames(5), frames(10), frames(9))


def test_cosines_come_with_their_rows() -> None:
    query, pool = frames(20), frames(50, seed=1)
    similarity, rows = neighbours(query, pool, 5)
    assert torch.equal(rows, nearest(query, pool, 5))
    expected = torch.nn.functional.cosine_similarity(query[:, None], pool[rows], dim=2)
    torch.testing.assert_close(similarity, expected)


@pytest.mark.parametrize("weighting", ["softmax", "inverse"])
def test_weights_sum_to_one_and_favour_the_nearer(weighting: str) -> None:
    similarity = neighbours(frames(20), torch.cat([frames(20)[:5], frames(50, seed=1)]), 4)[0]
    found = weights(similarity, weighting, temperature=0.1)
    assert found is not None
    torch.testing.assert_close(found.sum(dim=1), torch.ones(20))
    assert (found.diff(dim=1) <= 0).all() and torch.isfinite(found).all()
    assert (found[:5, 0] > 0.9).all()  # the frame itself is in the pool


def test_the_ratio_of_two_weights_is_as_defined() -> None:
    similarity = torch.tensor([[0.9, 0.8, 0.6]])
    soft, inverse = weights(similarity, "softmax", 0.1), weights(similarity, "inverse", 0.1)
    assert soft is not None and inverse is not None
    assert float(soft[0, 0] / soft[0, 1]) == pytest.approx(2.71828, rel=1e-4)
    assert (inverse / inverse[0, 2]).tolist() == [pytest.approx([4.0, 2.0, 1.0], rel=1e-4)]
    assert weights(similarity, "uniform", 0.1) is None
    with pytest.raises(InputError, match="found 'squared'"):
        weights(similarity, "squared", 0.1)


def test_means_are_weighted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    synthesis, rows = frames(40, 5, seed=2), nearest(frames(10), frames(40, seed=1), 3)
    share = torch.softmax(frames(10, 3, seed=3), dim=1)
    expected = torch.einsum("tk,tke->te", share, synthesis[rows])
    torch.testing.assert_close(average(rows, synthesis, share), expected)
    monkeypatch.setattr(module, "BLOCK_MIB", 0.0001)
    torch.testing.assert_close(average(rows, synthesis, share), expected)
    torch.testing.assert_close(average(rows, synthesis), synthesis[rows].mean(dim=1))
