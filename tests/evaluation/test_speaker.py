"""Embeddings of speakers, their centroid and their likeness."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vcpipe.errors import InputError
from vcpipe.evaluation.speaker import centroid, cosine, load_verifier


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


def test_an_unknown_verifier_is_refused():
    with pytest.raises(InputError, match="speaker verifier 'ecapa' is unknown; known: ge2e"):
        load_verifier("ecapa")


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
