"""JVS: 100 Japanese speakers, read, whispered and falsetto, 24 kHz WAV. Takamichi et al., 2019 (arXiv 1908.06248).

For research and other non-commercial use; the texts are CC BY-SA 4.0 (both from memory; the corpus's README decides).

Official tree: `<root>/jvs001 … jvs100/<style>/wav24kHz16bit/<name>.wav`, and beside each `wav24kHz16bit` a
`transcripts_utf8.txt` with one `<name>:<text>` line each. The styles: `parallel100` (100 sentences, the same for
everybody), `nonpara30` (30 of each speaker's own), `whisper10` and `falset10` (10 each). Sentences are called alike in
many folders, so speaker and style are part of an utterance's id. Some recordings and some lines are missing. Who is
a woman stands in `gender_f0range.txt`, one `jvs001 M 70 500` line each.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.corpora.speakers import rows
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

SPEAKER = re.compile(r"jvs\d{3}")
Style = Literal["parallel100", "nonpara30", "whisper10", "falset10"]


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: jvs`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"styles"}

    kind: Literal["jvs"]
    root: str
    styles: tuple[Style, ...] = Field(
        ("parallel100", "nonpara30"), min_length=1, description="which ways of speaking; also whisper10 and falset10"
    )


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the chosen styles of the speakers whose folders are there."""
    speakers = sorted(p for p in root.iterdir() if p.is_dir() and SPEAKER.fullmatch(p.name)) if root.is_dir() else []
    if not speakers:
        raise InputError(
            f"{root}: expected folders jvs001 to jvs100 in it, found none; set `root` to the folder jvs_ver1"
        )
    out = []
    for style in dict.fromkeys(settings.styles):
        folders = [speaker / style for speaker in speakers if (speaker / style / "wav24kHz16bit").is_dir()]
        if not folders:
            raise InputError(
                f"{speakers[0] / style}: expected a folder wav24kHz16bit in it, found none in any speaker's; set "
                "`styles` to those that are there"
            )
        for folder in folders:
            out += _utterances(folder, root)
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the speakers of `gender_f0range.txt`."""
    found = rows(Path(settings.root) / "gender_f0range.txt")
    return {row[0]: row[1] for row in found if len(row) > 1 and row[1] in ("F", "M")}


def _utterances(folder: Path, root: Path) -> list[Candidate]:
    speaker, style = folder.parent.name, folder.name
    texts = _texts(folder / "transcripts_utf8.txt")
    return [
        Candidate(
            utt_id=f"{speaker}-{style}-{path.stem}",
            speaker=speaker,
            path=path.relative_to(root).as_posix(),
            text=texts.get(path.stem, ""),
            language="ja",
            group=f"{speaker}-{style}",
        )
        for path in audio_files(folder / "wav24kHz16bit", (".wav",))
    ]


def _texts(path: Path) -> dict[str, str]:
    texts = {}
    for n, line in enumerate(decoded(path).splitlines(), 1):
        name, colon, text = line.partition(":")
        if line.strip() and not colon:
            raise InputError(f"{path}:{n}: expected a line like VOICEACTRESS100_001:text, found '{line}'; correct it")
        texts[name.strip()] = " ".join(text.split())
    return texts
