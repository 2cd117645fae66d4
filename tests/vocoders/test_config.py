import subprocess
import sys

import pytest

from vcpipe.errors import InputError
from vcpipe.settings import check
from vcpipe.training.settings import LoopSettings, lr_at
from vcpipe.vocoders.config import (
    GENERATORS,
    REVISION,
    HifiGanSettings,
    SourceFilterSettings,
    TrainingSettings,
    check_dim,
    check_rates,
    generator_settings,
    of_slice,
)


def made_by(**changes):
    values = {
        "task": "vocoder",
        "revision": REVISION,
        "generator": generator_settings("vocos_small", "g").model_dump(mode="json"),
        "training": TrainingSettings().model_dump(mode="json"),
        "units": {"grid": "16000/320", "dim": 16},
    }
    return values | changes


def test_needs_no_torch():
    code = "import sys, vcpipe.vocoders.config; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", list(GENERATORS))
def test_every_preset_fits_320_samples_per_frame_and_soft_vcs_its_160(name):
    check_rates(generator_settings(name, "x"), 160 if name == "hifigan_softvc" else 320, "x")


def test_a_preset_can_be_overridden():
    settings = generator_settings({"preset": "hifigan_v1", "rates": [10, 4, 2, 2], "kernels": [20, 8, 4, 4]}, "x")
    assert isinstance(settings, HifiGanSettings)
    assert settings.rates == (10, 4, 2, 2)
    assert settings.channels == 512
    check_rates(settings, 160, "x")


def test_rates_that_miss_the_hop_are_refused_with_both_numbers():
    with pytest.raises(InputError, match=r"knnvc\.generator\.rates.*= 320 .*hop of 160"):
        check_rates(generator_settings("hifigan_v1", "knnvc.generator"), 160, "knnvc.generator")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("hifigan_v9", "did you mean 'hifigan_v3'"),
        ({"preset": "hifigan_v1", "kernels": [20, 16, 4, 5]}, "kernel 5 for rate 2: kernel - rate must be even"),
        ({"preset": "hifigan_v1", "kernels": [20, 16, 4]}, "4 stages and kernels 3"),
        ({"preset": "hifigan_v1", "channels": 100}, "cannot be halved 4 times"),
        ({"preset": "vocos_small", "widht": 3}, "did you mean 'width'"),
        ({"width": 3}, "expected a preset"),
        ({"preset": "source_filter_small", "overlap": 3}, "overlap"),
        ({"preset": "source_filter_small", "bands": 1}, "bands"),
    ],
)
def test_mistakes_are_named_with_their_key(value, words):
    with pytest.raises(InputError, match=words) as error:
        generator_settings(value, "knnvc.generator")
    assert "knnvc.generator" in str(error.value)


def test_source_filter_needs_an_even_hop_and_the_columns_of_its_envelope_and_f0():
    settings = generator_settings({"preset": "source_filter_small", "bands": 10, "parts": 2}, "x")
    assert isinstance(settings, SourceFilterSettings)
    check_dim(settings, 22, "knnvc.generator")
    with pytest.raises(InputError, match=r"knnvc\.generator.*have 21 columns, source_filter needs 22 or more"):
        check_dim(settings, 21, "knnvc.generator")
    check_dim(generator_settings("vocos_small", "x"), 1, "x")
    with pytest.raises(InputError, match="needs an even hop, the units have 441"):
        check_rates(settings, 441, "x")


def test_a_run_whose_units_have_no_room_for_the_envelope_is_refused():
    slice_ = made_by(generator=generator_settings("source_filter_small", "g").model_dump(mode="json"))
    with pytest.raises(InputError, match="here generator.*have 16 columns, source_filter needs 258"):
        of_slice(slice_, "here")
    assert of_slice(slice_ | {"units": {"grid": "16000/320", "dim": 258}}, "here").in_dim == 258


def test_training_preset_and_overrides():
    settings = check(TrainingSettings, {"preset": "cpu", "steps": 7}, "t")
    assert (settings.steps, settings.segment_frames, len(settings.mel_scales)) == (7, 48, 4)
    again = check(TrainingSettings, settings.model_dump(mode="json"), "t")
    assert again == settings
    with pytest.raises(InputError, match="did you mean 'cpu'"):
        check(TrainingSettings, {"preset": "cpuu"}, "t")


def test_as_it_stands_it_is_the_released_recipe():
    t = TrainingSettings()
    assert (t.batch, t.segment_frames, t.lr, t.betas, t.lr_decay, t.seed) == (16, 22, 2e-4, (0.8, 0.99), 0.999, 1234)
    assert t.weights.model_dump() == {"mel": 45, "stft": 0, "adversarial": 1, "feature": 2}
    assert [s.model_dump() for s in t.mel_scales] == [{"n_fft": 1024, "hop": 320, "mels": 80}]
    assert lr_at(t, 2_500_000 - 1) == pytest.approx(4.9e-5, rel=0.01)


def test_cosine_rises_falls_and_stays_above_its_floor():
    s = LoopSettings(steps=100, lr=1.0, schedule="cosine", warmup=10, lr_floor=0.1)
    rates = [lr_at(s, i) for i in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.1 < rates[-1] < 0.11


def test_a_slice_of_another_task_or_revision_is_refused():
    assert of_slice(made_by(), "here").grid.hop == 320
    with pytest.raises(InputError, match="here: made by revision 0"):
        of_slice(made_by(revision=0), "here")
    with pytest.raises(InputError, match="expected the run of a vocoder"):
        of_slice(made_by(task="acoustic"), "here")
    with pytest.raises(InputError, match="not the slice of a vocoder"):
        of_slice(made_by(units={}), "here")
