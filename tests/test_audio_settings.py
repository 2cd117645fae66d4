"""What a copy of the recordings can be told, and what is refused by its key."""

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from vcpipe.audio_settings import RATES, AudioSettings

FULL: dict[str, Any] = {
    "rate": 24000,
    "gates": {"min_snr_db": 15},
    "trim": {"by": "energy", "pad_s": 0.2},
    "slice": {"min_s": 1, "max_s": 8},
    "denoise": {"method": "logmmse", "strength": 0.5},
    "augment": {"seed": 3, "formant": [0.8, 1.2], "snr_db": [10, 30]},
    "loudness": {"kind": "rms", "level": -30, "raise_only": True},
}


def test_the_plain_copy_is_as_it_always_was() -> None:
    plain = AudioSettings()
    assert plain.model_dump(exclude_none=True) == {"rate": 16000, "min_s": 0.5, "max_s": 3600.0, "silence_dbfs": -70.0}


@pytest.mark.parametrize("rate", [*RATES, 8000, 192000])
def test_every_rate_of_whole_ticks_is_taken(rate: int) -> None:
    assert AudioSettings(rate=rate).rate == rate


@pytest.mark.parametrize("rate", [11025, 7950, 192050, 0, -16000])
def test_other_rates_are_refused(rate: int) -> None:
    with pytest.raises(ValidationError):
        AudioSettings(rate=rate)


def test_settings_survive_being_written_down() -> None:
    made = AudioSettings(**FULL)
    written = made.model_dump(mode="json", exclude_none=True)
    assert written["trim"]["top_db"] == 40  # the default of energy stands in the slice
    assert AudioSettings(**written) == made
    assert AudioSettings.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trim": {"pads": 1}}, "pads"),
        ({"trim": {"by": "silero", "top_db": 30}}, "remove top_db"),
        ({"slice": {"min_s": 3, "max_s": 5}}, r"slice\.max_s \(5\).*twice slice\.min_s"),
        ({"slice": {"min_s": 0.3}}, r"slice\.min_s \(0\.3\) is below min_s"),
        ({"min_s": 2, "max_s": 1}, r"max_s \(1\) is below min_s"),
        ({"denoise": {"method": "spectral", "strength": 1.5}}, "denoise.strength"),
        ({"loudness": {"kind": "peak", "level": -3}}, r"loudness\.level of kind peak"),
        ({"loudness": {"kind": "bs1770", "level": 0.6}}, r"loudness\.level of kind bs1770.*LUFS"),
        ({"loudness": {"kind": "bs1770", "level": -16}, "min_s": 0.2}, "raise min_s"),
        ({"loudness": {"kind": "bs1770", "level": -16}, "augment": {"speed": [1, 2]}}, "raise min_s"),
        ({"loudness": {"kind": "peak", "level": 0.6}, "augment": {"gain_db": [-6, 0]}}, r"augment\.gain_db is undone"),
        ({"augment": {"seed": 1}}, "augment changes nothing"),
        ({"augment": {"speed": [1.1, 0.9]}}, "lowest, highest"),
        ({"augment": {"pitch": [0, 2], "pitch_floor_hz": 700}}, "pitch_floor_hz"),
        ({"augment": {"pitch": [0, 2]}, "min_s": 0.05}, "need min_s of at least 0.1"),
        ({"gates": {"max_clipped_share": 2}}, "max_clipped_share"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AudioSettings(**values)


def test_copies_that_are_cut_alike_are_known_by_it() -> None:
    cut = AudioSettings(**FULL).cut()
    for change in ({"rate": 48000}, {"denoise": None}, {"loudness": None}, {"augment": None}):
        assert AudioSettings(**{**FULL, **change}).cut() == cut
    for change in ({"min_s": 0.6}, {"trim": None}, {"slice": None}, {"gates": None}, {"silence_dbfs": -60}):
        assert AudioSettings(**{**FULL, **change}).cut() != cut
    faster = {"seed": 3, "speed": [0.9, 1.1]}
    assert AudioSettings(**{**FULL, "augment": faster}).cut() != cut  # other numbers of frames


def test_reading_the_settings_imports_no_numpy() -> None:
    code = "import sys, vcpipe.audio_settings; assert not {'numpy', 'torch', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
