"""LJSpeech 1.1: 13,100 sentences of one woman reading non-fiction, 24 h, 22,050 Hz WAV. Public domain.

Ito and Johnson, 2017, from LibriVox.

Official tree: `<root>/wavs/LJ001-0001.wav` and `<root>/metadata.csv`, without header and quoting, one
`<utterance>|<text as printed>|<text with numbers in words>` line each. Quotes in it are quotes of the book.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, textgrids
from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: ljspeech`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"alignments"}

    kind: Literal["ljspeech"]
    root: str
    text: Literal["normalized", "raw"] = Field("normalized", description="which of the two texts of each sentence")
    alignments: str = Field("", description="folder of TextGrids by utterance; empty: those beside the recordings")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus; a group is a chapter, the part of the name before the hyphen."""
    texts = _texts(root / "metadata.csv", {"raw": 1, "normalized": 2}[settings.text])
    return [
        Candidate(
            utt_id=path.stem,
            speaker="LJ",
            path=path.relative_to(root).as_posix(),
            text=texts.get(path.stem, ""),
            language="en",
            group=path.stem.partition("-")[0],
        )
        for path in audio_files(root / "wavs")
    ]


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a TextGrid."""
    return textgrids(scan(settings, root), root, settings.alignments, utt_ids)


def sexes(settings: Settings) -> dict[str, str]:
    """The one speaker is a woman."""
    return {"LJ": "F"}


def _texts(path: Path, column: int) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"{path}: no such table; set `root` of the corpus to the folder of LJSpeech that holds it")
    texts = {}
    for number, line in enumerate(decoded(path).split("\n"), 1):
        if not line.strip():
            continue
        fields = line.split("|")
        if len(fields) != 3:
            raise InputError(f"{path}:{number}: expected <utterance>|<text>|<text>, found {line[:60]!r}; mend the line")
        texts[fields[0].strip()] = " ".join(fields[column].split())
    return texts
