from typing import Any

import pytest
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import linear
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.frames import Frames
from vcpipe.systems.knnvc.match import match
from vcpipe.systems.knnvc.methods import needs_source_pool, prepare, units

PLAIN = ConvertSettings(ridge=0.0)
METHODS = ["knn", "none", "linear", "linear_factorised", "mean"]


def changed(**values: Any) -> ConvertSettings:
    """`PLAIN` with other values, which need not be ones that a config may have."""
    return PLAIN.model_copy(update=values)


def frames(n: int, d: int = 16, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def speaker(n: int, seed: int, width: int = 6) -> Frames:
    return Frames(frames(n, seed=seed).half(), frames(n, width, seed=seed + 100).half())


SOURCE, OTHERS, POOL = speaker(20, 0), speaker(90, 1), speaker(80, 2)
CONTENT = linear.factorise([OTHERS, POOL, speaker(70, 3)], rank=5)


@pytest.mark.parametrize("method", METHODS)
def test_units_are_frames_of_the_synthesis_feature(method: str) -> None:
    found = units(changed(method=method), SOURCE, OTHERS, POOL, CONTENT)
    assert found.shape == (20, 6) and found.dtype == torch.float32
    assert torch.isfinite(found).all()


def test_knn_is_the_plain_match() -> None:
    found = units(PLAIN, SOURCE, None, POOL)
    assert torch.equal(found, match(SOURCE.match, POOL.match, POOL.synthesis, 4))


def test_one_neighbour_is_the_frame_of_the_greatest_cosine() -> None:
    cosines = torch.nn.functional.cosine_similarity(SOURCE.match.float()[:, None], POOL.match.float(), dim=2)
    found = units(changed(topk=1), SOURCE, None, POOL)
    assert torch.equal(found, POOL.synthesis[cosines.argmax(dim=1)].float())


def test_settings_of_the_pool_reach_the_units() -> None:
    sharp = units(changed(weighting="softmax", temperature=1e-6), SOURCE, None, POOL)
    torch.testing.assert_close(sharp, units(changed(topk=1), SOURCE, None, POOL))
    plain = units(PLAIN, SOURCE, None, POOL)
    for values in ({"weighting": "inverse"}, {"smoothness": 1.0}, {"topk": 3}):
        assert not torch.allclose(units(changed(**values), SOURCE, None, POOL), plain)


def test_none_gives_the_source_back() -> None:
    assert torch.equal(units(changed(method="none"), SOURCE, OTHERS, POOL), SOURCE.synthesis.float())


@pytest.mark.parametrize("method", ["linear", "linear_factorised", "mean"])
def test_without_other_recordings_the_source_stands_for_its_speaker(method: str) -> None:
    settings = changed(method=method)
    alone = units(settings, SOURCE, None, POOL, CONTENT)
    assert torch.equal(alone, units(settings, SOURCE, SOURCE, POOL, CONTENT))
    assert not torch.allclose(alone, units(settings, SOURCE, OTHERS, POOL, CONTENT))
    assert needs_source_pool(method)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_prepared_once_serves_every_source(method: str) -> None:
    settings = changed(method=method)
    voice = prepare(settings, OTHERS, POOL, CONTENT)
    for source in (SOURCE, speaker(7, 5)):
        assert torch.equal(voice(source), units(settings, source, OTHERS, POOL, CONTENT))


def test_settings_of_the_linear_maps_reach_the_units() -> None:
    for values in ({"orthogonal": True}, {"bias": True}, {"ridge": 0.5}):
        plain = units(changed(method="linear"), SOURCE, OTHERS, POOL)
        assert not torch.allclose(units(changed(method="linear", **values), SOURCE, OTHERS, POOL), plain)
    scaled = units(changed(method="mean", scale=True), SOURCE, OTHERS, POOL)
    assert not torch.allclose(scaled, units(changed(method="mean"), SOURCE, OTHERS, POOL))
    free = units(changed(method="linear_factorised"), SOURCE, OTHERS, POOL, CONTENT)
    pulled = units(changed(method="linear_factorised", ridge=0.5), SOURCE, OTHERS, POOL, CONTENT)
    assert not torch.allclose(pulled, free)


def test_what_cannot_make_units_is_refused() -> None:
    with pytest.raises(InputError, match="no factorisation of several speakers"):
        units(changed(method="linear_factorised"), SOURCE, OTHERS, POOL)
    for method in ("world", "knm"):
        with pytest.raises(InputError, match=f"method '{method}'"):
            units(changed(method=method), SOURCE, OTHERS, POOL)
    with pytest.raises(InputError, match="expected 80 frames"):
        units(PLAIN, SOURCE, None, Frames(POOL.match, POOL.synthesis[:9]))
