"""VCTK: 110 readers of English with various accents, newspaper sentences, 48 kHz. CC BY 4.0 (0.80: ODC-By 1.0).

Veaux, Yamagishi and MacDonald, CSTR, University of Edinburgh, 2012 (0.80) and 2019 (0.92).

Official trees, told apart by the folder that is there:

- 0.80: `<root>/wav48/p225/p225_001.wav`, one microphone.
- 0.92: `<root>/wav48_silence_trimmed/p225/p225_001_mic1.flac` and `…_mic2.flac`: the same sentence by two microphones,
  which is one utterance here. p280 and p315 have no mic2, and single recordings are missing elsewhere.

In both `<root>/txt/p225/p225_001.txt`; the texts of p315 were lost. The speaker s5 of 0.92 is one like the others.
Age, sex and accent stand in `speaker-info.txt`, of which the sex is read; that of 0.80 calls p225 `225`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, textgrids
from vcpipe.corpora.files import audio_files, read_text
from vcpipe.corpora.speakers import rows
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

FOLDERS = {"wav48": "p225_001.wav", "wav48_silence_trimmed": "p225_001_mic1.flac"}  # and how their recordings look
NAME = re.compile(r"(?P<utt_id>(?P<speaker>[ps]\d+)_\d+)(?:_(?P<microphone>mic[12]))?")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: vctk`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"alignments"}

    kind: Literal["vctk"]
    root: str
    microphone: Literal["mic1", "mic2"] = Field("mic1", description="of 0.92; the other one where it is missing")
    alignments: str = Field("", description="folder of TextGrids by utterance; empty: those beside the recordings")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus, each utterance by one microphone."""
    takes: dict[str, dict[str, Path]] = {}
    speakers = {}
    folder = _recordings(root)
    for path in audio_files(folder):
        match = NAME.fullmatch(path.stem)
        if not match or bool(match["microphone"]) != (folder.name != "wav48"):
            raise InputError(f"{path}: expected a name like {FOLDERS[folder.name]}, found {path.name}; move it away")
        takes.setdefault(match["utt_id"], {}).setdefault(match["microphone"] or "", path)
        speakers[match["utt_id"]] = match["speaker"]
    out = []
    for utt_id, take in takes.items():
        path = take.get(settings.microphone) or next(iter(take.values()))
        out.append(
            Candidate(
                utt_id=utt_id,
                speaker=speakers[utt_id],
                path=path.relative_to(root).as_posix(),
                text=read_text(root / "txt" / speakers[utt_id] / f"{utt_id}.txt"),
                language="en",
            )
        )
    return out


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a TextGrid."""
    return textgrids(scan(settings, root), root, settings.alignments, utt_ids)


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the speakers of `speaker-info.txt`."""
    found = {row[0]: row[2] for row in rows(Path(settings.root) / "speaker-info.txt") if len(row) > 2}
    return {f"p{name}" if name.isdigit() else name: sex for name, sex in found.items() if sex in ("F", "M")}


def _recordings(root: Path) -> Path:
    there = [root / name for name in FOLDERS if (root / name).is_dir()]
    if len(there) != 1:
        found = " and ".join(p.name for p in there) or "neither"
        raise InputError(
            f"{root}: expected one of {' (0.80), '.join(FOLDERS)} (0.92), found {found}; "
            "set `root` of the corpus to the folder of one version"
        )
    return there[0]
