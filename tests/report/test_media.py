"""The files of a site: each once, opaque names, nothing written twice, nothing left over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.report.made_up import RATE, tone, write
from vcpipe.errors import InputError
from vcpipe.report import media
from vcpipe.report.media import NATURAL, media_name


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    write(tmp_path / "row" / "a.wav", tone(120, 0.4))
    (tmp_path / "media").mkdir()
    return tmp_path / "row" / "a.wav"


def test_a_name_tells_nothing_and_is_the_trials_own() -> None:
    names = {media_name(row, name) for row in ("knnvc", "linearvc", NATURAL) for name in ("a", "b")}
    assert len(names) == 6
    assert all(len(name) == 20 and set(name) <= set("0123456789abcdef") for name in names)
    assert media_name("knnvc", "a") == "4df2c14d69ae29f9f964"  # a link to it stays good


def test_a_conversion_is_a_hard_link_with_a_picture(wav: Path, tmp_path: Path) -> None:
    seconds, written = media.converted(tmp_path / "media", "x", wav)
    assert (seconds, written) == (pytest.approx(0.4), True)
    assert os.path.samefile(tmp_path / "media" / "x.wav", wav)
    assert 200 < (tmp_path / "media" / "x.png").stat().st_size < 15_000
    assert media.converted(tmp_path / "media", "x", wav) == (seconds, False)


def test_where_no_link_is_possible_it_is_a_copy(wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", refuse)
    assert media.converted(tmp_path / "media", "x", wav)[1]
    assert not os.path.samefile(tmp_path / "media" / "x.wav", wav)
    assert (tmp_path / "media" / "x.wav").read_bytes() == wav.read_bytes()
    assert not media.converted(tmp_path / "media", "x", wav)[1]


def test_another_sound_under_a_name_replaces_both_files(wav: Path, tmp_path: Path) -> None:
    media.converted(tmp_path / "media", "x", wav)
    before = (tmp_path / "media" / "x.png").read_bytes()
    wav.unlink()
    write(wav, tone(240, 0.4))
    assert media.converted(tmp_path / "media", "x", wav)[1]
    assert (tmp_path / "media" / "x.wav").read_bytes() == wav.read_bytes()
    assert (tmp_path / "media" / "x.png").read_bytes() != before


@pytest.mark.parametrize("damage", [b"", b"short"])
@pytest.mark.parametrize("name", ["x.wav", "x.png"])
def test_a_damaged_file_is_made_again(name: str, damage: bytes, wav: Path, tmp_path: Path) -> None:
    media.converted(tmp_path / "media", "x", wav)
    good = (tmp_path / "media" / name).read_bytes()
    (tmp_path / "media" / name).unlink()  # it may be a link
    (tmp_path / "media" / name).write_bytes(damage)
    assert media.converted(tmp_path / "media", "x", wav)[1]
    assert (tmp_path / "media" / name).read_bytes() == good


def test_pictures_of_an_older_kind_are_drawn_again(wav: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    media.converted(tmp_path / "media", "x", wav)
    monkeypatch.setattr(media, "REVISION", media.REVISION + 1)
    assert media.converted(tmp_path / "media", "x", wav)[1]


@pytest.mark.parametrize("content", [None, b"", b"RIFF no sound"])
def test_a_conversion_that_is_not_there_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.wav: expected a converted recording, found none.*render the row again"):
        media.converted(tmp_path, "x", tmp_path / "a.wav")


def test_a_recording_of_the_corpus_is_flac_to_the_sample_and_written_once(tmp_path: Path) -> None:
    wave = tone(150, 0.5)
    assert media.natural(tmp_path, "n", wave, RATE) == (pytest.approx(0.5), True)
    there, rate = soundfile.read(tmp_path / "n.flac", dtype="float32")
    assert rate == RATE
    assert np.abs(there - wave).max() < 2**-14
    assert not media.natural(tmp_path, "n", wave, RATE)[1]
    assert media.natural(tmp_path, "n", -wave, RATE)[1]
    assert media.natural(tmp_path, "n", -wave, 2 * RATE)[1]
    (tmp_path / "n.flac").write_bytes(b"fLaC")
    assert media.natural(tmp_path, "n", -wave, RATE)[1]


def test_what_is_not_named_goes(wav: Path, tmp_path: Path) -> None:
    for stem in ("x", "y"):
        media.converted(tmp_path / "media", stem, wav)
    shutil.copy(wav, tmp_path / "media" / ".z.wav.tmp")
    assert media.sweep(tmp_path / "media", {"x.wav", "x.png"}) == 3
    assert sorted(path.name for path in (tmp_path / "media").iterdir()) == ["x.png", "x.wav"]
    assert wav.exists()
