import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vcpipe.config import check, feature_settings
from vcpipe.errors import InputError
from vcpipe.features import mel
from vcpipe.features.mel import Settings, load

CPU = torch.device("cpu")


def noise(n, seed=0):
    return 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def test_golden():
    if "VCPIPE_TEST_DATA" not in os.environ:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    golden = np.load(Path(os.environ["VCPIPE_TEST_DATA"]) / "golden" / "logmel_16k_80_hop320.npz")
    found = load(Settings(), CPU)(torch.from_numpy(golden["wave"]))
    assert np.abs(found.numpy() - golden["logmel"].T).max() <= 1e-4


def test_windows_give_what_the_whole_gives(monkeypatch):
    wave = noise(100_007)
    whole = load(Settings(), CPU)(wave)
    monkeypatch.setattr(mel, "WINDOW_S", 1)
    extractor = load(Settings(), CPU)
    assert extractor.window == 16000
    windows = extractor(wave)
    assert windows.shape == whole.shape == (312, 80)
    assert (windows - whole).abs().max() <= 2e-5  # rounding


def test_a_batch_is_as_single():
    extractor = load(Settings(), CPU)
    waves = [noise(n, n) for n in (320, 16000, 15999, 15400, 700, 24030)]
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert frames.shape == (len(wave) // 320, 80)
        assert (frames - extractor(wave)).abs().max() <= 1e-4


@pytest.mark.parametrize("n", [320, 321, 352, 353, 639, 640])
def test_recordings_shorter_than_the_padding_work(n):
    assert load(Settings(), CPU)(noise(n)).shape == (n // 320, 80)


def test_silence_is_the_floor():
    assert torch.allclose(load(Settings(), CPU)(torch.zeros(3200)), torch.tensor(1e-5).log())


def test_a_tone_stands_in_the_band_of_its_frequency():
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    assert load(Settings(), CPU)(tone)[25].argmax() == 26  # 1 kHz is 15 mel; 81 steps span 45.2 mel


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"win": 200}, "hop <= win <= n_fft, found 320, 200, 1024"),
        ({"win": 2048}, "hop <= win <= n_fft"),
        ({"fmax": 8001}, "fmax 8001 Hz is above half the rate, 8000 Hz"),
        ({"fmin": 8000}, "fmin 8000 Hz must be below fmax 8000 Hz"),
        ({"mells": 80}, "features.m.mells' is unknown; did you mean 'mels'"),
        ({"hop": 0}, "features.m.hop"),
    ],
)
def test_settings_that_make_no_mel_are_refused_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "mel", **values}, "features.m")


def test_settings_come_back_from_their_content():
    settings = Settings(rate=24000, hop=256, mels=100)
    assert feature_settings(settings.content()) == settings
    assert (str(settings.grid), settings.dim, settings.dtype) == ("24000/256", 100, "float32")
