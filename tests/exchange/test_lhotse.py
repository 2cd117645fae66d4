"""Shar folders written as lhotse's SharWriter does, by the facts of its format; the package itself is not needed."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.exchange import shards
from tests.exchange.test_arrays import Canary, npy
from vcpipe.columns import Column, Variant
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.exchange import lhotse
from vcpipe.exchange.tree import Options, write_import
from vcpipe.manifest import Utterance, read_table

RATE = 16000


def add(tar: tarfile.TarFile, name: str, data: bytes, **more: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in more.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def array_bytes(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def cut(utt_id: str, speaker: str = "ana", **more: Any) -> dict[str, Any]:
    supervision = {"id": utt_id, "recording_id": utt_id, "start": 0, "duration": 1.0, "channel": 0, "text": "Hello"}
    supervision |= {"language": "en", "speaker": speaker}
    return {
        "id": utt_id,
        "start": 0,
        "duration": 1.0,
        "channel": 0,
        "type": "MonoCut",
        "supervisions": [supervision],
        **more,
    }


def recording(n: int, rate: int = RATE) -> dict[str, Any]:
    return {"id": "r", "sources": [{"type": "shar", "channels": [0], "source": ""}], "sampling_rate": rate,
            "num_samples": n, "duration": n / rate, "channel_ids": [0]}  # fmt: skip


def features(frames: int, dim: int = 8) -> dict[str, Any]:
    return {"type": "kaldi-fbank", "num_frames": frames, "num_features": dim, "frame_shift": 0.01,
            "sampling_rate": RATE, "start": 0, "duration": frames / 100, "storage_type": "shar", "storage_path": "",
            "storage_key": ""}  # fmt: skip


def temporal(shape: tuple[int, ...], axis: int = 0) -> dict[str, Any]:
    array = {"storage_type": "shar", "storage_path": "", "storage_key": "", "shape": list(shape)}
    return {"array": array, "temporal_dim": axis, "frame_shift": 0.02, "start": 0}


def write_cuts(path: Path, cuts: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as f:
        f.writelines(json.dumps(c) + "\n" for c in cuts)


def write_field(path: Path, members: list[tuple[str, bytes, dict[str, Any]]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data, meta in members:
            add(tar, name, data)
            add(tar, name.rpartition(".")[0] + ".json", (json.dumps(meta) + "\n").encode())


IDS = [("84-1-0000-0", "84"), ("84-1-0001-1", "84"), ("é x.y", "Zoë B"), ("lone", "lone"), ("no/features", "lone")]


@pytest.fixture
def shar(tmp_path: Path) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    """Two numbered parts: recordings as flac and wav, features with a frame more, units (D, T), a vector, gaps."""
    rng = np.random.default_rng(0)
    root = tmp_path / "shar"
    root.mkdir()
    kept: dict[str, dict[str, np.ndarray]] = {"recording": {}, "features": {}, "units": {}, "voice": {}}
    for part, ids in enumerate((IDS[:3], IDS[3:])):
        write_cuts(root / f"cuts.{part:06d}.jsonl.gz", [cut(i, s) for i, s in ids])
        rows: dict[str, list[tuple[str, bytes, dict[str, Any]]]] = {name: [] for name in kept}
        for number, (utt_id, _) in enumerate(ids):
            n = 16240 + 960 * number  # lhotse rounds: a frame of 20 ms more than whole hops
            wave = rng.uniform(-0.5, 0.5, n).astype(np.float32)
            form = ("flac", "wav")[number % 2]
            out = io.BytesIO()
            soundfile.write(out, wave, RATE, format=form, subtype="PCM_16")
            mel = rng.normal(size=((n + 80) // 160, 8)).astype(np.float32)
            units = rng.normal(size=(n // 320, 6)).astype(np.float16)
            voice = rng.normal(size=12).astype(np.float32)
            rows["recording"].append((f"{utt_id}.{form}", out.getvalue(), recording(n)))
            rows["features"].append((f"{utt_id}.npy", array_bytes(mel), features(len(mel))))
            rows["units"].append((f"{utt_id}.npy", array_bytes(units.T), temporal(units.T.shape, 1)))
            rows["voice"].append((f"{utt_id}.npy", array_bytes(voice), {"shape": [12], "storage_type": "shar"}))
            for name, array in (
                ("recording", wave[:, None]),
                ("features", mel),
                ("units", units),
                ("voice", voice[None]),
            ):
                kept[name][utt_id] = array
        for name, members in rows.items():
            write_field(
                root / f"{name}.{part:06d}.tar", [m for m in members if name != "features" or m[0] != "no/features.npy"]
            )
    with tarfile.open(root / "features.000001.tar", "a") as tar:
        add(tar, "no/features.nodata", b"")
        add(tar, "no/features.nometa", b"")
    return root, kept


def options(root: Path, **more: Any) -> Options:
    return Options(root, **{"grids": {"units": "16000/320"}, **more})


def test_fields_become_columns_that_the_loaders_of_vcpipe_read(shar, tmp_path: Path) -> None:
    root, kept = shar
    assert write_import(lhotse.read(options(root)), tmp_path / "out", 2) == 4
    for name, tolerance in (("recording", 2**-14), ("features", 0), ("units", 0), ("voice", 0)):
        for utt_id, found in shards.read(tmp_path / "out" / name).items():
            expected = kept[name][utt_id]
            assert len(expected) - len(found) <= (160 if name == "recording" else 1)
            assert np.abs(expected[: len(found)] - found).max() <= tolerance
    rows = {u.utt_id: u for u in read_table(tmp_path / "out" / "manifest.csv", Utterance)}
    assert {i: u.speaker for i, u in rows.items()} == dict(IDS[:4])
    assert {(u.text, u.language, u.sample_rate) for u in rows.values()} == {("Hello", "en", RATE)}

    def column(name: str) -> Column:
        return Column(name, [Variant(tuple(sorted((tmp_path / "out" / name).glob("*.h5"))), None)], rows)

    batch = Crops([column("recording"), column("features"), column("units")], rows, frames=20, batch=4, seed=0)[0]
    assert batch["features"].shape == (4, 40, 8) and batch["recording"].shape == (4, 6400)


def test_some_of_the_fields(shar, tmp_path: Path) -> None:
    root, kept = shar
    write_import(lhotse.read(options(root, columns={"mel": "features"})), tmp_path / "out", 1)
    found = shards.read(tmp_path / "out" / "mel")
    assert all(np.array_equal(found[i], kept["features"][i]) for i, _ in IDS[:4]), "whole, with nothing beside it"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.csv", "mel"]
    with pytest.raises(InputError, match=r"expected absent.000000.tar, found fields features, recording, units, voice"):
        lhotse.read(options(root, columns={"x": "absent"}))
    with pytest.raises(InputError, match=r"without a rate; add --grid units=16000/320"):
        lhotse.read(Options(root))


def test_lilcom_is_refused_with_the_line_to_type(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lilcom", None)
    write_cuts(tmp_path / "cuts.000000.jsonl.gz", [cut("a")])
    write_field(tmp_path / "features.000000.tar", [("a.llc", b"L\0", features(3))])
    with pytest.raises(InputError, match=r"member a.llc: compressed by lilcom.*`pip install lilcom`"):
        write_import(lhotse.read(Options(tmp_path)), tmp_path / "out", 1)


def one(root: Path, name: str, data: bytes, meta: dict[str, Any], **more: Any) -> None:
    """A folder of one cut and one member."""
    write_cuts(root / "cuts.000000.jsonl.gz", [cut("a")])
    with tarfile.open(root / "features.000000.tar", "w") as tar:
        add(tar, name, data, **more)
        add(tar, "a.json", json.dumps(meta).encode())


GOOD = array_bytes(np.zeros((3, 8), np.float32))


@pytest.mark.parametrize(
    ("name", "data", "meta", "more", "words"),
    [
        ("a.npy", GOOD, features(4), {}, "claims 4 rows, its data have 3"),
        ("a.npy", GOOD, features(-3), {}, "claims -3 rows"),
        ("a.npy", GOOD[:-4], features(3), {}, "and holds 92 bytes"),
        (
            "a.npy",
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 8), }"),
            features(3),
            {},
            "claims",
        ),
        ("a.pkl", b"\x80\4.", features(3), {}, "neither .npy nor .llc"),
        ("a.npy", GOOD, {"some": "thing"}, {}, "describes no recording, features or array"),
        ("a.npy", GOOD, {**features(3), "frame_shift": 0.0123456}, {}, "no whole number of samples"),
        ("a.npy", GOOD, {**features(3), "sampling_rate": "x"}, {}, "describes no recording"),
        ("a.npy", GOOD, recording(3), {}, "expected .wav, .flac"),
        ("a.flac", b"fLaC nothing", recording(3), {}, "features.000000.tar: member a.flac"),
        ("../a.npy", GOOD, features(3), {}, "inside its folder"),
        ("/a.npy", GOOD, features(3), {}, "inside its folder"),
        ("a.npy", b"", features(3), {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "is a link"),
        ("a.npy", b"", features(3), {"type": tarfile.LNKTYPE, "linkname": "a.json"}, "is a link"),
        ("a.npy", b"", features(3), {"type": tarfile.FIFOTYPE}, "is a link, folder, device"),
        ("b.npy", GOOD, features(3), {}, "does not follow the data of the same name"),
    ],
    ids=range(16),
)
def test_members_that_lie_or_do_harm_are_refused(tmp_path: Path, name, data, meta, more, words) -> None:
    root = tmp_path / "shar"
    root.mkdir()
    one(root, name, data, meta, **more)
    with pytest.raises(InputError, match=words) as refused:
        write_import(lhotse.read(Options(root)), tmp_path / "out", 1)
    assert "\n" not in str(refused.value) and sorted(p.name for p in tmp_path.iterdir()) == ["shar"]


def test_a_program_in_a_tar_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    out = io.BytesIO()
    np.save(out, np.array([Canary(canary)], object), allow_pickle=True)
    one(tmp_path, "a.npy", out.getvalue(), features(1))
    with pytest.raises(InputError, match="objects can hide programs"):
        write_import(lhotse.read(Options(tmp_path)), tmp_path / "out", 1)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (b"not json\n", "jsonl.gz:1 is not JSON"),
        (b"[]\n", "a JSON list"),
        (b'{"id": 3}\n', "expected a MonoCut"),
        (json.dumps(cut("a", type="MixedCut")).encode(), "expected a MonoCut"),
        (json.dumps({**cut("a"), "supervisions": []}).encode(), "no supervision with a speaker"),
        (json.dumps(cut("../a")).encode(), "id: expected a path inside"),
        (b"[" * 5000 + b"\n", "is not JSON"),
        (b" " * (1 << 21), "a line of more than"),
    ],
    ids=range(8),
)
def test_cuts_that_are_none(tmp_path: Path, lines: bytes, words: str) -> None:
    (tmp_path / "cuts.000000.jsonl.gz").write_bytes(gzip.compress(lines))
    write_field(tmp_path / "features.000000.tar", [("a.npy", GOOD, features(3))])
    with pytest.raises(InputError, match=words):
        lhotse.read(Options(tmp_path))


def test_damaged_files_are_refused_wherever_they_are_cut(shar, tmp_path: Path) -> None:
    root, _ = shar
    for name in ("cuts.000000.jsonl.gz", "features.000000.tar"):
        whole = (root / name).read_bytes()
        for end in (0, 1, 100, len(whole) // 3, len(whole) // 2):
            (root / name).write_bytes(whole[:end])
            with pytest.raises(InputError) as refused:
                write_import(lhotse.read(options(root, columns={"m": "features"})), tmp_path / "out", 1)
            assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()
        (root / name).write_bytes(whole)


def test_a_tar_that_lacks_a_cut_without_saying_so_is_refused(shar) -> None:
    """Cut off between two members, a tar still reads as one."""
    root, _ = shar
    (root / "voice.000000.tar").unlink()
    with pytest.raises(InputError, match="neither data nor a placeholder of cut"):
        lhotse.read(options(root, columns={"features": "features", "voice": "voice"}))


def test_a_cut_that_comes_twice_is_refused(tmp_path: Path) -> None:
    write_cuts(tmp_path / "cuts.000000.jsonl.gz", [cut("a"), cut("a")])
    write_field(tmp_path / "features.000000.tar", [("a.npy", GOOD, features(3))])
    with pytest.raises(InputError, match="cut a comes twice"):
        lhotse.read(Options(tmp_path))


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    write_cuts(tmp_path / "cuts.000000.jsonl.gz", [cut("a")])
    for part in range(2):
        write_field(tmp_path / f"features.{part:06d}.tar", [("a.npy", GOOD, features(3))])
    with pytest.raises(InputError, match="comes twice, also in .*features.000000.tar"):
        lhotse.read(Options(tmp_path))
