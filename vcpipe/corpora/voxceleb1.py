"""VoxCeleb1: 1,251 celebrities in interviews on YouTube, 150,000 pieces, 16 kHz WAV.

Nagrani, Chung and Zisserman, Interspeech 2017. Its tables are CC BY 4.0 (the terms have changed over time); the sound
belongs to the makers of the videos.

Official tree: `<root>/wav/id10001/<video>/00001.wav`, often in two parts `<root>/{dev,test}/wav/…`, and
`<root>/vox1_meta.csv`, which has tabs in spite of its name: VoxCeleb1 ID, VGGFace1 ID, Gender, Nationality, Set.
Utterances are called as in the official trial lists. Nobody wrote down what is said, or in which language.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.catalog import nearest
from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

TABLE = "vox1_meta.csv"
FOLDERS = ("wav", "dev/wav", "test/wav")
SPLITS = {"dev": "train", "test": "test"}


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: voxceleb1`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"nationalities"}

    kind: Literal["voxceleb1"]
    root: str
    nationalities: list[str] = Field([], description="of the speakers to take, as in vox1_meta.csv; empty: all")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the speakers of the nationalities; the split is the table's, whatever the folder."""
    if not (root / TABLE).is_file():
        raise InputError(
            f"{root / TABLE}: no such table; put the one of the corpus there, or set `root` to where it lies"
        )
    table = speaker_table(root / TABLE, ("voxceleb1id", "nationality", "set"))
    nationality = {speaker: row["nationality"].casefold() for speaker, row in table.items()}
    known = sorted({row["nationality"] for row in table.values()})
    for name in settings.nationalities:
        if name.casefold() not in nationality.values():
            raise InputError(f"nationalities: nobody in {root / TABLE} is of '{name}'; {nearest(name, known)}")
    wanted = {name.casefold() for name in settings.nationalities} or set(nationality.values())
    out = []
    for path, utt_id, speaker, video in pieces(root, FOLDERS):
        if speaker not in table:
            raise InputError(f"{path}: expected a speaker of {root / TABLE}, found {speaker}; move the folder away")
        if nationality[speaker] in wanted:
            out.append(
                Candidate(
                    utt_id=utt_id,
                    speaker=speaker,
                    path=path.relative_to(root).as_posix(),
                    group=f"{speaker}/{video}",
                    split=SPLITS[table[speaker]["set"]],
                )
            )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the speakers of the table."""
    return sexes_of(Path(settings.root) / TABLE, "voxceleb1id")


def pieces(
    root: Path, folders: tuple[str, ...], suffixes: tuple[str, ...] = (".wav",)
) -> Iterator[tuple[Path, str, str, str]]:
    """Path, utterance, speaker and video of `<speaker>/<video>/<number>` below those of the folders that are there."""
    there = [root / folder for folder in folders if (root / folder).is_dir()]
    if not there:
        raise InputError(f"{root}: expected one of {', '.join(folders)} in it, found none; set `root` of the corpus")
    for folder in there:
        for path in audio_files(folder, suffixes):
            parts = path.relative_to(folder).with_suffix("").parts
            if len(parts) != 3:
                raise InputError(
                    f"{path}: expected {folder}/<speaker>/<video>/<number>, found another depth; move it away"
                )
            yield path, "/".join(parts), parts[0], parts[1]


def speaker_table(path: Path, columns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Rows of a table of speakers by the first of the columns, whose names are in lower case without spaces.

    Between fields stand tabs or commas; what spaces lie about them, in the header too, is cut off.

    Raises:
        InputError: when a column is missing, a row is short, or the column `set` is neither dev nor test.
    """
    lines = [line for line in decoded(path).splitlines() if line.strip()]
    tab = "\t" if lines and "\t" in lines[0].strip() else ","
    header = ["".join(name.split()).lower() for name in lines[0].split(tab)] if lines else []
    if not set(columns) <= set(header):
        raise InputError(f"{path}: expected the columns {', '.join(columns)}, found {', '.join(header) or 'nothing'}")
    table = {}
    for line in lines[1:]:
        row = dict(zip(header, [field.strip(" ,\t") for field in line.split(tab)], strict=False))
        row["set"] = row.get("set", "").lower()
        if not set(columns) <= set(row) or row["set"] not in SPLITS:
            raise InputError(f"{path}: expected {', '.join(columns)} with dev or test at last, found {line[:60]!r}")
        table[row[columns[0]]] = row
    return table


def sexes_of(path: Path, first: str) -> dict[str, str]:
    """F or M of the speakers of a table whose first column is `first`; of nobody where there is no table."""
    table = speaker_table(path, (first, "set")) if path.is_file() else {}
    found = {speaker: row.get("gender", "").upper() for speaker, row in table.items()}
    return {speaker: sex for speaker, sex in found.items() if sex in ("F", "M")}
