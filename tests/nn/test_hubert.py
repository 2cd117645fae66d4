import sys
import types

import pytest
import torch
from torchaudio.models import hubert_base, hubert_large, hubert_xlarge
from torchaudio.models.wav2vec2.utils import import_fairseq, import_huggingface_model

from tests.nn import encoder_files as files
from vcpipe.errors import InputError
from vcpipe.nn import hubert, ssl_weights

WAVE = 0.1 * torch.randn(1, 320 * 60 + 17, generator=torch.Generator().manual_seed(3))
LENGTH = torch.tensor([WAVE.shape[1]])


def expected(network, layer):
    """Torchaudio's own numbers, of the wave between two times 40 zeros."""
    wave = torch.nn.functional.pad(WAVE, (40, 40))
    if layer:
        return network.extract_features(wave, num_layers=layer)[0][-1]
    features, _ = network.feature_extractor(wave, None)
    return network.encoder.transformer._preprocess(network.encoder.feature_projection(features))


def close(found, wanted):
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-4 * max(1.0, float(wanted.abs().max()))
    return True


def saved(tmp_path, content, name="w.pt"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("shape", ["base", "large"])
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_torchaudios_files_give_torchaudios_numbers(tmp_path, shape, layer):
    network = files.torchaudio_hubert(shape)
    for state in (network.state_dict(), files.older_weight_norm(network.state_dict())):
        model = hubert.load(saved(tmp_path, {**state, "aux.weight": torch.zeros(29, 128)}), layer)
        assert len(model.layers) == layer
        assert close(model(WAVE, LENGTH), expected(network, layer))


@pytest.mark.parametrize("made", [hubert_base, hubert_large, hubert_xlarge])
def test_the_architecture_is_told_from_the_shapes(made):
    with torch.device("meta"):
        network = made()
        state = ssl_weights.plain(network.state_dict())
        names = ssl_weights.names(ssl_weights.POSITIONS)
        rebuilt = hubert.build(hubert.architecture(state, names, "w.pth", "HuBERT"))
    assert {k: v.shape for k, v in rebuilt.state_dict().items()} == {
        k: v.shape for k, v in network.state_dict().items()
    }
    for ours, theirs in zip(rebuilt.modules(), network.modules(), strict=True):
        for key in ("num_heads", "layer_norm_first", "stride", "padding", "groups", "eps"):
            assert getattr(ours, key, None) == getattr(theirs, key, None), key


@pytest.mark.parametrize("shape", ["base", "large"])
@pytest.mark.parametrize("prefix", ["", "hubert."])
def test_hugging_face_files(tmp_path, shape, prefix):
    network = files.torchaudio_hubert(shape)
    tensors = {f"{prefix}{k}": v for k, v in files.hugging_face(network).items()}
    if prefix:
        tensors = files.older_weight_norm(tensors) | {"lm_head.weight": torch.zeros(32, 128)}
    path = files.write_hugging_face(tmp_path, tensors, files.hugging_face_config(shape))
    assert close(hubert.load(path, 2)(WAVE, LENGTH), expected(network, 2))
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    assert close(hubert.load(tmp_path / "pytorch_model.bin", 3)(WAVE, LENGTH), expected(network, 3))


def test_hugging_faces_names_are_those_that_torchaudios_importer_reads():
    """The importer takes the three parts of a `HubertModel` by their names, so they are those of the file."""
    network = files.torchaudio_hubert("large")
    tensors, config = files.hugging_face(network), files.hugging_face_config("large")
    dropouts = ["feat_proj_dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "layerdrop"]
    original = types.SimpleNamespace(config=types.SimpleNamespace(**config, **dict.fromkeys(dropouts, 0.0)))
    for part in ("feature_extractor", "feature_projection", "encoder"):
        state = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        setattr(original, part, types.SimpleNamespace(state_dict=lambda state=state: dict(state)))
    imported = import_huggingface_model(original).eval().requires_grad_(False)
    assert close(imported.extract_features(WAVE)[0][-1], network.extract_features(WAVE)[0][-1])


@pytest.mark.parametrize("shape", ["base", "large"])
def test_fairseqs_files_and_their_projection(tmp_path, shape):
    network, head = files.torchaudio_hubert(shape), files.head()
    tensors = files.fairseq(network) | {f"final_proj.{k}": v for k, v in head.items()}
    known = import_fairseq._convert_state_dict({k: v for k, v in tensors.items() if "final_proj" not in k})
    assert set(files.older_weight_norm(network.state_dict())) <= set(known)
    half = {k: v.half() for k, v in tensors.items()}
    path = saved(tmp_path, {"args": None, "cfg": {"model": {"encoder_attention_heads": 2}}, "model": half})
    full = saved(tmp_path, {"model": tensors}, "full.pt")
    wanted = expected(network, 2)
    assert close(hubert.load(full, 2)(WAVE, LENGTH), wanted)
    assert (hubert.load(path, 2)(WAVE, LENGTH) - wanted).abs().mean() < 5e-3
    projected = hubert.load(full, 2, head=True)
    assert projected.width == files.HEAD
    assert close(projected(WAVE, LENGTH), wanted @ head["weight"].T + head["bias"])


def test_fairseqs_table_of_labels_is_not_looked_at(tmp_path, monkeypatch):
    """Its checkpoints carry one object of its own; it is put aside without running anything of it."""

    class Dictionary:
        def __init__(self):
            self.symbols = ["0", "1"]

        def __setstate__(self, state):
            raise RuntimeError("run")

    Dictionary.__module__, Dictionary.__qualname__ = "fairseq.data.dictionary", "Dictionary"
    for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["fairseq.data.dictionary"].Dictionary = Dictionary
    network = files.torchaudio_hubert()
    path = saved(tmp_path, {"task_state": {"dictionaries": [Dictionary()]}, "model": files.fairseq(network)})
    monkeypatch.undo()
    assert close(hubert.load(path, 1)(WAVE, LENGTH), expected(network, 1))
    with pytest.raises(InputError, match="cannot be read as a checkpoint of tensors only"):
        ssl_weights.read_weights(path)


@pytest.mark.parametrize("version", ["v0.1", "v0.2"])
def test_soft_vcs_files(tmp_path, version):
    network = files.SoftVC()
    path = saved(tmp_path, network.released(version))
    assert close(hubert.load(path, 7)(WAVE, LENGTH), network.layer(WAVE, 7))
    assert close(hubert.load(path, 12, head=True)(WAVE, LENGTH), network.proj(network.layer(WAVE, 12)))


def test_a_weighted_sum_is_made_in_one_pass_that_stops_at_its_last_layer(tmp_path):
    network = files.torchaudio_hubert("large")
    path = saved(tmp_path, network.state_dict())
    model = hubert.load(path, {0: 0.25, 2: -2.0})
    assert len(model.layers) == 2
    assert close(model(WAVE, LENGTH), 0.25 * expected(network, 0) - 2 * expected(network, 2))


@pytest.mark.parametrize("layer", [0, 3])
def test_a_batch_of_a_large_one_is_as_single(tmp_path, layer):
    model = hubert.load(saved(tmp_path, files.torchaudio_hubert("large").state_dict()), layer)
    lengths = torch.tensor([9000, 8960, 8959, 320])
    waves = WAVE[:, :9000].repeat(4, 1) * (torch.arange(9000) < lengths[:, None])
    together = model(waves, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = model(waves[row : row + 1, :n], lengths[row : row + 1])[0]
        assert alone.shape == (n // 320, 128)
        assert (together[row, : n // 320] - alone).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_act": "relu"}, "hidden_act = 'relu' is not supported, only 'gelu'"),
        ({"feat_proj_layer_norm": False}, "feat_proj_layer_norm = False"),
        ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm = True"),
        ({"model_type": "wav2vec2"}, "expected model_type 'hubert', found 'wav2vec2'"),
        ({"feat_extract_norm": "none"}, "feat_extract_norm = 'none' is not one of"),
        ({"num_hidden_layers": None}, "num_hidden_layers: expected a positive whole number, found None"),
        ({"do_stable_layer_norm": 1}, "do_stable_layer_norm: expected true or false, found 1"),
        ({"conv_dim": [24]}, "conv_dim, conv_kernel and conv_stride: expected lists of one length"),
        ({"num_attention_heads": 3}, "a width of 128 is not a multiple of 3"),
        ({"num_hidden_layers": 4}, r"missing \['encoder.layers.3"),
        ({"num_hidden_layers": 2}, "unknown"),
        ({"intermediate_size": 95}, r"intermediate_dense.bias: expected \(95,\), found \(96,\)|expected \(95, 128\)"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_in_words(tmp_path, change, words):
    tensors = files.hugging_face(files.torchaudio_hubert())
    path = files.write_hugging_face(tmp_path, tensors, files.hugging_face_config(**change))
    with pytest.raises(InputError, match=words):
        hubert.load(path, 1)


def test_files_that_are_something_else_are_refused_in_words(tmp_path):
    network = files.torchaudio_hubert()
    path = files.write_hugging_face(tmp_path, files.hugging_face(network), {})
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json: expected the configuration of model\.safetensors"):
        hubert.load(path, 1)
    with pytest.raises(InputError, match=r"expected HuBERT as torchaudio publishes it, .*found \['generator'\]"):
        hubert.load(saved(tmp_path, {"generator": {}}), 1)
    with pytest.raises(InputError, match="has layers 0 to 3, not 4"):
        hubert.load(saved(tmp_path, network.state_dict()), {4: 0.5, 1: 0.5})
    with pytest.raises(InputError, match="has no projection"):
        hubert.load(saved(tmp_path, network.state_dict()), 1, head=True)
    wrong = {"model": files.fairseq(network), "cfg": {"model": {"layer_norm_first": True}}}
    with pytest.raises(InputError, match=r"cfg\.model\.layer_norm_first = True is not supported here, only False"):
        hubert.load(saved(tmp_path, wrong), 1)
    short = network.state_dict()
    del short["encoder.transformer.layers.1.attention.k_proj.weight"]
    with pytest.raises(InputError, match=r"missing \['encoder.transformer.layers.1.attention.k_proj.weight'\] \(1\)"):
        hubert.load(saved(tmp_path, short), 1)
    with pytest.raises(InputError, match=r"unknown \['encoder.extra'\]"):
        hubert.load(saved(tmp_path, {**network.state_dict(), "encoder.extra": torch.zeros(1)}), 1)
