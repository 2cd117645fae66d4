"""OpenSinger: Mandarin songs by 66 amateur singers, cut at phrases, WAV. CC BY-NC-SA.

Huang et al., "Multi-Singer", ACM Multimedia 2021: the corpus of that vocoder, by the same people. The number of singers
and the rate of 24 kHz are from memory.

Official tree: `<root>/ManRaw/0_光年之外/0_光年之外_0.wav` and `<root>/WomanRaw/…`, beside each the lyrics in `.txt`
(and `.lab`, not read). Men and women are numbered apart, so the man 26 is `M26` here, the woman 46 is `W46`. There is
no official split. Names are given as NFC, since some unzip programs write NFD.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import ClassVar, Literal

from vcpipe.corpora.files import audio_files, read_text
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

FOLDERS = {"ManRaw": "M", "WomanRaw": "W"}
SONG = re.compile(r"(\d+)_(.+)")
PHRASE = re.compile(r"(\d+)_.+_(\d+)")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: multisinger`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["multisinger"]
    root: str


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the phrases; the group is a singer's song."""
    there = [name for name in FOLDERS if (root / name).is_dir()]
    if not there:
        found = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise InputError(
            f"{root}: expected the folders ManRaw and WomanRaw in it, found {', '.join(found) or 'none'}; set `root` "
            "to the folder OpenSinger"
        )
    out = []
    for name in there:
        for path in audio_files(root / name, (".wav",)):
            relative = path.relative_to(root)
            song = SONG.fullmatch(unicodedata.normalize("NFC", relative.parts[1]))
            phrase = PHRASE.fullmatch(unicodedata.normalize("NFC", path.stem))
            if len(relative.parts) != 3 or not song or not phrase or song[1] != phrase[1]:
                raise InputError(f"{path}: expected {name}/0_<song>/0_<song>_0.wav, found {relative}; move it away")
            speaker = FOLDERS[name] + song[1]
            out.append(
                Candidate(
                    utt_id=f"{speaker}_{song[2]}_{phrase[2]}",
                    speaker=speaker,
                    path=relative.as_posix(),
                    text=read_text(path.with_suffix(".txt")),
                    language="zh",
                    group=f"{speaker}_{song[2]}",
                )
            )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F or M, as the folders say."""
    speakers = sorted({c.speaker for c in scan(settings, Path(settings.root))})
    return {speaker: {"M": "M", "W": "F"}[speaker[0]] for speaker in speakers}
