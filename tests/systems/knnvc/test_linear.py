import pytest
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import linear
from vcpipe.systems.knnvc.frames import Frames
from vcpipe.systems.knnvc.linear import Affine, factorise, fit, matched, shift


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def speaker(content: Tensor, weight: Tensor, bias: Tensor | float = 0.0) -> Frames:
    """Frames that are compared by their content alone, so that all speakers match frame by frame."""
    return Frames(content, content @ weight + bias)


def rotation(d: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(random(d, d, seed=seed)).Q


@pytest.mark.parametrize("bias", [False, True])
def test_a_linear_map_is_recovered(bias: bool) -> None:
    content, weight = random(200, 12), random(12, 12, seed=1)
    offset = random(12, seed=2) if bias else torch.zeros(12, dtype=torch.float64)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    source, target = Frames(content, content), speaker(content[order], weight, offset)
    found = fit(source, target, bias=bias)
    torch.testing.assert_close(found.weight, weight)
    torch.testing.assert_close(found.bias, offset)
    torch.testing.assert_close(found(content.float()), (content @ weight + offset).float())


def test_a_rotation_is_recovered_and_every_other_map_is_made_one() -> None:
    content, turn = random(200, 12), rotation(12, seed=1)
    source = Frames(content, content)
    offset = random(12, seed=2)
    found = fit(source, speaker(content, turn, offset), bias=True, orthogonal=True)
    torch.testing.assert_close(found.weight, turn)
    torch.testing.assert_close(found.bias, offset)
    other = fit(source, speaker(content, random(12, 12, seed=3)), orthogonal=True).weight
    torch.testing.assert_close(other @ other.T, torch.eye(12, dtype=torch.float64))


def test_ridge_goes_from_least_squares_to_no_change() -> None:
    content = random(200, 12)
    source, target = Frames(content, content), speaker(content, random(12, 12, seed=1))
    free = fit(source, target).weight
    torch.testing.assert_close(fit(source, target, ridge=1e-12).weight, free, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        fit(source, target, ridge=1e12).weight, torch.eye(12, dtype=torch.float64), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("ridge", [0.0, 0.01])
def test_fewer_frames_than_columns_leave_what_they_do_not_show(ridge: float) -> None:
    content = random(5, 40)
    found = fit(Frames(content, content), speaker(content, random(40, 40, seed=1)), ridge=ridge)
    unseen = random(40, seed=2)
    unseen -= torch.linalg.pinv(content) @ (content @ unseen)
    torch.testing.assert_close(unseen @ found.weight, unseen)


def test_pairs_are_each_frame_of_the_source_and_the_nearest_of_the_target() -> None:
    source = Frames(random(30, 8), random(30, 5, seed=1).half())
    target = Frames(random(50, 8, seed=2), random(50, 5, seed=3).half())
    x, y = matched(source, target)
    nearest = torch.nn.functional.normalize(source.match) @ torch.nn.functional.normalize(target.match).T
    assert x.dtype == y.dtype == torch.float64
    assert torch.equal(x, source.synthesis.double())
    assert torch.equal(y, target.synthesis[nearest.argmax(dim=1)].double())


def test_only_the_first_frames_are_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MAX_FRAMES", 20)
    assert len(matched(Frames(random(30, 8), random(30, 8)), Frames(random(9, 8), random(9, 8)))[0]) == 20


def test_the_mean_and_the_spread_move_to_those_of_the_target() -> None:
    x, y = random(300, 6) * 3 + 1, random(200, 6, seed=1) - 4
    source, target = Frames(x, x), Frames(y, y)
    moved = shift(source, target)(x)
    torch.testing.assert_close(moved.mean(dim=0).double(), y.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved.std(dim=0).double(), x.std(dim=0), rtol=1e-4, atol=1e-5)
    scaled = shift(source, target, scale=True)(x)
    torch.testing.assert_close(scaled.mean(dim=0).double(), y.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        scaled.std(dim=0, correction=0).double(), y.std(dim=0, correction=0), rtol=1e-4, atol=1e-5
    )


def test_a_column_without_spread_is_only_moved() -> None:
    x, y = torch.ones(10, 2, dtype=torch.float64), random(10, 2)
    torch.testing.assert_close(shift(Frames(x, x), Frames(y, y), scale=True)(x)[0].double(), y.mean(dim=0))


def test_maps_keep_the_device_and_answer_in_single_precision() -> None:
    voice = Affine(torch.eye(4, dtype=torch.float64) * 2, torch.ones(4, dtype=torch.float64))
    found = voice(torch.ones(3, 4, dtype=torch.float16))
    assert found.dtype == torch.float32 and found.tolist() == [[3.0] * 4] * 3


def speakers(count: int, rank: int, n: int = 120, width: int = 16) -> tuple[Tensor, list[Frames]]:
    content = random(n, rank)
    return content, [speaker(content, random(rank, width, seed=s + 1)) for s in range(count)]


def test_content_of_few_dimensions_is_found_and_said_by_any_speaker() -> None:
    content, voices = speakers(4, rank=6)
    found = factorise(voices[:3], rank=6)
    torch.testing.assert_close(found.basis.T @ found.basis, torch.eye(6, dtype=torch.float64))
    torch.testing.assert_close(found.basis @ (found.basis.T @ content), content)
    for source in voices:
        for target in voices:  # the last one was in no factorisation
            torch.testing.assert_close(
                found.convert(source, target)(source.synthesis), target.synthesis.float(), rtol=1e-4, atol=1e-4
            )


def test_the_basis_is_that_of_the_singular_values() -> None:
    voices = [Frames(c, c @ w) for c, w in [(random(90, 20), random(20, 20, seed=s)) for s in range(3)]]
    wide = torch.cat([v.synthesis for v in voices], dim=1)
    u = torch.linalg.svd(wide, full_matrices=False).U[:, :5]
    basis = factorise(voices, rank=5).basis
    torch.testing.assert_close((u.T @ basis).abs(), torch.eye(5, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_of_full_rank_it_is_the_free_map_on_its_own_frames() -> None:
    content = random(60, 10)
    voices = [Frames(content, random(60, 10, seed=s + 1)) for s in range(3)]
    free = fit(voices[0], voices[1])
    full = factorise(voices, rank=30).convert(voices[0], voices[1])
    x = voices[0].synthesis
    torch.testing.assert_close(full(x), free(x), rtol=1e-4, atol=1e-4)


def test_it_is_the_same_every_time_and_leaves_the_random_numbers_alone() -> None:
    _, voices = speakers(3, rank=8)
    torch.manual_seed(1)
    first = factorise(voices, rank=4).basis
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    assert torch.equal(factorise(voices, rank=4).basis, first)


def test_a_factorisation_that_cannot_be_is_refused() -> None:
    _, voices = speakers(3, rank=8, n=20)
    with pytest.raises(InputError, match="at least two speakers, found 1"):
        factorise(voices[:1], rank=4)
    with pytest.raises(InputError, match="rank 21 of 20 frames of 3 speakers, expected at most 20"):
        factorise(voices, rank=21)
