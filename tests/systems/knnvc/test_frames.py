"""What a vocoder hears: the order of the columns, normalised content, and pitch in another register."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc.frames import Frames, assemble, in_voice, joined, moved, normalised, own_units


def random(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def contour(*hz: float) -> Tensor:
    return torch.tensor([[value, float(value > 0)] for value in hz])


def test_the_columns_stand_in_the_order_that_the_vocoder_reads() -> None:
    content, synthesis, f0 = random(5, 3), random(5, 4, seed=1).half(), contour(100, 0, 0, 120, 130)
    units = assemble(synthesis, content, f0)
    assert units.dtype == torch.float32
    assert torch.equal(units, torch.cat([normalised(content), synthesis.float(), f0], dim=1))
    assert torch.equal(assemble(synthesis, f0=f0), units[:, 3:])
    assert torch.equal(assemble(synthesis, content), units[:, :-2])
    assert torch.equal(assemble(synthesis), synthesis.float())


def test_content_has_neither_mean_nor_spread_of_its_recording() -> None:
    content = random(200, 6) * torch.tensor([1.0, 5, 0.1, 1, 1, 0]) + torch.arange(6)
    found = normalised(content.half())
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(dim=0, correction=0), torch.tensor([1.0] * 5 + [0]), atol=5e-3, rtol=0)
    torch.testing.assert_close(normalised(content * 3 - 7)[:, :5], found[:, :5], atol=2e-2, rtol=0)
    assert torch.equal(normalised(content[:1]), torch.zeros(1, 6))


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"as many frames of content, synthesis and pitch, found \[4, 5\]"):
        assemble(random(5, 4), random(4, 3))


def test_pitch_moves_by_the_difference_of_the_medians_and_the_transposition() -> None:
    source, own, target = contour(100, 0, 120, 90), contour(0, 90, 100, 200), contour(210, 190, 0, 0, 200, 0)
    found = moved(source, own, target)
    torch.testing.assert_close(found, contour(200, 0, 240, 180))
    torch.testing.assert_close(moved(source, own, target, transpose=12), contour(400, 0, 480, 360))
    torch.testing.assert_close(moved(source, own, target, share=0.5), contour(*source[:, 0] * math.sqrt(2)))
    assert torch.equal(moved(source, own, None, share=0.0), source)
    torch.testing.assert_close(moved(source, own, None, share=0.0, transpose=-12), contour(50, 0, 60, 45))


def test_pitch_moves_up_and_down_as_the_target_does_within_limits() -> None:
    def voice(median: float, semitones: float) -> torch.Tensor:
        return contour(*(median * 2 ** (np.linspace(-semitones, semitones, 101) / 12)))

    source, own, lively = contour(100, 0, 110), voice(100, 4), voice(300, 6)
    for spread, growth in ((1.0, 1.5), (0.5, math.sqrt(1.5)), (0.0, 1.0)):
        expected = contour(300, 0, 300 * 1.1**growth)
        torch.testing.assert_close(moved(source, own, lively, spread=spread), expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(moved(source, own, voice(300, 40), spread=1.0)[2, 0], torch.tensor(300 * 1.1**2))
    torch.testing.assert_close(moved(source, own, voice(300, 0), spread=1.0), contour(300, 0, 330))


def test_an_octave_error_is_no_further_off_than_it_was() -> None:
    own, lively = contour(*np.linspace(95, 140, 100)), contour(*np.linspace(100, 590, 100))
    found = moved(contour(110, 500, 0, 50), own, lively, spread=1.0)
    ceiling = moved(contour(140, 139, 0, 96), own, lively, spread=1.0)[0, 0] * 500 / 138
    assert found[1, 0] < ceiling and found[2, 0] == 0 and found[3, 0] > 50


def test_a_voice_without_a_voiced_frame_has_no_register() -> None:
    silence, voice = contour(0, 0, 0), contour(100, 110)
    assert torch.equal(moved(silence, silence, silence, transpose=5), silence)
    with pytest.raises(InputError, match="voiced frames of the references, found none in 3 frames"):
        moved(voice, voice, silence)
    with pytest.raises(InputError, match="voiced frames of the source's speaker, found none in 3 frames"):
        moved(voice, silence, voice)
    with pytest.raises(InputError, match="the pool has no F0"):
        moved(voice, voice, None)


def test_content_and_pitch_are_the_sources_whatever_its_frames_became() -> None:
    source = Frames(random(4, 3), random(4, 5, seed=1), random(4, 2, seed=2), contour(100, 100, 0, 100))
    synthesis, target = random(4, 5, seed=3), contour(50, 50)
    own = contour(200, 200)
    for f0, median in ((None, 100), (own, 200)):
        expected = assemble(synthesis, source.content, contour(*source.f0[:, 0] * 50 / median))
        torch.testing.assert_close(in_voice(source, synthesis, f0, target), expected)
    plain = Frames(source.match, source.synthesis)
    assert torch.equal(in_voice(plain, synthesis, None, None), synthesis)


def test_content_is_mixed_of_the_neighbours_and_the_sources_own() -> None:
    source = Frames(random(40, 3), random(40, 5, seed=1), random(40, 2, seed=2) * 3 + 1, contour(*[100.0] * 40))
    assert torch.equal(own_units(source, with_content=False), source.synthesis)
    both = own_units(source, with_content=True)
    torch.testing.assert_close(both, torch.cat([normalised(source.content), source.synthesis], dim=1))
    theirs, synthesis = random(40, 2, seed=4), random(40, 5, seed=3)
    target, given = contour(50, 50), torch.cat([theirs, synthesis], dim=1)
    for share in (0.0, 0.3):
        mixed = (1 - share) * theirs + share * normalised(source.content)
        found = in_voice(source, given, None, target, own_content=share)
        torch.testing.assert_close(found, assemble(synthesis, mixed, contour(*[50.0] * 40)))
    torch.testing.assert_close(in_voice(source, synthesis, None, target)[:, :2], normalised(source.content))
    with pytest.raises(InputError, match="own_content: the source has no content"):
        own_units(Frames(source.match, source.synthesis), with_content=True)


def test_in_time_frames_are_stretched_linearly_and_pitch_by_the_nearest_frame() -> None:
    f0 = contour(100, 0, 0, 120)
    source = Frames(torch.arange(4.0)[:, None], torch.arange(4.0)[:, None] * 2, torch.arange(4.0)[:, None] * 3, f0)
    found = source.stretched(8)
    assert len(found) == 8
    np.testing.assert_allclose(found.synthesis, found.match * 2)
    np.testing.assert_allclose(found.content, found.match * 3)  # type: ignore[arg-type]
    assert torch.equal(found.f0, f0.repeat_interleave(2, dim=0))  # type: ignore[arg-type]


def test_a_pool_has_the_content_and_the_pitch_of_all_recordings() -> None:
    parts = [Frames(random(n, 3), random(n, 5), random(n, 2), contour(*[100.0 * n] * n)).half() for n in (2, 3)]
    pool = joined(parts)
    assert pool.match.shape == (5, 3) and pool.synthesis.dtype == torch.float16
    assert torch.equal(pool.content, torch.cat([random(n, 2) for n in (2, 3)]).half())  # type: ignore[arg-type]
    assert torch.equal(pool.f0, contour(200, 200, 300, 300, 300))  # type: ignore[arg-type]
    same = random(4, 3)
    alike = joined([Frames(same, same, same).half()] * 2)
    assert alike.synthesis is alike.match is alike.content and alike.f0 is None
    assert joined([Frames(same, random(4, 2)).half()] * 2).content is None
