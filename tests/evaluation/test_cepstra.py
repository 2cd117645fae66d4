"""Mel-cepstra, their alignment and distortion, on made-up sentences and on recordings."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from tests.evaluation.speech import sentence
from vcpipe.errors import InputError
from vcpipe.evaluation import cepstra
from vcpipe.evaluation.cepstra import Frames, align, analyse, identity, mcd, mel_cepstra, warping

FREQUENCIES = np.linspace(0, np.pi, 513)


def warped(omega, alpha):
    """Where an all-pass filter of the first order puts a frequency; both in radians."""
    return omega + 2 * np.arctan(alpha * np.sin(omega) / (1 - alpha * np.cos(omega)))


@pytest.mark.parametrize("alpha", [0.0, 0.42])
def test_the_coefficients_are_the_envelope_over_warped_frequencies(alpha):
    log_amplitude = 2 * np.cos(3 * FREQUENCIES) + np.cos(11 * FREQUENCIES) - 4
    found = mel_cepstra(np.exp(2 * log_amplitude)[None], order=200, alpha=alpha)
    again = found @ np.cos(np.outer(np.arange(201), warped(FREQUENCIES, alpha)))
    assert again[0] == pytest.approx(log_amplitude, abs=1e-6)


def test_a_gain_is_all_in_c0():
    power = np.abs(np.random.default_rng(0).normal(size=(4, 513))) + 0.1
    difference = mel_cepstra(100 * power) - mel_cepstra(power)
    assert difference[:, 0] == pytest.approx(np.log(10))
    assert difference[:, 1:] == pytest.approx(0, abs=1e-12)


def test_without_warping_a_cepstrum_stays():
    assert np.array_equal(warping(40, 24, 0.0), np.eye(40, 25))


def test_the_distance_is_in_decibels(monkeypatch):
    a, b = np.zeros((30, 25)), np.zeros((30, 25))
    a[:, 0], b[:, 1], b[:, 2] = 9, 0.3, 0.4  # c0 does not count
    frames = {0.0: a, 1.0: b}
    monkeypatch.setattr(
        cepstra, "analyse", lambda wave, rate: Frames(np.zeros(30), np.zeros(30) - 20, frames[float(wave[0])])
    )
    assert mcd(np.zeros(1), np.ones(1)) == pytest.approx(10 / np.log(10) * np.sqrt(2) * 0.5)


def test_a_recording_and_itself_are_nothing_apart():
    wave = sentence()
    assert mcd(wave, wave) == 0
    assert mcd(wave, wave.copy()) == 0
    i, j = align(analyse(wave).cepstra, analyse(wave).cepstra, aside=2)
    assert np.array_equal(i, np.arange(len(wave) // 160))
    assert np.array_equal(i, j)


def test_other_voices_are_farther_apart_and_other_words_farthest():
    wave = sentence(seconds=4)
    found = [
        mcd(sentence(seconds=4, register=1.2), wave),
        mcd(sentence(seconds=4, tract=1.1), wave),
        mcd(sentence(seconds=4, tract=1.2), wave),
        mcd(sentence(1, seconds=4, tract=1.2), wave),
    ]
    print("MCD in dB:", np.round(found, 2))
    assert found == sorted(found)
    assert 1 < found[0] < 3 < found[2] < 6


def test_tempo_and_loudness_change_little():
    wave, slow = sentence(tract=1.15), sentence(tempo=1.3)
    assert mcd(slow, wave) == pytest.approx(mcd(sentence(), wave), abs=1)
    assert mcd(wave / 4, wave) < 0.05


def test_noise_is_heard_the_more_the_louder_it_is():
    wave = sentence()
    noise = np.random.default_rng(0).normal(0, 1, len(wave)).astype(np.float32)
    found = [mcd(wave + gain * noise, wave) for gain in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2)]
    print("MCD in dB:", np.round(found, 2))
    assert found == sorted(found)


def test_silence_is_left_out():
    wave = sentence()
    quiet = np.random.default_rng(0).normal(0, 1e-4, 16000).astype(np.float32)
    padded = np.concatenate([quiet, wave, quiet])
    assert analyse(padded).speech[:95].sum() == 0
    assert mcd(padded, wave) < 0.3
    assert mcd(np.zeros(16000, np.float32), wave) is None
    assert mcd(wave, np.zeros(16000, np.float32)) is None


def test_frames_stand_in_the_middle_of_cells_and_do_not_depend_on_what_came_before():
    wave = sentence()
    frames = analyse(wave)
    assert [len(values) for values in frames] == [len(wave) // 160] * 3
    assert frames.cepstra.shape[1] == 25
    click = np.zeros(16000, np.float32)
    click[1600 + 80] = 0.5
    assert abs(int(np.argmax(np.convolve(analyse(click).level_db, np.ones(3), "same"))) - 10) <= 1
    cepstra._analyse.cache_clear()
    with ThreadPoolExecutor(3) as pool:
        others = list(pool.map(analyse, [sentence(1), wave, sentence(2)]))
    assert all(np.array_equal(a, b) for a, b in zip(others[1], frames, strict=True))


def test_octave_errors_are_rare():
    for register in (0.6, 1.0, 1.8):
        f0 = analyse(sentence(3, register=register, seconds=4)).f0_hz
        middle = np.median(f0[f0 > 0])
        assert (np.abs(np.log2(f0[f0 > 0] / middle)) > 0.9).mean() < 0.01


@pytest.mark.parametrize(
    ("wave", "rate", "message"),
    [
        (np.zeros(1600, np.float32), 22050, "expected a recording at 16000 samples/s, found 22050"),
        (np.zeros(159, np.float32), 16000, r"of 160 samples at least, found float32 \(159,\)"),
        (np.zeros((2, 1600), np.float32), 16000, r"found float32 \(2, 1600\)"),
        (np.zeros(1600, np.int16), 16000, "found int16"),
        (np.full(1600, np.nan, np.float32), 16000, "is not finite"),
    ],
    ids=["rate", "short", "channels", "integers", "nan"],
)
def test_what_cannot_be_measured_is_refused(wave, rate, message):
    with pytest.raises(InputError, match=message):
        mcd(wave, wave, rate)


def test_the_identity_names_what_decides():
    assert identity()["mel_cepstrum"] == {"order": 24, "alpha": 0.42, "c0": False}
    assert identity()["revision"] == cepstra.REVISION


def test_the_numbers_of_this_revision():
    """Raise REVISION when these have to change."""
    assert cepstra.REVISION == 1
    assert mcd(sentence(tract=1.15), sentence()) == pytest.approx(3.115, abs=0.02)


def test_on_recordings_noise_adds_up_and_another_sentence_is_far(real_data):
    files = sorted((real_data / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))
    a, b = (soundfile.read(files[i], dtype="float32")[0][:48000] for i in (2, 30))
    noise = np.random.default_rng(0).normal(0, 1, len(a)).astype(np.float32)
    found = [mcd((a + gain * noise).astype(np.float32), a) for gain in (0, 1e-3, 4e-3, 1.6e-2)]
    print("MCD in dB:", np.round(found, 2), "another speaker and sentence", mcd(b, a))
    assert found[0] == 0
    assert found == sorted(found)
    assert mcd(b, a) > 8
