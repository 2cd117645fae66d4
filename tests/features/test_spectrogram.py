import librosa
import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.features import spectrogram
from vcpipe.features.spectrogram import Settings, load
from vcpipe.settings import check

CPU = torch.device("cpu")


def noise(n, seed=0):
    return 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [24000, 24479])
def test_the_default_is_fastersvcs(n):
    """Centred, mirrored ends, the first frame dropped: by librosa, and by the transform it was written with."""
    wave = noise(n)
    found = load(Settings(), CPU)(wave)
    assert found.shape == (50, 961)
    expected = np.abs(librosa.stft(wave.numpy(), n_fft=1920, hop_length=480, pad_mode="reflect"))[:, 1:].T
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)
    transform = torch.stft(wave, 1920, 480, window=torch.hann_window(1920), return_complex=True).abs()[:, 1:].T
    assert torch.allclose(found, transform, atol=1e-4)


def test_cells_are_heard_half_a_hop_earlier_than_fastersvcs():
    wave = noise(48000)
    late, centred = load(Settings(), CPU)(wave[:-240]), load(Settings(centre="cell"), CPU)(wave[240:])
    assert torch.allclose(centred[5:90], late[5:90], atol=1e-4)


def test_a_click_is_loudest_in_its_cell():
    wave = torch.zeros(24000)
    wave[20 * 480 + 240] = 1.0
    for centre, frame in (("cell", [20]), ("end", [19, 20]), ("start", [20, 21])):
        found = load(Settings(centre=centre), CPU)(wave).sum(1)
        assert sorted(found.topk(len(frame)).indices.tolist()) == frame


def test_powers_and_logarithms():
    wave = noise(24000)
    magnitude = load(Settings(), CPU)(wave)
    assert torch.allclose(load(Settings(power=2), CPU)(wave), magnitude**2, rtol=1e-4, atol=1e-9)
    assert torch.allclose(load(Settings(log="ln"), CPU)(wave), magnitude.clamp(min=1e-5).log(), atol=1e-4)
    assert torch.allclose(load(Settings(log="ln"), CPU)(torch.zeros(4800)), torch.tensor(1e-5).log())


def test_windows_and_batches_give_what_the_whole_gives(monkeypatch):
    waves = [noise(n, n) for n in (100_007, 480, 24000, 23999)]
    extractor = load(Settings(), CPU)
    whole = [extractor(wave) for wave in waves]
    monkeypatch.setattr(spectrogram, "WINDOW_S", 1)
    for found in (extractor.batch(waves), load(Settings(), CPU).batch(waves)):
        for a, b in zip(whole, found, strict=True):
            assert a.shape == b.shape and (a - b).abs().max() <= 1e-4


@pytest.mark.parametrize(
    ("values", "words"),
    [({"win": 200}, "hop <= win <= n_fft, found 480, 200, 1920"), ({"power": 3}, "features.s.power")],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "spectrogram", **values}, "features.s")


def test_grid_and_columns():
    settings = Settings()
    assert (str(settings.grid), settings.dim, settings.dtype) == ("24000/480", 961, "float32")
