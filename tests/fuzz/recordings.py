"""Recordings that are damaged in every way that is easy to think of, each known by its seed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray

from tests.conftest import RATE, tone
from vcpipe.corpora.files import SUFFIXES

SPEAKERS = ("anna", "日本 語", "a,b;c", "-x", "$(touch pwned)")
NAMES = (
    "plain",
    "two  words ",
    "quote'\"`",
    "new\nline",
    "carriage\rreturn",
    "日本語",
    "cafe\u0301",
    "caf\u00e9",
    "-rf",
    "x" * 200,
    "back\\slash",
    "a,b",
    "a;b|c&d",
    "$(touch pwned)${HOME}",
    "tab\there",
    "per%cent*?[x]",
    "\u202eright to left",
    "dot.wav.flac",
)


@dataclass(frozen=True)
class Case:
    """One file: where it goes, its bytes, what was done to it, and how it must end where that is known.

    `expected` is a set of reasons, with "good" for a recording that must come through; None where either may happen.
    """

    path: str
    data: bytes
    what: str
    expected: frozenset[str] | None


def sphere(pcm: NDArray[np.int16], rate: int = RATE, order: str = "01", channels: int = 1, **fields: object) -> bytes:
    """A NIST SPHERE file of `(N * channels,)` 16-bit samples; `fields` replace those of its header."""
    values = {
        "channel_count": channels,
        "sample_count": len(pcm) // channels,
        "sample_rate": rate,
        "sample_n_bytes": 2,
        "sample_byte_format": order,
        "sample_sig_bits": 16,
        "sample_coding": "pcm",
        **fields,
    }
    lines = [f"{k} {'-i' if isinstance(v, int) else f'-s{len(str(v))}'} {v}" for k, v in values.items()]
    head = "\n".join(["NIST_1A", "   1024", *lines, "end_head", ""])
    return head.encode().ljust(1024) + pcm.astype("<i2" if order == "01" else ">i2").tobytes()


def aac(wave: NDArray[np.float32], container: str, rate: int = RATE, faststart: bool = False) -> bytes:
    """`(N,)` in a container of libav: ipod (m4a), mp4 or adts."""
    import av

    options = {"movflags": "faststart"} if faststart else {}
    with tempfile.TemporaryDirectory() as folder:  # it is read again to move the index to its start
        path = Path(folder) / "a"
        with av.open(str(path), "w", format=container, options=options) as f:
            stream = f.add_stream("aac", rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="fltp", layout="mono")
            frame.sample_rate = rate
            for part in (frame, None):
                for packet in stream.encode(part):
                    f.mux(packet)
        return path.read_bytes()


@cache
def base(kind: str, seed: int) -> bytes:
    """A good recording of about a second."""
    wave = tone(0.6 + 0.1 * (seed % 5), 90 + 7 * seed, seed=seed)
    if kind == "sph":
        return sphere(np.int16(32767 * wave), order=("01", "10")[seed % 2])
    if kind in ("m4a", "mp4", "aac"):
        container = {"m4a": "ipod", "mp4": "mp4", "aac": "adts"}[kind]
        return aac(wave, container, faststart=bool(seed % 2) and kind != "aac")
    return encoded(wave, kind, subtype="FLOAT" if kind == "wav" and seed % 3 == 0 else None)


def encoded(wave: NDArray[np.float32], kind: str = "wav", rate: int = RATE, subtype: str | None = None) -> bytes:
    """`(N,)` or `(N, C)` by libsndfile, without the time of day that it writes beside the peak of floats."""
    out = io.BytesIO()
    soundfile.write(out, wave, rate, format=kind.upper(), subtype=subtype)
    data = bytearray(out.getvalue())
    if kind == "wav" and (peak := data.find(b"PEAK", 0, 128)) >= 0:
        data[peak + 12 : peak + 16] = bytes(4)  # after the name, the size and the version of the chunk
    return bytes(data)


KINDS = ("wav", "flac", "ogg", "mp3", "sph", "m4a", "mp4", "aac")
CUT = frozenset({"truncated", "empty", "not_audio", "too_short"})


def _cut(rng: Generator, data: bytes, kind: str) -> tuple[bytes, frozenset[str] | None]:
    """At the start, in the header, in the middle, just before the end."""
    share = rng.choice([rng.uniform(0, 0.02), rng.uniform(0, 1), rng.uniform(0.95, 1)])
    place = min(len(data) - 2, max(1, int(share * len(data))))
    return data[:place], CUT


def _flip(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    out = bytearray(data)
    for place in rng.integers(0, len(out), rng.integers(1, 20)):
        out[place] ^= 1 << int(rng.integers(8))
    return bytes(out), None


def _flip_head(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    out = bytearray(data)
    for place in rng.integers(0, 200 if kind != "sph" else 1024, rng.integers(1, 6)):
        out[place] = int(rng.integers(256))
    return bytes(out), None


def _number_in_head(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    """A field of the header gets an extreme value, in either byte order: sizes, rates, channels, widths."""
    out = bytearray(data)
    value = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF]))
    width = int(rng.choice([2, 4]))
    place = int(rng.integers(0, 64))
    number = (value & (256**width - 1)).to_bytes(width, "little" if rng.integers(2) else "big")
    out[place : place + width] = number
    return bytes(out), None


def _magic(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    magics = [b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"NIST_1A\n", b"ID3\4", b"FORM", b".snd", b"caff", b"MThd"]
    magic = magics[int(rng.integers(len(magics)))]
    return magic + data[len(magic) :], None


def _nested(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    """A RIFF file inside of a RIFF file, several times."""
    for _ in range(int(rng.integers(1, 50))):
        data = b"RIFF" + (len(data) + 4).to_bytes(4, "little") + b"WAVE" + data
    return data, None


def _id3(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    claim = bytes(rng.integers(0, 128, 4, dtype=np.uint8)) if rng.integers(2) else b"\0\0\1\0"
    return b"ID3\4\0\0" + claim + rng.bytes(int(rng.integers(0, 300))) + data, None


def _junk_after(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    return data + rng.bytes(int(rng.integers(1, 5000))), None


def _hole(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    a, b = sorted(int(x) for x in rng.integers(0, len(data), 2))
    return (data[:a] + bytes(b - a) + data[b:] if rng.integers(2) else data[:a] + data[b:]), None


def _random(rng: Generator, data: bytes, kind: str) -> tuple[bytes, None]:
    return data[: int(rng.integers(0, 16))] + rng.bytes(int(rng.integers(0, 20000))), None


def _empty(rng: Generator, data: bytes, kind: str) -> tuple[bytes, frozenset[str]]:
    return b"", frozenset({"empty"})


def _made(rng: Generator, data: bytes, kind: str) -> tuple[bytes, frozenset[str] | None]:
    """Whole files whose samples or claims are wrong."""
    wave = tone(0.7, seed=int(rng.integers(1000)))
    spoiled, far = wave.copy(), wave.copy()
    spoiled[rng.integers(0, len(wave), 3)] = rng.choice([np.nan, np.inf, -np.inf])
    far[100:103] = 3e38
    claim = bytearray(encoded(wave))
    claim[4:8], claim[40:44] = (0xFFFFFFFF).to_bytes(4, "little"), (0xFFFFFFDB).to_bytes(4, "little")
    several = np.stack([far] * 8, axis=1)
    pcm = np.int16(32767 * wave)
    made: list[tuple[Callable[[], bytes], set[str] | None]] = [
        (lambda: encoded(spoiled, subtype="FLOAT"), {"not_finite"}),
        (lambda: encoded(spoiled, subtype="DOUBLE"), {"not_finite"}),
        (lambda: encoded(several, subtype="FLOAT"), None),
        (lambda: encoded(far, rate=44100, subtype="FLOAT"), None),
        (lambda: encoded(np.stack([wave] * 8, axis=1)), {"good"}),
        (lambda: encoded(np.stack([wave] * 8, axis=1), "flac"), {"good"}),
        (lambda: encoded(wave, rate=1), {"bad_rate"}),
        (lambda: encoded(wave, rate=10_000_000), {"bad_rate"}),
        (lambda: sphere(pcm, rate=10_000_000), {"bad_rate"}),
        (lambda: bytes(claim), {"truncated"}),
        (lambda: encoded(np.full(RATE, 0.5, np.float32)), {"silent"}),
        (lambda: encoded(np.full(44100, -0.3, np.float32), "flac", 44100), {"silent"}),
        (lambda: encoded(np.zeros(RATE, np.float32)), {"silent"}),
        (lambda: encoded(np.zeros(0, np.float32)), {"empty", "too_short"}),
        (lambda: encoded(np.sign(wave)), {"good"}),
        (lambda: encoded(50 * wave, subtype="FLOAT"), {"good"}),
        (lambda: encoded(tone(9.0), "flac"), {"too_long"}),
        (lambda: encoded(tone(0.05)), {"too_short"}),
        (lambda: sphere(pcm, sample_coding="pcm,embedded-shorten-v2.00"), {"not_audio"}),
        (lambda: sphere(pcm, sample_count=10**9), {"truncated"}),
        (lambda: sphere(pcm, sample_coding="ulaw", sample_n_bytes=1, sample_byte_format="1"), None),
        (lambda: b"a text " * 300, {"not_audio"}),
    ]
    content, expected = made[int(rng.integers(len(made)))]
    return content(), frozenset(expected) if expected else None


Mutation = Callable[[Generator, bytes, str], tuple[bytes, frozenset[str] | None]]
MUTATIONS: tuple[Mutation, ...] = (
    _cut,
    _cut,
    _flip,
    _flip_head,
    _flip_head,
    _number_in_head,
    _number_in_head,
    _magic,
    _nested,
    _id3,
    _junk_after,
    _hole,
    _random,
    _empty,
    _made,
    _made,
    _made,
)


def good(count: int = 24) -> list[Case]:
    """Recordings with nothing wrong but some of their names."""
    out = []
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        data = base(kind, i)
        path = f"{SPEAKERS[i % len(SPEAKERS)]}/good {i} {NAMES[i % len(NAMES)]}{_suffix(kind)}"
        out.append(Case(path, data, f"good {kind}", frozenset({"good"})))
    return out


def damaged(count: int, seed: int = 0) -> list[Case]:
    """`count` files, each a mutation of a good one; the i-th depends on `seed` and i alone."""
    out = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        kind = KINDS[i % len(KINDS)]
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        data, expected = mutation(rng, base(kind, int(rng.integers(16))), kind)
        if mutation is _cut and kind in ("mp3", "aac", "flac", "ogg", "m4a", "mp4", "sph", "wav"):
            expected = CUT
        name = NAMES[int(rng.integers(len(NAMES)))]
        path = f"{SPEAKERS[i % len(SPEAKERS)]}/{i} {name}{_suffix(kind)}"
        out.append(Case(path, data, f"{mutation.__name__.strip('_')} {kind}", expected))
    return out


def write(cases: list[Case], root: Path) -> None:
    """Lays the files down."""
    for case in cases:
        path = root / case.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.data)


def _suffix(kind: str) -> str:
    return f".{kind}" if f".{kind}" in SUFFIXES else ".wav"
