"""Opencpop: 100 Mandarin pop songs by one professional singer, cut at phrases, 44.1 kHz WAV.

Wang et al., Interspeech 2022. CC BY-NC-ND 4.0 (from memory; `TERMS_OF_ACCESS` decides), handed out on application.

Official tree: `<root>/segments/wavs/2001000001.wav` (the song 2001), and the official split in `segments/train.txt` and
`segments/test.txt`, one line a phrase: `<id>|<text>|<phonemes>|<notes>|<note seconds>|<phoneme seconds>|<slurs>`.
`segments/transcriptions.txt` is both together; whole songs lie in `<root>/wavs`. Neither is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.files import decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

NAME = re.compile(r"\d{10}")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: opencpop`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"subsets"}

    kind: Literal["opencpop"]
    root: str
    subsets: dict[Literal["train", "test"], Literal["train", "valid", "test", "auto"]] = Field(
        {"train": "auto", "test": "test"},
        min_length=1,
        description="the official lists and the split of each; auto: valid_share of it is held out for valid",
    )


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the phrases of the official lists, in their order; the one speaker is `opencpop`, the group is the song."""
    folder = root / "segments"
    if not (folder / "wavs").is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise InputError(
            f"{folder / 'wavs'}: no such folder; found {', '.join(found) or 'no folders'} in {root}; set `root` to the "
            "folder that has segments in it"
        )
    out: dict[str, Candidate] = {}
    for subset, split in settings.subsets.items():
        path = folder / f"{subset}.txt"
        for n, line in enumerate(decoded(path).splitlines(), 1):
            if not line.strip():
                continue
            utt_id, *rest = line.split("|")
            if not NAME.fullmatch(utt_id) or not rest:
                raise InputError(f"{path}:{n}: expected a line like 2001000001|text|…, found '{line[:60]}'; correct it")
            if utt_id in out:
                raise InputError(f"{path}:{n}: {utt_id} is listed twice; a phrase belongs to one list, once")
            out[utt_id] = Candidate(
                utt_id=utt_id,
                speaker="opencpop",
                path=f"segments/wavs/{utt_id}.wav",
                text=" ".join(rest[0].split()),
                language="zh",
                group=utt_id[:4],
                split="" if split == "auto" else split,
            )
    return list(out.values())
