"""Arrays that others wrote, read without running what is inside them and without believing their headers."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.weights import OLDEST_SAFE_TORCH

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 1 << 30
"""Of one array: 37 hours of 256 float32 columns at 10 ms, an hour of sound four times over."""
STORED = {"float16": "float16", "float32": "float32", "float64": "float32", "bfloat16": "float32"}


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file; one of objects is refused, and one that is not as large as it claims.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    return npy_of(read_bytes(path), str(path))


def npy_of(data: bytes, where: str) -> NDArray[Any]:
    """The array of the bytes of a `.npy` file: no memory is given to what the bytes do not hold.

    Args:
        data: the file.
        where: the file or member, for the error.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
    except Exception as error:  # numpy's parser raises many kinds; whatever goes wrong, the file is not used
        raise _refused(where, f"is not a .npy array of version 1 or 2 ({_first(error)})") from None
    if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None or dtype.kind not in "fiub":
        raise _refused(where, f"holds {dtype}, not plain numbers (objects can hide programs)")
    size = dtype.itemsize
    for n in shape:
        size *= int(n)
    begin = stream.tell()
    if size != len(data) - begin or any(n < 0 for n in shape):
        raise _refused(where, f"claims {shape} of {dtype}, and holds {len(data) - begin} bytes")
    flat = np.frombuffer(data, dtype, offset=begin)
    return flat.reshape(shape, order="F" if fortran else "C")


def read_pt(path: Path) -> NDArray[Any]:
    """The one tensor of a `.pt` file as torch.save has written it since version 1.6, as an array.

    Before anything is read, the file must be a zip whose members are stored as they are, so that a small file cannot
    become a large one; a tensor that is larger than its storage (a view with stride 0) is refused as well.

    Raises:
        InputError: naming the file, for anything but a plain dense tensor of numbers.
    """
    import torch

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < OLDEST_SAFE_TORCH:
        raise InputError(
            f"{path}: PyTorch {torch.__version__} may run code hidden in a .pt file; pip install 'torch>=2.10'"
        )
    data = read_bytes(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise _refused(str(path), f"is not a file of torch.save since PyTorch 1.6 ({_first(error)})") from None
    if any(m.compress_type != zipfile.ZIP_STORED or m.file_size != m.compress_size for m in members):
        raise _refused(str(path), "has compressed members, which torch.save does not write")
    if sum(m.file_size for m in members) > len(data):
        raise _refused(str(path), f"claims more bytes than the {len(data)} that it has")
    try:
        value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever goes wrong inside, the file is not used
        raise _refused(str(path), f"holds something else than tensors ({_first(error)})") from None
    return _array(value, str(path))


def _array(value: Any, where: str) -> NDArray[Any]:
    import torch

    if type(value) is not torch.Tensor:
        raise _refused(where, f"holds a {type(value).__name__}, expected one tensor")
    tensor: Tensor = value.detach()
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        raise _refused(where, f"holds a tensor of {tensor.dtype} ({tensor.layout}), expected dense numbers")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise _refused(where, f"claims {tuple(tensor.shape)}, and holds {tensor.untyped_storage().nbytes()} bytes")
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.float()
    array: NDArray[Any] = tensor.numpy()
    return array


def stored_dtype(array: NDArray[Any], where: str) -> str:
    """The type in which a shard keeps an array: float16 and float32 as they are, whole numbers as int16."""
    if array.dtype.name in STORED:
        return STORED[array.dtype.name]
    if array.dtype.kind in "iub":
        return "int16"
    raise _refused(where, f"holds {array.dtype}, which no shard keeps")


def as_stored(array: NDArray[Any], dtype: str, where: str) -> NDArray[Any]:
    """An array in the type of its shard; refused where a number would not fit."""
    if stored_dtype(array, where) != dtype:
        raise _refused(where, f"holds {array.dtype}, the files before it {dtype}")
    if dtype == "int16" and array.size and not (-(1 << 15) <= int(array.min()) <= int(array.max()) < 1 << 15):
        raise _refused(where, f"holds whole numbers up to {int(array.max())}, beyond 16 bits")
    return array.astype(dtype, copy=False)


def read_bytes(path: Path) -> bytes:
    """A regular file of at most `MAX_BYTES`."""
    with open(path, "rb", opener=_no_waiting) as f:
        status = os.fstat(f.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _refused(str(path), "is not a regular file")
        if status.st_size > MAX_BYTES:
            raise _refused(str(path), f"has {status.st_size} bytes, more than the {MAX_BYTES} of one array")
        return f.read(MAX_BYTES + 1)


def _no_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)  # a pipe would be waited for


def _first(error: BaseException) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:160]


def _refused(where: str, what: str) -> InputError:
    return InputError(f"{where}: {what}; write it again as a plain array of numbers, or leave it out")
