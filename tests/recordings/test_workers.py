"""Recordings in child processes: order, exact samples, and one reject for a file that takes its process with it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, tone
from tests.fuzz.recordings import aac
from vcpipe import audio
from vcpipe.audio_settings import AudioSettings
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.recordings import process as process_module
from vcpipe.recordings import workers
from vcpipe.recordings.process import Piece, Refusal, process
from vcpipe.recordings.workers import processed

SETTINGS = AudioSettings(min_s=0.3)
Parts = list[Piece | Refusal]


def candidates(folder: Path, lengths: list[float]) -> list[Candidate]:
    for i, seconds in enumerate(lengths):
        soundfile.write(folder / f"u{i}.wav", tone(seconds, 100 + 10 * i, seed=i), RATE, subtype="FLOAT")
    return [Candidate(f"s/u{i}", "s", f"u{i}.wav") for i in range(len(lengths))]


def all_of(listed: list[Candidate], root: Path, n: int, settings: AudioSettings = SETTINGS) -> list[Parts]:
    return list(processed(listed, root, settings, n))


def same(a: Parts, b: Parts) -> bool:
    def plain(part: Piece | Refusal) -> object:
        return (
            part
            if isinstance(part, Refusal)
            else (part.utt_id, part.wave.tobytes(), part.start_s, part.stop_s, part.quality, part.forced)
        )

    return [plain(part) for part in a] == [plain(part) for part in b]


@pytest.mark.parametrize("n", [0, 1, 3, 9])
def test_children_give_what_one_call_here_gives_in_order(tmp_path: Path, n: int) -> None:
    listed = candidates(tmp_path, [1.0, 0.2, 2.5, 0.7, 1.2])
    settings = AudioSettings(min_s=0.3, slice={"by": "energy", "top_db": 30, "min_s": 0.5, "max_s": 1.1})
    found = all_of(listed, tmp_path, n, settings)
    assert all(
        same(parts, process(tmp_path / c.path, settings, c.utt_id)) for c, parts in zip(listed, found, strict=True)
    )
    assert [len(parts) > 1 for parts in found] == [False, False, True, False, True]
    assert isinstance(found[1][0], Refusal) and isinstance(found[0][0], Piece)
    assert found[0][0].wave.dtype == np.float32


def test_no_recordings_are_no_results(tmp_path: Path) -> None:
    assert all_of([], tmp_path, 4) == []


def patched(monkeypatch: pytest.MonkeyPatch, guilty: str, how: Callable[[], object]) -> None:
    """One recording does something else to its process than to be processed."""

    def wrapped(path: str, settings: AudioSettings, utt_id: str) -> Parts:
        if utt_id == guilty:
            how()
        return process(path, settings, utt_id)

    monkeypatch.setattr(workers, "process", wrapped)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("how", "reason", "detail"),
    [
        (os.abort, "crashed", "its decoder ended: killed by SIGABRT"),
        (lambda: os._exit(3), "crashed", "its decoder ended: ended by itself with code 3"),
        (lambda: bytearray(1 << 46), "crashed", "its decoder ended: out of memory"),
        (lambda: time.sleep(60), "timed_out", "no result after 0.6 s"),
    ],
    ids=["abort", "exit", "memory", "sleep"],
)
def test_a_recording_that_ends_its_process_is_one_refusal_and_the_rest_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int, how: Callable[[], object], reason: str, detail: str
) -> None:
    listed = candidates(tmp_path, [1.0, 0.6, 0.8, 0.7])
    whole = all_of(listed, tmp_path, 2)
    patched(monkeypatch, "s/u1", how)
    if reason == "timed_out":
        monkeypatch.setattr(audio, "limit_s", lambda path: 0.6 if str(path).endswith("u1.wav") else 60.0)
    found = all_of(listed, tmp_path, n)
    assert found[1] == [Refusal("s/u1", reason, detail)]
    assert reason in audio.REASONS
    assert all(same(found[i], whole[i]) for i in (0, 2, 3))


def test_a_fault_of_our_own_code_is_no_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = candidates(tmp_path, [1.0, 0.6])
    patched(monkeypatch, "s/u1", lambda: {"a": 1}["nothing"])
    with pytest.raises(RuntimeError, match="(?s)u1.wav: Traceback.*KeyError: 'nothing'"):
        all_of(listed, tmp_path, 2)


def test_work_after_decoding_is_not_held_to_the_limit_of_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = candidates(tmp_path, [1.0, 0.6])
    whole = all_of(listed, tmp_path, 1)
    in_stage(monkeypatch, lambda: time.sleep(1.5))
    monkeypatch.setattr(audio, "limit_s", lambda path: 0.7)
    found = all_of(listed, tmp_path, 1)
    assert all(same(a, b) for a, b in zip(found, whole, strict=True))


def test_work_after_decoding_that_does_not_end_is_no_reject_but_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = candidates(tmp_path, [1.0, 0.6])
    in_stage(monkeypatch, lambda: time.sleep(60))
    monkeypatch.setattr(process_module, "limit_s", lambda duration_s, settings: duration_s)
    with pytest.raises(
        InputError, match=r"u0\.wav: expected an end .* found no result after 1 s; run it again"
    ) as error:
        all_of(listed, tmp_path, 2)
    assert "\n" not in str(error.value)


def in_stage(monkeypatch: pytest.MonkeyPatch, what: Callable[[], object]) -> None:
    """Something else happens where a decoded recording is resampled."""
    resampled = audio.resampled

    def wrapped(*args: Any) -> audio.Wave:
        what()
        return resampled(*args)

    monkeypatch.setattr(audio, "resampled", wrapped)


@pytest.mark.parametrize("n", [1, 2])
def test_a_package_that_is_missing_is_one_line_naming_the_recording_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    pytest.importorskip("av")
    (tmp_path / "a.m4a").write_bytes(aac(tone(0.5), "ipod"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError) as error:
        all_of([Candidate("s/a", "s", "a.m4a")], tmp_path, n)
    words = str(error.value)
    assert words.startswith(f"{tmp_path}/a.m4a: reading m4a") and words.count("a.m4a") == 1 and "\n" not in words
