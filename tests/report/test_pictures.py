"""Pictures of sound: a tone stands where it belongs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vcpipe.report import pictures


def _tone(hz: float, seconds: float, rate: int) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
@pytest.mark.parametrize("hz", [440.0, 3000.0])
def test_a_tone_is_bright_at_its_own_height(hz: float, rate: int) -> None:
    level = pictures.levels_db(_tone(hz, 0.5, rate), rate)
    brightest = pictures.mel_spaced_hz()[level.mean(axis=1).argmax()]
    assert abs(brightest - hz) < 0.04 * hz
    assert level.shape == (pictures.ROWS, round(0.5 / pictures.HOP_S))
    assert level.max() == 0


def test_silence_has_a_picture() -> None:
    level = pictures.levels_db(np.zeros(8000, np.float32), 16000)
    assert (level == -pictures.RANGE_DB).all()


def test_nothing_is_drawn_above_half_the_rate() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    level = pictures.levels_db(noise, 8000)
    above = pictures.mel_spaced_hz() > 4000
    assert (level[above] == -pictures.RANGE_DB).all()
    assert level[~above].min() > -pictures.RANGE_DB


def test_a_recording_shorter_than_a_pixel_has_a_picture() -> None:
    assert pictures.levels_db(_tone(1000, 0.001, 16000), 16000).shape == (pictures.ROWS, 1)


def test_heights_rise_from_bottom_to_top() -> None:
    heights = [pictures.height_of(hz) for hz in pictures.TICKS_HZ]
    assert heights == sorted(heights)
    assert (heights[0], heights[-1]) == (0, 1)
