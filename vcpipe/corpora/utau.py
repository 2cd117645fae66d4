"""A voice bank of the singing synthesiser UTAU (Ameya/Ayame, since 2008): sung syllables, one or a few in each WAV.

The licence is each bank's own (`readme.txt`). The form, from memory and from programs that read it:

- `oto.ini` in each folder of recordings, a line each sound: `<file>.wav=<alias>,<offset>,<consonant>,<cutoff>,
  <preutterance>,<overlap>` with times in ms; a recording may have several sounds, an empty alias is the file's name.
- `character.txt` with `name=<who>` at the top of the bank; folders below it are other pitches or moods of the voice.
- Both in Shift-JIS (Windows code page 932), newer banks in UTF-8.
- Beside the recordings lie `.frq`, `.mrq`, `.pmk` and other files of programs, which are passed over.

File names are kana. Programs that unzip spoil them in two ways, both undone here for the names, not on the disk:
parts of a kana apart (NFD), and Shift-JIS read as a western code page (か as `é⌐` or `‚©`). Names of Shift-JIS
bytes are refused; `convmv -f cp932 -t utf8 -r --notest <root>` renames them.
"""

from __future__ import annotations

import math
import unicodedata
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from vcpipe.corpora.files import audio_files
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

WESTERN = ("cp437", "cp850", "cp1252", "latin-1")
"""What Shift-JIS names are mistaken for when a bank is unzipped."""


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: utau`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["utau"]
    root: str
    language: str = Field("ja", description="of the bank, as a BCP 47 tag")
    speaker: str = Field("", description="who sings; empty: the name in character.txt, else that of the folder")
    encoding: Literal["auto", "cp932", "utf-8"] = Field("auto", description="of oto.ini and character.txt")
    text: Literal["alias", "file"] = Field(
        "alias", description="alias: the sounds of oto.ini in the order of time; file: the recording's name"
    )


class _Sound(NamedTuple):
    """A line of oto.ini."""

    offset_ms: float
    alias: str


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the bank, or several below one folder: a recording belongs to the nearest `character.txt` above it."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; set `root` to the voice bank's, where character.txt is")
    sounds = cache(lambda folder: _sounds(folder / "oto.ini", settings.encoding))
    speaker = cache(lambda folder: settings.speaker or _speaker(folder, root, settings.encoding))
    out = []
    described = False
    for path in audio_files(root, (".wav",)):
        relative = path.relative_to(root)
        known = sounds(path.parent)
        described = described or bool(known)
        name = _true_name(path.name, known)
        stem = name[: -len(path.suffix)]
        folder = unicodedata.normalize("NFC", relative.parent.as_posix())
        found = known.get(_key(name), []) if settings.text == "alias" else []
        out.append(
            Candidate(
                utt_id=stem if folder == "." else f"{folder}/{stem}",
                speaker=speaker(path.parent),
                path=relative.as_posix(),
                text=_sung(found) or " ".join(stem.strip("_").split()),
                language=settings.language,
                group=folder,
            )
        )
    if out and not described:
        raise InputError(
            f"{root}: expected an oto.ini that names recordings beside them, found none; set `root` to the voice bank, "
            "or `kind: folder` for recordings without one"
        )
    return out


def _key(name: str) -> str:
    """Names are the same on Windows whatever their case."""
    return unicodedata.normalize("NFC", name).casefold()


def _true_name(name: str, known: dict[str, list[_Sound]]) -> str:
    """A file name as its maker wrote it: the repair that oto.ini knows, else one that is all kana, else as it is."""
    repaired = []
    for encoding in WESTERN:
        for form in (name, unicodedata.normalize("NFC", name)):
            try:
                repaired.append(form.encode(encoding).decode("cp932"))
            except UnicodeError:
                continue
    for candidate in (name, *repaired):
        if _key(candidate) in known:
            return unicodedata.normalize("NFC", candidate)
    if not name.isascii():
        for candidate in repaired:
            if any("ぁ" <= c <= "ヿ" for c in candidate):
                return unicodedata.normalize("NFC", candidate)
    return unicodedata.normalize("NFC", name)


def _sung(sounds: list[_Sound]) -> str:
    """The sounds of a recording in time: of `a い` only what is new, of several aliases of one place the first."""
    first: dict[float, str] = {}
    for sound in sounds:
        first.setdefault(round(sound.offset_ms), sound.alias.split()[-1] if sound.alias.split() else "")
    return " ".join(alias for _, alias in sorted(first.items()) if alias and alias not in ("-", "R"))


def _sounds(path: Path, encoding: str) -> dict[str, list[_Sound]]:
    """The lines of an oto.ini by recording; empty where there is none."""
    out: dict[str, list[_Sound]] = {}
    if not path.is_file():
        return out
    for n, line in enumerate(_decoded(path, encoding).splitlines(), 1):
        if not line.strip() or line.startswith("#Charset:"):
            continue
        name, equals, rest = line.partition("=")
        alias, _, times = rest.partition(",")
        try:
            offset_ms = float(times.split(",")[0].strip() or 0)
        except ValueError:
            offset_ms = math.nan
        if not (equals and name.strip() and math.isfinite(offset_ms)):
            raise InputError(
                f"{path}:{n}: expected a line like あ.wav=あ,6,52,69,8,2, found '{line.strip()[:60]}'; correct it, or "
                "set `encoding`"
            )
        sound = _Sound(offset_ms, alias.strip() or name.strip().rsplit(".", 1)[0])
        out.setdefault(_key(name.strip()), []).append(sound)
    return out


def _speaker(folder: Path, root: Path, encoding: str) -> str:
    for above in (folder, *folder.parents):
        if (above / "character.txt").is_file():
            for line in _decoded(above / "character.txt", encoding).splitlines():
                key, _, value = line.partition("=")
                if key.strip().lower() == "name" and value.strip():
                    return " ".join(unicodedata.normalize("NFC", value).split())
            return unicodedata.normalize("NFC", above.resolve().name)
        if above == root:
            break
    return unicodedata.normalize("NFC", root.resolve().name)


def _decoded(path: Path, encoding: str) -> str:
    data = path.read_bytes()
    for name in {"auto": ("utf-8-sig", "cp932"), "utf-8": ("utf-8-sig",), "cp932": ("cp932",)}[encoding]:
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    expected = "UTF-8 or Shift-JIS" if encoding == "auto" else encoding
    raise InputError(
        f"{path}: expected {expected}, found other bytes; set `encoding` of the corpus, or save it as UTF-8"
    )
