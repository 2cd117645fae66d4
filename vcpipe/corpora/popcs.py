"""PopCS: Mandarin pop songs by one singer, cut at phrases, WAV. CC BY-NC-SA 4.0, handed out by e-mail.

Liu et al., AAAI 2022 (DiffSinger); 117 songs, 24 kHz (both from memory).

Official tree: `<root>/popcs-<song>/0000_wf0.wav`, beside it the lyrics `0000.txt`, and the phonemes `0000_ph.txt` and
`0000.TextGrid`, which are not read. There is no official split; `test_songs` holds songs out. Names are given as NFC,
since some unzip programs write NFD.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.files import audio_files, read_text
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

ENDING = "_wf0"


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: popcs`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"test_songs"}

    kind: Literal["popcs"]
    root: str
    test_songs: tuple[str, ...] = Field((), description="songs of the split test, as in their folders after popcs-")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the phrases; the one speaker is `popcs`, the group is the song."""
    held_out = {unicodedata.normalize("NFC", f"popcs-{song}") for song in settings.test_songs}
    out = []
    for path in audio_files(root, (".wav",)):
        relative = path.relative_to(root)
        song = unicodedata.normalize("NFC", relative.parts[0])
        number = path.stem.removesuffix(ENDING)
        if len(relative.parts) != 2 or not song.startswith("popcs-") or number == path.stem:
            raise InputError(
                f"{path}: expected {root}/popcs-<song>/0000{ENDING}.wav, found {relative}; move it away, or set `root` "
                "to the folder that has the popcs-… folders in it"
            )
        out.append(
            Candidate(
                utt_id=f"{song}-{number}",
                speaker="popcs",
                path=relative.as_posix(),
                text=read_text(path.with_name(f"{number}.txt")),
                language="zh",
                group=song,
                split="test" if song in held_out else "",
            )
        )
    if missing := sorted(held_out - {c.group for c in out}):
        raise InputError(f"{root / missing[0]}: no such song, but `test_songs` names it; correct `test_songs`")
    return out
