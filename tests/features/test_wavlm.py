import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.nn import encoder_files
from tests.nn import test_wavlm as microsoft
from vcpipe.config import feature_settings
from vcpipe.errors import InputError
from vcpipe.features import tiny_random, wavlm
from vcpipe.features.ssl import SpeechFrames
from vcpipe.settings import check

CPU = torch.device("cpu")


def speechlike(n, seed=0):
    """Noise whose loudness and colour change slowly, so that frames differ."""
    random = np.random.default_rng(seed)
    knots = np.arange(0, n + 4000, 4000)
    envelope = np.interp(np.arange(n), knots, random.uniform(0.01, 0.3, len(knots)))
    smooth = np.convolve(random.standard_normal(n + 7), np.ones(8) / 8, "valid")
    return torch.from_numpy((envelope * smooth).astype(np.float32))


@pytest.fixture
def golden():
    if "VCPIPE_TEST_DATA" not in os.environ:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    return Path(os.environ["VCPIPE_TEST_DATA"]) / "golden"


@pytest.fixture(scope="module")
def tiny():
    return tiny_random.load(tiny_random.Settings(), CPU)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_golden(golden, layer):
    numbers = np.load(golden / "wavlm_tiny_random.npz")
    settings = wavlm.Settings(weights=str(golden / "wavlm_tiny_random.pt"), width=64, layer=layer)
    found = wavlm.load(settings, CPU)(torch.from_numpy(numbers["wave"]))
    assert np.abs(found.numpy() - numbers[f"padded_layer{layer}"]).max() <= 1e-4


def test_golden_in_a_weighted_sum(golden):
    numbers = np.load(golden / "wavlm_tiny_random.npz")
    values = {"weights": str(golden / "wavlm_tiny_random.pt"), "width": 64, "layers": {2: 0.25, 4: -1.0}}
    found = wavlm.load(check(wavlm.Settings, values, "features.x"), CPU)(torch.from_numpy(numbers["wave"]))
    expected = 0.25 * numbers["padded_layer2"] - numbers["padded_layer4"]
    assert np.abs(found.numpy() - expected).max() <= 1e-4


@pytest.mark.parametrize("name", ["WavLM-Base+.pt", "model.safetensors", "pytorch_model.bin"])
def test_base_in_the_forms_in_which_it_is_published(tmp_path, name):
    made = microsoft.checkpoint(**microsoft.BASE)
    tensors, config = microsoft.hugging_face(made)
    encoder_files.write_hugging_face(tmp_path, tensors, config)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    torch.save(made, tmp_path / "WavLM-Base+.pt")
    extractor = wavlm.load(wavlm.Settings(weights=str(tmp_path / name), width=32, layer=3), CPU)
    wave = speechlike(24030)
    frames = extractor(wave)
    assert frames.shape == (75, 32)
    expected = microsoft.reference(made, wave[None], 3)[0]
    assert (frames - expected).abs().max() <= 1e-4 * expected.abs().max()
    waves = [speechlike(n, n) for n in (16000, 15900, 16000, 320)]
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert (frames - extractor(wave)).abs().max() <= 1e-4


def test_a_gain_changes_little_and_normalize_takes_it_away(golden):
    wave = speechlike(16000)
    plain = wavlm.Settings(weights=str(golden / "wavlm_tiny_random.pt"), width=64, layer=2)
    for settings, mean in [(plain, 0.1), (plain.model_copy(update={"normalize": True}), 1e-5)]:
        extractor = wavlm.load(settings, CPU)
        assert 0 < (extractor(wave) - extractor(0.25 * wave)).abs().mean() < mean


def test_normalised_batches_are_as_single(golden):
    settings = wavlm.Settings(weights=str(golden / "wavlm_tiny_random.pt"), width=64, layer=2, normalize=True)
    extractor = wavlm.load(settings, CPU)
    waves = [speechlike(n, n) + 0.1 for n in (16000, 15900, 15300)]
    kept = [wave.clone() for wave in waves]
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert (frames - extractor(wave)).abs().max() <= 1e-4
    assert all(torch.equal(a, b) for a, b in zip(waves, kept, strict=True))


def test_weights_that_do_not_fit_the_settings_are_refused(golden, tmp_path, monkeypatch):
    path = golden / "wavlm_tiny_random.pt"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="width is 1024, the weights have 64"):
        wavlm.load(wavlm.Settings(weights=str(path), layer=2), CPU)
    with pytest.raises(InputError, match="has layers 0 to 4, not 6"):
        wavlm.load(wavlm.Settings(weights=str(path), width=64), CPU)
    with pytest.raises(InputError, match="expected sha256 00"):
        wavlm.load(wavlm.Settings(weights=str(path), width=64, layer=2, sha256="00" * 32), CPU)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    wavlm.load(wavlm.Settings(weights=str(path), width=64, layer=2, sha256=right), CPU)
    with pytest.raises(InputError, match=r"'WavLM-Lage.pt': no such file.*did you mean 'WavLM-Large.pt'"):
        wavlm.load(wavlm.Settings(weights="WavLM-Lage.pt"), CPU)
    with pytest.raises(InputError, match="precision bfloat16 needs a CUDA device"):
        wavlm.load(wavlm.Settings(weights=str(path), width=64, layer=2, precision="bfloat16"), CPU)


def test_front_ends_with_group_norm_are_batched_by_equal_length():
    from vcpipe.nn.ssl import SpeechTransformer
    from vcpipe.nn.wavlm import architecture, build

    size = {"encoder_layers": 1, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64}
    cfg = {**tiny_random.CFG, **size, "extractor_mode": "default"}
    torch.manual_seed(0)
    model = SpeechTransformer(build(architecture(cfg, "")), 1).eval().requires_grad_(False)
    extractor = SpeechFrames(tiny_random.Settings(), CPU, model, 30, 1)
    waves = [speechlike(n, n) for n in (16000, 15900, 16000, 15999)]
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert (frames - extractor(wave)).abs().max() <= 1e-4


@pytest.mark.parametrize("n", [320, 321, 639, 640, 24030, 32000])
def test_there_is_a_frame_for_every_hop(tiny, n):
    assert tiny(speechlike(n)).shape == (n // 320, 64)


def test_a_batch_is_as_single(tiny, monkeypatch):
    waves = [speechlike(n, n) for n in (16000, 320, 15900, 15680, 48000, 47000, 15360)]
    alone = [tiny(wave) for wave in waves]
    rows = []
    encode = tiny.encode
    monkeypatch.setattr(tiny, "encode", lambda w, n: rows.append(len(w)) or encode(w, n))
    assert max((f - a).abs().max().item() for f, a in zip(tiny.batch(waves), alone, strict=True)) <= 1e-4
    assert rows == [2, 4, 1]


def test_the_input_of_the_transformer_is_the_same_in_windows():
    """Convolutions alone see 1.28 s to each side, less than a margin."""
    wave = speechlike(20 * 16000 + 99)
    whole = tiny_random.load(tiny_random.Settings(layer=0), CPU)(wave)
    windows = tiny_random.load(tiny_random.Settings(layer=0, window_s=8), CPU)(wave)
    assert (windows - whole).abs().max() <= 1e-5


def test_windows_differ_from_the_whole_by_what_attention_sees_further_away():
    """Random attention looks everywhere alike, so this is a bad case: mean 2 %, worst frame 9 % at 30 of 60 s."""
    wave = speechlike(60 * 16000)
    whole = tiny_random.load(tiny_random.Settings(window_s=100), CPU)(wave)
    difference = {}
    for margin_s in (0.0, 1.5):
        windows = tiny_random.load(tiny_random.Settings(margin_s=margin_s), CPU)(wave)
        assert windows.shape == whole.shape
        difference[margin_s] = (windows - whole).norm(dim=1) / whole.norm(dim=1)
    assert difference[1.5].mean() < 0.02
    assert difference[1.5].max() < 0.1 < 0.5 < difference[0.0].max()


def test_the_seed_decides_the_weights_and_nothing_else_is_touched():
    wave = speechlike(3200)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    frames = tiny_random.load(tiny_random.Settings(), CPU)(wave)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(tiny_random.load(tiny_random.Settings(), CPU)(wave), frames)
    assert not torch.allclose(tiny_random.load(tiny_random.Settings(seed=1), CPU)(wave), frames, atol=0.1)


def test_silence_is_finite(tiny):
    assert torch.isfinite(tiny(torch.zeros(3200))).all()


@pytest.mark.parametrize(
    ("module", "values", "words"),
    [
        (wavlm, {"window_s": 2, "margin_s": 1}, "window_s 2 must be longer than two margins of 1 s"),
        (wavlm, {"margin_s": 0.01}, "margin_s 0.01 is not a whole number of frames"),
        (wavlm, {"layer": -1}, "features.w.layer"),
        (wavlm, {"lyer": 6}, "did you mean 'layer'"),
        (tiny_random, {"layer": 3}, "layer 3 is above the 2 layers"),
        (tiny_random, {"width": 60}, "width 60 is not a multiple of 16"),
    ],
)
def test_settings_are_checked_when_read(module, values, words):
    with pytest.raises(InputError, match=words):
        check(module.Settings, values, "features.w")


def test_content_names_the_weights_and_comes_back():
    content = wavlm.Settings().content()
    assert content["sha256"].startswith("6fb4b3c3")
    assert feature_settings(content).content() == content
    assert wavlm.Settings(weights="mine.pt").content()["sha256"] == ""
    assert wavlm.Settings(normalize=True).content() != content


def test_settings_are_free_of_torch():
    modules = "vcpipe.features.wavlm, vcpipe.features.mel, vcpipe.features.tiny_random"
    code = f"import sys, {modules}; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
