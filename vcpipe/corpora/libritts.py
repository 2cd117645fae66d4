"""LibriTTS and LibriTTS-R: read English audio books cut at sentences, 24 kHz WAV, with punctuated text. CC BY 4.0.

Zen et al., Interspeech 2019 (LibriTTS); Koizumi et al., Interspeech 2023 (LibriTTS-R, the same restored).

Official tree: `<root>/<subset>/<speaker>/<chapter>/<speaker>_<chapter>_<paragraph>_<sentence>.wav`, beside each
`.normalized.txt` (numbers and abbreviations in words) and `.original.txt` of the same name. Who is a woman stands in
`<root>/SPEAKERS.txt`, or in `speakers.tsv`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.alignments import Word, textgrids
from vcpipe.corpora.files import audio_files, read_text, subset_folder
from vcpipe.corpora.speakers import readers
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: libritts`."""

    REVISION: ClassVar[int] = 1
    NOT_CONTENT: ClassVar[set[str]] = CorpusSettings.NOT_CONTENT | {"subsets", "alignments"}

    kind: Literal["libritts"]
    root: str
    subsets: dict[str, Literal["train", "valid", "test", "auto"]] = Field(
        {"train-clean-100": "train", "dev-clean": "valid"},
        description="folders of the tree and the split of each; auto: valid_share of it is held out for valid",
    )
    text: Literal["normalized", "original"] = Field("normalized", description="which of the two texts of each sentence")
    alignments: str = Field("", description="folder of TextGrids by utterance; empty: those beside the recordings")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the subsets in the order of the config; the speaker is the first number of an utterance's name."""
    out = []
    for subset, split in settings.subsets.items():
        for path in audio_files(subset_folder(root, subset, "LibriTTS")):
            parts = path.stem.split("_")
            if len(parts) != 4:
                raise InputError(
                    f"{path}: expected a name like 84_121123_000007_000001.wav, found {path.name}; move it away"
                )
            out.append(
                Candidate(
                    utt_id=path.stem,
                    speaker=parts[0],
                    path=path.relative_to(root).as_posix(),
                    text=read_text(path.with_suffix(f".{settings.text}.txt")),
                    language="en",
                    group=f"{parts[0]}_{parts[1]}",
                    split="" if split == "auto" else split,
                )
            )
    return out


def alignments(settings: Settings, root: Path, utt_ids: Collection[str]) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a TextGrid."""
    return textgrids(scan(settings, root), root, settings.alignments, utt_ids)


def sexes(settings: Settings) -> dict[str, str]:
    """F or M of the readers of `SPEAKERS.txt` or `speakers.tsv`."""
    return readers(Path(settings.root))
