"""M4Singer: Mandarin songs by 20 professional singers (soprano, alto, tenor, bass), 48 kHz WAV. CC BY-NC-SA 4.0.

Zhang et al., NeurIPS 2022 (datasets and benchmarks); handed out on request. The sampling rate is from memory.

Official tree: one folder for a singer's song, `<root>/Alto-1#美错/0000.wav` (beside it `0000.mid` and `0000.TextGrid`,
not read), and `<root>/meta.json`: a list with an `item_name` like `Alto-1#美错#0000` and the lyrics `txt` each.
Blanks of a song's name may be `-` in the folder's. Names are compared as NFC, since some unzip programs write NFD.
"""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import ClassVar, Literal

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: m4singer`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["m4singer"]
    root: str


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the phrases: the singer is the part of the folder's name before `#`, the group is the song."""
    texts = _texts(root / "meta.json")
    out = []
    for path in audio_files(root, (".wav",)):
        relative = path.relative_to(root)
        folder = unicodedata.normalize("NFC", relative.parts[0])
        singer, sharp, song = folder.partition("#")
        if len(relative.parts) != 2 or not (singer and sharp and song):
            raise InputError(f"{path}: expected {root}/<singer>#<song>/0000.wav, found {relative}; move it away")
        utt_id = f"{folder}#{path.stem}"
        out.append(
            Candidate(
                utt_id=utt_id,
                speaker=singer,
                path=relative.as_posix(),
                text=texts.get(_key(utt_id), ""),
                language="zh",
                group=folder,
            )
        )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F of those who sing soprano or alto, M of tenors and basses."""
    voices = {"Soprano": "F", "Alto": "F", "Tenor": "M", "Bass": "M"}
    speakers = sorted({c.speaker for c in scan(settings, Path(settings.root))})
    return {s: voices[s.partition("-")[0]] for s in speakers if s.partition("-")[0] in voices}


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).replace(" ", "-")


def _texts(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"{path}: expected the list of all phrases, found no such file; set `root` to its folder")
    try:
        return {_key(item["item_name"]): " ".join(item["txt"].split()) for item in json.loads(decoded(path))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: expected a list of objects with the texts item_name and txt, found something else "
            f"({type(error).__name__}: {str(error)[:80]}); unpack the corpus again"
        ) from None
