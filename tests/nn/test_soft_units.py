"""The network behind soft units: what it learns, what it leaves out, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vcpipe.errors import InputError
from vcpipe.nn import soft_units
from vcpipe.nn.soft_units import SoftUnits, normalised
from vcpipe.weights import write_safetensors

OPTIONS: dict[str, Any] = {
    "hidden": 32,
    "dim": 8,
    "dropout": 0.1,
    "normalise": False,
    "steps": 150,
    "batch": 64,
    "learning_rate": 3e-3,
    "seed": 0,
}


def clouds(seed: int, n: int = 600) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Frames `(n, 12)` around four places, with the number of each frame's place."""
    places = 3 * np.random.default_rng(99).standard_normal((4, 12))
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 4, n)
    return (places[numbers] + random.standard_normal((n, 12))).astype(np.float32), numbers


def trained(**options: Any) -> SoftUnits:
    return soft_units.train(*clouds(0), **{**OPTIONS, **options})


def right(model: SoftUnits, frames: NDArray[Any], labels: NDArray[Any]) -> float:
    return float(np.mean(model.logits(model(torch.from_numpy(frames))).argmax(1).numpy() == labels))


def test_frames_that_it_never_saw_are_told_to_be_their_unit() -> None:
    model = trained()
    assert (model.labels.shape, model.training) == ((4, 8), False)
    assert right(model, *clouds(1)) > 0.97
    assert right(trained(steps=1), *clouds(1)) < 0.8


def test_logits_are_cosines_over_a_tenth() -> None:
    model = SoftUnits(12, 16, 8, 5).eval()
    units = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = F.cosine_similarity(units[:, :, None], model.labels, dim=-1) / 0.1
        torch.testing.assert_close(model.logits(units), expected)
        torch.testing.assert_close(model.logits(5 * units), expected)


def test_the_seed_decides_and_nothing_else_is_drawn_from_or_disturbed() -> None:
    torch.manual_seed(5)
    first = trained(dropout=0.5, steps=20)
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), after)
    torch.manual_seed(6)
    again, other = trained(dropout=0.5, steps=20), trained(dropout=0.5, steps=20, seed=1)
    frames = torch.from_numpy(clouds(1)[0])
    assert torch.equal(again(frames), first(frames))
    assert not torch.equal(other(frames), first(frames))


def test_a_voice_that_shifts_and_stretches_the_columns_is_not_heard_when_normalising() -> None:
    random = np.random.default_rng(0)
    frames = torch.from_numpy(clouds(1)[0])
    voice = torch.from_numpy(random.uniform(0.5, 2, 12)).float(), torch.from_numpy(random.normal(0, 3, 12)).float()
    other = frames * voice[0] + voice[1]
    with torch.no_grad():
        for normalise in (True, False):
            torch.manual_seed(0)
            model = SoftUnits(12, 16, 8, 4, normalise=normalise).eval()
            change = (model(other) - model(frames)).abs().max()
            assert change < 1e-3 if normalise else change > 0.1


def test_normalised_frames_have_no_mean_and_a_spread_of_one_in_each_recording() -> None:
    frames = torch.randn(2, 50, 12, generator=torch.Generator().manual_seed(0)) * 7 + 4
    frames[1] += 100
    frames[:, :, 3] = 2.0
    found = normalised(frames.half())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 12), atol=1e-4, rtol=0)
    spread = torch.ones(2, 12)
    spread[:, 3] = 0.0
    torch.testing.assert_close(found.std(1, correction=0), spread, atol=1e-3, rtol=0)


@pytest.mark.parametrize("normalise", [True, False])
def test_recordings_in_a_batch_are_as_alone(normalise: bool) -> None:
    model = SoftUnits(12, 16, 8, 4, dropout=0.5, normalise=normalise).eval()
    frames = torch.randn(3, 20, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(frames), torch.stack([model(row) for row in frames]))
        assert model(frames[0, :1].half()).isfinite().all()


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    frames = torch.from_numpy(clouds(1)[0])
    for normalise in (True, False):
        model = trained(normalise=normalise, steps=5)
        soft_units.save(tmp_path / "a.safetensors", model, "made by")
        soft_units.save(tmp_path / "b.safetensors", trained(normalise=normalise, steps=5), "made by")
        assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
        found = soft_units.load(tmp_path / "a.safetensors")
        assert (found.normalise, found.training) == (normalise, False)
        assert torch.equal(found(frames), model(frames))


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "centers.safetensors", {"centers": torch.zeros(3, 2)}, {"kind": "kmeans"})
    tensors = {**SoftUnits(12, 16, 8, 4).state_dict(), "out.weight": torch.zeros(9, 16)}
    write_safetensors(tmp_path / "sizes.safetensors", tensors, {"kind": "soft_units", "normalise": "1"})
    write_safetensors(tmp_path / "renamed.safetensors", {"centers": torch.zeros(3, 2)}, {"normalise": "1"})
    for name, words in [
        ("centers", "expected a network of soft units, found kmeans; name the model.safetensors"),
        ("sizes", "expected the tensors of a network of soft units, found hidden.bias, .*size mismatch for out.weight"),
        ("renamed", r"expected the tensors .* found centers \('hidden.weight'\); make it again"),
    ]:
        with pytest.raises(InputError, match=rf"{name}.safetensors: {words}"):
            soft_units.load(tmp_path / f"{name}.safetensors")


def test_frames_of_another_feature_are_refused() -> None:
    model = SoftUnits(12, 16, 8, 4)
    for shape in ((5, 11), (12,), (1, 2, 5, 12)):
        with pytest.raises(InputError, match=r"expected frames \(T, 12\) or \(B, T, 12\), found \("):
            model(torch.zeros(shape))


@pytest.mark.parametrize(
    ("frames", "labels", "words"),
    [
        (np.zeros((3, 2)), np.zeros(2, int), r"expected frames \(N, D\) and labels \(N,\), N > 0, found \(3, 2\)"),
        (np.zeros((0, 2)), np.zeros(0, int), r"found \(0, 2\) and \(0,\)"),
        (np.full((3, 2), np.inf), np.zeros(3, int), "not finite"),
        (np.zeros((3, 2)), np.full(3, -1), "labels below 0"),
    ],
    ids=["lengths", "none", "infinite", "negative"],
)
def test_what_cannot_be_learnt_from_is_refused(frames: NDArray[Any], labels: NDArray[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        soft_units.train(frames, labels, **OPTIONS)
