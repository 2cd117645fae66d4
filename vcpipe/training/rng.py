"""The random generators of a process as one row of bytes: torch's, numpy's, Python's, and CUDA's where it is used."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from vcpipe.errors import InputError

MT = 624  # words of a Mersenne Twister
NUMPY = struct.Struct("<iid")  # position, has_gauss, cached_gaussian
PYTHON = struct.Struct("<3xId")  # position, the second of a pair of normal numbers or NaN; padded to a multiple of 8


def capture(device: torch.device) -> Tensor:
    """`(n,)` uint8: every generator that a training may draw from, in this process."""
    _, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - it is saved, not drawn from
    _, words, second = random.getstate()
    parts = [
        torch.get_rng_state().numpy().tobytes(),
        np.asarray(keys, "<u4").tobytes() + NUMPY.pack(int(position), int(has_gauss), float(gauss)),
        np.asarray(words[:MT], "<u4").tobytes() + PYTHON.pack(words[MT], math.nan if second is None else second),
    ]
    if device.type == "cuda":
        parts.append(torch.cuda.get_rng_state(device).numpy().tobytes())
    return torch.frombuffer(bytearray(b"".join(parts)), dtype=torch.uint8)


def put(saved: Tensor, device: torch.device) -> None:
    """Sets every generator as it was at `capture`; InputError when the row is another torch's, or another device's."""
    expected = capture(device).numel()
    if saved.numel() != expected:
        raise InputError(
            f"random generators: expected {expected} bytes, found {saved.numel()}; the state was saved on another "
            "kind of device or by another torch: go on there, or remove the state to start anew"
        )
    row = saved.cpu().numpy().tobytes()
    n_torch, n_numpy, n_python = torch.get_rng_state().numel(), 4 * MT + NUMPY.size, 4 * MT + PYTHON.size
    torch_row, rest = row[:n_torch], row[n_torch:]
    numpy_row, python_row, cuda_row = (
        rest[:n_numpy],
        rest[n_numpy : n_numpy + n_python],
        rest[n_numpy + n_python :],
    )
    torch.set_rng_state(torch.frombuffer(bytearray(torch_row), dtype=torch.uint8))
    position, has_gauss, gauss = NUMPY.unpack(numpy_row[4 * MT :])
    keys = np.frombuffer(numpy_row[: 4 * MT], "<u4")
    np.random.set_state(("MT19937", keys, position, has_gauss, gauss))  # noqa: NPY002
    index, second = PYTHON.unpack(python_row[4 * MT :])
    words = (*np.frombuffer(python_row[: 4 * MT], "<u4").tolist(), index)
    random.setstate((3, words, None if math.isnan(second) else second))
    if cuda_row:
        torch.cuda.set_rng_state(torch.frombuffer(bytearray(cuda_row), dtype=torch.uint8), device)


def seed_all(seed: int) -> None:
    """Seeds every generator."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    random.seed(seed)


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, the generators stand as before afterwards."""
    before = capture(device)
    try:
        yield
    finally:
        put(before, device)
