import numpy as np
import pytest
import torch

from tests.f0.signals import voice
from vcpipe.f0 import crepe


def test_the_network_is_torchcrepes():
    torchcrepe = pytest.importorskip("torchcrepe")
    wave = voice(16000, seconds=0.3).wave
    frames = next(torchcrepe.preprocess(torch.from_numpy(wave)[None], 16000, 160))
    with torch.inference_mode():
        expected = torchcrepe.infer(frames, "tiny").numpy()
    times_s = np.arange(len(expected)) * 0.01
    found, loud = crepe._salience(wave, times_s, "tiny", "cpu")
    assert np.abs(found - expected).max() <= 1e-5
    assert loud.all()


def test_decoding_is_torchcrepes():
    torchcrepe = pytest.importorskip("torchcrepe")
    random = np.random.default_rng(0)
    salience = random.uniform(0, 0.3, (80, 360)).astype(np.float32)
    salience[np.arange(80), 120 + (20 * np.sin(np.arange(80) / 9)).astype(int)] = 0.9
    logits = torch.from_numpy(salience.T[None].copy())
    logits[:, :60], logits[:, 300:] = -torch.inf, -torch.inf
    expected, _ = torchcrepe.decode.viterbi(logits)
    assert np.array_equal(crepe.viterbi(salience, 60, 300), expected[0].numpy())


def test_estimates_are_finer_than_a_bin():
    t = np.arange(16000) / 16000
    for hz in (200.0, 201.0, 202.0):
        wave = (0.3 * sum(np.sin(2 * np.pi * h * hz * t) / h for h in range(1, 10))).astype(np.float32)
        found = crepe.track(wave, 16000, model="tiny")
        cents = 1200 * np.log2(np.median(found.f0_hz[found.voiced]) / hz)
        assert abs(cents) < 8  # a bin is 20


def test_batches_do_not_change_the_numbers(monkeypatch):
    wave = voice(16000, seconds=0.4).wave
    whole = crepe.track(wave, 16000, model="tiny")
    monkeypatch.setattr(crepe, "BATCH", 7)
    assert np.abs(crepe.track(wave, 16000, model="tiny").f0_hz - whole.f0_hz).max() < 1e-3
