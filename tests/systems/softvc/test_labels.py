"""Labels of pitch and loudness, through the project's own features."""

import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.features import energy, f0
from vcpipe.settings import check
from vcpipe.systems.softvc.classifier_settings import ClassifierSettings
from vcpipe.systems.softvc.labels import classes_of, dynamics_classes, pitch_classes

SETTINGS = ClassifierSettings()
TIMES = np.arange(16000) / 16000


def class_hz(classes, settings):
    """The middle of each class in Hz, 0 where unvoiced."""
    return torch.where(classes > 0, settings.low_hz * 2 ** ((classes - 0.5) / 12), 0.0)


def heard(wave, **settings):
    """Classes of a recording at 16 kHz, by the project's f0 on the grid of the encoder."""
    track = f0.load(f0.Settings(hop=320, **settings))(wave.astype(np.float32))
    return pitch_classes(torch.from_numpy(track), SETTINGS)


@pytest.mark.parametrize(("method", "harmonics"), [("praat", 1), ("praat", 5), ("harvest", 5)])
@pytest.mark.parametrize("hz", [110.0, 440.0, 523.25, 700.0, 1000.0])
def test_a_tone_is_labelled_with_its_own_pitch_and_no_voice_folds(method, harmonics, hz):
    """With another rate assumed (22,050 for 16,000) it would be 5.6 semitones off; 700 Hz would be below 400."""
    wave = sum(0.3 / k * np.sin(2 * np.pi * k * hz * TIMES) for k in range(1, harmonics + 1))
    found = heard(wave, method=method)[5:-5]
    assert bool((found > 0).all())
    semitones = 12 * torch.log2(class_hz(found, SETTINGS) / hz)
    assert float(semitones.abs().max()) <= 0.51, "the middle of its class lies within half a semitone"


def test_unvoiced_is_a_class_of_its_own():
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000)
    half = np.where(TIMES < 0.5, 0.3 * np.sin(2 * np.pi * 220 * TIMES), 0.0)
    assert not heard(np.zeros(16000), method="praat").any()
    assert float((heard(noise, method="praat") == 0).float().mean()) > 0.8
    found = heard(half, method="praat")
    assert bool((found[3:22] > 0).all()) and not found[28:].any()
    silent_but_high = torch.tensor([[440.0, 0.0], [0.0, 1.0]])
    assert pitch_classes(silent_but_high, SETTINGS).tolist() == [0, 0]


def test_a_class_is_a_semitone_and_none_is_dead():
    count = SETTINGS.classes("pits")
    assert count == 1 + 54
    edges = 50.0 * 2 ** (np.arange(54) / 12)
    inside = torch.tensor(np.stack([edges * 1.01, np.ones(54)], 1), dtype=torch.float32)
    assert pitch_classes(inside, SETTINGS).tolist() == list(range(1, 55))
    beyond = torch.tensor([[20.0, 1.0], [3000.0, 1.0]])
    assert pitch_classes(beyond, SETTINGS).tolist() == [1, 54]
    assert ClassifierSettings(low_hz=100, high_hz=200).classes("pits") == 13
    middles = class_hz(torch.arange(count), SETTINGS)
    again = pitch_classes(torch.stack([middles, middles], 1), SETTINGS)
    assert torch.equal(again, torch.arange(count))


def test_bins_of_dynamics_are_of_equal_width_in_decibels():
    db = torch.tensor([-100.0, -70.1, -69.9, -35.0, -0.1, 0.0, 5.0])[:, None]
    assert dynamics_classes(db, SETTINGS).tolist() == [0, 0, 1, 17, 32, 32, 32]
    assert SETTINGS.classes("dyns") == 33
    width = torch.arange(-69.999, 0, 70 / 32)[:, None]
    assert dynamics_classes(width, SETTINGS).tolist() == list(range(1, 33))


def test_half_as_loud_is_six_decibels_lower():
    wave = np.sin(2 * np.pi * 200 * TIMES).astype(np.float32)
    track = energy.load(energy.Settings(hop=320))
    loud, soft = (classes_of(torch.from_numpy(track(g * wave)), "dyns", SETTINGS) for g in (0.4, 0.2))
    assert set((loud - soft).tolist()) <= {2, 3}
    assert loud.shape == (50,)


@pytest.mark.parametrize(("key", "values"), [("low_hz", {"low_hz": 1200}), ("low_db", {"low_db": 0, "high_db": -5})])
def test_an_empty_range_is_refused(key, values):
    with pytest.raises(InputError, match=f"{key} .* must be lower than"):
        check(ClassifierSettings, values, "softvc.classifier")
