"""What the rows of a table of trials are made of, from shards, with a tiny source-filter vocoder."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import RATE, tone
from vcpipe.manifest import Utterance, read_table, shard_names, write_table
from vcpipe.settings import Slice
from vcpipe.store import Shards, write_shard
from vcpipe.systems.knnvc import render as render_module
from vcpipe.systems.knnvc import world
from vcpipe.systems.knnvc.config import ConvertSettings, RowSettings
from vcpipe.systems.knnvc.converter import Converter
from vcpipe.systems.knnvc.frames import assemble, moved, normalised
from vcpipe.systems.knnvc.match import match
from vcpipe.systems.knnvc.render import Voices, render
from vcpipe.systems.knnvc.spectrum import bring_to, long_term
from vcpipe.trials import read_trials

VOICES = {"low": 110.0, "high": 220.0}
SLICES: dict[str, Slice] = {name: {"stage": name} for name in ("match", "synthesis", "content", "pitch")}
WAV: Slice = {"stage": "audio", "shards": 1}


class Table:
    """Two speakers with three utterances each, the first of which are converted into the other speaker."""

    def __init__(self, folder: Path, run: Path):
        self.folder, self.run, self.converter = folder, run, Converter.load(run)
        self.waves = {f"{s}-{i}": tone(0.5 + 0.1 * i, hz + 3 * i, seed=i) for s, hz in VOICES.items() for i in range(3)}
        rows = [Utterance(u, u[:-2], f"{u}.wav", len(w), RATE, split="test") for u, w in self.waves.items()]
        write_table(folder / "manifest.csv", rows, Utterance)
        (folder / "trials.csv").write_text("source,target,references\nlow-0,high,others\nhigh-0,low,others\n")
        self.shards("wav", WAV, {u: w[:, None] for u, w in self.waves.items()}, hop=1)
        self.frames = {u: self.converter.frames(torch.from_numpy(w)) for u, w in self.waves.items()}
        of = {"match": "match", "synthesis": "synthesis", "content": "content", "pitch": "f0"}
        for name, made_by in SLICES.items():
            self.shards(name, made_by, {u: getattr(f, of[name]).numpy() for u, f in self.frames.items()})

    def shards(self, name: str, made_by: Slice, rows: dict[str, np.ndarray], hop: int = 320) -> None:
        dim = next(iter(rows.values())).shape[1]
        (path := self.folder / name / f"{shard_names(1)[0]}.h5").parent.mkdir()
        grid = type(self.converter.grid)(RATE, hop)
        write_shard(path, rows.items(), made_by=made_by, grid=grid, dim=dim, dtype="float32")

    def render(self, **convert: Any) -> list[dict[str, Any]]:
        made_by = {
            "row": RowSettings().model_dump(mode="json", exclude={"convert", "vocoder"}),
            "convert": ConvertSettings(**convert).model_dump(mode="json"),
            "wav": WAV,
            "match": SLICES["match"],
            "synthesis": SLICES["synthesis"],
            "streams": {name: SLICES[name] for name in ("content", "pitch")},
        }
        f, out = self.folder, self.folder / "row" / "pairs.jsonl"
        paths = (self.run, f / "manifest.csv", f / "wav", f / "match", f / "synthesis", f / "trials.csv", out)
        streams = {name: f / name for name in ("content", "pitch")}
        render(made_by, *paths, torch.device("cpu"), 1, streams)
        return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, streams_run: Path) -> Table:
    return Table(tmp_path_factory.mktemp("table"), streams_run)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, float]]:
    """What the vocoder was given, and the spread that its spectrum is brought to."""
    given: list[tuple[torch.Tensor, float]] = []

    def speak(self: Converter, units: torch.Tensor, loudness: float, spectrum: object, spread: float) -> np.ndarray:
        given.append((units, spread))
        return np.zeros(len(units) * 320, np.float32)

    monkeypatch.setattr(Converter, "speak", speak)
    return given


def test_rows_move_the_pitch_by_the_speakers_other_recordings(
    table: Table, heard: list[tuple[torch.Tensor, float]]
) -> None:
    for method, transpose in (("knn", 0.0), ("none", 0.0), ("mean", 3.0)):
        lines = table.render(method=method, transpose=transpose)
        assert [line["settings"]["transpose"] for line in lines] == [transpose] * 2
    matched, own, shifted = (heard[i][0] for i in (0, 2, 4))
    source, low, high = (table.frames[u] for u in ("low-0", "low-1", "high-1"))
    pools = {
        s: {k: torch.cat([getattr(table.frames[f"{s}-{i}"], k) for i in (1, 2)]) for k in ("match", "synthesis", "f0")}
        for s in VOICES
    }
    assert source.content is not None and source.f0 is not None and low.f0 is not None and high.f0 is not None
    assert torch.equal(own, assemble(source.synthesis, source.content, source.f0))
    frames = match(source.match, pools["high"]["match"], pools["high"]["synthesis"])
    torch.testing.assert_close(matched[:, :-2], assemble(frames, source.content))
    ratio = np.median(pools["high"]["f0"][pools["high"]["f0"][:, 1] > 0, 0])
    ratio /= np.median(pools["low"]["f0"][pools["low"]["f0"][:, 1] > 0, 0])
    torch.testing.assert_close(matched[:, -2], source.f0[:, 0] * float(ratio), rtol=2e-3, atol=0)
    torch.testing.assert_close(shifted[:, -2], matched[:, -2] * 2 ** (3 / 12))


def test_the_pitch_and_the_spectrum_take_on_the_spread_of_the_references(
    table: Table, heard: list[tuple[torch.Tensor, float]]
) -> None:
    for spread in (0.0, 0.7):
        table.render(match_spectrum=True, spread=spread)
    (plain, none), (spread_out, much) = heard[0], heard[2]
    assert (none, much) == (0.0, 0.7)
    f0 = {s: torch.cat([table.frames[f"{s}-{i}"].f0 for i in (1, 2)]) for s in VOICES}
    expected = moved(table.frames["low-0"].f0, f0["low"], f0["high"], spread=0.7)
    assert not torch.allclose(plain[:, -2:], spread_out[:, -2:])
    torch.testing.assert_close(spread_out[:, -2:], expected)


def test_rows_mix_the_content_of_neighbours_in(table: Table, heard: list[tuple[torch.Tensor, float]]) -> None:
    table.render(own_content=0.3)
    source, *pool = (table.frames[u] for u in ("low-0", "high-1", "high-2"))
    assert source.content is not None
    theirs = match(
        source.match, torch.cat([part.match for part in pool]), normalised(torch.cat([part.content for part in pool]))
    )
    mixed = torch.lerp(theirs, normalised(source.content), 0.3)
    torch.testing.assert_close(heard[0][0][:, : mixed.shape[1]], normalised(mixed))


def test_a_voice_is_read_once_however_the_table_is_ordered(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table.folder / "trials.csv"
    before = path.read_text()
    monkeypatch.setattr("vcpipe.systems.knnvc.render.POOLS", 1)
    read: list[int] = []
    of_shards = render_module._read

    def read_match(shards: Shards, heard: list[tuple[str, int]]) -> torch.Tensor:
        if shards.folder.name == "match":
            read.append(len(heard))
        return of_shards(shards, heard)

    monkeypatch.setattr(render_module, "_read", read_match)
    converter = Converter.load(table.run)
    converter.normalise = True
    monkeypatch.setattr(Converter, "load", lambda run, device: converter)
    orders = [["low-0,high", "high-0,low", "low-1,high", "high-1,low"], ["high-1,low", "low-1,high", "low-0,high"]]
    try:
        for order in orders:
            path.write_text("source,target,references\n" + "".join(f"{line},others\n" for line in order))
            read.clear()
            lines = table.render()
            assert [f"{line['source_utt']},{line['target_speaker']}" for line in lines] == order
            assert len(read) == len(order) + 2 + 2  # each source, two targets, and two voices of sources
    finally:
        path.write_text(before)


def test_a_row_is_sound_of_its_sources_length(table: Table) -> None:
    for line in table.render():
        wave, rate = soundfile.read(table.folder / "row" / line["converted"])
        expected = len(table.waves[line["source_utt"]]) // 320 * 320
        assert rate == RATE and len(wave) == expected and np.abs(wave).max() > 0.01
    about = json.loads((table.folder / "row" / "system.json").read_text())
    assert set(about["models"]) == {"match", "synthesis", "content", "pitch", "vocoder"}


def test_a_resynthesis_keeps_the_register_whatever_conversions_are_transposed_by(
    table: Table, heard: list[tuple[torch.Tensor, float]]
) -> None:
    table.render(method="none", transpose=3.0)
    source = table.frames["low-0"]
    assert torch.equal(heard[0][0], assemble(source.synthesis, source.content, source.f0))


def test_world_is_brought_to_the_references_spectrum_too(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "voice", lambda waves: None)
    monkeypatch.setattr(world, "convert", lambda wave, *rest: wave)
    references = long_term([table.waves["high-1"], table.waves["high-2"]], RATE)
    plain = table.waves["low-0"]
    brought = {spread: bring_to(plain, RATE, references, spread) for spread in (0.0, 0.5)}
    assert not np.allclose(brought[0.0], brought[0.5], atol=1e-3)
    for on, spread, expected in ((False, 0.5, plain), (True, 0.0, brought[0.0]), (True, 0.5, brought[0.5])):
        line = table.render(method="world", match_spectrum=on, spread=spread, loudness_lufs=None)[0]
        wave, _ = soundfile.read(table.folder / "row" / line["converted"])
        np.testing.assert_allclose(wave, expected.clip(-1, 1), atol=1e-4)


def test_recordings_of_an_earlier_table_do_not_stay(table: Table) -> None:
    (folder := table.folder / "row" / "audio").mkdir(parents=True, exist_ok=True)
    for name in ("old-as-high.wav", "notes.txt"):
        (folder / name).touch()
    lines = table.render(method="none")
    assert {f"audio/{p.name}" for p in folder.iterdir()} == {line["converted"] for line in lines} | {"audio/notes.txt"}


def test_of_the_pools_only_the_last_are_kept(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    utterances = read_table(table.folder / "manifest.csv", Utterance)
    trials = read_trials(table.folder / "trials.csv", utterances)
    with ExitStack() as stack:
        opened = {
            name: stack.enter_context(Shards(table.folder / name, shard_names(1), made_by))
            for name, made_by in {"wav": WAV, **SLICES}.items()
        }
        streams = {name: opened[name] for name in ("content", "pitch")}
        voices = Voices(utterances, trials, opened["wav"], opened["match"], opened["synthesis"], streams, True)
        for most, kept in ((2, True), (1, False)):
            monkeypatch.setattr("vcpipe.systems.knnvc.render.POOLS", most)
            low = voices.of("low")
            assert low is not None and voices.of("low") is low
            voices.of("high")
            assert (voices.of("low") is low) == kept
