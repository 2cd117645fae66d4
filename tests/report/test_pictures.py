"""Pictures of sound: a tone stands where it belongs."""

from __future__ import annotations

import io

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


def _voice(hz: float, seconds: float, rate: int = 16000) -> NDArray[np.float32]:
    """A buzz with the harmonics of a voice."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.1 * sum(np.sin(2 * np.pi * k * hz * t) for k in range(1, 9))).astype(np.float32)


def _pitch_rows(picture: bytes) -> NDArray[np.float64]:
    """The middle of the pitch's line in every column where it is, as a share of the height."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(picture)))[::-1]
    line = pixels == pictures.SMALL_SHADES
    places = (np.arange(len(pixels))[:, None] * line).sum(axis=0) / np.maximum(line.sum(axis=0), 1)
    return places[line.any(axis=0)] / (len(pixels) - 1)


@pytest.mark.parametrize("rate", [16000, 24000])
@pytest.mark.parametrize("hz", [90.0, 150.0, 320.0])
def test_the_pitch_is_drawn_at_its_own_height(hz: float, rate: int) -> None:
    rows = _pitch_rows(pictures.small(_voice(hz, 1.0, rate), rate))
    assert len(rows) > 50
    assert np.abs(rows - pictures.pitch_height_of(hz)).max() < 0.02


def test_a_pitch_that_moves_is_one_line_and_noise_has_none() -> None:
    low, high = _voice(110, 0.5), _voice(220, 0.5)
    rows = _pitch_rows(pictures.small(np.concatenate([low, high]), 16000))
    assert rows[5] == pytest.approx(pictures.pitch_height_of(110), abs=0.02)
    assert rows[-5] == pytest.approx(pictures.pitch_height_of(220), abs=0.02)
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    assert len(_pitch_rows(pictures.small(noise, 16000))) < 10


@pytest.mark.parametrize("seconds", [0.001, 0.05, 3.0, 30.0])
def test_a_small_picture_is_small_however_long_the_recording(seconds: float) -> None:
    from PIL import Image

    noise = np.random.default_rng(0).normal(0, 0.1, max(1, round(16000 * seconds))).astype(np.float32)
    picture = pictures.small(noise, 16000)  # nothing is harder to pack
    width, height = Image.open(io.BytesIO(picture)).size
    assert len(picture) < 15_000
    assert height == pictures.SMALL_ROWS
    assert width <= pictures.SMALL_COLUMNS + 1


def test_silence_has_a_small_picture_too() -> None:
    assert len(_pitch_rows(pictures.small(np.zeros(8000, np.float32), 16000))) == 0


def test_a_mark_is_found_again_unless_the_picture_was_cut_off() -> None:
    picture = pictures.small(_voice(150, 0.3), 16000, "1 abc")
    assert pictures.marked(picture, "1 abc")
    assert not pictures.marked(picture, "1 ab")
    assert not pictures.marked(picture[:-1], "1 abc")
    assert picture == pictures.small(_voice(150, 0.3), 16000, "1 abc")
