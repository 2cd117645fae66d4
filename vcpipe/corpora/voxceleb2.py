"""VoxCeleb2: 6,112 celebrities in interviews on YouTube, 1.1 million pieces, many languages, AAC.

Chung, Nagrani and Zisserman, Interspeech 2018. Its tables are CC BY 4.0 (the terms have changed over time); the sound
belongs to the makers of the videos.

Official tree: `<root>/dev/aac/id00012/<video>/00001.m4a` and `<root>/test/aac/…`; as the parts are packed, one of them
may also lie in `<root>/aac/…`. `<root>/vox2_meta.csv`, which need not be there, has commas with spaces about them, in
the header too: `VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set `. Nobody wrote down what is said, or in which language.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from vcpipe.corpora.files import SUFFIXES
from vcpipe.corpora.voxceleb1 import SPLITS, pieces, sexes_of, speaker_table
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

TABLE = "vox2_meta.csv"
FOLDERS = ("aac", "dev/aac", "test/aac")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: voxceleb2`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["voxceleb2"]
    root: str


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the corpus; the split is that of the folder dev or test, else the table's, where there is one."""
    table = speaker_table(root / TABLE, ("voxceleb2id", "set")) if (root / TABLE).is_file() else {}
    out = []
    for path, utt_id, speaker, video in pieces(root, FOLDERS, SUFFIXES):
        relative = path.relative_to(root)
        part = relative.parts[0] if relative.parts[0] in SPLITS else table.get(speaker, {}).get("set", "")
        out.append(
            Candidate(
                utt_id=utt_id,
                speaker=speaker,
                path=relative.as_posix(),
                group=f"{speaker}/{video}",
                split=SPLITS.get(part, ""),
            )
        )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the speakers of the table, where there is one."""
    return sexes_of(Path(settings.root) / TABLE, "voxceleb2id")
