"""LibriSpeech: read English audio books, 16 kHz FLAC. CC BY 4.0, Panayotov et al., ICASSP 2015.

Official tree: `<root>/<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<n>.flac`, and where it is present
`<speaker>-<chapter>.trans.txt` with one `<utterance> <TEXT>` line each; `<root>/SPEAKERS.TXT` says who is a woman. Any
set of subsets can be used. Alignments are the `<speaker>-<chapter>.alignment.txt` of LibriSpeech-Alignments, or
TextGrids by utterance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, files_below, read_librispeech_alignments, textgrids
from vcpipe.corpora.files import audio_files, subset_folder
from vcpipe.corpora.speakers import readers
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: librispeech`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"subsets", "alignments"}

    kind: Literal["librispeech"]
    root: str
    subsets: dict[str, Literal["train", "valid", "test", "auto"]] = Field(
        {"train-clean-100": "train", "dev-clean": "valid"},
        description="folders of the tree and the split of each; auto: valid_share of it is held out for valid",
    )
    alignments: str = Field(
        "", description="folder of *.alignment.txt, or of TextGrids by utterance; empty: those beside the recordings"
    )


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the subsets in the order of the config; the speaker is the first number of an utterance's name."""
    out = []
    for subset, split in settings.subsets.items():
        folder = subset_folder(root, subset, "LibriSpeech")
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


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a line in a chapter's alignments, or else a TextGrid."""
    found = scan(settings, root)
    wanted = {c.utt_id: c for c in found if c.utt_id in set(utt_ids)}
    chapters = {c.group for c in wanted.values()}
    if settings.alignments:
        tables = files_below(settings.alignments, ".alignment.txt")
    else:
        folders = sorted({(root / c.path).parent for c in wanted.values()})
        tables = [path for folder in folders for path in sorted(folder.glob("*.alignment.txt"))]
    done = set()
    for path in tables:
        if path.name.removesuffix(".alignment.txt").replace("_", "-") not in chapters:
            continue
        for utt_id, words in read_librispeech_alignments(path).items():
            if utt_id in wanted and utt_id not in done:
                done.add(utt_id)
                yield utt_id, words
    yield from textgrids(found, root, settings.alignments, wanted.keys() - done)


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the readers of `SPEAKERS.TXT`."""
    return readers(Path(settings.root))


def _transcripts(folder: Path) -> dict[str, str]:
    texts = {}
    for path in sorted(folder.glob("*/*/*.trans.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            utt_id, _, text = line.partition(" ")
            texts[utt_id] = text.strip()
    return texts
