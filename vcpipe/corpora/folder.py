"""Any folder of recordings: `<root>/<speaker>/**/<utterance>.<wav|flac|ogg|mp3>`.

A text file of the same name beside a recording is its transcript, a TextGrid of the same name its alignment.
Provenance and licence are the user's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, textgrids
from vcpipe.corpora.files import audio_files, read_text
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: folder`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"alignments"}

    kind: Literal["folder"]
    root: str
    language: str = Field("", description="of all the recordings, as a BCP 47 tag")
    alignments: str = Field("", description="folder of TextGrids, in it as in root; empty: those beside the recordings")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus: the first folder is the speaker, the path without its suffix is the utterance id."""
    out = []
    for path in audio_files(root):
        relative = path.relative_to(root)
        if len(relative.parts) < 2:
            raise InputError(
                f"{path}: expected {root}/<speaker>/…/<utterance>{path.suffix}, found a recording with no speaker "
                "folder; move it into a folder named after its speaker"
            )
        out.append(
            Candidate(
                utt_id=relative.with_suffix("").as_posix(),
                speaker=relative.parts[0],
                path=relative.as_posix(),
                text=read_text(path.with_suffix(".txt")),
                language=settings.language,
                group=relative.parent.as_posix(),
            )
        )
    return out


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a TextGrid."""
    return textgrids(scan(settings, root), root, settings.alignments, utt_ids)
