"""Where speech begins and ends, in silence and in real speech."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from vcpipe import vad
from vcpipe.vad import speech_bounds

PAUSE_S = 1.5


@pytest.fixture(scope="module")
def recordings(real_data: Path) -> list[NDArray[np.float32]]:
    folders = sorted(real_data.glob("corpora/LibriSpeech/test-other/*/*"))
    paths = itertools.islice((min(folder.glob("*.flac")) for folder in itertools.cycle(folders)), 3)
    paths = [*paths, *itertools.islice(sorted(real_data.glob("corpora/LibriSpeech/train-clean-100/*/*/*.flac")), 7)]
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


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


def test_the_spans_are_those_of_silero(recordings: list[NDArray[np.float32]]) -> None:
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    model = load_silero_vad()
    noise = np.random.default_rng(0)
    noisy = [w + noise.normal(0, 0.03, len(w)).astype(np.float32) for w in recordings[:2]]
    gaps = np.concatenate([part for w in recordings[:4] for part in (w[8000:40000], np.zeros(20000, np.float32))])
    found = 0
    for wave in [*recordings, *noisy, gaps, gaps[:40001]]:
        lead = np.zeros(vad.LEAD * vad.FRAME, np.float32)
        theirs = get_speech_timestamps(torch.from_numpy(np.concatenate([lead, wave])), model)
        expected = [(max(0, span["start"] - len(lead)), span["end"] - len(lead)) for span in theirs]
        assert vad.silero_spans(wave) == expected
        found += len(theirs)
    assert found > 30


def test_a_span_is_opened_closed_dropped_and_padded_as_silero_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from silero_vad import get_speech_timestamps_from_probs

    draw = np.random.default_rng(0)
    for _ in range(200):
        n_frames = int(draw.integers(1, 200))
        walk = np.cumsum(draw.normal(0, 0.15, n_frames)) + 0.45
        odds = np.clip(walk, 0, 1).astype(np.float32)
        n = n_frames * vad.FRAME - int(draw.integers(0, vad.FRAME))
        monkeypatch.setattr(vad, "speech_probabilities", lambda wave, odds=odds: odds)
        theirs = get_speech_timestamps_from_probs(odds.tolist(), audio_length_samples=n)
        assert vad.silero_spans(np.zeros(n, np.float32)) == [(span["start"], span["end"]) for span in theirs]


def test_speech_that_begins_with_the_recording_is_found(speech: NDArray[np.float32]) -> None:
    inner = speech[slice(*vad.silero_spans(speech)[0])][vad.PAD :]
    assert vad.silero_spans(inner)[0][0] <= 0.1 * vad.RATE


def test_blocks_leave_no_trace(speech: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vad.speech_probabilities(speech)
    assert whole.shape == (-(-len(speech) // 512),)
    monkeypatch.setattr(vad, "BLOCK", 7)
    np.testing.assert_allclose(vad.speech_probabilities(speech), whole, atol=1e-6)
    assert vad.speech_probabilities(speech[:0]).shape == (0,)
    assert vad.silero_spans(speech[:1]) == []


def test_no_torch_is_imported() -> None:
    code = (
        "import sys, numpy as np\nfrom vcpipe import vad\nassert 'onnxruntime' not in sys.modules\n"
        "vad.silero_spans(np.zeros(16000, np.float32))\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not done.stderr


def test_energy_bridges_short_silences_and_drops_clicks() -> None:
    wave = np.zeros(32000, np.float32)
    for start, stop in ((3200, 6400), (7680, 9600), (16000, 22400), (30000, 30100)):
        wave[start:stop] = 0.2 * np.sin(np.arange(stop - start)).astype(np.float32)
    assert vad.energy_spans(wave, 16000, 40) == [(3200, 9600), (16000, 22400)]  # 80 ms between the first two
    assert vad.energy_spans(wave + np.float32(0.3), 16000, 40) == [(3200, 9600), (16000, 22400)]
