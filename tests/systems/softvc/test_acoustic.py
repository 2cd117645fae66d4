"""The acoustic model against its published shape, and against what a frame may and may not depend on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vcpipe.systems.softvc.acoustic import Acoustic, InstanceNorm
from vcpipe.systems.softvc.condition import Continuous, Quantised
from vcpipe.systems.softvc.model_settings import ModelSettings

SMALL = ModelSettings(prenet=8, channels=16, lstm=12, lstm_layers=2, convs=1)


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("preset", "n_units", "expected"),
    [("softvc", 0, 18_830_336), ("softvc", 100, 18_856_192), ("tiny", 0, 7_151_104)],
)
def test_the_published_models_have_their_number_of_parameters(preset: str, n_units: int, expected: int) -> None:
    settings = ModelSettings.model_validate({"preset": preset})
    assert parameters(Acoustic(settings, 256, 128, n_units=n_units)) == expected


def test_the_names_are_those_of_the_published_checkpoints() -> None:
    names = set(Acoustic(ModelSettings(), 256, 128, n_units=100).state_dict())
    layers = {f"encoder.convs.{i}.{kind}" for i in (0, 3, 4, 7) for kind in ("weight", "bias")}
    prenets = {
        f"{part}.prenet.net.{i}.{kind}"
        for part in ("encoder", "decoder")
        for i in (0, 3)
        for kind in ("weight", "bias")
    }
    lstms = {
        f"decoder.lstm{i}.{kind}_{end}_l0" for i in (1, 2, 3) for kind in ("weight", "bias") for end in ("ih", "hh")
    }
    assert names == {"encoder.embedding.weight", "decoder.proj.weight"} | layers | prenets | lstms


def test_a_voice_and_a_condition_begin_silent() -> None:
    torch.manual_seed(0)
    plain = Acoustic(SMALL, 4, 5).eval()
    for head in (Continuous(SMALL.channels, 3), Quantised(SMALL.channels, 3)):
        told = Acoustic(SMALL, 4, 5, condition=head, n_voices=3).eval()
        told.load_state_dict({**told.state_dict(), **plain.state_dict()})
        units, condition = torch.randn(1, 7, 4), spoken(14)[None]
        assert torch.equal(told.generate(units, condition, torch.tensor([2])), plain.generate(units))


def spoken(n_frames: int, hz: float = 150.0) -> Tensor:
    """A condition of a steady voice."""
    return torch.tensor([[torch.tensor(hz).log().item(), 1.0, -20.0]]).expand(n_frames, 3)


@pytest.mark.parametrize("decoder", ["lstm", "parallel"])
@pytest.mark.parametrize("n_units", [0, 10])
def test_padding_changes_nothing(n_units: int, decoder: str) -> None:
    torch.manual_seed(0)
    model = Acoustic(SMALL.model_copy(update={"decoder": decoder}), 4, 5, n_units=n_units).eval()
    lengths = torch.tensor([6, 3])
    units: Tensor = torch.randint(n_units, (2, 6)) if n_units else torch.randn(2, 6, 4)
    mels = torch.randn(2, 12, 5)
    both = model(units, mels, lengths)
    alone = model(units[1:, :3], mels[1:, :6], lengths[1:])
    assert torch.allclose(both[1, :6], alone[0], atol=1e-5)
    units = units.clone()
    units[1, 3:] = 1
    mels[1, 6:] = 99.0
    assert torch.allclose(model(units, mels, lengths)[1, :6], alone[0], atol=1e-5)


def test_instance_norm_is_that_of_the_library_where_all_frames_count() -> None:
    x = torch.randn(2, 3, 9, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.instance_norm(x)
    assert torch.allclose(InstanceNorm()(x, torch.ones(2, 1, 9, dtype=torch.bool)), expected, atol=1e-5)
    assert torch.equal(InstanceNorm()(x), expected)


def test_a_frame_hears_the_frames_before_it_and_none_after() -> None:
    torch.manual_seed(0)
    model = Acoustic(SMALL, 4, 5).eval()
    units, lengths = torch.randn(1, 5, 4), torch.tensor([5])
    mels = torch.randn(1, 10, 5)
    changed = mels.clone()
    changed[0, 6] += 1
    moved = (model(units, mels, lengths) - model(units, changed, lengths)).abs().amax(dim=2)[0]
    assert torch.equal(moved > 0, torch.arange(10) > 6)


@pytest.mark.parametrize("changes", [{}, {"decoder": "parallel"}, {"prenet_layers": 1, "convs": 0, "lstm_layers": 1}])
def test_generation_goes_on_from_what_it_made(changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = Acoustic(SMALL.model_copy(update=changes), 4, 5).eval()
    units = torch.randn(2, 4, 4)
    made = model.generate(units)
    assert made.shape == (2, 8, 5)
    heard_itself = model(units, made, torch.tensor([4, 4]))
    assert torch.allclose(made, heard_itself, atol=1e-5)


def test_in_parallel_no_frame_is_heard() -> None:
    torch.manual_seed(0)
    model = Acoustic(SMALL.model_copy(update={"decoder": "parallel"}), 4, 5).eval()
    units, lengths = torch.randn(1, 5, 4), torch.tensor([5])
    first, second = torch.randn(2, 1, 10, 5)
    assert torch.equal(model(units, first, lengths), model(units, second, lengths))


def test_who_is_no_voice_of_the_model_is_the_mean_of_all() -> None:
    torch.manual_seed(0)
    model = Acoustic(SMALL, 4, 5, n_voices=3).eval()
    assert model.voices is not None
    torch.nn.init.normal_(model.voices.weight)
    units = torch.randn(1, 4, 4)
    heard = [model.heard(units, None, None, torch.tensor([voice])) for voice in range(4)]
    assert torch.allclose(heard[3], torch.stack(heard[:3]).mean(dim=0), atol=1e-6)


def loud(kind: type[Continuous] | type[Quantised], decoder: str = "lstm") -> Acoustic:
    """A model of two voices whose head and voices say something."""
    torch.manual_seed(0)
    settings = SMALL.model_copy(update={"decoder": decoder})
    model = Acoustic(settings, 4, 5, condition=kind(SMALL.channels, 2), n_voices=2).eval()
    assert isinstance(model.condition, Continuous | Quantised)
    assert model.voices is not None
    torch.nn.init.normal_(model.condition.out.weight)
    torch.nn.init.normal_(model.voices.weight)
    return model


@pytest.mark.parametrize("decoder", ["lstm", "parallel"])
@pytest.mark.parametrize("kind", [Continuous, Quantised])
def test_voice_pitch_and_loudness_reach_the_mel(kind: type[Continuous] | type[Quantised], decoder: str) -> None:
    model, units = loud(kind, decoder), torch.randn(1, 7, 4)
    made = model.generate(units, spoken(14)[None], torch.tensor([0]))
    quiet = spoken(14) + torch.tensor([0.0, 0.0, -15.0])
    others = [(spoken(14), 1), (spoken(14, 300.0), 0), (quiet, 0)]
    for condition, voice in others:
        assert (model.generate(units, condition[None], torch.tensor([voice])) - made).abs().max() > 0.05


@pytest.mark.parametrize("decoder", ["lstm", "parallel"])
@pytest.mark.parametrize("kind", [Continuous, Quantised])
def test_padding_changes_nothing_of_what_is_told(kind: type[Continuous] | type[Quantised], decoder: str) -> None:
    model = loud(kind, decoder)
    units, mels, lengths, voice = (
        torch.randn(2, 6, 4),
        torch.randn(2, 12, 5),
        torch.tensor([6, 3]),
        torch.tensor([0, 1]),
    )
    condition = torch.stack([spoken(12), torch.cat([spoken(6, 200.0), torch.zeros(6, 3)])])
    both = model(units, mels, lengths, condition, voice)
    alone = model(units[1:, :3], mels[1:, :6], lengths[1:], condition[1:, :6], voice[1:])
    assert torch.allclose(both[1, :6], alone[0], atol=1e-5)
