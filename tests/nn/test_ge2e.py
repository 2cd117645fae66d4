"""The GE2E speaker encoder, against librosa, resemblyzer's own code, and numbers computed once in float64."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vcpipe.errors import InputError
from vcpipe.nn import ge2e

NOISE = torch.randn(80000, generator=torch.Generator().manual_seed(0)) / 30


@pytest.fixture(scope="module")
def encoder():
    return ge2e.load_ge2e()


@pytest.fixture(scope="module")
def speech():
    root = os.environ.get("VCPIPE_TEST_DATA")
    if not root:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    files = sorted(Path(root, "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[::5]
    return [soundfile.read(f, dtype="float32")[0] for f in files]


def test_mel_is_librosas():
    librosa = pytest.importorskip("librosa")
    wave = NOISE[:24123]
    expected = librosa.feature.melspectrogram(y=wave.numpy(), sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    found = ge2e.power_mel(wave).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [(0.1, [0]), (1, [0]), (1.6, [0]), (1.9, [0]), (2, [0, 77]), (3, [0, 77, 154]), (5, [0, 77, 154, 231, 308])],
)
def test_where_the_stretches_begin(seconds, starts):
    assert ge2e.partial_starts(round(seconds * 16000)) == starts


def test_stretches_are_the_published_ones(resemblyzer):
    published = resemblyzer[0].VoiceEncoder.compute_partial_slices
    for n in (1, 159, 160, 16000, *range(25000, 200000, 997)):
        assert ge2e.partial_starts(n) == [s.start for s in published(n, 1.3, 0.75)[1]]


def test_embedding_agrees_with_the_published_procedure(encoder, resemblyzer, speech):
    published = resemblyzer[0].VoiceEncoder("cpu", verbose=False)
    worst = 0.0
    for wave in [*speech, speech[0][:9000], NOISE.numpy(), np.concatenate(speech)[:500000]]:
        found = encoder.embed_utterance(torch.from_numpy(wave)).numpy()
        worst = max(worst, np.abs(found - published.embed_utterance(wave)).max())
    print(f"embedding against resemblyzer: {worst:.1e}")
    assert worst < 1e-4


def test_volume_is_the_published_one(resemblyzer, speech):
    for wave in (speech[0], speech[0] / 100, speech[0] * 3):
        expected = resemblyzer[1].normalize_volume(wave, -30, increase_only=True)
        np.testing.assert_allclose(ge2e.raise_volume(torch.from_numpy(wave)).numpy(), expected, atol=1e-6)


def test_volume_is_only_raised():
    loud, quiet, silent = NOISE * 3, NOISE / 50, torch.zeros(1000)
    assert torch.equal(ge2e.raise_volume(loud), loud)
    assert 20 * float(ge2e.raise_volume(quiet).square().mean().sqrt().log10()) == pytest.approx(-30, abs=1e-3)
    assert torch.equal(ge2e.raise_volume(silent), silent)


t, b = torch.meshgrid(torch.arange(160), torch.arange(40), indexing="ij")
GOLDEN = [
    (torch.zeros(160, 40), 103, 8.28208, {78: 0.28350, 139: 0.20779, 13: 0.20007}),
    (torch.full((160, 40), 0.01), 116, 9.42277, {15: 0.21736, 120: 0.19540, 74: 0.15924}),
    (((7 * t + 13 * b) % 50) / 5000, 125, 9.69112, {15: 0.18489, 120: 0.17765, 28: 0.16750}),
]


@pytest.mark.parametrize(("mel", "nonzero", "total", "largest"), GOLDEN)
def test_network_gives_the_numbers_of_a_float64_forward(encoder, mel, nonzero, total, largest):
    embedding = encoder(mel[None])[0]
    assert int((embedding > 0).sum()) == nonzero
    assert float(embedding.sum()) == pytest.approx(total, abs=1e-3)
    top = embedding.topk(3)
    assert top.indices.tolist() == list(largest)
    assert top.values.tolist() == pytest.approx(list(largest.values()), abs=1e-4)


def test_silence_is_finite_and_of_length_one(encoder):
    embedding = encoder.embed_utterance(ge2e.raise_volume(torch.zeros(16000)))
    assert embedding.shape == (256,)
    assert float(embedding.norm()) == pytest.approx(1, abs=1e-5)


def test_a_long_recording_is_embedded_in_parts(encoder, monkeypatch):
    whole = encoder.embed_utterance(NOISE)
    monkeypatch.setattr(ge2e, "MAX_BATCH", 2)
    assert torch.allclose(encoder.embed_utterance(NOISE), whole, atol=1e-6)


@pytest.mark.parametrize("shape", [(0,), (1, 16000)])
def test_what_is_no_recording_is_refused(encoder, shape):
    with pytest.raises(InputError, match=r"expected a recording \(N,\) with N > 0, found"):
        encoder.embed_utterance(torch.zeros(shape))
