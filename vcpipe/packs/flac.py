"""FLAC members: written with a place for every block, so that a crop is decoded without what stands before it.

Blocks have 1,152 samples (FLAC's fastest level; at 24 bits real speech takes 1 % more than at its best), and the
standard SEEKTABLE names where each begins. A crop reads the table and its own blocks, and a decoder gets them as a
recording of their own. Format: RFC 9639, sections 8 and 9.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.packs.pcm import check_range

Bits = Literal[16, 24]
BLOCK = 1152
SLACK = 1 << 15  # bytes; speech does not compress evenly
POINT = struct.Struct(">QQH")  # first sample, bytes from the first block, samples
TABLE_AT = 4 + 4 + 34 + 4  # after "fLaC", STREAMINFO with its header, and the header of SEEKTABLE


class _Blocks(io.BytesIO):
    """Notes where each write begins: the encoder writes block by block."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[int] = []

    def write(self, data: object) -> int:
        self.starts.append(self.tell())
        return super().write(data)  # type: ignore[arg-type]


def encode(wave: NDArray[np.float32], rate: int, bits: Bits = 24) -> bytes:
    """`(N,)` float32 in [-1, 1] as FLAC. 24 bits differ from float32 by at most 2**-23, 16 bits by at most 2**-15.

    Raises:
        InputError: beyond [-1, 1], where it would be clipped.
    """
    import soundfile

    check_range(wave)
    out = _Blocks()
    with soundfile.SoundFile(out, "w", rate, 1, f"PCM_{bits}", format="FLAC", compression_level=0.0) as f:
        f.write(wave)
    data = out.getvalue()
    count = -(-len(wave) // BLOCK)
    starts = sorted({s for s in out.starts if s >= 42 and data[s : s + 2] == b"\xff\xf8"})
    head = data[:8] == b"fLaC\0\0\0\x22" and data[8:12] == struct.pack(">HH", BLOCK, BLOCK)
    assert head, "FLAC encoder: the head is not as expected"
    assert len(starts) == count, f"FLAC encoder: {len(starts)} blocks, expected {count} of {BLOCK} samples"
    for number, start in enumerate(starts):
        assert data[start + 4 : start + 4 + len(_coded(number))] == _coded(number), (
            f"FLAC block {number} is out of order"
        )
    table = b"".join(
        POINT.pack(i * BLOCK, start - starts[0], min(BLOCK, len(wave) - i * BLOCK)) for i, start in enumerate(starts)
    )
    return data[:42] + b"\x83" + len(table).to_bytes(3, "big") + table + data[starts[0] :]


def decode_crop(
    read: Callable[[int, int], bytes | bytearray], size: int, n: int, start: int, count: int
) -> NDArray[np.float32]:
    """Samples `start` to `start + count - 1`, `(count,)` float32, of a member that `encode` wrote.

    Args:
        read: `read(offset, size)` gives bytes of the member.
        size: bytes of the member.
        n: its samples.
        start: first sample wanted.
        count: samples wanted, at least 1; all must be within the member.

    Raises:
        InputError: when the bytes are not what `encode` writes.
    """
    import soundfile

    blocks = -(-n // BLOCK)
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    begin = TABLE_AT + POINT.size * blocks
    head = read(0, begin) if begin < size else b""
    if len(head) != begin or head[:12] != b"fLaC\0\0\0\x22" + struct.pack(">HH", BLOCK, BLOCK) or head[42] != 0x83:
        raise InputError(f"not a FLAC member of {n} samples with a table of its blocks")
    low = POINT.unpack_from(head, TABLE_AT + POINT.size * first)[1]
    high = POINT.unpack_from(head, TABLE_AT + POINT.size * (last + 1))[1] if last + 1 < blocks else size - begin
    if not 0 <= low < high <= size - begin:
        raise InputError("the table of the FLAC blocks does not fit them")
    total = min(n, (last + 1) * BLOCK) - first * BLOCK
    facts = int.from_bytes(head[18:26], "big") >> 36 << 36 | total  # rate, channels, bits; then the number of samples
    alone = b"fLaC\x80\0\0\x22" + head[8:18] + facts.to_bytes(8, "big") + bytes(16) + read(begin + low, high - low)
    try:
        with soundfile.SoundFile(io.BytesIO(alone)) as f:
            wave: NDArray[np.float32] = f.read(total, dtype="float32")
    except soundfile.SoundFileError as error:
        raise InputError(f"FLAC blocks {first} to {last} are damaged ({error})") from None
    if wave.shape != (total,):
        raise InputError(f"FLAC blocks {first} to {last} have {wave.shape} samples, expected ({total},)")
    return wave[start - first * BLOCK :][:count]


def about(size: int, n: int, start: int, count: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Offset and size of the two parts of a member that a crop will read: its head, and about where its blocks are."""
    head = TABLE_AT + POINT.size * -(-n // BLOCK)
    per_sample = (size - head) / n
    low = head + int(max(0, start - BLOCK) * per_sample) - SLACK
    return (0, head), (max(0, low), int((count + 2 * BLOCK) * per_sample) + 2 * SLACK)


def _coded(number: int) -> bytes:
    """A block's number as its header has it (the coding of UTF-8, carried on to 36 bits)."""
    if number < 0x80:
        return bytes([number])
    tail: list[int] = []
    while number >= 1 << (6 - len(tail)):
        tail.insert(0, 0x80 | number & 0x3F)
        number >>= 6
    return bytes([0xFF << (7 - len(tail)) & 0xFF | number, *tail])
