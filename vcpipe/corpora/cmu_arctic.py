"""CMU ARCTIC: 1,132 sentences out of novels, read by each speaker, 16 kHz WAV. Free for any use, with its notice kept.

Kominek and Black, Carnegie Mellon University, 2003 (SSW5, 2004).

Official tree: one folder a speaker, `<root>/cmu_us_bdl_arctic/wav/arctic_a0001.wav`, whose texts stand in
`etc/txt.done.data` with one `( arctic_a0001 "Text." )` line each. Sentences are called alike in all the folders, so the
speaker is part of an utterance's id: `bdl_arctic_a0001`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

FOLDER = re.compile(r"cmu_us_([a-z0-9]+)_arctic.*")
SEXES = {  # not told by the corpus itself: from tables of its users; of aup, axb, gka and slp from memory
    "F": ("axb", "clb", "eey", "ljm", "lnh", "slp", "slt"),
    "M": ("aew", "ahw", "aup", "awb", "bdl", "fem", "gka", "jmk", "ksp", "rms", "rxr"),
}
LINE = re.compile(r'\(\s*(\S+)\s+"((?:[^"\\]|\\.)*)"\s*\)')


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: cmu_arctic`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["cmu_arctic"]
    root: str


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the speakers whose folders are there."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and FOLDER.fullmatch(p.name)) if root.is_dir() else []
    if not folders:
        raise InputError(
            f"{root}: expected folders like cmu_us_bdl_arctic in it, found none; set `root` to the folder they lie in"
        )
    out = []
    for folder in folders:
        speaker = FOLDER.sub(r"\1", folder.name)
        texts = _texts(folder / "etc" / "txt.done.data")
        for path in audio_files(folder / "wav"):
            out.append(
                Candidate(
                    utt_id=f"{speaker}_{path.stem}",
                    speaker=speaker,
                    path=path.relative_to(root).as_posix(),
                    text=texts.get(path.stem, ""),
                    language="en",
                )
            )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the 18 speakers that can be downloaded."""
    return {speaker: sex for sex, speakers in SEXES.items() for speaker in speakers}


def _texts(path: Path) -> dict[str, str]:
    texts = {}
    for number, line in enumerate(decoded(path).splitlines() if path.is_file() else [], 1):
        match = LINE.fullmatch(line.strip())
        if line.strip() and not match:
            raise InputError(f'{path}:{number}: expected ( arctic_a0001 "text" ), found {line[:60]!r}; mend the line')
        if match:
            texts[match[1]] = " ".join(re.sub(r"\\(.)", r"\1", match[2]).split())
    return texts
