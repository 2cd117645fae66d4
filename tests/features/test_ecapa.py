"""The vectors of ECAPA-TDNN, with a small stand-in for speechbrain: what is tested is everything around it."""

import sys
import types

import pytest
import torch
from torch import nn

from vcpipe.errors import InputError
from vcpipe.features.ecapa import FILE, Settings, load

CPU = torch.device("cpu")


class Fbank(nn.Module):
    def __init__(self, n_mels):
        super().__init__()
        self.n_mels = n_mels

    def forward(self, wave):
        return wave.unfold(1, 400, 160)[..., : self.n_mels]  # (1, T, n_mels)


class Network(nn.Module):
    def __init__(self, input_size, channels, kernel_sizes, dilations, attention_channels, lin_neurons):
        super().__init__()
        assert (channels[-1], attention_channels) == (3072, 128)
        self.linear = nn.Linear(input_size, lin_neurons)

    def forward(self, mel):
        assert mel.mean(1).abs().max() < 1e-5  # normalised as the network was trained
        return self.linear(mel).square().mean(1)[:, None]


@pytest.fixture
def speechbrain(monkeypatch):
    for name in ("speechbrain", "speechbrain.lobes", "speechbrain.lobes.models"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    features, models = types.ModuleType("features"), types.ModuleType("ECAPA_TDNN")
    features.Fbank, models.ECAPA_TDNN = Fbank, Network
    monkeypatch.setitem(sys.modules, "speechbrain.lobes.features", features)
    monkeypatch.setitem(sys.modules, "speechbrain.lobes.models.ECAPA_TDNN", models)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    torch.save(Network(80, [3072], [], [], 128, 192).state_dict(), tmp_path / FILE)
    return tmp_path


def noise(n):
    return 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n))


def test_one_vector_of_length_one_an_utterance(speechbrain, folder):
    embedder = load(Settings(weights=str(folder)), CPU)
    waves = [noise(16000), noise(24000)]
    for wave, row in zip(waves, embedder.batch(waves), strict=True):
        assert row.shape == (1, 192) and float(row.norm()) == pytest.approx(1, abs=1e-5)
        assert torch.equal(row, embedder(wave)) and torch.equal(row, next(embedder.stream(wave)))
        mel = Fbank(80)(wave[None])
        expected = embedder.network(mel - mel.mean(1, keepdim=True))[0, 0]
        assert torch.allclose(row[0], expected / expected.norm(), atol=1e-6)


def test_a_long_utterance_is_the_mean_of_its_parts(speechbrain, folder):
    wave = noise(40000)
    embedder = load(Settings(weights=str(folder), window_s=1.0), CPU)
    parts = torch.cat([embedder(wave[a:b]) for a, b in ((0, 13333), (13333, 26666), (26666, 40000))]).mean(0)
    assert torch.allclose(embedder(wave)[0], parts / parts.norm(), atol=1e-6)


def test_a_missing_package_is_named(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "speechbrain", None)
    with pytest.raises(InputError, match="feature ecapa: expected the package speechbrain.*type `pip install speechb"):
        load(Settings(weights=str(folder)), CPU)


def test_missing_and_foreign_weights_are_refused(speechbrain, tmp_path):
    with pytest.raises(InputError, match=f"{FILE}': no such file"):
        load(Settings(weights=str(tmp_path)), CPU)
    torch.save({"other": torch.zeros(3)}, tmp_path / FILE)
    with pytest.raises(InputError, match="not the weights of spkrec-ecapa-voxceleb"):
        load(Settings(weights=str(tmp_path)), CPU)


def test_there_is_one_row_an_utterance():
    settings = Settings()
    assert (settings.ROWS, settings.dim, settings.grid.rate, settings.dtype) == ("utterance", 192, 16000, "float32")
