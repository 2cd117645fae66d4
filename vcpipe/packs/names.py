"""Names inside a pack: a key for every utterance id, and a suffix for every column and variant."""

from __future__ import annotations

import re

from vcpipe.errors import InputError

EXTENSIONS = {"npy": "npy", "npy16": "int16.npy", "flac": "flac"}  # of each form; npy16 is sound as whole numbers
SUFFIX = re.compile(r"([a-z][a-z0-9_]*)(?:\.([1-9][0-9]{0,3}))?\.(npy|int16\.npy|flac)")
KEY = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9a-f]{2})+")
TAR = re.compile(r"[0-9]{6,}\.tar")


def key_of(utt_id: str) -> str:
    """The key of an utterance: ASCII letters, digits, `-` and `_` stand for themselves, other bytes are `=hh`.

    WebDataset cuts a member's name at its first dot and leaves out names that begin with two underscores, so neither
    may be in a key; slashes go too, so that no key can lead out of a folder.
    """
    if not utt_id:
        raise InputError("an utterance has an empty id; give every row of the manifest an utt_id")
    key = "".join(chr(b) if re.fullmatch(rb"[A-Za-z0-9_-]", bytes([b])) else f"={b:02x}" for b in utt_id.encode())
    return f"=5f{key[1:]}" if key.startswith("_") else key


def utt_id_of(key: str) -> str:
    """The utterance behind a key; the inverse of `key_of`.

    Raises:
        InputError: when no utterance has this key.
    """
    utt_id = ""
    if KEY.fullmatch(key):
        raw = re.sub(r"=(..)", lambda m: chr(int(m[1], 16)), key).encode("latin-1")
        utt_id = raw.decode("utf-8", errors="replace")
    if not utt_id or key_of(utt_id) != key:
        raise InputError(f"{key!r} is not the key of an utterance; use tars that `vcpipe pack` wrote")
    return utt_id


def suffix_of(column: str, variant: int, form: str) -> str:
    """What follows the key in a member's name: `units.npy`, `units.1.npy` for the second variant, `wav.flac`."""
    return f"{column}.{variant}.{EXTENSIONS[form]}" if variant else f"{column}.{EXTENSIONS[form]}"
