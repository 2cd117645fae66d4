"""The feature `whisper`: any size, any form of file, any layers."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tests.nn import whisper_files as files
from vcpipe.errors import InputError
from vcpipe.features import whisper, whisper_tiny_en
from vcpipe.nn.whisper_weights import load_tiny_en
from vcpipe.settings import canonical, check

CPU = torch.device("cpu")
NOISE = torch.randn(16000 * 31, generator=torch.Generator().manual_seed(0)) / 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny relative of large-v3, with 128 bands, and the public tiny.en in another form."""
    path = tmp_path_factory.mktemp("weights")
    torch.save(files.openai(files.random_encoder()), path / "large-v3.pt")
    save_file(files.hugging_face(load_tiny_en()), path / "model.safetensors")
    return path


def load(folder, **values):
    values = {"weights": str(folder / "large-v3.pt"), "layer": 3, "width": 128, **values}
    if "layers" in values:
        del values["layer"]
    return whisper.load(check(whisper.Settings, values, "features.x"), CPU)


@pytest.mark.parametrize("layer", [0, 3])
def test_there_is_a_finite_frame_for_every_hop(folder, layer):
    made = load(folder, layer=layer)
    for n in (320, 321, 639, 640, 24030):
        frames = made(NOISE[:n])
        assert frames.shape == (n // 320, 128)
        assert torch.isfinite(frames).all()
    assert torch.isfinite(made(torch.zeros(3200))).all()


def test_a_batch_is_as_single(folder):
    made = load(folder)
    waves = [NOISE[:n] for n in (16000, 320, 15900, 16123, 15360)]
    for wave, frames in zip(waves, made.batch(waves), strict=True):
        assert torch.equal(made(wave), made(wave))
        assert (frames - made(wave)).abs().max() <= 1e-4


def test_long_recordings_have_every_frame(folder):
    assert load(folder)(NOISE).shape == (1550, 128)
    assert load(folder, window_s=4.0, margin_s=1.0)(NOISE).shape == (1550, 128)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_the_public_tiny_en_gives_the_frames_of_its_own_kind(folder, layer):
    found = load(folder, weights=str(folder / "model.safetensors"), width=384, layer=layer)(NOISE[:24030])
    expected = whisper_tiny_en.load(whisper_tiny_en.Settings(layer=layer), CPU)(NOISE[:24030])
    assert torch.equal(found, expected)


def test_layers_are_averaged_or_weighted_and_the_closing_norm_is_a_choice(folder):
    wave = NOISE[:16000]
    one, three = (load(folder, layer=n)(wave) for n in (1, 3))
    assert torch.allclose(load(folder, layers=[1, 3])(wave), (one + three) / 2, atol=1e-5)
    assert torch.allclose(load(folder, layers={3: 2.0, 1: -1.0})(wave), 2 * three - one, atol=1e-5)
    assert len(load(folder, layers=[0, 1]).encoder.layers) == 1
    normed = load(folder, final_norm=True)(wave)
    assert torch.allclose(normed, torch.nn.functional.layer_norm(three, (128,)), atol=1e-4)
    without = load(folder, positions=False, layer=0)(wave)
    assert not torch.allclose(without, load(folder, layer=0)(wave))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window_s": 31}, r"window_s.* less than or equal to 30"),
        ({"window_s": 3.0, "margin_s": 1.5}, "window_s 3 must be longer than two margins"),
        ({"layer": 3, "layers": [3]}, "both given"),
        ({"kind": "whisper_tiny_en"}, "features.x.kind"),
        ({"size": "tiny"}, "features.x.size' is unknown"),
    ],
)
def test_a_wrong_setting_is_refused(values, words):
    with pytest.raises(InputError, match=words):
        check(whisper.Settings, {"kind": "whisper", **values}, "features.x")


def test_weights_that_do_not_fit_are_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="feature whisper: width is 768, the weights have 128"):
        load(folder, width=768)
    with pytest.raises(InputError, match=r"large-v3\.pt: has layers 0 to 3, not 12; change `layer`"):
        load(folder, layer=12)
    with pytest.raises(InputError, match="precision bfloat16 needs a CUDA device"):
        load(folder, precision="bfloat16")
    with pytest.raises(InputError, match="did you mean 'whisper-small.pt'"):
        load(folder, weights="whisper-smal.pt")


def test_known_sizes_bring_their_digest_and_settings_come_back():
    content = whisper.Settings(weights="whisper-large-v3.pt", width=1280, layer=32).content()
    assert content["sha256"].startswith("e5b1a55b")
    for values in ({}, {"layers": {4: 0.5, 12: 0.5}}):
        settings = check(whisper.Settings, values, "features.x")
        again = json.loads(canonical(settings.content()))
        del again["revision"]
        assert canonical(check(whisper.Settings, again, "features.x").content()) == canonical(settings.content())


def test_the_slice_of_tiny_en_is_what_it_always_was():
    assert whisper_tiny_en.Settings().content() == {
        "kind": "whisper_tiny_en",
        "dtype": "float16",
        "layer": 2,
        "positions": True,
        "window_s": 28.0,
        "margin_s": 2.0,
        "revision": 1,
    }


def test_settings_are_free_of_torch():
    code = (
        "import sys; from vcpipe.features.whisper import Settings; s = Settings(); "
        "print(s.grid, s.dim, s.layer, 'torch' in sys.modules or 'numpy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["16000/320", "768", "12", "False"]
