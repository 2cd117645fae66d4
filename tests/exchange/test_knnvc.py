from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.exchange import shards
from vcpipe.columns import Column, Variant
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.exchange import knnvc
from vcpipe.exchange.tree import Options, write_import
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, read_table

GRID = Grid(16000, 320)


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[list[Utterance], Path, dict[str, np.ndarray]]:
    us = shards.utterances(1.0)
    units = shards.frames(us, GRID, 24, "float16")
    shards.column(tmp_path / "units", units, shards.of(us), GRID, {"kind": "wavlm"})
    return us, shards.manifest(tmp_path, us), units


def tables(folder: Path) -> dict[str, list[list[str]]]:
    return {name: list(csv.reader(open(folder / name, encoding="utf-8"))) for name in ("train.csv", "valid.csv")}


def test_writes_one_tensor_a_recording_and_the_tables(corpus, tmp_path: Path) -> None:
    us, manifest, units = corpus
    assert knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out") == len(us)
    for u in us:
        found = torch.load(tmp_path / "out" / Path(u.path).with_suffix(".pt"), weights_only=True)
        assert found.dtype == torch.float16 and np.array_equal(found.numpy(), units[u.utt_id])
    found = tables(tmp_path / "out")
    assert found["train.csv"][0] == found["valid.csv"][0] == ["audio_path", "feat_path"]
    assert ["Zoë B/take 1 é.wav", "Zoë B/take 1 é.pt"] in found["valid.csv"]
    assert len(found["train.csv"]) + len(found["valid.csv"]) == len(us) + 2


def test_a_row_is_what_its_segment_picking_needs(corpus, tmp_path: Path) -> None:
    """Frames [s, s + 22) go with samples [320 s, 320 (s + 22)): every frame must have its samples."""
    us, manifest, _ = corpus
    wav = shards.frames(us, Grid(16000, 1), 1)
    shards.column(tmp_path / "wav", wav, shards.of(us), Grid(16000, 1))
    knnvc.export(manifest, [f"units={tmp_path / 'units'}", f"wav={tmp_path / 'wav'}"], tmp_path / "out")
    for _, rows in tables(tmp_path / "out").items():
        for audio, features in rows[1:]:
            sound, rate = soundfile.read(tmp_path / "out" / audio)
            t = len(torch.load(tmp_path / "out" / features, weights_only=True))
            assert rate == 16000 and t == len(sound) // 320 and audio.endswith(".flac")


def test_export_then_import_gives_the_same_arrays_and_splits(corpus, tmp_path: Path) -> None:
    us, manifest, units = corpus
    knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    write_import(knnvc.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    back = shards.read(tmp_path / "back" / "units")
    assert back.keys() == units.keys() and all(np.array_equal(back[i], units[i]) for i in units)
    rows = {u.utt_id: u for u in read_table(tmp_path / "back" / "manifest.csv", Utterance)}
    for u in us:
        assert (rows[u.utt_id].speaker, rows[u.utt_id].split, rows[u.utt_id].path) == (u.speaker, u.split, u.path)


def test_what_was_imported_can_be_trained_on_and_exported_again(corpus, tmp_path: Path) -> None:
    us, manifest, _ = corpus
    knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    write_import(knnvc.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    paths = tuple(sorted((tmp_path / "back" / "units").glob("*.h5")))
    ids = [u.utt_id for u in us]
    crops = Crops([Column("units", [Variant(paths, None)], ids)], ids, frames=10, batch=2, seed=0)
    assert crops[0]["units"].shape == (2, 10, 24)
    knnvc.export(tmp_path / "back" / "manifest.csv", [f"units={tmp_path / 'back' / 'units'}"], tmp_path / "twice")
    once = shards.tree(tmp_path / "out")
    twice = shards.tree(tmp_path / "twice")
    assert once.keys() == twice.keys() and once["valid.csv"] == twice["valid.csv"]


def test_librispeech_needs_the_speakers_folder_and_keeps_its_ids(tmp_path: Path) -> None:
    us = [
        Utterance(f"{s}-{c}-0000", s, f"dev-clean/{s}/{c}/{s}-{c}-0000.flac", 16000, 16000, recording=f"{s}-{c}-0000")
        for s, c in (("84", "1"), ("84", "2"), ("174", "9"))
    ]
    shards.column(tmp_path / "units", shards.frames(us, GRID, 8, "float16"), shards.of(us), GRID, {"kind": "wavlm"})
    knnvc.export(shards.manifest(tmp_path, us), [f"units={tmp_path / 'units'}"], tmp_path / "out")
    with pytest.raises(InputError, match="--speaker-level 0.*--speaker-level -1"):
        knnvc.read(Options(tmp_path / "out"))
    tree = knnvc.read(Options(tmp_path / "out", speaker_level=1))
    assert {(i.utt_id, i.speaker) for i in tree.items} == {(u.utt_id, u.speaker) for u in us}


def test_a_part_of_a_recording_is_refused_unless_the_sound_is_written(corpus, tmp_path: Path) -> None:
    us, _, _ = corpus
    cut = [replace(u, path="long.wav", recording="long", start_s=1.0 * i) for i, u in enumerate(us)]
    manifest = shards.manifest(tmp_path, cut)
    with pytest.raises(InputError, match="only a part of its recording long.wav.*--column wav="):
        knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    wav = shards.frames(us, Grid(16000, 1), 1)
    shards.column(tmp_path / "wav", wav, shards.of(us), Grid(16000, 1))
    knnvc.export(manifest, [f"units={tmp_path / 'units'}", f"wav={tmp_path / 'wav'}"], tmp_path / "out")
    assert (tmp_path / "out" / "long" / "Zoë B_take 0 é.pt").is_file()
    assert len(list((tmp_path / "out").rglob("*.flac"))) == len(us)


@pytest.mark.parametrize("path", ["../outside.wav", "/outside.wav", "a/../../outside.wav", ""])
def test_a_manifest_cannot_write_outside(corpus, tmp_path: Path, path: str) -> None:
    us, _, _ = corpus
    manifest = shards.manifest(tmp_path, [replace(us[0], path=path)])
    with pytest.raises(InputError, match="inside its folder"):
        knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    assert not list(tmp_path.rglob("outside*"))


def test_a_table_cannot_lead_outside_on_import(corpus, tmp_path: Path) -> None:
    _, manifest, _ = corpus
    knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    (tmp_path / "out" / "train.csv").write_text("audio_path,feat_path\n../../secret.wav,ana/x.pt\n")
    with pytest.raises(InputError, match=r"train.csv:2: expected a path inside"):
        knnvc.read(Options(tmp_path / "out"))


def test_frames_that_do_not_fit_the_recording_are_refused_whole(corpus, tmp_path: Path) -> None:
    us, _, _ = corpus
    manifest = shards.manifest(tmp_path, [*us[:-1], replace(us[-1], n_samples=us[-1].n_samples + 640)])
    with pytest.raises(InputError, match="frames, expected"):
        knnvc.export(manifest, [f"units={tmp_path / 'units'}"], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.csv", "units"]


def test_numbers_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    us = shards.utterances(1.0)[:1]
    units = {us[0].utt_id: np.full((50, 4), 1e6, np.float32)}
    shards.column(tmp_path / "units", units, shards.of(us), GRID, {"kind": "wavlm"})
    with pytest.raises(InputError, match="beyond 16-bit"):
        knnvc.export(shards.manifest(tmp_path, us), [f"units={tmp_path / 'units'}"], tmp_path / "out")
