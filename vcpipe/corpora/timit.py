"""TIMIT: 630 speakers of 8 dialects of American English, ten sentences each, 16 kHz. Licence of the LDC, for money.

Garofolo et al., LDC93S1, 1993.

Official tree: `<root>/TRAIN/DR1/FCJF0/SA1.WAV` (NIST SPHERE, not RIFF), beside it `.TXT`, `.WRD` and `.PHN`; names may
be in lower case. `TRAIN` and `TEST` may lie in a folder `data`, all of it in a folder `TIMIT`, and the speakers may
have been gathered into one folder `speakers` or `ALL`. A RIFF copy beside its original, `SA1.WAV.wav`, is no second
recording. The sentences SA1 and SA2 are read by everybody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, cover, files_below
from vcpipe.corpora.files import audio_files, decoded, read_text
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

RATE = 16000  # of the sample numbers in .TXT and .WRD
SENTENCE = re.compile(r"(?:SA|SI|SX)\d+")
NUMBERS = re.compile(r"(\d+)\s+(\d+)\s+(.*)")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: timit`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"sa_sentences", "alignments"}

    kind: Literal["timit"]
    root: str
    sa_sentences: bool = Field(True, description="take the two sentences that everybody reads, too")
    alignments: str = Field("", description="another tree of TIMIT, with .WRD; empty: those beside the recordings")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus; utterances are called FCJF0_SA1, whatever the case of the names on disk."""
    out: dict[tuple[Path, str], Candidate] = {}
    beside: dict[Path, dict[str, str]] = {}
    for folder, split in _folders(root):
        for path in audio_files(folder):
            sentence, speaker = path.name.partition(".")[0].upper(), path.parent.name.upper()
            if not SENTENCE.fullmatch(sentence):
                raise InputError(f"{path}: expected a name like SA1.WAV in a speaker's folder; move it away")
            if (path.parent, sentence) in out or (sentence.startswith("SA") and not settings.sa_sentences):
                continue
            if path.parent not in beside:
                beside[path.parent] = {name.lower(): name for name in sorted(os.listdir(path.parent))}
            text = read_text(path.parent / beside[path.parent].get(f"{sentence}.txt".lower(), f"{sentence}.TXT"))
            numbered = NUMBERS.fullmatch(text)
            out[path.parent, sentence] = Candidate(
                utt_id=f"{speaker}_{sentence}",
                speaker=speaker,
                path=path.relative_to(root).as_posix(),
                text=numbered[3] if numbered else text,
                language="en-US",
                split=split,
            )
    return list(out.values())


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a .WRD file; of words that overlap the later one is cut."""
    wanted = set(utt_ids)
    for path in files_below(settings.alignments or root, ".wrd"):
        utt_id = f"{path.parent.name.upper()}_{path.stem.upper()}"
        if utt_id in wanted:
            wanted.remove(utt_id)
            yield utt_id, read_wrd(path)


def sexes(settings: Settings) -> dict[str, str]:
    """F or M: the first letter of a speaker's name."""
    speakers = {c.speaker for c in scan(settings, Path(settings.root))}
    return {speaker: speaker[0] for speaker in sorted(speakers) if speaker[0] in "FM"}


def read_wrd(path: Path) -> list[Word]:
    """The words of a .WRD file; the pause at the end is as long as the .TXT beside it says, where there is one."""
    words = []
    for number, line in enumerate(decoded(path).splitlines(), 1):
        match = NUMBERS.fullmatch(line.strip())
        if line.strip() and not match:
            raise InputError(f"{path}:{number}: expected <first sample> <last sample> <word>, found {line[:60]!r}")
        if match:
            words.append(Word(match[3], int(match[1]) / RATE, int(match[2]) / RATE))
    text = next((p for p in sorted(path.parent.iterdir()) if p.name.lower() == f"{path.stem.lower()}.txt"), None)
    whole = NUMBERS.fullmatch(read_text(text)) if text else None
    return cover(words, int(whole[2]) / RATE if whole else 0.0)


def _folders(root: Path) -> list[tuple[Path, str]]:
    """The folders to walk, with the split of each."""
    for base in filter(None, (root, _inside(root, "timit"))):
        for holder in filter(None, (base, _inside(base, "data"))):
            parts = [(_inside(holder, "train"), "train"), (_inside(holder, "test"), "test")]
            if any(folder for folder, _ in parts):
                return [(folder, split) for folder, split in parts if folder]
        gathered = _inside(base, "speakers") or _inside(base, "all")
        if gathered:
            return [(gathered, "")]
    raise InputError(
        f"{root}: expected TRAIN and TEST, data, speakers or ALL in it, found none; set `root` of the corpus"
    )


def _inside(folder: Path, name: str) -> Path | None:
    """A folder by its name in any case."""
    if not folder.is_dir():
        return None
    return next((p for p in sorted(folder.iterdir()) if p.name.lower() == name and p.is_dir()), None)
