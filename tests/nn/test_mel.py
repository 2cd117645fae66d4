import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from vcpipe.nn.mel import LogMel, mel_filters


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("rate", "n_fft", "mels", "fmin", "fmax"),
    [
        (16000, 1024, 80, 0, 8000),
        (24000, 1024, 100, 0, 12000),
        (22050, 1024, 80, 0, 8000),
        (48000, 2048, 128, 40, 16000),
    ],
)
def test_filters_are_those_of_librosa(rate, n_fft, mels, fmin, fmax):
    expected = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=fmin, fmax=fmax)
    np.testing.assert_allclose(mel_filters(rate, n_fft, mels, fmin, fmax).numpy(), expected, atol=1e-8, rtol=1e-5)


def test_golden():
    if "VCPIPE_TEST_DATA" not in os.environ:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    golden = np.load(Path(os.environ["VCPIPE_TEST_DATA"]) / "golden" / "logmel_16k_80_hop320.npz")
    found = LogMel(16000, 1024, 1024, 320, 80)(torch.from_numpy(golden["wave"])[None])[0]
    assert found.shape == golden["logmel"].shape
    assert np.abs(found.numpy() - golden["logmel"]).max() <= 1e-4


@pytest.mark.parametrize(("n_fft", "win", "hop"), [(1024, 1024, 320), (512, 400, 160), (1023, 800, 256)])
@pytest.mark.parametrize("n", [320, 999, 24030])
def test_agrees_with_a_transform_made_by_hand(n_fft, win, hop, n):
    wave = noise(n).double().numpy()
    left = (n_fft - hop) // 2
    padded = np.pad(wave, (left, n_fft - hop - left), mode="reflect")
    window = np.zeros(n_fft)
    start = (n_fft - win) // 2
    window[start : start + win] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win) / win)
    frames = np.stack([padded[i * hop : i * hop + n_fft] * window for i in range(n // hop)])
    filters = librosa.filters.mel(sr=16000, n_fft=n_fft, n_mels=40)
    expected = np.log(np.maximum(filters @ np.abs(np.fft.rfft(frames)).T, 1e-5))
    found = LogMel(16000, n_fft, win, hop, 40)(torch.from_numpy(wave)[None].float())[0]
    assert found.shape == (40, n // hop)
    assert np.abs(found.numpy() - expected).max() <= 1e-4


def test_a_row_of_a_batch_is_reflected_at_its_own_end():
    mel, wave = LogMel(16000, 1024, 1024, 320, 80), noise(3, 4000)
    lengths = torch.tensor([4000, 3333, 321])
    padded = wave * (torch.arange(4000) < lengths[:, None])
    together = mel(padded, lengths)
    for row, n in enumerate(lengths.tolist()):
        assert torch.allclose(together[row, :, : n // 320], mel(wave[row : row + 1, :n])[0], atol=1e-5)
    assert not torch.allclose(mel(padded)[1, :, 9], together[1, :, 9], atol=1e-3)  # what it is good for


def test_gradients_are_those_of_finite_differences():
    mel, wave = LogMel(16000, 64, 64, 16, 8), noise(1, 160)
    wave.requires_grad_(True)
    mel(wave).sum().backward()
    for i in (0, 40, 159):
        step = torch.zeros(1, 160)
        step[0, i] = 1e-3
        difference = (mel(wave + step) - mel(wave - step)).sum().item() / 2e-3
        assert wave.grad[0, i].item() == pytest.approx(difference, rel=0.05, abs=0.5)


def test_silence_is_the_floor_and_its_gradient_is_finite():
    wave = torch.zeros(1, 3200, requires_grad=True)
    out = LogMel(16000, 1024, 1024, 320, 80)(wave)
    out.sum().backward()
    assert torch.allclose(out, torch.tensor(1e-5).log())
    assert torch.isfinite(wave.grad).all()


def test_autocast_does_not_touch_it():
    mel, wave = LogMel(16000, 1024, 1024, 320, 80), noise(1, 3200)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel(wave), LogMel(16000, 1024, 1024, 320, 80)(wave))
    assert "window" not in mel.state_dict()
