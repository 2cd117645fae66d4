"""Embeddings of speakers, their centroid and their likeness."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torchaudio.models import wavlm_model

from vcpipe.errors import InputError
from vcpipe.evaluation.speaker import centroid, check_independent, cosine, load_verifier, verifier_identity


def test_cosine_and_centroid():
    x, y = np.eye(2, dtype=np.float32)
    assert cosine(x, y) == 0
    assert cosine(3 * x, x) == pytest.approx(1)
    assert cosine(x, -x) == pytest.approx(-1)
    assert cosine(x, 0 * x) == 0
    middle = centroid([x, y])
    assert middle.dtype == np.float32
    assert middle.tolist() == pytest.approx([0.5**0.5] * 2)


def test_a_speaker_without_recordings_is_refused():
    with pytest.raises(InputError, match="expected at least one recording of the speaker, found none"):
        centroid([])


@pytest.mark.parametrize("door", [load_verifier, verifier_identity])
def test_an_unknown_verifier_is_refused(door):
    with pytest.raises(InputError, match="speaker verifier 'who' is unknown; known: ge2e, ecapa, wavlm_sv"):
        door("who")


def test_a_verifier_that_conditioned_the_system_is_refused():
    check_independent("ge2e", {"row": "a", "speaker_encoder": None})
    check_independent("ecapa", {"row": "a", "speaker_encoder": "ge2e"})
    with pytest.raises(InputError, match="row 'a': .* found 'ge2e'.*; set `evaluate.verifier: ecapa`"):
        check_independent("ge2e", {"row": "a", "speaker_encoder": "ge2e"})
    with pytest.raises(InputError, match="set `evaluate.verifier: ge2e`"):
        check_independent("ecapa", {"row": "a", "speaker_encoder": "ecapa"})
    with pytest.raises(InputError, match="row 'a': expected `speaker_encoder`"):
        check_independent("ge2e", {"row": "a"})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in, with no weights in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def wavlm_sv(here):
    """A tiny network with random weights, in the published layout."""
    return write_wavlm_sv(here / "weights/wavlm-base-plus-sv")


def write_wavlm_sv(folder):
    torch.manual_seed(0)
    convolutions = [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2
    network = wavlm_model(
        extractor_mode="group_norm",
        extractor_conv_layer_config=convolutions,
        extractor_conv_bias=False,
        encoder_embed_dim=32,
        encoder_projection_dropout=0.0,
        encoder_pos_conv_kernel=16,
        encoder_pos_conv_groups=4,
        encoder_num_layers=2,
        encoder_num_heads=2,
        encoder_num_buckets=32,
        encoder_max_distance=80,
        encoder_attention_dropout=0.0,
        encoder_ff_interm_features=48,
        encoder_ff_interm_dropout=0.0,
        encoder_dropout=0.0,
        encoder_layer_norm_first=False,
        encoder_layer_drop=0.0,
        aux_num_out=None,
    )
    tensors = {}
    for name, value in network.state_dict().items():
        name = name.replace("encoder.feature_projection.", "feature_projection.")
        name = name.replace("encoder.transformer.", "encoder.")
        name = name.replace(".attention.attention.", ".attention.")
        parts = value.chunk(3) if ".in_proj_" in name else [value]
        names = [name.replace(".in_proj_", f".{p}_proj.") for p in "qkv"] if len(parts) == 3 else [name]
        tensors |= {f"wavlm.{n}": part for n, part in zip(names, parts, strict=True)}
    shapes = {
        "projector": (24, 32),
        "tdnn.0.kernel": (24, 24 * 5),
        "tdnn.1.kernel": (40, 24 * 3),
        "feature_extractor": (12, 80),
        "classifier": (12, 12),
    }
    for name, shape in shapes.items():
        tensors |= {f"{name}.weight": torch.randn(shape) / shape[1] ** 0.5, f"{name}.bias": 0.1 * torch.randn(shape[0])}
    tensors |= {"layer_weights": torch.randn(3), "objective.weight": torch.randn(12, 5)}
    tensors["wavlm.masked_spec_embed"] = torch.zeros(32)
    config = {
        "model_type": "wavlm",
        "feat_extract_norm": "group",
        "conv_dim": [c for c, _, _ in convolutions],
        "conv_kernel": [k for _, k, _ in convolutions],
        "conv_stride": [s for _, _, s in convolutions],
        "conv_bias": False,
        "do_stable_layer_norm": False,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "num_buckets": 32,
        "max_bucket_distance": 80,
        "use_weighted_layer_sum": True,
        "tdnn_dim": [24, 40],
        "tdnn_kernel": [5, 3],
        "tdnn_dilation": [1, 2],
        "xvector_output_dim": 12,
    }
    folder.mkdir(parents=True)
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    return folder


def noise(n):
    return np.random.default_rng(n).normal(0, 0.1, n).astype(np.float32)


def test_wavlm_sv_is_the_published_computation(wavlm_sv):
    """The head written down once more, on the layers that the feature `wavlm` gives."""
    from vcpipe.nn import wavlm

    tensors = load_file(wavlm_sv / "model.safetensors")
    config = json.loads((wavlm_sv / "config.json").read_text())
    inner = {k: v for k, v in tensors.items() if k.startswith("wavlm.")}
    wave = torch.from_numpy(noise(20000))
    x = (wave - wave.mean()) / (wave.var(correction=0) + 1e-7).sqrt()
    mix = tensors["layer_weights"].softmax(0)
    frames = sum(
        float(weight) * wavlm.from_hugging_face(inner, config, n, "x")(x[None], torch.tensor([len(x)]), pad=False)
        for n, weight in enumerate(mix)
    )
    x = frames[0] @ tensors["projector.weight"].T + tensors["projector.bias"]
    for n, (taps, dilation) in enumerate([(5, 1), (3, 2)]):
        n_out = len(x) - (taps - 1) * dilation
        seen = torch.cat([x[k * dilation : k * dilation + n_out] for k in range(taps)], 1)
        x = torch.relu(seen @ tensors[f"tdnn.{n}.kernel.weight"].T + tensors[f"tdnn.{n}.kernel.bias"])
    pooled = torch.cat([x.mean(0), x.std(0)])
    expected = tensors["feature_extractor.weight"] @ pooled + tensors["feature_extractor.bias"]
    found = load_verifier("wavlm_sv")(wave.numpy())
    assert found.shape == (12,) and found.dtype == np.float32
    assert np.allclose(found, (expected / expected.norm()).numpy(), atol=1e-5)


def test_wavlm_sv_of_a_long_recording_is_the_mean_of_its_parts(wavlm_sv, monkeypatch):
    monkeypatch.setattr("vcpipe.evaluation.speaker.LONGEST_S", 1.0)
    embed = load_verifier("wavlm_sv")
    wave = noise(40000)
    assert np.allclose(embed(wave), centroid([embed(part) for part in np.array_split(wave, 3)]), atol=1e-6)


@pytest.mark.parametrize("name", ["ge2e", "wavlm_sv"])
@pytest.mark.parametrize("wave", [noise(1), noise(300), 0 * noise(16000)], ids=["one", "short", "silent"])
def test_short_and_silent_recordings_have_an_embedding(wavlm_sv, name, wave):
    embedding = load_verifier(name)(wave)
    assert np.isfinite(embedding).all() and np.linalg.norm(embedding) == pytest.approx(1, abs=1e-4)


def test_weights_of_wavlm_sv_that_do_not_fit_are_refused(wavlm_sv):
    config, inputs = wavlm_sv / "config.json", wavlm_sv / "preprocessor_config.json"
    good = json.loads(config.read_text())
    for change, told in {
        ("tdnn_kernel", (5, 2)): "tdnn.1.kernel.weight: expected",
        ("tdnn_dilation", (1,)): "expected lists of one length",
        ("do_stable_layer_norm", True): "not supported under an x-vector",
        ("xvector_output_dim", 0): "xvector_output_dim: expected a positive whole number",
    }.items():
        config.write_text(json.dumps({**good, change[0]: change[1]}))
        with pytest.raises(InputError, match=told):
            load_verifier("wavlm_sv")
    config.write_text(json.dumps(good))
    inputs.write_text('{"do_normalize": true, "sampling_rate": 8000}')
    with pytest.raises(InputError, match="preprocessor_config.json: expected a JSON object with sampling_rate 16000"):
        load_verifier("wavlm_sv")
    (wavlm_sv / "model.safetensors").unlink()
    with pytest.raises(InputError, match="expected a file model.safetensors or pytorch_model.bin in it, found neither"):
        load_verifier("wavlm_sv")


@pytest.mark.parametrize("name", ["ecapa", "wavlm_sv"])
def test_weights_that_are_nowhere_are_named(here, name):
    folder = {"ecapa": "spkrec-ecapa-voxceleb", "wavlm_sv": "wavlm-base-plus-sv"}[name]
    for door in (load_verifier, verifier_identity):
        with pytest.raises(InputError, match=f"weights '{folder}': expected a folder .* put it at weights/{folder} or"):
            door(name)


@pytest.mark.parametrize("name", ["ge2e", "wavlm_sv"])
def test_an_identity_says_what_numbers_depend_on(wavlm_sv, name):
    found = verifier_identity(name)
    assert set(found) == {"name", "package", "version", "sha256", "settings"} and found["name"] == name
    assert len(found["sha256"]) == 64 and json.loads(json.dumps(found)) == found
    if name == "wavlm_sv":
        (wavlm_sv / "config.json").write_text("{}")
        assert verifier_identity(name) != found


def test_ecapa_is_the_feature_of_that_name(here, monkeypatch):
    """The network is a stand-in: what is tested is that short recordings reach it long enough."""
    seen = []

    def load(settings, device):
        seen.append((settings.weights, device.type))
        return lambda wave: torch.nn.functional.normalize(torch.full((1, 192), float(len(wave))), dim=1)

    monkeypatch.setattr("vcpipe.features.ecapa.load", load)
    (here / "weights/spkrec-ecapa-voxceleb").mkdir(parents=True)
    (here / "weights/spkrec-ecapa-voxceleb/embedding_model.ckpt").write_bytes(b"x")
    embedding = load_verifier("ecapa")(noise(3))
    assert embedding.shape == (192,) and np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert seen == [("weights/spkrec-ecapa-voxceleb", "cpu")]


def test_loudness_does_not_change_who_it_is():
    verifier = load_verifier("ge2e")
    wave = np.random.default_rng(0).normal(0, 0.003, 32000).astype(np.float32)
    embedding = verifier(wave)
    assert embedding.shape == (256,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)
    assert cosine(embedding, verifier(wave / 4)) == pytest.approx(1, abs=1e-4)


def test_every_recording_is_nearest_to_its_own_speaker():
    root = os.environ.get("VCPIPE_TEST_DATA")
    if not root:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    verifier = load_verifier("ge2e")
    speakers = {}
    for folder in sorted(Path(root, "corpora/LibriSpeech/test-other").iterdir()):
        files = sorted(folder.glob("*/*.flac"))[:6]
        speakers[folder.name] = [verifier(soundfile.read(f, dtype="float32")[0]) for f in files]
    centroids = {name: centroid(embeddings[:4]) for name, embeddings in speakers.items()}
    same = [cosine(e, centroids[name]) for name, embeddings in speakers.items() for e in embeddings[4:]]
    other = [cosine(e, c) for a, es in speakers.items() for e in es[4:] for b, c in centroids.items() if a != b]
    print(
        f"same speaker {np.mean(same):.2f} (from {min(same):.2f}), another {np.mean(other):.2f} (to {max(other):.2f})"
    )
    for name, embeddings in speakers.items():
        for embedding in embeddings[4:]:
            assert max(centroids, key=lambda c: cosine(embedding, centroids[c])) == name
