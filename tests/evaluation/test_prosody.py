"""What is kept of a melody and rhythm, on made-up sentences and on recordings."""

import json

import numpy as np
import pytest
import soundfile

from tests.evaluation.speech import sentence
from vcpipe.errors import InputError
from vcpipe.evaluation import prosody
from vcpipe.evaluation.cepstra import Frames, analyse
from vcpipe.evaluation.prosody import compare, identity
from vcpipe.features.world import spectral_envelope, synthesize
from vcpipe.grid import Grid

KEYS = ["f0_corr", "f0_rmse_cents", "vuv_error", "energy_corr", "duration_ratio"]
UNEVEN = np.linspace(0.7, 1.5, 10)


def test_a_recording_kept_all_of_itself():
    wave = sentence()
    found = compare(wave, wave.copy())
    assert list(found) == KEYS
    assert found == pytest.approx({key: 0 if key in ("f0_rmse_cents", "vuv_error") else 1 for key in KEYS}, abs=1e-12)
    assert found["f0_rmse_cents"] == found["vuv_error"] == 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("voice", [{"register": 1.5}, {"register": 0.6}, {"register": 1.5, "tract": 1.15}])
def test_another_voice_with_the_same_melody_is_no_error(voice):
    found = compare(sentence(seconds=4), sentence(seconds=4, **voice))
    print(found)
    assert found["f0_corr"] > 0.99
    assert found["f0_rmse_cents"] < 15
    assert found["vuv_error"] < 0.06
    assert found["energy_corr"] > 0.95
    assert found["duration_ratio"] == 1


@pytest.mark.parametrize(("tempo", "ratio"), [(1.3, 1.3), (0.8, 0.8), (UNEVEN, 1.1)], ids=["slow", "fast", "uneven"])
def test_another_timing_is_aligned(tempo, ratio):
    found = compare(sentence(), sentence(register=1.5, tract=1.15, tempo=tempo))
    print(found)
    assert found["duration_ratio"] == pytest.approx(ratio, abs=0.01)
    assert found["f0_corr"] > 0.97
    assert found["f0_rmse_cents"] < 50
    assert found["vuv_error"] < 0.1
    assert found["energy_corr"] > 0.9


def test_the_same_timing_is_kept():
    """Of two voices that speak in step, warping moves hardly anything."""
    i, j = prosody._match(analyse(sentence()), analyse(sentence(register=1.5, tract=1.15)))
    assert np.abs(i - j).mean() < 0.2


def test_another_sentence_has_another_melody():
    corr = [compare(sentence(a, seconds=4), sentence(a + 1, seconds=4))["f0_corr"] for a in range(0, 8, 2)]
    print(corr)
    assert abs(np.mean(corr)) < 0.5
    assert compare(sentence(0), sentence(1))["f0_rmse_cents"] > 100


def frames(f0_hz, level_db=None):
    """Frames that nothing but their place tells apart: c1 rises, so that they are matched one to one."""
    n = len(f0_hz)
    level = np.zeros(n) - 20 if level_db is None else np.asarray(level_db, float)
    return Frames(np.asarray(f0_hz, float), level, np.repeat(np.arange(n)[:, None] * 5.0, 25, axis=1))


@pytest.fixture
def by_hand(monkeypatch):
    """Compares frames instead of recordings."""

    def run(source, converted):
        given = iter((source, converted))
        monkeypatch.setattr(prosody.cepstra, "analyse", lambda wave, rate: next(given))
        return compare(np.zeros(1, np.float32), np.zeros(1, np.float32))

    return run


def test_the_numbers_by_hand(by_hand):
    a = np.full(100, 100.0)
    a[::2] = 110
    b = 2 * a
    b[:10] *= 2 ** (50 / 1200)
    b[10:15] = 0
    found = by_hand(frames(a), frames(b))
    assert found["f0_rmse_cents"] == pytest.approx(np.sqrt(10 * 50**2 / 95))
    assert found["vuv_error"] == pytest.approx(5 / 100)
    kept = b > 0
    assert found["f0_corr"] == pytest.approx(np.corrcoef(np.log(a[kept]), np.log(b[kept]))[0, 1])


def test_an_octave_jump_counts_half_an_octave(by_hand):
    a = 100 * 2 ** np.linspace(0, 0.5, 100)
    b = a.copy()
    b[50] *= 2
    assert by_hand(frames(a), frames(b))["f0_rmse_cents"] == pytest.approx(600 / 10)


def test_silence_is_all_at_one_level(by_hand):
    levels = np.array([-20.0, -25, -30] * 30 + [-70] * 10)
    other = np.where(levels < -60, -90, levels + 6)
    assert by_hand(frames(np.zeros(100), levels), frames(np.zeros(100), other))["energy_corr"] == pytest.approx(1)


def test_what_cannot_be_said_is_none(by_hand):
    flat, moving = np.full(100, 120.0), np.linspace(100, 200, 100)
    assert by_hand(frames(flat), frames(moving))["f0_corr"] is None
    few = np.where(np.arange(100) < 19, moving, 0)
    found = by_hand(frames(few), frames(moving))
    assert found["f0_corr"] is None
    assert found["f0_rmse_cents"] is None
    assert found["vuv_error"] == pytest.approx(0.81)


def test_silence_has_no_melody():
    silence = np.zeros(16000, np.float32)
    for found in (compare(sentence(), silence), compare(silence, sentence())):
        assert found["f0_corr"] is found["f0_rmse_cents"] is found["energy_corr"] is None
        assert 0 < found["vuv_error"] <= 1
    json.dumps(compare(silence, silence), allow_nan=False)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="found 8000; resample it first"):
        compare(sentence(), sentence(), rate=8000)


def test_the_identity_names_what_decides():
    assert identity()["revision"] == prosody.REVISION
    json.dumps(identity())


def test_recordings_whose_f0_was_set_anew(real_data):
    import pyworld

    files = sorted((real_data / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))
    waves = [soundfile.read(files[i], dtype="float32")[0][:64000] for i in (2, 14, 32)]
    grid = Grid(16000, 80)
    for wave, other in zip(waves, waves[1:] + waves[:1], strict=True):
        f0, times = analyse(wave).f0_hz.repeat(2), (np.arange(len(wave) // 80) + 0.5) * 80 / 16000
        x = wave.astype(np.float64)
        power = spectral_envelope(x, 16000, f0, times, 1024)
        higher = synthesize(1.5 * f0, power, pyworld.d4c(x, f0, times, 16000, fft_size=1024), grid)
        found, unrelated = compare(wave, higher), compare(wave, other)
        print(found, unrelated)
        assert found["f0_corr"] > 0.9
        assert found["f0_rmse_cents"] < 80
        assert found["vuv_error"] < 0.08
        assert found["energy_corr"] > max(0.85, unrelated["energy_corr"])
        assert abs(unrelated["f0_corr"]) < 0.6
        assert unrelated["f0_rmse_cents"] > 150
