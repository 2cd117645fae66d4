from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.exchange import shards
from vcpipe.errors import InputError
from vcpipe.exchange import fastersvc, gradsvc, knnvc, sv2tts
from vcpipe.exchange.columns import USUAL, Columns, named
from vcpipe.grid import Grid
from vcpipe.settings import check

US = shards.utterances(0.5)


def made(folder: Path, grid: Grid, dim: int, feature: dict | None, row: str = "frame") -> Path:
    if row == "speaker":
        rows = {s: np.zeros((1, dim), np.float32) for s in shards.SPEAKERS}
    elif row == "utterance":
        rows = {u.utt_id: np.zeros((1, dim), np.float32) for u in US}
    else:
        rows = shards.frames(US, grid, dim)
    return shards.column(folder, rows, shards.of(US), grid, feature, row)


WRONG = [
    (gradsvc, "mel", Grid(16000, 160), 100, shards.MEL_GRADSVC, "frame", "on grid 16000/160"),
    (gradsvc, "mel", Grid(32000, 320), 80, shards.MEL_GRADSVC, "frame", "with 80 columns"),
    (gradsvc, "mel", Grid(32000, 320), 100, {**shards.MEL_GRADSVC, "fmin": 0.0}, "frame", "fmin: 0.0"),
    (gradsvc, "mel", Grid(32000, 320), 100, {"kind": "wavlm"}, "frame", "cannot use wavlm"),
    (gradsvc, "mel", Grid(32000, 320), 100, None, "frame", "cannot use audio"),
    (gradsvc, "hubert", Grid(16000, 320), 256, {"kind": "contentvec"}, "frame", "cannot use contentvec"),
    (gradsvc, "pitch", Grid(16000, 320), 2, {"kind": "f0"}, "frame", "on grid 16000/320"),
    (gradsvc, "pitch", Grid(16000, 160), 2, {"kind": "log_f0"}, "frame", "cannot use log_f0"),
    (gradsvc, "speaker", Grid(16000, 160), 256, {"kind": "ge2e"}, "frame", "one row a frame"),
    (gradsvc, "singer", Grid(16000, 160), 256, {"kind": "ge2e"}, "utterance", "one row a utterance"),
    (gradsvc, "wav_32k", Grid(16000, 1), 1, None, "frame", "on grid 16000/1"),
    (knnvc, "units", Grid(16000, 160), 1024, {"kind": "wavlm"}, "frame", "on grid 16000/160"),
    (knnvc, "wav", Grid(24000, 1), 1, None, "frame", "on grid 24000/1"),
    (fastersvc, "wav", Grid(16000, 1), 1, None, "frame", "on grid 16000/1"),
    (fastersvc, "f0", Grid(24000, 240), 2, {"kind": "f0"}, "frame", "on grid 24000/240"),
    (sv2tts, "embed", Grid(16000, 160), 192, {"kind": "ecapa"}, "utterance", "cannot use ecapa"),
]


@pytest.mark.parametrize(("layout", "name", "grid", "dim", "feature", "row", "found"), WRONG)
def test_a_wrong_column_is_refused_with_the_block_that_makes_the_right_one(
    tmp_path: Path, layout, name: str, grid: Grid, dim: int, feature, row: str, found: str
) -> None:
    folder = made(tmp_path / "column", grid, dim, feature, row)
    need = next(n for n in layout.NEEDS if n.name == name)
    with pytest.raises(InputError) as refused, Columns(layout.NAME, [need], [f"{name}={folder}"]):
        pass
    assert found in str(refused.value) and need.make in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("layout", [gradsvc, knnvc, fastersvc, sv2tts])
def test_the_blocks_that_errors_name_are_right_themselves(layout) -> None:
    """Each block, read as a config, makes a feature that the layout takes."""
    for need in layout.NEEDS:
        ((section, entries),) = yaml.safe_load(need.make).items()
        ((_, values),) = entries.items()
        if section == "audio":
            assert values == {"rate": need.rate}
            continue
        if "of" in values:
            continue  # what it is made of decides
        settings = check(importlib.import_module(f"vcpipe.features.{values['kind']}").Settings, values, "feature")
        assert need.row == settings.ROWS and (not need.kinds or settings.kind in need.kinds)
        assert not need.dims or settings.dim in need.dims
        assert need.row != "frame" or (settings.grid.fps, settings.grid.rate) == (
            need.fps,
            need.rate or settings.grid.rate,
        )
        for key, expected in need.settings.items():
            assert settings.content().get(key, USUAL.get(key)) == expected, (need.name, key)


def test_what_a_mel_leaves_out_of_its_slice_is_what_is_taken_for_it() -> None:
    from vcpipe.features.mel import Settings

    assert {key: Settings.model_fields[key].default for key in Settings.LATER} == USUAL


def test_imported_rows_are_taken_by_their_shape(tmp_path: Path) -> None:
    folder = made(tmp_path / "units", Grid(16000, 320), 64, {})
    with Columns("knn-vc", knnvc.NEEDS[:1], [f"units={folder}"]) as columns:
        assert columns["units"].dim == 64


def test_what_is_missing_is_said_before_anything_is_written(tmp_path: Path) -> None:
    units = made(tmp_path / "units", Grid(16000, 320), 8, {"kind": "wavlm"})
    manifest = shards.manifest(tmp_path, US)
    cases = [
        ([], r"--column units=FOLDER_OF_SHARDS is missing.*kind: wavlm"),
        ([f"units={units}", f"nits={units}"], "knn-vc has no such column; it takes units, wav"),
        ([f"units={tmp_path}"], "expected shards 000.h5"),
        (["units"], "expected --column name=FOLDER_OF_SHARDS"),
        ([f"units={units}"] * 2, "each name once"),
    ]
    for given, words in cases:
        with pytest.raises(InputError, match=words):
            knnvc.export(manifest, given, tmp_path / "out")
    stranger = shards.manifest(tmp_path, [*US, replace(US[0], utt_id="ana/unknown")])
    with pytest.raises(InputError, match="utterance ana/unknown is in none"):
        knnvc.export(stranger, [f"units={units}"], tmp_path / "out")
    with pytest.raises(InputError, match="expected utterances of train or valid, found none"):
        tests = [replace(u, split="test") for u in US]
        knnvc.export(shards.manifest(tmp_path, tests), [f"units={units}"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_shards_of_two_settings_in_one_folder_are_refused(tmp_path: Path) -> None:
    units = made(tmp_path / "units", Grid(16000, 320), 8, {"kind": "wavlm"})
    made(tmp_path / "other", Grid(16000, 320), 8, {"kind": "wavlm", "layer": 3})
    (tmp_path / "other" / "001.h5").replace(units / "001.h5")
    with pytest.raises(InputError, match=r"001.h5: made under other settings than 000.h5"):
        knnvc.export(shards.manifest(tmp_path, US), [f"units={units}"], tmp_path / "out")


def test_named() -> None:
    assert named(["a=b=c", "d=e"], "--column", "X") == {"a": "b=c", "d": "e"}
