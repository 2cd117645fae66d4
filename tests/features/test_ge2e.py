import numpy as np
import pytest
import soundfile
import torch

from vcpipe.errors import InputError
from vcpipe.features import ge2e
from vcpipe.features.ge2e import Settings, load
from vcpipe.nn import ge2e as network
from vcpipe.settings import check

CPU = torch.device("cpu")


def noise(n, seed=0):
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) / 30


@pytest.fixture(scope="module")
def embedder():
    return load(Settings(), CPU)


def test_vectors_are_the_published_ones(embedder, resemblyzer, real_data):
    published = resemblyzer[0].VoiceEncoder("cpu", verbose=False)
    level = resemblyzer[1].normalize_volume
    files = sorted((real_data / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[::12]
    waves = [soundfile.read(file, dtype="float32")[0] for file in files]
    waves += [waves[0] / 50, waves[0][:9000], noise(50000).numpy()]
    worst = 0.0
    for wave, found in zip(waves, embedder.batch(waves), strict=True):
        assert found.shape == (1, 256) and found.dtype == torch.float32
        expected = published.embed_utterance(level(wave, -30, increase_only=True))
        worst = max(worst, np.abs(found[0].numpy() - expected).max())
    other = load(Settings(rate_per_s=1.25, min_coverage=0.5, level_dbfs=None), CPU)
    expected = published.embed_utterance(waves[0], rate=1.25, min_coverage=0.5)
    worst = max(worst, np.abs(other(waves[0])[0].numpy() - expected).max())
    print(f"{len(waves)} recordings against resemblyzer: {worst:.1e}")
    assert worst < 1e-4


@pytest.mark.parametrize("n", [160, 161, 9000, 25600, 25601, 80000])
def test_vectors_are_those_of_the_judge(embedder, n):
    expected = embedder.encoder.embed_utterance(network.raise_volume(noise(n)))
    assert torch.allclose(embedder(noise(n))[0], expected, atol=1e-5)


def test_a_batch_is_as_single(embedder, monkeypatch):
    waves = [noise(n, n) for n in (16000, 100_000, 700, 40000, 64000)]
    single = [embedder(wave) for wave in waves]
    for most in (256, 3):
        monkeypatch.setattr(network, "MAX_BATCH", most)
        for a, b in zip(single, embedder.batch(waves), strict=True):
            assert (a - b).abs().max() <= 1e-5
    assert embedder.batch([]) == []


def test_a_long_recording_is_read_in_blocks(embedder, monkeypatch):
    class Reads:
        """A recording that knows the most that was read of it at once."""

        dtype, most = "float32", 0

        def __init__(self, wave):
            self.wave, self.shape = wave, wave.shape

        def __getitem__(self, rows):
            self.most = max(self.most, rows.stop - rows.start)
            return self.wave[rows]

    wave = noise(20 * 16000).numpy()
    whole = embedder(wave)
    monkeypatch.setattr(ge2e, "BLOCK_S", 4)
    source = Reads(wave)
    (found,) = embedder.stream(source)
    assert (found - whole).abs().max() <= 1e-5
    assert source.most <= 6 * 16000


def test_vectors_are_usable_in_training(embedder):
    weight = torch.ones(256, requires_grad=True)
    (embedder(noise(16000)) * weight).sum().backward()
    assert weight.grad is not None


def test_quiet_recordings_are_raised_and_loud_ones_left(embedder):
    wave = noise(32000)
    assert torch.allclose(embedder(wave / 100), embedder(wave / 1000), atol=1e-4)
    plain = load(Settings(level_dbfs=None), CPU)
    assert torch.equal(plain(wave * 3), embedder(wave * 3))
    assert not torch.allclose(plain(wave / 100), embedder(wave / 100), atol=1e-2)


def test_ends_are_cut_after_the_level(embedder, monkeypatch):
    monkeypatch.setattr("vcpipe.vad.speech_bounds", lambda wave, rate: (8000, 56000))
    wave = noise(64000)
    wave[:8000] = 0
    found = load(Settings(trim="ends"), CPU)(wave)
    expected = embedder.encoder.embed_utterance(network.raise_volume(wave)[8000:56000])
    assert torch.allclose(found[0], expected, atol=1e-5)


def test_silence_is_finite_and_of_length_one(embedder):
    assert float(embedder(torch.zeros(16000)).norm()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("wave", "words"),
    [
        (torch.zeros(100), "a recording of 100 samples is shorter than one frame of 160"),
        (torch.zeros(2, 16000), "expected a recording"),
        (torch.full((16000,), torch.nan), "sample 0 of the recording is not finite"),
    ],
)
def test_what_is_no_recording_is_refused(embedder, wave, words):
    with pytest.raises(InputError, match=words):
        embedder(wave)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_per_s": 0.5}, "features.g.rate_per_s"),
        ({"min_coverage": 0}, "features.g.min_coverage"),
        ({"level_dbfs": 3}, "features.g.level_dbfs"),
        ({"trim": "webrtc"}, "features.g.trim"),
    ],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "ge2e", **values}, "features.g")


def test_there_is_one_row_an_utterance():
    settings = Settings()
    assert (settings.ROWS, settings.dim, settings.grid.rate, settings.dtype) == ("utterance", 256, 16000, "float32")
