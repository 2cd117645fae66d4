"""Checkpoints in the published forms, made here, read back into our modules."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.nn.discriminators import hifigan_discriminators
from vcpipe.vocoders.checkpoints import load_discriminators, load_generator
from vcpipe.vocoders.config import generator_settings
from vcpipe.vocoders.task import build_generator

SHAPE = {"preset": "hifigan_v1", "rates": [5, 4], "kernels": [11, 8], "channels": 8, "pre_dim": 6}
OLD = {
    "original0": "weight_g",
    "original1": "weight_v",
    "original": "weight_orig",
    "0._u": "weight_u",
    "0._v": "weight_v",
}


def generator(seed=0, normed=True):
    torch.manual_seed(seed)
    return build_generator(generator_settings(SHAPE, "x"), 7, 20, normed)


def old_names(tensors):
    out = {}
    for key, value in tensors.items():
        layer, found, rest = key.partition("parametrizations.weight.")
        out[layer + OLD[rest] if found else key] = value.clone()
    return out


def fused_names(tensors):
    old = old_names(tensors)
    out = {}
    for key, value in old.items():
        if key.endswith("weight_g"):
            v = old[key[:-1] + "v"]
            out[key[:-2]] = value * v / v.flatten(1).norm(dim=1).reshape(value.shape)
        elif not key.endswith("weight_v"):
            out[key] = value
    return out


FORMS = {
    "nested, old names": lambda t: {"generator": old_names(t)},
    "nested, new names": lambda t: {"generator": t},
    "flat, module prefix": lambda t: {f"module.{k}": v for k, v in old_names(t).items()},
    "soft-vc training": lambda t: {
        "generator": {"model": old_names(t), "optimizer": {"state": {}}, "scheduler": {"last_epoch": 1}},
        "discriminator": {"model": {}, "optimizer": {}},
        "step": 3,
        "loss": 0.5,
    },
    "multiplied out": lambda t: {"generator": fused_names(t)},
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("normed", [True, False])
def test_every_form_of_a_generator_gives_its_numbers(tmp_path, form, normed):
    source, x = generator(0), torch.randn(1, 5, 7)
    torch.save(FORMS[form](source.state_dict()), tmp_path / "g.pt")
    target = generator(1, normed)
    load_generator(target, tmp_path / "g.pt")
    torch.testing.assert_close(target(x), source(x), atol=1e-6, rtol=1e-4)


def test_the_golden_checkpoint_gives_the_published_implementations_numbers():
    folder = os.environ.get("VCPIPE_TEST_DATA")
    if not folder:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    golden = Path(folder) / "golden"
    settings = generator_settings({"preset": "hifigan_v1", "channels": 32, "pre_dim": 32}, "x")
    model = build_generator(settings, 64, 320, normed=False)
    load_generator(model, golden / "hifigan_tiny_random.pt")
    numbers = np.load(golden / "hifigan_tiny_random.npz")
    with torch.no_grad():
        wave = model(torch.from_numpy(numbers["features"])).numpy()
    np.testing.assert_allclose(wave, numbers["wave"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("conv_pre.bias"), "lacks 1 tensors, for example conv_pre.bias"),
        (lambda s: s.update({"extra.bias": torch.zeros(1)}), "has also 1 tensors, for example extra.bias"),
        (lambda s: s.update({"conv_pre.bias": torch.zeros(9)}), r"conv_pre.bias is \(9,\), expected \(8,\)"),
    ],
)
def test_every_key_is_accounted_for(tmp_path, change, words):
    tensors = old_names(generator().state_dict())
    change(tensors)
    torch.save({"generator": tensors}, tmp_path / "g.pt")
    with pytest.raises(InputError, match=words):
        load_generator(generator(), tmp_path / "g.pt")


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save({"generator": old_names(generator().state_dict()), "cfg": {"a": 1}}, tmp_path / "g.pt")
    with pytest.raises(InputError, match="'cfg' is no part of a vocoder checkpoint"):
        load_generator(generator(), tmp_path / "g.pt")
    torch.save({"mpd": {"a": torch.zeros(1)}, "steps": 3}, tmp_path / "do.pt")
    with pytest.raises(InputError, match="expected 'generator', found mpd, steps"):
        load_generator(generator(), tmp_path / "do.pt")
    with pytest.raises(InputError, match="no such file"):
        load_generator(generator(), tmp_path / "none.pt")


@pytest.mark.parametrize("form", ["knn-vc", "soft-vc"])
def test_discriminators_with_both_kinds_of_norm(tmp_path, form):
    """The `weight_v` of the spectrally normed scale must not be taken for the direction of a weight norm."""
    torch.manual_seed(0)
    source = hifigan_discriminators()
    parts = {name: old_names(family.state_dict()) for name, family in source.items()}
    assert parts["msd"]["discriminators.0.convs.1.weight_v"].ndim == 1
    assert parts["msd"]["discriminators.1.convs.1.weight_v"].ndim == 3
    if form == "knn-vc":
        checkpoint = {**parts, "optim_g": {"state": {}}, "optim_d": {"state": {}}, "steps": 5, "epoch": 1}
    else:
        flat = {f"module.{n}.{k}": v for n, part in parts.items() for k, v in part.items()}
        checkpoint = {"generator": {"model": {}}, "discriminator": {"model": flat}, "step": 1, "loss": 0.0}
    torch.save(checkpoint, tmp_path / "do.pt")
    torch.manual_seed(1)
    target = hifigan_discriminators()
    load_discriminators(target, tmp_path / "do.pt")
    wave = torch.randn(1, 1, 1500)
    source.eval(), target.eval()
    with torch.no_grad():
        for ours, theirs in zip(target(wave)[0], source(wave)[0], strict=True):
            torch.testing.assert_close(ours, theirs)
