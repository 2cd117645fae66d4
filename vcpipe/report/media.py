"""The recordings and pictures of a site, each once, under names that do not tell what they are.

A name is a hash, so that a listener who compares blind cannot read the system off an address. What lies there already
and is right is left: a rebuild after one new row writes that row's files and no others.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.report import pictures

FOLDER = "media"
REVISION = 1
"""Of the pictures: raise it when they come out otherwise, and a rebuild draws them all again."""
NATURAL = ""
"""The row of a recording that no row made: a source or a reference, named by its utterance."""


def media_name(row: str, name: str) -> str:
    """The stem of a recording's files in `media/`, 20 hexadecimal digits: `<stem>.png` and its sound.

    Args:
        row: whose conversion it is, or `NATURAL`.
        name: of the trial, or the utterance; its sound is `<stem>.wav`, that of an utterance `<stem>.flac`.
    """
    return hashlib.blake2b(f"{row}\n{name}".encode(), digest_size=10).hexdigest()


def converted(folder: Path, stem: str, wav: Path) -> tuple[float, bool]:
    """Puts a row's recording and its picture into `folder`; the recording as a hard link where that is possible.

    Returns:
        Its seconds, and whether anything had to be written.

    Raises:
        InputError: when there is no such recording, or it cannot be read.
    """
    try:
        content = wav.read_bytes()
        seconds = float(soundfile.info(wav).duration)
    except (OSError, soundfile.LibsndfileError) as error:
        raise InputError(f"{wav}: expected a converted recording, found none ({error}); render the row again") from None
    linked = _link(wav, folder / f"{stem}.wav", content)
    drawn = _draw(folder / f"{stem}.png", content, lambda: soundfile.read(wav, dtype="float32"))
    return seconds, linked or drawn


def natural(folder: Path, stem: str, wave: Wave, rate: int) -> tuple[float, bool]:
    """Puts a recording of the corpus, `(N,)` float32 mono in [-1, 1], into `folder` as FLAC, with its picture.

    Returns:
        Its seconds, and whether anything had to be written.
    """
    samples = np.round(np.clip(wave, -1, 1) * 32767).astype("<i2")
    file, written = folder / f"{stem}.flac", False
    if not _holds(file, samples, rate):
        _put(file, lambda tmp: soundfile.write(tmp, samples, rate, format="FLAC", subtype="PCM_16"))
        written = True
    drawn = _draw(folder / f"{stem}.png", samples.tobytes(), lambda: (wave, rate))
    return len(wave) / rate, written or drawn


def sweep(folder: Path, keep: Collection[str]) -> int:
    """Removes every file of `folder` but those named; returns how many went."""
    stale = [path for path in folder.iterdir() if path.is_file() and path.name not in keep]
    for path in stale:
        path.unlink()
    return len(stale)


def _link(wav: Path, file: Path, content: bytes) -> bool:
    if file.is_file() and (os.path.samefile(file, wav) or file.read_bytes() == content):
        return False

    def place(tmp: Path) -> None:
        try:
            os.link(wav, tmp)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(wav, tmp)

    _put(file, place)
    return True


def _draw(file: Path, content: bytes, sound: Callable[[], tuple[Wave, int]]) -> bool:
    mark = f"{REVISION} {hashlib.blake2b(content, digest_size=16).hexdigest()}"
    if file.is_file() and pictures.marked(file.read_bytes(), mark):
        return False
    picture = pictures.small(*sound(), mark)
    _put(file, lambda tmp: tmp.write_bytes(picture))
    return True


def _holds(file: Path, samples: NDArray[np.int16], rate: int) -> bool:
    """Whether a FLAC has these samples, by the checksum of them that stands in its header."""
    try:
        with soundfile.SoundFile(file) as f:
            if (f.samplerate, f.frames, f.channels) != (rate, len(samples), 1):
                return False
    except (OSError, soundfile.LibsndfileError):
        return False
    with open(file, "rb") as f:
        head = f.read(42)  # 4 bytes of name, 4 of the block's kind and length, 18 of facts, 16 of MD5
    return head[26:] == hashlib.md5(samples.tobytes(), usedforsecurity=False).digest()


def _put(file: Path, write: Callable[[Path], object]) -> None:
    """Writes a file under another name and renames it: whole or not there. Not flushed: all of it can be made again."""
    tmp = file.with_name(f".{file.name}.tmp")
    tmp.unlink(missing_ok=True)
    write(tmp)
    os.replace(tmp, file)
