"""Files that want to run something, or claim what they do not hold."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.exchange.arrays import as_stored, read_npy, read_pt, stored_dtype


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "alive")


def npy(header: str, body: bytes = b"", version: bytes = b"\1\0") -> bytes:
    text = (header + "\n").encode("latin-1")
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + body


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_are_read_as_numpy_does(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(np.arange(12).reshape(3, 4), dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(read_npy(tmp_path / "a.npy"), array)


def test_an_array_of_objects_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    np.save(tmp_path / "a.npy", np.array([Canary(canary)], object), allow_pickle=True)
    with pytest.raises(InputError, match="objects can hide programs"):
        read_npy(tmp_path / "a.npy")
    np.load(tmp_path / "a.npy", allow_pickle=True)  # the file would have bitten
    assert canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\3\4 not an array",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", b"\0" * 16),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", b"\0" * 16),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2), }", b"\0" * 16),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)", b"\0" * 16),
        npy("__import__('os').system('false')", b""),
        npy("(" * 5000, b""),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", b"\0" * 16),
        npy("{'descr': '|S4', 'fortran_order': False, 'shape': (4,), }", b"\0" * 16),
        npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", b"\0" * 16),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }", b"\0" * 16, b"\x09\0"),
    ],
    ids=range(13),
)
def test_headers_that_lie_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(InputError, match="a.npy") as refused:
        read_npy(tmp_path / "a.npy")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.int16, torch.bfloat16])
def test_tensors_are_read_as_torch_does(tmp_path: Path, dtype: torch.dtype) -> None:
    tensor = torch.arange(12).reshape(3, 4).to(dtype).T
    torch.save(tensor, tmp_path / "a.pt")
    assert np.array_equal(read_pt(tmp_path / "a.pt"), tensor.float().numpy())


def test_a_checkpoint_with_a_program_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save(Canary(canary), tmp_path / "a.pt")
    with pytest.raises(InputError, match="something else than tensors"):
        read_pt(tmp_path / "a.pt")
    assert not canary.exists()


def test_a_checkpoint_of_before_torch_1_6_is_refused(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save(torch.zeros(3), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    torch.save(Canary(canary), tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    for name in ("a.pt", "b.pt"):
        with pytest.raises(InputError, match=r"since PyTorch 1\.6"):
            read_pt(tmp_path / name)
    assert not canary.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"a": torch.zeros(3)},
        (torch.zeros(3), 1),
        3.0,
        torch.zeros(3, dtype=torch.complex64),
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.zeros(3)),
        torch.zeros(1, 1).expand(1 << 20, 1 << 20),  # 4 TiB of float32 in a few hundred bytes
    ],
    ids=["mapping", "tuple", "number", "complex", "sparse", "parameter", "expanded"],
)
def test_only_one_dense_tensor_is_taken(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "a.pt")
    with pytest.raises(InputError, match="a.pt"):
        read_pt(tmp_path / "a.pt")


def test_a_zip_that_grows_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(1 << 20), tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as plain, zipfile.ZipFile(tmp_path / "b.pt", "w") as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "b.pt").stat().st_size < 1 << 15
    with pytest.raises(InputError, match="compressed members"):
        read_pt(tmp_path / "b.pt")


def test_every_cut_of_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(torch.zeros(5, 3), buffer)
    np.save(tmp_path / "whole.npy", np.zeros((5, 3), np.float32))
    for data, read in ((buffer.getvalue(), read_pt), ((tmp_path / "whole.npy").read_bytes(), read_npy)):
        for end in range(0, len(data) - 1, 37):
            (tmp_path / "cut").write_bytes(data[:end])
            with pytest.raises(InputError) as refused:
                read(tmp_path / "cut")
            assert "\n" not in str(refused.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(InputError, match="not a regular file"):
        read_npy(tmp_path / "a.npy")


def test_what_a_shard_keeps() -> None:
    found = [stored_dtype(np.zeros(1, t), "x") for t in ("f2", "f4", "f8", "i8", "u1", "?")]
    assert found == ["float16", "float32", "float32", "int16", "int16", "int16"]
    with pytest.raises(InputError, match="beyond 16 bits"):
        as_stored(np.array([40000]), "int16", "x")
    with pytest.raises(InputError, match="the files before it"):
        as_stored(np.zeros(3, np.float16), "float32", "x")
