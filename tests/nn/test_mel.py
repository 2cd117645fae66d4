import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from vcpipe.nn.mel import LogMel, Spectrogram, mel_filters


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


@pytest.mark.parametrize("pad", ["reflect", "zeros"])
@pytest.mark.parametrize(
    ("n_fft", "win", "hop"), [(1920, 1920, 480), (800, 800, 200), (512, 400, 160), (400, 400, 320)]
)
@pytest.mark.parametrize("n", [24000, 24399, 4001])
def test_centres_are_those_of_librosas_centred_transform(n_fft, win, hop, n, pad):
    wave = noise(n)
    mode = {"reflect": "reflect", "zeros": "constant"}[pad]
    expected = np.abs(librosa.stft(wave.numpy(), n_fft=n_fft, win_length=win, hop_length=hop, pad_mode=mode))
    frames = n // hop
    assert expected.shape[1] == 1 + frames
    for centre, part in (("start", expected[:, :-1]), ("end", expected[:, 1:])):
        found = Spectrogram(n_fft, win, hop, centre=centre, pad=pad)(wave[None])[0].numpy()
        assert found.shape == (n_fft // 2 + 1, frames)
        np.testing.assert_allclose(found, part, atol=1e-4 * expected.max(), rtol=1e-4)


def test_cells_lie_half_a_hop_after_their_starts():
    wave = noise(16000)
    cells = Spectrogram(1024, 1024, 320)(wave[None])[0]
    later = Spectrogram(1024, 1024, 320, centre="start")(wave[None, 160:])[0]
    assert torch.allclose(cells[:, 5:40], later[:, 5:40], atol=1e-4)


def test_powers_epsilon_and_pre_emphasis_are_what_they_say():
    wave = noise(4000)
    plain = Spectrogram(512, 512, 128)
    assert torch.allclose(Spectrogram(512, 512, 128, power=2)(wave[None]), plain(wave[None]) ** 2, rtol=1e-5)
    soft = Spectrogram(512, 512, 128, epsilon=1e-3)
    assert torch.allclose(soft(wave[None]), (plain(wave[None]) ** 2 + 1e-3).sqrt(), rtol=1e-5)
    assert torch.allclose(soft(torch.zeros(1, 4000)), torch.tensor(1e-3).sqrt())
    emphasised = torch.cat([wave[:1], wave[1:] - 0.97 * wave[:-1]])
    found = Spectrogram(512, 512, 128, pre_emphasis=0.97)(wave[None])
    assert torch.allclose(found, plain(emphasised[None]), atol=1e-5)


@pytest.mark.parametrize("pad", ["reflect", "zeros"])
def test_a_row_of_a_batch_is_padded_at_its_own_end(pad):
    mel, wave = LogMel(16000, 1024, 1024, 256, 80, centre="start", pad=pad, pre_emphasis=0.98), noise(3, 4000)
    lengths = torch.tensor([4000, 3333, 257])
    together = mel(wave, lengths)
    for row, n in enumerate(lengths.tolist()):
        assert torch.allclose(together[row, :, : n // 256], mel(wave[row : row + 1, :n])[0], atol=1e-5)


def test_decibels_of_powers_are_those_of_magnitudes():
    wave = noise(1, 4000)
    spectrum = Spectrogram(1024, 1024, 320)(wave)
    filters = mel_filters(16000, 1024, 40, 0, 8000)
    for power in (1, 2):
        found = LogMel(16000, 1024, 1024, 320, 40, floor=1e-10, power=power, log="db", ref_db=20)(wave)
        assert torch.allclose(found, 20 / power * (filters @ spectrum**power).log10() - 20, atol=1e-3)
