"""Archives made byte by byte, so that they can be as wrong as a stranger's may be."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile


def header(
    name: bytes = b"a.wav", size: int = 0, kind: bytes = b"0", prefix: bytes = b"", size_field: bytes = b""
) -> bytes:
    """One ustar header with a right checksum."""
    head = bytearray(512)
    head[: len(name)] = name
    head[100:108] = b"0000644\0"
    head[124:136] = size_field or b"%011o\0" % size
    head[156:157] = kind
    head[257:265] = b"ustar\x0000"
    head[345 : 345 + len(prefix)] = prefix
    head[148:156] = b"%06o\0 " % (sum(head[:148]) + 8 * 32 + sum(head[156:]))
    return bytes(head)


def entry(name: bytes = b"a.wav", data: bytes = b"", kind: bytes = b"0", prefix: bytes = b"") -> bytes:
    """A header and its padded data."""
    return header(name, len(data), kind, prefix) + data + bytes(-len(data) % 512)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    """A pax header."""
    out = b""
    for key, value in records.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(record) + 1
        while len(str(length)) + len(record) != length:
            length += 1
        out += str(length).encode() + record
    return entry(b"pax", out, kind)


def tar(*entries: bytes) -> bytes:
    return b"".join(entries) + bytes(1024)


def good_tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    """A tar as `tarfile` writes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def good_zip(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, mode: int = stat.S_IFREG | 0o644) -> bytes:
    """A zip as `zipfile` writes it; the same name may come twice when it is given as `name#2`."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFDIR | 0o755 if name.endswith("/") else mode) << 16
            info.compress_type = method
            archive.writestr(info, data)
    return out.getvalue()
