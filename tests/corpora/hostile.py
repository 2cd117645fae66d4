"""Archives that no corpus needs: each must be refused, and leave nothing anywhere."""

from __future__ import annotations

import bz2
import gzip
import io
import stat
import struct
import unicodedata
import warnings
import zipfile

from tests.corpora.tars import entry, good_zip, header, pax, tar


def twice(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            archive.writestr(name, b"1")
    return out.getvalue()


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def with_field(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """A zip with a field of its first record of that signature changed."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


NFC = unicodedata.normalize("NFC", "が.wav").encode()
NFD = unicodedata.normalize("NFD", "が.wav").encode()
ONE = tar(entry(b"a.wav", b"sound" * 300))
HOSTILE_NAMES = {
    "parent": b"../evil",
    "parent inside": b"a/../../evil",
    "parent at the end": b"a/..",
    "dot inside": b"a/./b",
    "absolute": b"/etc/evil",
    "absolute after dot": b".//etc/evil",
    "two slashes": b"a//b",
    "file like a folder": b"a/",
    "empty": b"",
    "dot": b".",
    "drive": b"C:evil",
    "stream": b"a.wav:hidden",
    "backslash": b"..\\evil",
    "line feed": b"a\nb",
    "escape": b"\x1b[2Ja",
    "right to left": "a\u202ewav.exe".encode(),
    "zero width": "a\u200b.wav".encode(),
    "not UTF-8": b"a\xff.wav",
    "surrogate": b"a\xed\xa0\x80.wav",
    "trailing dot": b"a.",
    "trailing blank": b"a ",
    "leading blank": b" a",
    "folder with trailing dot": b"a./b",
    "three dots": b".../b",
    "device name": b"con",
    "device name with suffix": b"x/NUL.wav",
    "hidden": b".bashrc",
    "question mark": b"what?.wav",
}
HOSTILE_TARS = {
    **{f"name: {what}": tar(entry(name, b"x")) for what, name in HOSTILE_NAMES.items()},
    **{
        f"pax name: {what}": tar(pax(path=n.decode()), entry(b"ok", b"x"))
        for what, n in list(HOSTILE_NAMES.items())[:8]
    },
    **{
        f"GNU name: {what}": tar(entry(b"././@LongLink", n + b"\0", b"L"), entry(b"ok", b"x"))
        for what, n in list(HOSTILE_NAMES.items())[:8]
    },
    "prefix leads out": tar(entry(b"evil", b"x", prefix=b"../..")),
    "symbolic link": tar(header(b"link", kind=b"2")),
    "symlink chain": tar(header(b"a", kind=b"2"), entry(b"a/evil", b"x")),
    "hard link": tar(entry(b"a", b"x"), header(b"b", kind=b"1")),
    "pax link": tar(pax(linkpath="/etc/passwd"), entry(b"a", b"x")),
    "character device": tar(header(b"null", kind=b"3")),
    "block device": tar(header(b"sda", kind=b"4")),
    "pipe": tar(header(b"pipe", kind=b"6")),
    "contiguous": tar(entry(b"a", b"x", kind=b"7")),
    "old GNU sparse": tar(header(b"a", 0, kind=b"S")),
    "pax sparse": tar(pax(GNU__sparse__realsize=str(1 << 40), GNU__sparse__major="1"), entry(b"a", b"x")),
    "continued volume": tar(entry(b"a", b"x", kind=b"M")),
    "unknown kind": tar(entry(b"a", b"x", kind=b"Z")),
    "same name twice": tar(entry(b"a", b"1"), entry(b"a", b"2")),
    "same name with dot": tar(entry(b"a", b"1"), entry(b"./a", b"2")),
    "case twins": tar(entry(b"a.wav", b"1"), entry(b"A.WAV", b"2")),
    "case twin folders": tar(entry(b"x/a", b"1"), entry(b"X/b", b"2")),
    "NFC and NFD": tar(entry(NFC, b"1"), entry(NFD, b"2")),
    "file then folder": tar(entry(b"a", b"1"), entry(b"a/b", b"2")),
    "folder then file": tar(entry(b"a/b", b"1"), entry(b"a", b"2")),
    "folder with data": tar(entry(b"a", b"x" * 10, kind=b"5")),
    "long part": tar(pax(path="n" * 256), entry(b"ok")),
    "long path": tar(pax(path="/".join(["n" * 200] * 6)), entry(b"ok")),
    "deep": tar(pax(path="a/" * 40 + "b"), entry(b"ok")),
    "huge header": tar(header(b"pax", 1 << 40, kind=b"x")),
    "huge long name": tar(header(b"L", 1 << 30, kind=b"L"), b"a" * 4096),
    "global path": tar(pax(b"g", path="evil"), entry(b"a")),
    "broken pax": tar(entry(b"pax", b"999999 path=a\n", b"x"), entry(b"a")),
    "pax without equals": tar(entry(b"pax", b"8 path1\n", b"x"), entry(b"a")),
    "pax of nothing": tar(pax(path="a")),
    "pax size is no number": tar(pax(size="-1"), entry(b"a")),
    "pax charset": tar(pax(hdrcharset="BINARY", path="a"), entry(b"a")),
    "negative size": tar(header(b"a", size_field=b"-0000000001\0")),
    "binary negative size": tar(header(b"a", size_field=b"\xff" * 12)),
    "size is text": tar(header(b"a", size_field=b"1e3\0\0\0\0\0\0\0\0\0")),
    "sparse bomb by size": tar(header(b"a", size_field=b"\x80" + (1 << 60).to_bytes(11, "big"))),
    "wrong checksum": patched(ONE, b"a.wav", b"b.wav"),
    "truncated in data": ONE[:700],
    "truncated in a header": tar(entry(b"a", b"x"))[:1100],
    "no end": entry(b"a", b"x"),
    "tail": ONE + b"something" + bytes(503),
    "nothing": b"",
    "nothing in it": tar(),
    "only the folder itself": tar(header(b"./", kind=b"5")),
    "a web page": b"<html>please log in</html>" * 100,
    "gz bomb": gzip.compress(tar(entry(b"a", bytes(40 << 20)))),
    "gz bomb behind the end": gzip.compress(ONE + bytes(40 << 20)),
    "gz of many headers": gzip.compress(tar(*[header(b"f%d" % n) for n in range(1001)])),
    "bz2 bomb": bz2.compress(tar(entry(b"a", bytes(40 << 20)))),
    "gz truncated": gzip.compress(ONE)[:-20],
    "gz with a wrong sum": gzip.compress(ONE)[:-8] + b"\0" * 8,
    "gz with a tail": gzip.compress(ONE) + b"tail",
    "bz2 truncated": bz2.compress(ONE)[:-10],
    "bz2 damaged": bz2.compress(ONE)[:40] + b"\xff" * 20 + bz2.compress(ONE)[60:],
    "gz of a web page": gzip.compress(b"<html>" * 300),
}
STORED = good_zip({"a.wav": b"sound" * 300}, zipfile.ZIP_STORED)
DEFLATED = good_zip({"a.wav": b"sound" * 300})
HOSTILE_ZIPS = {
    **{
        f"name: {what}": good_zip({name.decode(): b"x"})
        for what, name in HOSTILE_NAMES.items()
        if what not in ("not UTF-8", "surrogate", "file like a folder", "empty")
    },
    "NUL": patched(good_zip({"a_b": b"x"}), b"a_b", b"a\0b"),
    "unnamed encoding": patched(good_zip({"a_b": b"x"}), b"a_b", b"a\x82b"),
    "symbolic link": good_zip({"a": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777),
    "pipe": good_zip({"a": b""}, mode=stat.S_IFIFO | 0o644),
    "device": good_zip({"a": b""}, mode=stat.S_IFCHR | 0o644),
    "socket": good_zip({"a": b""}, mode=stat.S_IFSOCK | 0o644),
    "folder without slash": good_zip({"a": b""}, mode=stat.S_IFDIR | 0o755),
    "folder with data": good_zip({"a/": b"x"}),
    "same name twice": twice("a", "a"),
    "case twins": twice("a/x.wav", "A/x.wav"),
    "NFC and NFD": twice(NFC.decode(), NFD.decode()),
    "file and folder": twice("a", "a/b"),
    "encrypted": with_field(DEFLATED, b"PK\x01\x02", 8, b"\x01\x00"),
    "unknown method": with_field(DEFLATED, b"PK\x01\x02", 10, struct.pack("<H", 99)),
    "lzma": good_zip({"a": b"x"}, zipfile.ZIP_LZMA),
    "bomb": good_zip({"a": bytes(40 << 20)}),
    "declares less": with_field(DEFLATED, b"PK\x01\x02", 24, struct.pack("<L", 10)),
    "declares more": with_field(DEFLATED, b"PK\x01\x02", 24, struct.pack("<L", 5000)),
    "declares a huge size": with_field(DEFLATED, b"PK\x01\x02", 24, struct.pack("<L", 0xFFFFFFF0)),
    "wrong sum": with_field(STORED, b"PK\x01\x02", 16, b"\0\0\0\0"),
    "another local name": with_field(STORED, b"PK\x03\x04", 30, b"b.wav"),
    "damaged": with_field(DEFLATED, b"PK\x03\x04", 40, b"\xff\xff\xff"),
    "truncated": DEFLATED[:-30],
    "huge table of contents": with_field(DEFLATED, b"PK\x05\x06", 12, struct.pack("<L", 1 << 30)),
    "table of contents elsewhere": with_field(DEFLATED, b"PK\x05\x06", 16, struct.pack("<L", 1 << 20)),
    "many": good_zip({f"f{n}": b"" for n in range(1001)}, zipfile.ZIP_STORED),
    "nothing in it": good_zip({}),
    "local header only": DEFLATED[:60],
}
HOSTILE = {
    **{f"tar {what}": data for what, data in HOSTILE_TARS.items()},
    **{f"zip {what}": data for what, data in HOSTILE_ZIPS.items()},
}
