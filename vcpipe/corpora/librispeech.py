"""LibriSpeech: read English audio books, 16 kHz FLAC. CC BY 4.0, Panayotov et al., ICASSP 2015.

Official tree: `<root>/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac`, and where it is present
`<speaker>-<chapter>.trans.txt` with one `<utterance> <TEXT>` line each. Any set of subsets can be used.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.config import CorpusSettings
from vcpipe.corpora.files import audio_files
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: librispeech`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"subsets"}

    kind: Literal["librispeech"]
    root: str
    subsets: dict[str, Literal["train", "valid", "test", "auto"]] = Field(
        {"train-clean-100": "train", "dev-clean": "valid"},
        description="folders of the tree and the split of each; auto: valid_share of it is held out for valid",
    )


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the subsets in the order of the config; the speaker is the first number of an utterance's name."""
    out = []
    for subset, split in settings.subsets.items():
        folder = root / subset
        if not folder.is_dir():
            found = sorted(p.name for p in root.iterdir() if p.is_dir())
            raise InputError(
                f"{folder}: no such subset of LibriSpeech; found {', '.join(found) or 'no folders'} in {root}; "
                "set `subsets` or `root` of the corpus"
            )
        texts = _transcripts(folder)
        for path in audio_files(folder):
            parts = path.stem.split("-")
            if len(parts) != 3:
                raise InputError(f"{path}: expected a name like 84-121123-0000.flac, found {path.name}; move it away")
            relative = path.relative_to(root)
            out.append(
                Candidate(
                    utt_id=path.stem,
                    speaker=parts[0],
                    path=relative.as_posix(),
                    text=texts.get(path.stem, ""),
                    language="en",
                    group=f"{parts[0]}-{parts[1]}",
                    split="" if split == "auto" else split,
                )
            )
    return out


def _transcripts(folder: Path) -> dict[str, str]:
    texts = {}
    for path in sorted(folder.glob("*/*/*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            utt_id, _, text = line.partition(" ")
            texts[utt_id] = text.strip()
    return texts
