from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.features import world as features
from vcpipe.grid import Grid
from vcpipe.systems.knnvc import world

RATE = 16000
GRID = Grid(RATE, 80)


def vowel(seconds: float, hz: float, formants: tuple[float, ...], depth: float = 0.15, seed: int = 0) -> Wave:
    """`(N,)` float32: harmonics of a wavering f0 under formants, and a little breath."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(hz * 2 ** (depth * np.sin(2 * np.pi * 1.5 * t))) / RATE
    wave = 0.01 * np.random.default_rng(seed).standard_normal(len(t))
    for k in range(1, int(6500 / hz)):
        wave += sum(1 / (1 + ((k * hz - f) / 120) ** 2) for f in formants) / k**0.5 * np.sin(k * phase)
    return (0.2 * wave / np.abs(wave).max()).astype(np.float32)


LOW = vowel(1.2, 110, (500, 1500, 2500))
HIGH = vowel(1.2, 210, (650, 1900, 3000), depth=0.3, seed=1)


def f0(wave: Wave) -> np.ndarray:
    return features.f0_at_cells(wave, GRID, world.FLOOR_HZ, world.CEIL_HZ)[0]


def median_hz(wave: Wave) -> float:
    found = f0(wave)
    return float(np.median(found[found > 0]))


def distance(a: world.Voice, b: world.Voice) -> float:
    """Of the mean envelopes, without their loudness."""
    return float(np.linalg.norm((a.cepstrum_mean - b.cepstrum_mean)[1:]))


@pytest.fixture(scope="module")
def low() -> world.Voice:
    return world.voice([LOW])


@pytest.fixture(scope="module")
def high() -> world.Voice:
    return world.voice([HIGH])


@pytest.fixture(scope="module")
def converted(low: world.Voice, high: world.Voice) -> Wave:
    return world.convert(LOW, low, high)


def test_the_same_voice_comes_back(low: world.Voice) -> None:
    again = world.convert(LOW, low, low)
    assert again.dtype == np.float32 and len(again) == GRID.samples(GRID.frames(len(LOW)))
    a, b = f0(LOW), f0(again)
    both = (a > 0) & (b > 0)
    assert both.mean() > 0.9 and np.abs(b[both] / a[both] - 1).mean() < 0.01
    assert distance(world.voice([again]), low) < 0.1


@pytest.mark.parametrize("spread", [False, True])
def test_pitch_and_envelope_move_to_the_target(
    low: world.Voice, high: world.Voice, converted: Wave, spread: bool
) -> None:
    wave = world.convert(LOW, low, high, spread=True) if spread else converted
    assert median_hz(wave) == pytest.approx(median_hz(HIGH), rel=0.03)
    found = world.voice([wave])
    assert found.log_f0_spread == pytest.approx(high.log_f0_spread, rel=0.1)
    assert distance(found, high) < 0.3 * distance(low, high)


def test_the_loudness_and_the_contour_stay(low: world.Voice, high: world.Voice, converted: Wave) -> None:
    louder = replace(high, cepstrum_mean=high.cepstrum_mean + np.eye(world.DIMS)[0])
    assert np.array_equal(world.convert(LOW, low, louder), converted)
    a, b = f0(LOW), f0(converted)
    both = (a > 0) & (b > 0)
    assert np.corrcoef(np.log(a[both]), np.log(b[both]))[0, 1] > 0.95


def test_a_flat_voice_is_not_stretched(low: world.Voice, high: world.Voice) -> None:
    assert np.isfinite(world.convert(LOW[: RATE // 2], replace(low, log_f0_spread=0.0), high)).all()


def test_a_long_recording_counts_as_its_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "PIECE_S", 1)
    pieces, whole = world.voice([LOW]), world.voice([LOW[:RATE], LOW[RATE:]])
    assert pieces.log_f0_median == whole.log_f0_median
    assert np.array_equal(pieces.cepstrum_mean, whole.cepstrum_mean)


def test_a_speaker_without_a_voiced_frame_is_refused() -> None:
    with pytest.raises(InputError, match="expected voiced frames, found none in 2 recordings"):
        world.voice([np.zeros(RATE, np.float32), np.zeros(10, np.float32)])


def test_on_speech(real_data: Path) -> None:
    def recording(speaker: str) -> Wave:
        path = min((real_data / "corpora/LibriSpeech/test-other" / speaker).rglob("*.flac"))
        return soundfile.read(path, dtype="float32", stop=2 * RATE)[0]

    woman, man = recording("533"), recording("2414")
    own, target = world.voice([woman]), world.voice([man])
    converted = world.convert(woman, own, target)
    assert median_hz(converted) == pytest.approx(median_hz(man), rel=0.1)
    assert distance(world.voice([converted]), target) < 0.6 * distance(own, target)
