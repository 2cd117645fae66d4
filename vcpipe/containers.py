"""Which container a recording is in, and whether the file ends where the container says. Standard library only.

Decoders shorten a file that was cut off without a word: each container has its own place that gives it away.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

STREAMED = 0xFFFFFFFF  # the size that a RIFF writer puts down when it cannot know it
OGG_TAIL = 1 << 17  # bytes at the end of an Ogg file in which its last page, of 65307 bytes at most, begins
SPHERE_HEAD = 1 << 16  # bytes of a SPHERE header that are looked at; most have 1024


class NotWhole(Exception):
    """A file that a decoder need not be tried on; `reason` is a key of `vcpipe.audio.REASONS`."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def inspect(path: Path) -> str:
    """Names the container of a file: riff, flac, ogg, sphere, mp4, adts, id3, or nothing for any other.

    Raises:
        NotWhole: when it cannot be read, is empty, ends before its container says, or is packed in a way that no
            decoder here undoes.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would wait for ever
            raise NotWhole("unreadable", "not a regular file")
        with open(path, "rb") as f:
            head = f.read(12)
            size = f.seek(0, os.SEEK_END)
            if not size:
                raise NotWhole("empty", "0 bytes")
            kind = _kind(head)
            if kind in CHECKS:
                CHECKS[kind](f, size)
    except (OSError, ValueError) as error:
        raise NotWhole("unreadable", getattr(error, "strerror", None) or str(error)) from None
    return kind


def _kind(head: bytes) -> str:
    by_magic = {b"RIFF": "riff", b"fLaC": "flac", b"OggS": "ogg", b"NIST": "sphere"}
    if head[:4] in by_magic:
        return by_magic[head[:4]]
    if head[:3] == b"ID3":
        return "id3"
    if head[4:8] == b"ftyp":
        return "mp4"
    return "adts" if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0 else ""


def _riff(f: BinaryIO, size: int) -> None:
    """The length of the whole, and that of the samples."""
    f.seek(0)
    head = f.read(12)
    claimed = int.from_bytes(head[4:8], "little")
    if claimed != STREAMED and size < claimed + 7:  # one less: some writers forget the padding byte
        raise NotWhole("truncated", f"{size} of {claimed + 8} bytes")
    place = 12
    while place + 8 <= size:
        f.seek(place)
        chunk = f.read(8)
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            if length != STREAMED and place + 8 + length > size + 1:
                raise NotWhole("truncated", f"{size - place - 8} of {length} bytes of samples")
            return
        place += 8 + length + length % 2


def _ogg(f: BinaryIO, size: int) -> None:
    """The last page is there, is whole, and says that it is the last."""
    f.seek(max(0, size - OGG_TAIL))
    tail = f.read(OGG_TAIL)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if len(page) < 27 + len(segments) + sum(segments) or not page[5] & 4:
        raise NotWhole("truncated", "the stream has no last page, or only a part of it")


def _sphere(f: BinaryIO, size: int) -> None:
    """NIST SPHERE: a text header of a stated size, which says how many samples follow and how they are packed."""
    f.seek(0)
    head = f.read(SPHERE_HEAD).split(b"end_head")[0].decode("latin-1").split("\n")
    fields = {words[0]: words[2] for words in (line.split(None, 2) for line in head[2:]) if len(words) == 3}
    coding = fields.get("sample_coding", "pcm").strip()
    if "," in coding or "shorten" in coding or "shortpack" in coding:
        raise NotWhole("not_audio", f"SPHERE samples packed as {coding[:40]}; unpack it with `sph2pipe -f wav IN OUT`")
    numbers = [head[1] if len(head) > 1 else ""]
    numbers += [fields.get(key, "0") for key in ("sample_count", "channel_count", "sample_n_bytes")]
    if not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
        raise NotWhole("truncated", "a SPHERE header whose sizes are no numbers")
    start, count, channels, width = (int(number) for number in numbers)
    if size < start + count * channels * width:
        raise NotWhole("truncated", f"{size} of {start + count * channels * width} bytes")


def _mp4(f: BinaryIO, size: int) -> None:
    """The boxes of the file fill it, and the one that describes the tracks is among them."""
    place, seen = 0, set()
    while place < size:
        f.seek(place)
        box = f.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - place
        if len(box) < 8 or length < 8 or place + length > size:
            raise NotWhole("truncated", f"the box at byte {place} claims {length} of {size - place} bytes")
        seen.add(box[4:8])
        place += length
    if b"moov" not in seen:
        raise NotWhole("truncated", "no box that describes the tracks")


def _adts(f: BinaryIO, size: int) -> None:
    """Raw AAC: each frame begins with its own length, and the last must end with the file."""
    place = 0
    while place < size:
        f.seek(place)
        head = f.read(7)
        if head[:3] == b"TAG" and size - place == 128:  # an ID3v1 tag
            return
        synced = len(head) == 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5 if synced else 0
        if length < 7 or place + length > size:
            raise NotWhole("truncated", f"no whole frame of AAC at byte {place} of {size}")
        place += length


CHECKS = {"riff": _riff, "ogg": _ogg, "sphere": _sphere, "mp4": _mp4, "adts": _adts}
