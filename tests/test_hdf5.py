"""What happens when the disk is full while a shard is written; the HDF5 library itself would end with a crash."""

from __future__ import annotations

import errno
import gc
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vcpipe.config import load
from vcpipe.corpora import lists
from vcpipe.grid import Grid
from vcpipe.hdf5 import Sink
from vcpipe.settings import canonical
from vcpipe.store import Shard, write_shard

MADE_BY = {"stage": "feature"}


def full_after(size: int) -> type[io.FileIO]:
    """Files on a disk with so many bytes."""

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            room = size - self.tell()
            if room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(memoryview(data)[:room])

    return Full


def write(path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ((f"u{i}", rng.normal(size=(500, 20))) for i in range(4))
    write_shard(path, rows, made_by=MADE_BY, grid=Grid(16000, 320), dim=20, dtype="float32")


def test_wherever_the_room_ends_the_error_names_the_shard_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "000.h5"
    write(path)
    size, whole = path.stat().st_size, path.read_bytes()
    path.unlink()
    for room in range(0, size, size // 60):
        with monkeypatch.context() as patch:
            patch.setattr("vcpipe.hdf5.io.FileIO", full_after(room))
            with pytest.raises(OSError, match="No space left") as caught:
                write(path)
        assert caught.value.filename == str(path)
        del caught
        gc.collect()  # where the library would crash
        assert list(tmp_path.iterdir()) == []
    write(path)
    assert path.read_bytes() == whole
    with Shard(path, MADE_BY) as shard:
        shard.verify()


def test_an_error_of_the_rows_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Sink(tmp_path / "a", tmp_path / "b") as sink:
        sink.write(b"abc")
        raise ZeroDivisionError
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk: `disk(kib)` gives it so much room, whatever it had before."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")

    def sized(kib: int) -> Path:
        how = f"{'remount,' if os.path.ismount(place) else ''}size={kib}k"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(place)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small disk here: {done.stderr.strip()}")
        return place

    yield sized
    subprocess.run(["umount", str(place)], capture_output=True)


def test_prepare_and_extract_say_that_the_disk_is_full_and_go_on_once_it_is_not(
    disk: Callable[[int], Path], make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root, whole = make_folder(speakers=1, utterances=3, seconds=2.0), tmp_path / "whole"
    pitch = {"kind": "f0", "method": "praat"}
    config = load({"corpora": {"mine": {"kind": "folder", "root": str(root), "shards": 1}}, "features": {"f0": pitch}})
    lists.refresh("mine", config.corpora["mine"], tmp_path)
    names = {"shard": "audio.h5", **{table: f"{table}.csv" for table in ("manifest", "rejects", "quality")}}

    def prepare(folder: Path) -> str:
        made_by, listed = canonical(config.audio_slice("16k", "mine")), tmp_path / "lists" / "000.csv"
        places = {"root": root, "listed": listed, **{key: folder / name for key, name in names.items()}}
        return vcpipe("prepare", "--slice", made_by, *(f"--{key}={place}" for key, place in places.items()))

    def extract(folder: Path) -> str:
        made_by = canonical(config.feature_slice("f0", "mine"))
        return vcpipe("extract", "--slice", made_by, f"--audio={whole / 'audio.h5'}", f"--out={folder / 'f0.h5'}")

    assert "3 utterances" in prepare(whole)
    assert "of audio in" in extract(whole)
    full = disk(200)
    assert prepare(full).startswith(f"vcpipe: {full / 'audio.h5'}: No space left on device")
    assert list(full.iterdir()) == []
    disk(4)
    assert extract(full).startswith(f"vcpipe: {full / 'f0.h5'}: No space left on device")
    assert list(full.iterdir()) == []
    disk(2000)
    prepare(full)
    extract(full)
    for name in (*names.values(), "f0.h5"):
        assert (full / name).read_bytes() == (whole / name).read_bytes(), name


def vcpipe(*arguments: str) -> str:
    """What a command said, which is one line."""
    done = subprocess.run([sys.executable, "-m", "vcpipe", *arguments], capture_output=True, text=True, timeout=120)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr
