"""`vcpipe convert` with a tiny run: what it writes, and what it refuses before it writes anything."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, tone
from vcpipe import cli
from vcpipe.training import runs


class Desk:
    """A folder with a talk and two voices, and `convert` as typed in it."""

    def __init__(self, folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.folder, self.run, self.monkeypatch, self.capsys = folder, run, monkeypatch, capsys
        for name, hz in (("talk", 150), ("voices/a", 200), ("voices/b", 220)):
            self.record(f"{name}.wav", tone(1.0, hz))
        monkeypatch.chdir(folder)

    def record(self, name: str, wave: np.ndarray) -> None:
        (self.folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(self.folder / name, wave, RATE, subtype="FLOAT")

    def convert(self, **changed: str) -> tuple[int, str, str]:
        options = {"source": "talk.wav", "reference": "voices", "out": "out", "device": "cpu", **changed}
        typed = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
        self.monkeypatch.setattr(sys, "argv", ["vcpipe", "convert", "--run", str(self.run), "--no-trim", *typed])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *self.capsys.readouterr()

    def contents(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}

    def refused(self, words: str, **changed: str) -> None:
        before = self.contents()
        code, out, err = self.convert(**changed)
        assert code == 2 and out == "", err
        assert err.startswith("vcpipe: ") and words in err and len(err.splitlines()) == 1, err
        assert self.contents() == before

    def lines(self, out: str = "out") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / out / "converted.jsonl").read_text().splitlines()]


@pytest.fixture
def desk(tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, tiny_run, monkeypatch, capsys)


def test_the_line_says_which_vocoder_spoke(desk: Desk) -> None:
    code, out, err = desk.convert()
    assert code == 0, err
    info = runs.read_info(desk.run)
    vocoder = json.loads(out)["vocoder"]
    assert vocoder.pop("commit", "") == info["commit"]
    assert vocoder == {"revision": info["slice"]["revision"], "step": 7, "checksum": info["checksum"]}


def test_a_transposition_stands_in_the_line_of_a_vocoder_that_hears_pitch(desk: Desk, streams_run: Path) -> None:
    assert desk.convert()[0] == 0
    assert "transpose" not in desk.lines()[0]["settings"]
    desk.run = streams_run
    code, out, err = desk.convert(transpose="-2.5", out="lower")
    assert code == 0, err
    assert json.loads(out)["settings"]["transpose"] == -2.5
    assert set(json.loads(out)["features"]) == {"match", "synthesis", "content", "pitch"}


@pytest.mark.parametrize(
    ("command", "asked", "given", "words"),
    [
        ("prematch", ["content", "pitch"], ["content"], "ask for --content and --pitch, found --content"),
        ("unmatched", ["pitch"], [], "ask for --pitch, found neither"),
        ("render", [], ["pitch"], "ask for neither --content nor --pitch, found --pitch"),
    ],
)
def test_a_stage_is_given_the_streams_of_its_slice(
    desk: Desk, command: str, asked: list[str], given: list[str], words: str
) -> None:
    names = {"prematch": "match synthesis manifest splits", "unmatched": "synthesis"}
    names["render"] = "run manifest audio match synthesis trials"
    typed = [part for name in [*names[command].split(), "out", *given] for part in (f"--{name}", "x")]
    made_by = json.dumps({"streams": {name: {} for name in asked}} if asked else {})
    desk.monkeypatch.setattr(sys, "argv", ["vcpipe", "knnvc", command, "--slice", made_by, *typed])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and f"--slice: its streams {words}" in desk.capsys.readouterr().err


def test_a_rerun_replaces_its_line_and_keeps_the_others(desk: Desk) -> None:
    desk.record("other.wav", tone(0.5))
    for source, topk in (("talk.wav", "4"), ("other.wav", "4"), ("talk.wav", "2")):
        assert desk.convert(source=source, topk=topk)[0] == 0
    assert [(line["converted"], line["settings"]["topk"]) for line in desk.lines()] == [
        ("out/talk.wav", 2),
        ("out/other.wav", 4),
    ]
    assert sorted(p.name for p in (desk.folder / "out").iterdir()) == ["converted.jsonl", "other.wav", "talk.wav"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"out": "."}, "--out .: talk.wav would overwrite an input"),
        ({"source": "voices/a.wav", "reference": "talk.wav", "out": "voices/../voices"}, "would overwrite an input"),
        ({"source": "voices/a.wav", "reference": "voices/b.wav", "out": "linked"}, "would overwrite an input"),
        ({"out": "voices/out"}, "--out voices/out: it lies in voices"),
        ({"out": "voices"}, "--out voices: it lies in voices"),
        ({"out": "linked/out"}, "--out linked/out: it lies in voices"),
        ({"source": "voices", "reference": "talk.wav", "out": "voices/new/out"}, "it lies in voices"),
        ({"out": "talk.wav"}, "--out talk.wav: expected a folder, found a file"),
        ({"out": "talk.wav/out"}, "talk.wav/out: "),
        ({"target_duration": "inf"}, "--target-duration inf: expected a finite number"),
        ({"transpose": "nan"}, "Invalid value for '--transpose'"),
        ({"transpose": "3"}, "transpose 3: the vocoder of this run hears no F0; leave it at 0"),
        ({"loudness": "inf"}, "--loudness inf: expected a finite number"),
        ({"device": "meta"}, "--device meta: expected auto, cpu"),
        ({"run": "voices"}, "voices: not a run folder"),
        ({"source": "nan.wav"}, "nan.wav: not_finite (1 samples are NaN or infinite)"),
        ({"source": "empty.wav"}, "empty.wav: empty (0 bytes)"),
        ({"reference": "nan.wav"}, "nan.wav: not_finite"),
        ({"reference": "empty.wav"}, "empty.wav: empty (0 bytes)"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_written(
    desk: Desk, changed: dict[str, str], words: str
) -> None:
    bad = tone(1.0)
    bad[100] = np.nan
    desk.record("nan.wav", bad)
    (desk.folder / "empty.wav").touch()
    (desk.folder / "linked").symlink_to("voices")
    desk.refused(words, **changed)


def test_damaged_lines_of_earlier_conversions_are_not_thrown_away(desk: Desk) -> None:
    (desk.folder / "out").mkdir()
    (desk.folder / "out" / "converted.jsonl").write_text('{"converted": "out/a.wav"}\n{"conv\n')
    desk.refused("converted.jsonl:2: damaged")


def test_an_output_beside_the_references_folder_is_fine(desk: Desk) -> None:
    assert desk.convert(out="voices-out")[0] == 0
    assert desk.convert(out="voices-out")[0] == 0
    assert [line["references"] for line in desk.lines("voices-out")] == [["voices/a.wav", "voices/b.wav"]]
