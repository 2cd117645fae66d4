"""The only decoder of tars that others may have written: arrays, sound and JSON, and nothing that can run.

The decoder that comes with webdataset unpickles `.pyd`, `.pkl` and object arrays, that is, runs what a tar says. Here
every member has one of three forms, its header is checked before memory is given to it, and all else is refused.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.packs.names import SUFFIX, utt_id_of
from vcpipe.packs.pcm import from_int16

DTYPES = {"<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1"}
HEADER = re.compile(
    r"\{'descr': '([<|][a-z]\d)', 'fortran_order': False, 'shape': \(((?:\d{1,12}, ?)*(?:\d{1,12})?)\), \} *\n"
)
MAX_HEADER = 1 << 12
MAX_JSON = 1 << 20
MAX_SAMPLES = 1 << 28  # 4.6 h at 16 kHz


def decode(sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample of `webdataset.WebDataset`, undecoded: `WebDataset(urls, shardshuffle=False).map(decode)`.

    Returns:
        What stood in `<key>.json`, and each column by its name, the second variant as `<name>.1`: arrays `(T, D)` as
        stored, sound `(N,)` float32 whichever form it has.

    Raises:
        InputError: naming the member and the tar, for any other kind of member and for one that is not what it says.
    """
    key, tar = str(sample.get("__key__")), sample.get("__url__", "a tar")
    out: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    try:
        utt_id = utt_id_of(key)
    except InputError as error:
        raise InputError(f"{tar}: {error}") from None
    for suffix, data in sample.items():
        if suffix in ("__key__", "__url__", "__local_path__"):
            continue
        where = f"{tar}: member {key}.{suffix}"
        if suffix == "json":
            out = read_json(data, where)
        elif match := SUFFIX.fullmatch(suffix):
            name = f"{match[1]}.{match[2]}" if match[2] else match[1]
            columns[name] = _READERS[match[3]](data, where)
        else:
            raise InputError(
                f"{where} is neither .json, .npy nor .flac and is not opened; use tars that `vcpipe pack` wrote"
            )
    if out.get("utt_id") != utt_id:
        raise InputError(f"{tar}: {key}.json is of utterance {out.get('utt_id')!r}, expected {utt_id!r}; pack again")
    return {**out, **columns}


def read_npy(data: bytes, where: str) -> NDArray[Any]:
    """A `.npy` file of plain numbers in C order. Object arrays, records and claims beyond the bytes are refused."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise _refused(where, "is not a .npy file of version 1 to 3")
    begin = 10 if data[6] == 1 else 12
    length = int.from_bytes(data[8:begin], "little")
    if length > MAX_HEADER or begin + length > len(data):
        raise _refused(where, f"claims a header of {length} bytes in {len(data)}")
    match = HEADER.fullmatch(data[begin : begin + length].decode("latin-1"))
    if match is None or match[1] not in DTYPES:
        raise _refused(where, "is not an array of plain numbers (numpy would have to unpickle it)")
    shape = tuple(int(n) for n in match[2].split(",") if n.strip())
    dtype, size = np.dtype(match[1]), 1
    for n in shape:
        size *= n
    if size * dtype.itemsize != len(data) - begin - length:
        raise _refused(where, f"claims {shape} of {dtype}, and holds {len(data) - begin - length} bytes")
    return np.frombuffer(data, dtype, size, begin + length).reshape(shape)


def read_flac(data: bytes, where: str) -> NDArray[np.float32]:
    """A FLAC file, `(N,)` float32 in [-1, 1], mono, of at most `MAX_SAMPLES`."""
    import soundfile

    claimed = int.from_bytes(data[21:26], "big") & (1 << 36) - 1
    if data[:4] != b"fLaC" or len(data) < 42:
        raise _refused(where, "is not a FLAC file")
    if not 0 < claimed <= MAX_SAMPLES:
        raise _refused(where, f"claims {claimed} samples, expected 1 to {MAX_SAMPLES}")
    parts: list[NDArray[np.float32]] = []
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as f:
            if f.channels != 1 or f.format != "FLAC":
                raise _refused(where, f"is {f.format} with {f.channels} channels, expected mono FLAC")
            while len(part := f.read(1 << 20, dtype="float32")):  # a claim gives no memory that no sound fills
                parts.append(part)
    except soundfile.SoundFileError as error:
        raise _refused(where, f"is damaged ({error})") from None
    found = sum(map(len, parts))
    if found != claimed:
        raise _refused(where, f"claims {claimed} samples and holds {found}")
    return np.concatenate(parts)


def read_npy16(data: bytes, where: str) -> NDArray[np.float32]:
    """Sound as a `.npy` of whole numbers of 16 bits, `(N,)` float32 in [-1, 1]."""
    array = read_npy(data, where)
    if array.dtype != np.dtype("<i2") or array.shape[1:] != (1,):
        raise _refused(where, f"is {array.dtype} {array.shape}, expected int16 (N, 1)")
    return from_int16(array)[:, 0]


def read_json(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object of at most `MAX_JSON` bytes."""
    if len(data) > MAX_JSON:
        raise _refused(where, f"has {len(data)} bytes, expected at most {MAX_JSON}")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise _refused(where, "is not JSON") from None
    if not isinstance(value, dict):
        raise _refused(where, "is not a JSON object")
    return value


_READERS = {"npy": read_npy, "int16.npy": read_npy16, "flac": read_flac}


def _refused(where: str, what: str) -> InputError:
    return InputError(f"{where} {what}; use tars that `vcpipe pack` wrote")
