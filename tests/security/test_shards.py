"""Shards that show another file, or no bytes at all, under the names of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.store import Shard

ABOUT = {"format": "vcpipe-shard-3", "slice": "{}", "grid": "16000/320", "row": "frame", "checksum": "0"}
SECRET = b"not for features" * 4


def shard(path: Path, fill: Callable[[h5py.File], None], offsets: list[int] | None = None) -> Path:
    with h5py.File(path, "w") as f:
        f.attrs.update({key: np.bytes_(value) for key, value in ABOUT.items()})
        f["offsets"], f["utt_id"] = np.array(offsets or [0, 4]), np.array([b"u", b"v"][: len(offsets or [0, 4]) - 1])
        fill(f)
    return path


def external(f: h5py.File) -> None:
    """The bytes of any file that the reader may read."""
    f.create_dataset("values", (4, 16), "u1", external=[(str(Path(f.filename).with_name("secret")), 0, 64)])


def linked(f: h5py.File) -> None:
    f["values"] = h5py.ExternalLink(str(Path(f.filename).with_name("other.h5")), "values")


def virtual(f: h5py.File) -> None:
    layout = h5py.VirtualLayout((4, 2), "f4")
    layout[:] = h5py.VirtualSource(str(Path(f.filename).with_name("other.h5")), "values", (4, 2))
    f.create_virtual_dataset("values", layout)


def soft(f: h5py.File) -> None:
    f["values"] = h5py.SoftLink("/nowhere")


def group(f: h5py.File) -> None:
    f.create_group("values")


def hollow(f: h5py.File) -> None:
    """A terabyte of rows, for none of which there are bytes."""
    f.create_dataset("values", (1 << 38, 1), "f4", chunks=(4096, 1))


def plain(f: h5py.File) -> None:
    f["values"] = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize("fill", [external, linked, virtual, soft, group])
def test_values_that_lie_elsewhere_are_not_read(tmp_path: Path, fill: Callable[[h5py.File], None]) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as f:
        plain(f)
    path = shard(tmp_path / "x.h5", fill)
    with pytest.raises(InputError, match=r"x\.h5: damaged or not a shard \('values' (elsewhere|missing, or a link)\)"):
        Shard(path, None)


def test_rows_that_have_no_bytes_are_not_believed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.h5: damaged or not a shard \('values' of 1099511627776 bytes\)"):
        Shard(shard(tmp_path / "x.h5", hollow, [0, 1 << 38]), None)


@pytest.mark.parametrize("offsets", [[4, -3, 4], [-4, 0, 4], [0, 9, 4]])
def test_offsets_that_fall_are_refused(tmp_path: Path, offsets: list[int]) -> None:
    with pytest.raises(InputError, match="offsets that fall"):
        Shard(shard(tmp_path / "x.h5", plain, offsets), None)


def test_an_honest_file_of_that_form_is_opened(tmp_path: Path) -> None:
    with Shard(shard(tmp_path / "x.h5", plain), None) as opened:
        assert opened.read("u").shape == (4, 2)
