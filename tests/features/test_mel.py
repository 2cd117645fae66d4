import os
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from vcpipe.config import feature_settings
from vcpipe.errors import InputError
from vcpipe.features import mel
from vcpipe.features.mel import Settings, load
from vcpipe.settings import canonical, check

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


def magnitudes(wave, rate, n_fft, hop, mels, fmin, fmax, *, centred=None, epsilon=0.0, power=1.0):
    """Mel magnitudes by librosa: a centred transform without its last frame, or one that is not, padded by hand."""
    if centred is None:
        wave = np.pad(wave, (n_fft - hop) // 2, mode="reflect")
    spectrum = librosa.stft(
        wave, n_fft=n_fft, hop_length=hop, center=centred is not None, pad_mode=centred or "constant"
    )
    magnitude = np.sqrt(np.abs(spectrum) ** 2 + epsilon) ** power
    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels, fmin=fmin, fmax=fmax)
    return (filters @ magnitude)[:, : -1 if centred else None].T


def emphasised(wave, a):
    return scipy.signal.lfilter([1, -a], [1], wave)


def decibels(mel):
    """Section 2.3 of SV2TTS: dB above 1e-5, 20 dB of reference, [-100, 0] onto [-4, 4]."""
    return np.clip(8 * (20 * np.log10(np.maximum(1e-5, mel)) - 20 + 100) / 100 - 4, -4, 4)


def natural(mel):
    return np.log(np.maximum(mel, 1e-5))


REFERENCES = {
    "hifigan_16k_knnvc": lambda x: natural(magnitudes(x, 16000, 1024, 320, 80, 0, 8000)),
    "softvc": lambda x: natural(magnitudes(x, 16000, 1024, 160, 128, 0, 8000)),
    "pitdyn": lambda x: natural(magnitudes(x, 16000, 1024, 160, 128, 0, 8000, centred="constant")),
    "sv2tts_encoder": lambda x: magnitudes(x, 16000, 400, 160, 40, 0, 8000, centred="constant", power=2),
    "sv2tts_synthesizer": lambda x: decibels(
        magnitudes(emphasised(x, 0.97), 16000, 800, 200, 80, 55, 7600, centred="reflect")
    ),
    "gradsvc": lambda x: natural(magnitudes(x, 32000, 1024, 320, 100, 40, 16000, epsilon=1e-9)),
    "gradsvc_speaker": lambda x: decibels(
        magnitudes(emphasised(x, 0.98), 16000, 1024, 256, 80, 0, 8000, centred="reflect")
    ),
    "ljspeech_22k": lambda x: natural(magnitudes(x, 22050, 1024, 256, 80, 0, 8000, epsilon=1e-9)),
}


def test_every_preset_has_a_reference():
    assert set(REFERENCES) == set(mel.PRESETS)


@pytest.mark.parametrize("preset", REFERENCES)
@pytest.mark.parametrize("n", [32000, 30123])
def test_presets_are_the_published_definitions(preset, n):
    wave = noise(n) * torch.linspace(0, 1, n) ** 3
    settings = check(Settings, {"kind": "mel", "preset": preset}, "features.m")
    extractor = load(settings, CPU)
    found = extractor(wave).numpy()
    expected = REFERENCES[preset](wave.numpy().astype(np.float64))
    assert found.shape == (n // settings.hop, settings.mels)
    expected = expected[: len(found)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 if settings.log != "none" else 1e-9)
    together = extractor.batch([wave, wave[: n - 777]])
    assert np.abs(together[0].numpy() - found).max() <= 1e-4
    assert np.abs(together[1].numpy() - extractor(wave[: n - 777]).numpy()).max() <= 1e-4


def test_the_encoders_mel_is_that_of_the_speaker_encoder():
    from vcpipe.nn.ge2e import power_mel

    wave = noise(16000)
    found = load(Settings(preset="sv2tts_encoder"), CPU)(wave)
    assert torch.allclose(found, power_mel(wave)[:-1], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("preset", ["sv2tts_synthesizer", "gradsvc_speaker"])
def test_silence_is_minus_four(preset):
    assert bool((load(Settings(preset=preset), CPU)(torch.zeros(16000)) == -4).all())


def test_pre_emphasis_does_not_break_at_windows(monkeypatch):
    wave, settings = noise(100_007), Settings(preset="sv2tts_synthesizer")
    whole = load(settings, CPU)(wave)
    monkeypatch.setattr(mel, "WINDOW_S", 1)
    assert (load(settings, CPU)(wave) - whole).abs().max() <= 1e-4


def test_the_slice_of_the_first_shards_stays_what_it_was():
    old = (
        '{"dtype":"float32","floor":1e-05,"fmax":null,"fmin":0.0,"hop":320,"kind":"mel","mels":80,"n_fft":1024,'
        '"rate":16000,"revision":1,"win":1024}'
    )
    assert canonical(Settings().content()) == old
    assert canonical(Settings(preset="hifigan_16k_knnvc").content()) == old


def test_a_preset_stands_for_its_keys():
    soft = Settings(preset="softvc")
    assert soft == Settings(hop=160, mels=128, fmax=8000)
    assert (str(soft.grid), soft.dim) == ("16000/160", 128)
    assert Settings(preset="softvc", hop=320).hop == 320
    for preset in mel.PRESETS:
        settings = Settings(preset=preset)
        assert feature_settings(settings.content()) == settings


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"preset": "softvcc"}, "features.m.preset.*did you mean 'softvc'"),
        ({"symmetric": 4.0}, "are of decibels, found log: ln; set log: db"),
        ({"log": "none", "ref_db": 20}, "are of decibels, found log: none"),
        ({"power": 3}, "features.m.power"),
        ({"pre_emphasis": 1.0}, "features.m.pre_emphasis"),
        ({"preset": "gradsvc", "rate": 16000}, "fmax 16000 Hz is above half the rate"),
    ],
)
def test_definitions_that_contradict_themselves_are_refused(values, words):
    with pytest.raises(InputError, match=words):
        check(Settings, {"kind": "mel", **values}, "features.m")
