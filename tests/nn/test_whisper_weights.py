import pytest
import torch
from safetensors.torch import save_file

from tests.nn import whisper_files as files
from vcpipe.errors import InputError
from vcpipe.nn import whisper_weights
from vcpipe.nn.whisper import log_mel
from vcpipe.weights import read_pickle_checkpoint

NOISE = torch.randn(1, 9000, generator=torch.Generator().manual_seed(0)) / 30
LENGTH = torch.tensor([9000])


def run(encoder, layer=None, **options):
    mel = log_mel(NOISE, LENGTH, n_mels=encoder.size.n_mels)
    return encoder(mel, LENGTH // 320, layer, **options)


@pytest.fixture(scope="module")
def encoder():
    return files.random_encoder()


def write(folder, encoder):
    torch.save(files.openai(encoder), folder / "large.pt")
    save_file(files.hugging_face(encoder), folder / "model.safetensors")
    torch.save(files.hugging_face(encoder), folder / "pytorch_model.bin")
    (folder / "model.bin").write_bytes(files.ctranslate2(encoder, torch.float32))
    return ["large.pt", "model.safetensors", "pytorch_model.bin", "model.bin"]


def test_every_form_gives_the_same_encoder(tmp_path, encoder):
    for name in write(tmp_path, encoder):
        found = whisper_weights.load(tmp_path / name)
        assert found.size == files.SMALL, name
        assert torch.equal(run(found, final_norm=True), run(encoder, final_norm=True)), name


def test_the_public_tiny_en_comes_back_in_every_form(tmp_path):
    """Its own numbers are held by CTranslate2 in `test_whisper`; here only the names are at stake."""
    tiny = whisper_weights.load_tiny_en()
    expected = run(tiny, {1: 0.5, 4: 0.5})
    for name in write(tmp_path, tiny):
        assert torch.allclose(run(whisper_weights.load(tmp_path / name), {1: 0.5, 4: 0.5}), expected, atol=1e-5), name


def test_half_precision_files_are_computed_in_float32(tmp_path, encoder):
    (tmp_path / "model.bin").write_bytes(files.ctranslate2(encoder))
    found = run(whisper_weights.load(tmp_path / "model.bin"))
    assert found.dtype == torch.float32
    assert 0 < (found - run(encoder)).abs().mean() < 5e-3


def test_a_weighted_sum_is_that_of_its_layers(encoder):
    called = []
    hooks = [layer.register_forward_hook(lambda *_, i=i: called.append(i)) for i, layer in enumerate(encoder.layers)]
    found = run(encoder, {0: 0.25, 2: -2.0})
    for hook in hooks:
        hook.remove()
    assert called == [0, 1]
    assert torch.allclose(found, 0.25 * run(encoder, 0) - 2 * run(encoder, 2), atol=1e-5)


@pytest.mark.parametrize("n_mels", [80, 128])
def test_both_numbers_of_bands_are_whispers(n_mels):
    feature_extractor = pytest.importorskip("faster_whisper.feature_extractor")
    wave = torch.nn.functional.pad(NOISE, (0, 480000 - 9000))
    expected = feature_extractor.FeatureExtractor(feature_size=n_mels)(wave[0].numpy(), padding=0)
    found = log_mel(wave, torch.tensor([480000]), n_mels=n_mels)[0].numpy()
    assert found.shape == expected.shape == (n_mels, 3000)
    assert abs(found - expected).max() < 1e-4


def test_other_files_are_refused_in_words(tmp_path, encoder):
    torch.save({"generator": {}}, tmp_path / "g.pt")
    with pytest.raises(InputError, match=r"g\.pt: expected Hugging Face's Whisper with a tensor encoder\.embed_pos"):
        whisper_weights.load(tmp_path / "g.pt")
    (tmp_path / "model.bin").write_bytes(files.ctranslate2(encoder, torch.int8))
    with pytest.raises(InputError, match=r"is quantised to torch\.int8; use a file in float16 or float32"):
        whisper_weights.load(tmp_path / "model.bin")
    made = files.openai(encoder)
    del made["model_state_dict"]["encoder.blocks.1.attn.key.weight"]
    torch.save(made, tmp_path / "w.pt")
    assert "dims" in read_pickle_checkpoint(tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"with a tensor encoder\.blocks\.1\.attn\.key\.weight, found none"):
        whisper_weights.load(tmp_path / "w.pt")
    made = files.openai(encoder)
    made["model_state_dict"]["encoder.conv2.weight"] = torch.zeros(128, 128, 4)
    torch.save(made, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"conv2\.weight: expected \(128, 128, 3\), found \(128, 128, 4\)"):
        whisper_weights.load(tmp_path / "w.pt")
    with pytest.raises(InputError, match="has layers 0 to 3, not 4"):
        run(encoder, 4)
