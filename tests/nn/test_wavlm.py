import os
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from torchaudio.models.wav2vec2.wavlm_attention import WavLMSelfAttention

from tests.nn import encoder_files as files
from vcpipe.errors import InputError
from vcpipe.nn.ssl import SpeechTransformer, position_bias
from vcpipe.nn.wavlm import architecture, build, from_checkpoint, load
from vcpipe.weights import read_pickle_checkpoint

CFG = {
    "extractor_mode": "layer_norm",
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
    "conv_bias": False,
    "layer_norm_first": True,
    "normalize": True,
    "activation_fn": "gelu",
    "encoder_layers": 3,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 2,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "relative_position_embedding": True,
    "gru_rel_pos": True,
    "num_buckets": 80,
    "max_distance": 200,
    "dropout": 0.1,
}


def checkpoint(**changes):
    """Random tensors under the names of the authors' release, of the sizes of `CFG`."""
    cfg = {**CFG, **changes}
    shapes = {"mask_emb": (32,), "layer_norm.weight": (24,), "layer_norm.bias": (24,)}
    for i, (channels, kernel) in enumerate([(1, 10)] + [(24, 3)] * 4 + [(24, 2)] * 2):
        shapes[f"feature_extractor.conv_layers.{i}.0.weight"] = (24, channels, kernel)
        if cfg["conv_bias"]:
            shapes[f"feature_extractor.conv_layers.{i}.0.bias"] = (24,)
        norm = "2.1" if cfg["extractor_mode"] == "layer_norm" else "2"
        if norm == "2.1" or i == 0:
            shapes[f"feature_extractor.conv_layers.{i}.{norm}.weight"] = (24,)
            shapes[f"feature_extractor.conv_layers.{i}.{norm}.bias"] = (24,)
    shapes |= {"post_extract_proj.weight": (32, 24), "post_extract_proj.bias": (32,)}
    shapes |= {"encoder.pos_conv.0.weight_g": (1, 1, 128), "encoder.pos_conv.0.weight_v": (32, 2, 128)}
    shapes |= {"encoder.pos_conv.0.bias": (32,), "encoder.layer_norm.weight": (32,), "encoder.layer_norm.bias": (32,)}
    for n in range(3):
        layer = f"encoder.layers.{n}"
        linear = {f"self_attn.{p}_proj": (32, 32) for p in ("q", "k", "v", "out")}
        linear |= {"self_attn.grep_linear": (8, 16), "fc1": (48, 32), "fc2": (32, 48)}
        linear |= {"self_attn_layer_norm": (32,), "final_layer_norm": (32,)}
        for name, shape in linear.items():
            shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
        shapes[f"{layer}.self_attn.grep_a"] = (1, 2, 1, 1)
    shapes["encoder.layers.0.self_attn.relative_attention_bias.weight"] = (80, 2)
    random = torch.Generator().manual_seed(1)
    return {"cfg": cfg, "model": {k: torch.randn(s, generator=random) / max(s) ** 0.5 for k, s in shapes.items()}}


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(made, wave, layer):
    """The same weights in torchaudio's network as it is, with kNN-VC's padding; layers from 1."""
    network = build(architecture(made["cfg"], "")).eval()
    ours = from_checkpoint(made, 3, "")
    names = {"projection": "encoder.feature_projection", "layers": "encoder.transformer.layers"}
    state = {f"{new}.{k}": v for old, new in names.items() for k, v in getattr(ours, old).state_dict().items()}
    network.load_state_dict(state, strict=False)
    front = {k.replace("blocks", "conv_layers"): v for k, v in ours.front.state_dict().items()}
    network.feature_extractor.load_state_dict(front)
    transformer = network.encoder.transformer
    torch.nn.utils.parametrize.remove_parametrizations(transformer.pos_conv_embed.conv, "weight")
    transformer.pos_conv_embed.load_state_dict(ours.positions.state_dict())
    if transformer.layer_norm_first:
        transformer.layer_norm.load_state_dict(ours.norm.state_dict())
    pad = 320 - wave.shape[1] % 320
    return network.extract_features(torch.nn.functional.pad(wave, (0, pad)), num_layers=layer)[0][-1]


@pytest.mark.parametrize("layer", range(5))
def test_golden(layer):
    if "VCPIPE_TEST_DATA" not in os.environ:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    folder = Path(os.environ["VCPIPE_TEST_DATA"]) / "golden"
    golden = np.load(folder / "wavlm_tiny_random.npz")
    model = from_checkpoint(read_pickle_checkpoint(folder / "wavlm_tiny_random.pt"), layer, "golden")
    wave, length = torch.from_numpy(golden["wave"])[None], torch.tensor([24030])
    for found, name in [(model(wave, length), "padded"), (model(wave, length, pad=False), "raw")]:
        expected = golden[f"{name}_layer{layer}"]
        assert found[0].shape == expected.shape
        assert np.abs(found[0].numpy() - expected).max() <= 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layer_norm_first": False},
        {"conv_bias": True},
        {"extractor_mode": "default"},
        {"extractor_mode": "default", "layer_norm_first": False, "max_distance": 150},
    ],
)
def test_agrees_with_torchaudio_at_distances_beyond_the_table(changes):
    made, wave = checkpoint(**changes), noise(1, 320 * 260 + 17)
    for layer in (1, 3):
        expected = reference(made, wave, layer)
        found = from_checkpoint(made, layer, "")(wave, torch.tensor([wave.shape[1]]))
        assert found.shape == expected.shape == (1, 260, 32)
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("n", [1, 2, 100, 1500])
def test_position_bias_is_that_of_torchaudio(n):
    attention = WavLMSelfAttention(32, 2, has_relative_attention_bias=True, num_buckets=320, max_distance=800)
    expected = attention.compute_bias(n, n)[None]
    assert torch.equal(position_bias(attention, n), expected)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_batch_is_as_single(layer):
    model, wave = from_checkpoint(checkpoint(), layer, ""), noise(4, 9000)
    lengths = torch.tensor([9000, 8960, 8959, 320])
    wave *= torch.arange(9000) < lengths[:, None]
    together = model(wave, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = model(wave[row : row + 1, :n], lengths[row : row + 1])[0]
        assert alone.shape == (n // 320, 32)
        assert (together[row, : n // 320] - alone).abs().max() <= 1e-4


def test_layers_after_the_asked_one_are_gone():
    model = from_checkpoint(checkpoint(), 1, "")
    assert len(model.layers) == 1
    assert not any(p.requires_grad for p in model.parameters())


def test_keys_may_carry_a_wrapper_and_the_newer_weight_norm():
    made, wave = checkpoint(), noise(1, 3000)
    new = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    renamed = {}
    for key, value in made["model"].items():
        stem, _, last = key.rpartition(".")
        renamed[f"module.{stem}.{new.get(last, last)}" if stem else key] = value
    length = torch.tensor([3000])
    other = from_checkpoint({**made, "model": renamed}, 3, "")
    assert torch.equal(other(wave, length), from_checkpoint(made, 3, "")(wave, length))


def test_every_tensor_is_accounted_for():
    made = checkpoint()
    del made["model"]["encoder.layers.2.self_attn.k_proj.weight"]
    with pytest.raises(InputError, match=r"w\.pt.*missing \['encoder.layers.2.self_attn.k_proj.weight'\] \(1\)"):
        from_checkpoint(made, 1, "w.pt")
    made = checkpoint()
    made["model"]["encoder.layers.3.fc1.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"unknown \['encoder.layers.3.fc1.weight'\] \(1\)"):
        from_checkpoint(made, 1, "w.pt")
    made = checkpoint()
    made["model"]["post_extract_proj.weight"] = torch.zeros(32, 25)
    with pytest.raises(InputError, match=r"post_extract_proj.weight: expected \(32, 24\), found \(32, 25\)"):
        from_checkpoint(made, 1, "w.pt")
    made["model"]["post_extract_proj.weight"] = "text"
    with pytest.raises(InputError, match=r"post_extract_proj\.weight is not a tensor"):
        from_checkpoint(made, 1, "w.pt")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation_fn": "relu"}, "cfg.activation_fn = 'relu' is not supported"),
        ({"gru_rel_pos": False}, "cfg.gru_rel_pos"),
        ({"relative_position_embedding": False}, "cfg.relative_position_embedding"),
        ({"deep_norm": True}, "cfg.deep_norm"),
        ({"extractor_mode": "none"}, "cfg.extractor_mode = 'none'"),
        ({"conv_feature_layers": "__import__('os').getcwd()"}, "cfg.conv_feature_layers"),
        ({"encoder_layers": "3"}, "cfg.encoder_layers"),
        ({"encoder_attention_heads": 5}, "cfg: a width of 32 is not a multiple of 5"),
        ({"conv_bias": None}, "cfg.conv_bias"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(changes, words):
    with pytest.raises(InputError, match=words):
        from_checkpoint({**checkpoint(), "cfg": {**CFG, **changes}}, 1, "w.pt")


def test_other_files_and_layers_are_refused():
    with pytest.raises(InputError, match=r"expected a WavLM checkpoint.*found \['generator'\]"):
        from_checkpoint({"generator": {}}, 1, "g.pt")
    with pytest.raises(InputError, match="has layers 0 to 3, not 4"):
        from_checkpoint(checkpoint(), 4, "w.pt")


def test_silence_is_finite():
    model = from_checkpoint(checkpoint(), 3, "")
    assert isinstance(model, SpeechTransformer)
    assert torch.isfinite(model(torch.zeros(1, 3200), torch.tensor([3200]))).all()


def hugging_face(made):
    """The same tensors and configuration as transformers' `WavLMModel` has them."""
    cfg, out = made["cfg"], {}
    changes = [
        ("post_extract_proj", "feature_projection.projection"),
        ("encoder.pos_conv.0", "encoder.pos_conv_embed.conv"),
        ("self_attn.relative_attention_bias", "attention.rel_attn_embed"),
        ("self_attn.grep_linear", "attention.gru_rel_pos_linear"),
        ("self_attn.grep_a", "attention.gru_rel_pos_const"),
        ("self_attn_layer_norm", "layer_norm"),
        ("self_attn.", "attention."),
        ("fc1", "feed_forward.intermediate_dense"),
        ("fc2", "feed_forward.output_dense"),
        ("mask_emb", "masked_spec_embed"),
        (".2.1.", ".layer_norm."),
        ("conv_layers.0.2.", "conv_layers.0.layer_norm."),
    ]
    for name, value in made["model"].items():
        if name.startswith("layer_norm."):
            name = f"feature_projection.{name}"
        if name.startswith("feature_extractor"):
            name = name.replace(".0.weight", ".conv.weight").replace(".0.bias", ".conv.bias")
        for old, new in changes:
            name = name.replace(old, new)
        out[name] = value
    config = {
        **files.hugging_face_config(),
        "model_type": "wavlm",
        "feat_extract_norm": {"layer_norm": "layer", "default": "group"}[cfg["extractor_mode"]],
        "conv_bias": cfg["conv_bias"],
        "do_stable_layer_norm": cfg["layer_norm_first"],
        "hidden_size": cfg["encoder_embed_dim"],
        "num_hidden_layers": cfg["encoder_layers"],
        "num_attention_heads": cfg["encoder_attention_heads"],
        "intermediate_size": cfg["encoder_ffn_embed_dim"],
        "num_buckets": cfg["num_buckets"],
        "max_bucket_distance": cfg["max_distance"],
    }
    return out, config


BASE = {"extractor_mode": "default", "layer_norm_first": False, "normalize": False}


@pytest.mark.parametrize("changes", [{}, BASE], ids=["large", "base"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_faces_files_give_the_numbers_of_microsofts(tmp_path, changes, file):
    made, wave = checkpoint(**changes), noise(1, 9000)
    tensors, config = hugging_face(made)
    files.write_hugging_face(tmp_path, tensors, config)
    torch.save({f"wavlm.{k}": v for k, v in tensors.items()}, tmp_path / "pytorch_model.bin")
    torch.save(made, tmp_path / "WavLM.pt")
    for layers in (0, 3, {1: 0.5, 3: 2.0}):
        expected = load(tmp_path / "WavLM.pt", layers)(wave, torch.tensor([9000]))
        assert torch.equal(load(tmp_path / file, layers)(wave, torch.tensor([9000])), expected)


@pytest.mark.parametrize("changes", [{}, BASE], ids=["large", "base"])
def test_torchaudios_importer_reads_hugging_faces_names_alike(changes):
    made, wave = checkpoint(**changes), noise(1, 320 * 40)
    tensors, config = hugging_face(made)
    dropouts = ["feat_proj_dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "layerdrop"]
    original = type("WavLMModel", (), {})()
    original.config = types.SimpleNamespace(**config, **dict.fromkeys(dropouts, 0.0))
    for part in ("feature_extractor", "feature_projection", "encoder"):
        state = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        setattr(original, part, types.SimpleNamespace(state_dict=lambda state=state: dict(state)))
    imported = import_huggingface_model(original).eval().requires_grad_(False)
    expected = reference(made, wave, 3)
    found = imported.extract_features(torch.nn.functional.pad(wave, (0, 320)))[0][-1]
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_a_weighted_sum_is_that_of_its_layers():
    made, wave, length = checkpoint(), noise(1, 9000), torch.tensor([9000])
    model = from_checkpoint(made, {0: 0.25, 2: -3.0}, "")
    assert len(model.layers) == 2
    expected = 0.25 * from_checkpoint(made, 0, "")(wave, length) - 3 * from_checkpoint(made, 2, "")(wave, length)
    assert torch.allclose(model(wave, length), expected, atol=1e-5)


def test_hugging_faces_file_of_another_model_is_refused(tmp_path):
    tensors, config = hugging_face(checkpoint())
    path = files.write_hugging_face(tmp_path, tensors, {**config, "model_type": "hubert"})
    with pytest.raises(InputError, match=r"config\.json: expected model_type 'wavlm', found 'hubert'; use the kind"):
        load(path, 1)
    files.write_hugging_face(tmp_path, tensors, {**config, "num_buckets": 81})
    with pytest.raises(InputError, match=r"rel_attn_embed.weight: expected \(81, 2\), found \(80, 2\)"):
        load(path, 1)
