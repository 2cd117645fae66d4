import librosa
import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.features import energy
from vcpipe.features.energy import Settings, load
from vcpipe.settings import check


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def tone(n, hz=1000.0, rate=16000, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


def test_a_sine_of_amplitude_half_has_minus_nine_db():
    found = load(Settings())(tone(16000))
    assert found.shape == (50, 1) and found.dtype == np.float32
    assert np.abs(found - 20 * np.log10(0.5 / np.sqrt(2))).max() < 0.05


def test_the_window_is_centred_on_the_cell():
    wave = np.zeros(16000, np.float32)
    wave[3200:6400] = 0.5  # the cells 10 to 19
    found = load(Settings(measure="rms", win=960))(wave)[:, 0]
    assert found[10] == pytest.approx(found[19], abs=1e-6)
    assert found[9] == pytest.approx(0.5 * np.sqrt(320 / 960), abs=1e-6)
    assert found[9] == pytest.approx(found[20], abs=1e-6)
    assert not found[:9].any() and not found[21:].any()


def test_the_rms_of_hubert_pitdyn_is_librosas():
    wave = noise(16123)
    found = load(Settings(measure="rms", win=1024, hop=320, centre="start", pad="zeros"))(wave)
    expected = librosa.feature.rms(y=wave, frame_length=1024, hop_length=320)[0]
    np.testing.assert_allclose(found[:, 0], expected[:50], rtol=1e-5)


def test_the_peak_of_fastersvc_is_the_largest_sample_of_the_cell():
    wave = noise(24000 + 100)
    settings = Settings(measure="peak", rate=24000, hop=480)
    expected = torch.nn.functional.max_pool1d(torch.from_numpy(wave)[None].abs(), 480)[0].numpy()
    assert np.array_equal(load(settings)(wave)[:, 0], expected)


@pytest.mark.parametrize("measure", ["rms_db", "rms", "peak"])
def test_windows_give_what_the_whole_gives(measure, monkeypatch):
    wave, settings = noise(100_007), Settings(measure=measure)
    whole = load(settings)(wave)
    monkeypatch.setattr(energy, "WINDOW_S", 1)
    assert np.abs(load(settings)(wave) - whole).max() <= 1e-5


@pytest.mark.parametrize("measure", ["rms_db", "rms", "peak", "world_c0"])
@pytest.mark.parametrize("n", [320, 321, 639, 3200])
def test_short_and_silent_recordings(measure, n):
    extractor = load(Settings(measure=measure))
    silent = extractor(np.zeros(n, np.float32))
    assert silent.shape == extractor(noise(n)).shape == (n // 320, 1)
    assert np.isfinite(silent).all()
    if measure != "world_c0":
        assert (silent == (-100 if measure == "rms_db" else 0)).all()


def test_c0_follows_the_level():
    """It is WORLD's coded mean of the log power: a tenth of the amplitude is ln(100) less, times one constant."""
    extractor = load(Settings(measure="world_c0"))
    wave = tone(16000, 150) + tone(16000, 300) + noise(16000) / 10
    loud, quiet = extractor(wave), extractor(wave / 10)
    assert np.abs(loud - quiet - np.log(100)).max() < 0.05


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"win": 200}, "win 200 leaves samples between windows out; expected at least hop, 320"),
        ({"measure": "loudness"}, "features.e.measure"),
        ({"floor_hz": 5}, "harvest: floor_hz 5"),
        ({"frame": 200}, "features.e.frame' is unknown"),
    ],
)
def test_settings_are_checked_when_read(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "energy", **values}, "features.e")


def test_it_needs_no_torch():
    settings = Settings(rate=24000, hop=480)
    assert (settings.torch, settings.dim, str(settings.grid), settings.dtype) == (False, 1, "24000/480", "float32")
    assert check(Settings, {k: v for k, v in settings.content().items() if k != "revision"}, "e") == settings
