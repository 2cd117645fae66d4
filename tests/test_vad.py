"""Where speech begins and ends, in silence and in real speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from vcpipe.vad import speech_bounds

PAUSE_S = 1.5


@pytest.fixture(scope="module")
def speech(real_data: Path) -> NDArray[np.float32]:
    path = min(real_data.glob("corpora/LibriSpeech/test-other/*/*/*.flac"))
    return soundfile.read(path, dtype="float32", stop=6 * 16000)[0]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_silence_is_kept_whole_and_said_so(rate: int, caplog: pytest.LogCaptureFixture) -> None:
    assert speech_bounds(np.zeros(rate, np.float32), rate) == (0, rate)
    assert "no speech found in 1.00 s" in caplog.text


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_pauses_around_real_speech_are_cut_at_every_rate(speech: NDArray[np.float32], rate: int) -> None:
    start, stop = speech_bounds(speech, 16000)
    inner = speech[start:stop]
    pause = np.random.default_rng(0).normal(0, 1e-4, round(PAUSE_S * 16000)).astype(np.float32)
    wave = np.concatenate([pause, inner, pause])
    wave = wave if rate == 16000 else soxr.resample(wave, 16000, rate)
    start, stop = speech_bounds(wave, rate)
    assert start / rate == pytest.approx(PAUSE_S, abs=0.15)
    assert stop / rate == pytest.approx(PAUSE_S + len(inner) / 16000, abs=0.15)
