"""Published checkpoints of Soft-VC, in their forms, begin as they are; what does not fit is named."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.systems.softvc import made_up
from vcpipe.errors import InputError
from vcpipe.systems.softvc import task
from vcpipe.systems.softvc.checkpoints import published
from vcpipe.systems.softvc.train import train_acoustic
from vcpipe.training import runs
from vcpipe.vocoders.checkpoints import load_generator
from vcpipe.vocoders.config import generator_settings
from vcpipe.vocoders.task import build_generator


def plain() -> dict[str, Tensor]:
    """The tensors of a model as published: one voice, told nothing."""
    torch.manual_seed(1)
    return dict(task.build_model(made_up.made_by("none"), 1).state_dict())


FORMS: dict[str, Any] = {
    "training": lambda tensors: {"acoustic-model": tensors, "optimizer": {}, "step": 7, "loss": 0.3},
    "distributed": lambda tensors: {"acoustic-model": {f"module.{key}": value for key, value in tensors.items()}},
    "release": lambda tensors: tensors,
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_published_form_is_read(tmp_path: Path, form: str) -> None:
    tensors = plain()
    torch.save(FORMS[form](tensors), tmp_path / "model.pt")
    found = published(tmp_path / "model.pt", made_up.made_by(), 2)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], value) for key, value in tensors.items())


def test_a_training_from_it_begins_as_it_is_whatever_voices_and_condition_it_has(tmp_path: Path) -> None:
    tensors = plain()
    torch.save(tensors, tmp_path / "model.pt")
    place = made_up.write_corpus(tmp_path / "corpus")
    made_by = made_up.made_by(init=str(tmp_path / "model.pt"), steps=1, lr=1e-12, ema=None, weight_decay=0.0)
    train_acoustic(made_by, [place], tmp_path / "state", tmp_path / "run", made_up.CPU)
    trained, _ = runs.load(tmp_path / "run", task)
    assert isinstance(trained, task.Trained)
    model = task.build_model(made_up.made_by("none"), 1).eval()
    model.load_state_dict(tensors)
    units, told = torch.randn(1, 5, 64), torch.tensor([[5.0, 1.0, -20.0]]).expand(1, 10, 3)
    expected, found = model.generate(units), trained.acoustic.generate(units, told, torch.tensor([1]))
    assert torch.allclose(expected, found, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("decoder.proj.weight"), r"decoder.proj.weight: expected \(16, 12\), found none"),
        (lambda t: t.update(more=torch.zeros(1)), "more: expected no such tensor"),
        (lambda t: t.update({"decoder.proj.weight": torch.zeros(9, 12)}), r"expected \(16, 12\), found \(9, 12\)"),
        (lambda t: t.update(step=3), "expected 'acoustic-model' with tensors"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: Any, words: str) -> None:
    tensors = plain()
    change(tensors)
    torch.save(tensors, tmp_path / "model.pt")
    with pytest.raises(InputError, match=words):
        published(tmp_path / "model.pt", made_up.made_by(), 1)


def test_the_published_vocoder_fits_its_preset(tmp_path: Path) -> None:
    settings = generator_settings("hifigan_softvc", "generator")
    ours, fused = build_generator(settings, 128, 160), build_generator(settings, 128, 160, normed=False)
    assert sum(p.numel() for p in fused.parameters()) == 14_360_193
    old = {"original0": "weight_g", "original1": "weight_v"}
    tensors = {}
    for key, value in ours.state_dict().items():
        layer, _, leaf = key.partition(".parametrizations.weight.")
        tensors[f"module.{layer}.{old[leaf]}" if leaf else f"module.{key}"] = value
    torch.save(tensors, tmp_path / "hifigan.pt")
    load_generator(fused, tmp_path / "hifigan.pt")
    mel = torch.randn(1, 6, 128)
    assert torch.allclose(fused(mel), ours(mel), atol=1e-5)
