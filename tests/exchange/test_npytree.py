from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.exchange import shards
from tests.exchange.test_arrays import Canary
from vcpipe.errors import InputError
from vcpipe.exchange import npytree
from vcpipe.exchange.tree import Options, write_import
from vcpipe.manifest import Utterance, read_table, speaker_shard
from vcpipe.store import Shard

GRIDS = {"units": "16000/320", "pitch": "16000/160", "voice": "utterance"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for speaker, count in shards.SPEAKERS.items():
        for i in range(count):
            name = f"{speaker}/{i} é"
            for folder, array in (
                ("units", rng.normal(size=(50 + i, 8)).astype(np.float16)),
                ("f0", rng.uniform(80, 200, 2 * (50 + i))),  # float64, one axis
                ("voice", rng.normal(size=16).astype(np.float32)),
            ):
                path = tmp_path / "tree" / folder / f"{name}{'.pit' if folder == 'f0' else ''}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, array)
    return tmp_path / "tree"


def options(root: Path, **more) -> Options:
    columns = {"units": "units", "pitch": "f0:.pit.npy", "voice": "voice"}
    return Options(root, **{"columns": columns, "grids": GRIDS, **more})


def test_columns_become_shards_by_speaker_and_a_manifest(root: Path, tmp_path: Path) -> None:
    assert write_import(npytree.read(options(root)), tmp_path / "out", 3) == 6
    for name, dtype, row in (
        ("units", "float16", "frame"),
        ("pitch", "float32", "frame"),
        ("voice", "float32", "utterance"),
    ):
        for number in range(3):
            with Shard(tmp_path / "out" / name / f"00{number}.h5", None) as shard:
                assert shard.values.dtype == dtype and shard.row == row
                assert shard.slice["stage"] == "import" and shard.slice["layout"] == "npy-tree"
                assert all(speaker_shard(i.split("/")[0], 3) == number for i in shard.utt_ids)
    units = shards.read(tmp_path / "out" / "units")
    pitch = shards.read(tmp_path / "out" / "pitch")
    for path in (root / "units").rglob("*.npy"):
        utt_id = path.relative_to(root / "units").with_suffix("").as_posix()
        assert np.array_equal(units[utt_id], np.load(path, allow_pickle=False))
        f0 = np.load(root / "f0" / f"{utt_id}.pit.npy", allow_pickle=False).astype(np.float32)
        assert np.array_equal(pitch[utt_id][:, 0], f0)
    rows = read_table(tmp_path / "out" / "manifest.csv", Utterance)
    assert {u.utt_id for u in rows} == units.keys() and [u.utt_id for u in rows] == sorted(units)
    assert {(u.n_samples, u.sample_rate) for u in rows if u.utt_id == "lone/0 é"} == {(16000, 16000)}
    assert {u.split for u in rows} == {"train", "valid"}


def test_the_same_tree_elsewhere_has_the_same_shards_and_a_changed_one_another_source(
    root: Path, tmp_path: Path
) -> None:
    write_import(npytree.read(options(root)), tmp_path / "a", 1)
    moved = root.rename(tmp_path / "moved")
    write_import(npytree.read(options(moved)), tmp_path / "b", 1)
    path = next((moved / "units").rglob("*.npy"))
    np.save(path, np.load(path, allow_pickle=False) + np.float16(1))
    write_import(npytree.read(options(moved)), tmp_path / "c", 1)
    sources = []
    for name in "abc":
        with Shard(tmp_path / name / "units" / "000.h5", None) as shard:
            sources.append((shard.checksum, shard.slice["source"]))
    assert sources[0] == sources[1] and sources[1][0] != sources[2][0] and sources[1][1] != sources[2][1]


def test_the_folder_itself_as_the_one_column_of_pt_files(tmp_path: Path) -> None:
    (tmp_path / "tree" / "p225").mkdir(parents=True)
    torch.save(torch.ones(7, 4).half(), tmp_path / "tree" / "p225" / "p225_001.pt")
    tree = npytree.read(Options(tmp_path / "tree", grids={"units": "16000/320"}))
    write_import(tree, tmp_path / "out", 1)
    assert {i: a.shape for i, a in shards.read(tmp_path / "out" / "units").items()} == {"p225_001": (7, 4)}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"grids": {}}, "--grid units=rate/hop is missing"),
        ({"grids": {**GRIDS, "units": "50"}}, "expected rate/hop such as 16000/320"),
        ({"columns": {"units": "../other"}}, "--column units: expected a path inside"),
        ({"columns": {"units": "/etc"}}, "--column units: expected a path inside"),
        ({"columns": {"units": "absent"}}, r"expected \*.npy files"),
        ({"columns": {"units": "units:.txt"}}, "neither .npy nor .pt"),
        ({"columns": {"voice": "voice"}}, "found vectors only"),
        ({"speaker_level": 3}, "expected one named after its speaker"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(root: Path, tmp_path: Path, more: dict, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        write_import(npytree.read(options(root, **more)), tmp_path / "out", 1)
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 4), np.float16), r"expected an array \(T,\) or \(T, D\)"),
        (np.zeros((0, 8), np.float16), "is empty"),
        (np.zeros((5, 9), np.float16), r"expected an array \(T, 8\)"),
        (np.zeros((5, 8), np.float32), "holds float32, the files before it float16"),
        (np.full((5, 8), np.nan, np.float16), "not finite"),
        (np.float16(1), r"expected an array \(T,\)"),
    ],
    ids=range(6),
)
def test_an_array_that_does_not_fit_is_named_and_nothing_is_left(root: Path, tmp_path: Path, array, words: str) -> None:
    np.save(root / "units" / "ana" / "2 é.npy", array)
    with pytest.raises(InputError, match=words) as refused:
        write_import(npytree.read(options(root)), tmp_path / "out", 1)
    assert "ana/2 é" in str(refused.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tree"]


def test_a_program_in_the_tree_is_not_run(root: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    np.save(root / "units" / "ana" / "2 é.npy", np.array([Canary(canary)], object), allow_pickle=True)
    with pytest.raises(InputError, match="objects can hide programs"):
        write_import(npytree.read(options(root)), tmp_path / "out", 1)
    assert not canary.exists()


def test_two_files_of_one_id_and_a_file_without_a_speaker(tmp_path: Path) -> None:
    for name in ("a/x/a_1.npy", "a/y/a_1.npy"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        np.save(tmp_path / "tree" / name, np.zeros((3, 2), np.float32))
    read = Options(tmp_path / "tree", grids={"units": "16000/320"}, speaker_level=0)
    with pytest.raises(InputError, match="are both utterance a_1"):
        write_import(npytree.read(read), tmp_path / "out", 1)
    np.save(tmp_path / "tree" / "stray.npy", np.zeros((3, 2), np.float32))
    with pytest.raises(InputError, match="stray: lies in 0 folders"):
        npytree.read(read)
