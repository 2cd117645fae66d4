"""Reads the weights out of a CTranslate2 `model.bin`, without CTranslate2.

Layout of binary version 6, little-endian, nothing aligned:

    u32 binary version · string specification · u32 revision
    u32 number of variables, then for each:  string name · u8 rank · u32 size of each dimension ·
                                             u8 dtype id · u32 number of bytes · the bytes, row-major
    u32 number of aliases, then for each:    string alias · string name

A string is a u16 length that counts its closing NUL, then the bytes. Source: the writer in the public Python package
`ctranslate2` (`specs/model_spec.py`), and the files themselves.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from vcpipe.errors import InputError

BINARY_VERSION = 6
DTYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
MAX_RANK = 8


def read_variables(path: str | Path, spec: str, revision: int, prefix: str = "") -> dict[str, Tensor]:
    """The variables of a `model.bin` by name, in the dtype of the file; an alias is the tensor that it names.

    Args:
        path: of the file.
        spec: the specification that the file must be of, as in `WhisperSpec`.
        revision: the revision of that specification.
        prefix: only variables whose names start with this are kept; the others are checked and skipped.

    Raises:
        InputError: when the file is missing, cut short, of another kind, or at odds with itself.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a CTranslate2 model.bin, found no such file; give the path of one")
    with open(path, "rb") as f:
        read = _Reader(path, f, path.stat().st_size)
        _check_header(read, spec, revision)
        tensors: dict[str, Tensor] = {}
        names: set[str] = set()
        for _ in range(read.number("I", "the number of variables")):
            _read_variable(read, tensors, names, prefix)
        for _ in range(read.number("I", "the number of aliases")):
            _read_alias(read, tensors, names, prefix)
        if read.left:
            raise read.wrong("the end of the file", f"{read.left} more bytes")
    return tensors


def _check_header(read: _Reader, spec: str, revision: int) -> None:
    version = read.number("I", "the binary version")
    if version != BINARY_VERSION:
        raise read.wrong(f"binary version {BINARY_VERSION} of a CTranslate2 model.bin", str(version))
    found = read.string("the specification's name"), read.number("I", "the specification's revision")
    if found != (spec, revision):
        raise read.wrong(f"{spec} revision {revision}", f"{found[0]} revision {found[1]}")


def _read_variable(read: _Reader, tensors: dict[str, Tensor], names: set[str], prefix: str) -> None:
    name = read.string("a variable's name")
    if name in names:
        raise read.wrong("every variable once", f"a second '{name}'")
    names.add(name)
    rank = read.number("B", f"the rank of {name}")
    if rank > MAX_RANK:
        raise read.wrong(f"{name} with at most {MAX_RANK} dimensions", str(rank))
    shape = [read.number("I", f"dimension {i} of {name}") for i in range(rank)]
    dtype_id = read.number("B", f"the dtype of {name}")
    if dtype_id >= len(DTYPES):
        raise read.wrong(f"{name} with a dtype id below {len(DTYPES)}", str(dtype_id))
    dtype = DTYPES[dtype_id]
    n_bytes = read.number("I", f"the number of bytes of {name}")
    expected = math.prod(shape) * dtype.itemsize
    if n_bytes != expected:
        raise read.wrong(f"{expected} bytes for {name} {tuple(shape)} {dtype}", str(n_bytes))
    if not name.startswith(prefix):
        read.skip(n_bytes, name)
    elif n_bytes == 0:
        tensors[name] = torch.empty(shape, dtype=dtype)
    else:
        tensors[name] = torch.frombuffer(read.take(n_bytes, name), dtype=dtype).reshape(shape)


def _read_alias(read: _Reader, tensors: dict[str, Tensor], names: set[str], prefix: str) -> None:
    alias, name = read.string("an alias"), read.string("the name behind an alias")
    if name not in names:
        raise read.wrong(f"alias '{alias}' of a variable in the file", f"'{name}'")
    if alias in names:
        raise read.wrong("every variable once", f"an alias '{alias}' beside the variable")
    if alias.startswith(prefix) and name in tensors:
        tensors[alias] = tensors[name]


class _Reader:
    """A file with a known end: no read goes past it, whatever the file says about itself."""

    def __init__(self, path: Path, file: BinaryIO, n_bytes: int):
        self.path, self.file, self.left, self.at = path, file, n_bytes, 0

    def number(self, code: str, what: str) -> int:
        """An unsigned integer: `B` 1 byte, `H` 2 bytes, `I` 4 bytes."""
        return int(struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}"), what))[0])

    def string(self, what: str) -> str:
        """A counted, NUL-terminated name."""
        raw = bytes(self.take(self.number("H", f"the length of {what}"), what))
        if (
            len(raw) < 2
            or not raw.endswith(b"\0")
            or not raw[:-1].isascii()
            or not raw[:-1].decode("ascii").isprintable()
        ):
            raise self.wrong(f"{what}: printable text closed by a NUL", repr(raw[:40]))
        return raw[:-1].decode("ascii")

    def take(self, n: int, what: str) -> bytearray:
        """The next `n` bytes, in memory of their own."""
        self._claim(n, what)
        buffer = bytearray(n)
        if self.file.readinto(buffer) != n:  # type: ignore[attr-defined]
            raise self.wrong(f"{n} bytes of {what}", "the end of the file")
        return buffer

    def skip(self, n: int, what: str) -> None:
        """Passes over `n` bytes that must be there."""
        self._claim(n, what)
        self.file.seek(n, 1)

    def _claim(self, n: int, what: str) -> None:
        if n > self.left:
            raise self.wrong(f"{n} bytes of {what}", f"{self.left} before the end of the file")
        self.left -= n
        self.at += n

    def wrong(self, expected: str, found: str) -> InputError:
        """The error to raise, with the place."""
        return InputError(
            f"{self.path}: expected {expected} near byte {self.at}, found {found}; the file is damaged or "
            "another kind of model: install or download it again"
        )
