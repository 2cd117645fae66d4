"""Safetensors files whose headers say something else than their bytes."""

from __future__ import annotations

import json
import struct
from typing import Any


def file(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """A file of a header, given as JSON values or bytes, that claims `length` bytes for it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8), **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


ENTRY = b'{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'
ONE = {"a": tensor()}
BODY = bytes(8)
GOOD = file({"__metadata__": {"checksum": "0"}, **ONE}, BODY)
LIES = {
    "empty": b"",
    "shorter than a length": bytes(7),
    "length beyond the file": file(ONE, BODY, 1 << 20),
    "length by one beyond the file": file(ONE, b"", len(json.dumps(ONE)) + 1),
    "length 0": file(b"", BODY),
    "length 2^63": file(ONE, BODY, 1 << 63),
    "length 2^64 - 1": file(ONE, BODY, (1 << 64) - 1),
    "length of 100 MB": file(ONE, BODY, 100_000_000),
    "not JSON": file(b"hello, reader", BODY),
    "JSON cut off": file(b'{"a":{"dtype":"F32","shape":[2],', BODY),
    "two JSON values": file(b'{"a":' + ENTRY + b"}{}", BODY),
    "a list": file([], BODY),
    "a number": file(5),
    "null": file(None),
    "a pickle": b"\x80\x04\x95" + bytes(60),
    "a zip": b"PK\x03\x04" + bytes(100),
    "the same name twice": file(b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}", BODY),
    "the same name in two spellings": file(b'{"a":' + ENTRY + b',"\\u0061":' + ENTRY + b"}", BODY),
    "the same field twice": file(b'{"a":{"dtype":"F32","dtype":"F64","shape":[1],"data_offsets":[0,8]}}', BODY),
    "the same metadata twice": file(b'{"__metadata__":{"checksum":"1","checksum":"2"},"a":' + ENTRY + b"}", BODY),
    "two metadata": file(b'{"__metadata__":{"a":"1"},"__metadata__":{"a":"2"},"a":' + ENTRY + b"}", BODY),
    "offsets overlap": file({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)),
    "two tensors in one place": file({"a": tensor(), "b": tensor()}, BODY),
    "a hole before": file({"a": tensor(offsets=(4, 12))}, bytes(12)),
    "a hole between": file({"a": tensor(), "b": tensor(offsets=(12, 20))}, bytes(20)),
    "bytes after the last": file(ONE, BODY + b"x"),
    "bytes of no tensor": file({}, BODY),
    "offsets reversed": file({"a": tensor(offsets=(8, 0))}, BODY),
    "offsets negative": file({"a": tensor(offsets=(-8, 0))}, BODY),
    "offsets beyond": file({"a": tensor(shape=(4,), offsets=(0, 16))}, BODY),
    "offsets beyond 64 bits": file({"a": tensor(offsets=(1 << 64, (1 << 64) + 8))}, BODY),
    "three offsets": file({"a": tensor(offsets=(0, 8, 8))}, BODY),
    "offsets as text": file({"a": tensor(offsets=("0", "8"))}, BODY),
    "shape larger than the bytes": file({"a": tensor(shape=(3,))}, BODY),
    "shape smaller than the bytes": file({"a": tensor(shape=(1,))}, BODY),
    "shape negative": file({"a": tensor(shape=(-1, -2))}, BODY),
    "shape of fractions": file({"a": tensor(shape=(2.0,))}, BODY),
    "shape beyond 64 bits": file({"a": tensor(shape=(1 << 70,))}, BODY),
    "shape whose product is beyond 64 bits": file({"a": tensor(shape=(1 << 32, 1 << 32))}, BODY),
    "shape whose product comes round to 0": file({"a": tensor(shape=(1 << 63, 2), offsets=(0, 0))}),
    "a terabyte": file({"a": tensor("U8", (1 << 40,), (0, 1 << 40))}, BODY),
    "5000 dimensions": file({"a": tensor(shape=[1] * 5000 + [2])}, BODY),
    "unknown dtype": file({"a": tensor("F33")}, BODY),
    "dtype of objects": file({"a": tensor("O")}, BODY),
    "dtype is a number": file({"a": tensor(4)}, BODY),
    "truth values other than 0 and 1": file({"a": tensor("BOOL", (8,))}, b"\x02" * 8),
    "a field too many": file({"a": tensor(run="os.system")}, BODY),
    "a field too few": file({"a": {"dtype": "F32", "shape": [2]}}, BODY),
    "a tensor that is a list": file({"a": [1, 2]}, BODY),
    "tensors within a tensor": file({"a": {"b": tensor()}}, BODY),
    "metadata of numbers": file({"__metadata__": {"checksum": 1}, **ONE}, BODY),
    "metadata is a list": file({"__metadata__": ["0"], **ONE}, BODY),
    "metadata of metadata": file({"__metadata__": {"checksum": {"a": "b"}}, **ONE}, BODY),
    "objects 100,000 deep": file(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, BODY),
    "lists a million deep": file(b"[" * 1_000_000, BODY),
    "NaN": file(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', BODY),
    "infinity": file(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,Infinity]}}', BODY),
    "a number of 10,000 digits": file(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,8]}}'),
    "not UTF-8": file(b'{"\xff":' + ENTRY + b"}", BODY),
    "half of a surrogate": file(b'{"\\ud800":' + ENTRY + b"}", BODY),
    "UTF-16": file(json.dumps(ONE).encode("utf-16"), BODY),
    "a byte order mark": file(b"\xef\xbb\xbf" + json.dumps(ONE).encode(), BODY),
    "a name with NUL": file({"a\0b": tensor()}, BODY),
    "a name that reads backwards": file({"a\u202eb": tensor()}, BODY),
    "a name that moves the cursor": file({"\x1b[2Ja": tensor()}, BODY),
}
"""Small files. The large ones are made in the test, where memory is limited."""
