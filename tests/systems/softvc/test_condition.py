"""What the two heads hear of pitch and loudness."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vcpipe.systems.softvc.condition import ENERGY_BINS, PITCH_BINS, Continuous, Head, Quantised, columns
from vcpipe.systems.softvc.statistics import Voice

CORPUS = Voice(math.log(150), math.log(150), 0.3, 90.0, 250.0, 0.5, 1000, -25.0, 6.0)
QUIET = Voice(math.log(100), math.log(100), 0.1, 80.0, 120.0, 0.5, 1000, -40.0, 3.0)


def measured(kind: type[Head]) -> Head:
    torch.manual_seed(0)
    head = kind(8, 2)  # type: ignore[call-arg]
    head.measure(CORPUS, [CORPUS, QUIET])
    return head


def told(hz: float, db: float, voiced: float = 1.0) -> Tensor:
    return torch.tensor([[[math.log(hz), voiced, db]]])


def test_columns_have_the_logarithm_of_the_pitch_where_there_is_one() -> None:
    f0 = np.array([[0, 0], [100, 1], [120, 0], [0, 1], [200, 1]], np.float32)
    found = columns(f0, np.arange(5, dtype=np.float32)[:, None])
    assert found[:, 0] == pytest.approx([0, math.log(100), 0, 0, math.log(200)], abs=1e-5)
    assert found[:, 1].tolist() == [0, 1, 0, 0, 1]
    assert found[:, 2].tolist() == list(range(5))


@pytest.mark.parametrize("kind", [Continuous, Quantised])
def test_a_head_begins_silent_and_learns(kind: type[Head]) -> None:
    head = measured(kind)
    out = head(told(150, -25), torch.tensor([0]))
    assert out.shape == (1, 1, 8) and not out.any()
    out.sum().backward()
    assert head.out.weight.grad is not None and head.out.weight.grad.any()


def test_pitch_is_in_spreads_of_the_corpus_and_loudness_in_those_of_the_voice() -> None:
    pitch, voiced, energy = measured(Continuous).normalised(
        told(150 * math.exp(0.3), -34).expand(3, 1, 3), torch.tensor([0, 1, 2])
    )
    assert pitch[:, 0].tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert voiced.tolist() == [[1.0]] * 3
    assert energy[:, 0].tolist() == pytest.approx([-1.5, 2.0, -1.5])


def test_bins_rise_with_pitch_and_loudness_and_keep_one_for_what_is_not_voiced() -> None:
    head = measured(Quantised)
    assert isinstance(head, Quantised)
    hz = torch.logspace(1.5, 3.2, 400)
    condition = torch.stack([hz.log(), torch.ones(400), torch.linspace(-90, 0, 400)], dim=1)[None]
    pitch, energy = head.bins(condition, torch.tensor([0]))
    assert (pitch[0].diff() >= 0).all() and (energy[0].diff() >= 0).all()
    assert pitch.min() == 1 and pitch.max() == PITCH_BINS and energy.min() == 0 and energy.max() == ENERGY_BINS - 1
    assert len(pitch.unique()) > 0.9 * PITCH_BINS
    condition[..., 1] = 0
    assert not head.bins(condition, torch.tensor([0]))[0].any()


def test_flat_recordings_have_notes_too() -> None:
    """A bank sung on one note has no spread to divide by, and is moved an octave either way to learn from."""
    for kind in (Continuous, Quantised):
        head = measured(kind)
        head.measure(replace(CORPUS, std_log_f0=1e-9), [CORPUS, QUIET])
        torch.nn.init.normal_(head.out.weight)
        notes = [head(told(150 * 2 ** (n / 12), -25), torch.tensor([0])) for n in range(-12, 13)]
        assert all(float(note.detach().abs().max()) < 100 for note in notes)
        assert all((a - b).abs().max() > 0.05 for a, b in itertools.pairwise(notes))


def test_a_semitone_is_heard_by_both() -> None:
    for kind in (Continuous, Quantised):
        head = measured(kind)
        torch.nn.init.normal_(head.out.weight)
        a, b = (head(told(hz, -25), torch.tensor([0])) for hz in (150, 150 * 2 ** (1 / 12)))
        assert (a - b).abs().max() > 0.05


def test_an_octave_is_no_other_pitch_of_the_same_name_to_the_sines() -> None:
    """Sines of whole periods an octave are alike for 150 and 300 Hz: a voice that hears those alone sings either."""
    head = measured(Continuous)
    assert isinstance(head, Continuous)
    heard = []
    head.mix.register_forward_pre_hook(lambda layer, given: heard.append(given[0]))
    for hz in (150, 300, 600):
        head(told(hz, -25), torch.tensor([0]))
    waves = [x[0, 3:, 0] for x in heard]
    assert min(float((a - b).abs().max()) for a, b in itertools.pairwise(waves)) > 0.5
    assert torch.allclose(waves[0][2:8], waves[1][2:8], atol=1e-3)
