"""Who of a corpus is a woman (F) and who a man (M), for the corpora that say it. Standard library only."""

from __future__ import annotations

import json
import re
from pathlib import Path

from vcpipe import catalog
from vcpipe.corpora.files import decoded
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.settings import CorpusSettings

SEPARATORS = re.compile(r"\s*[|\t]\s*")  # of a reader's line in LibriSpeech's table and in LibriTTS's two


def write_sexes(settings: CorpusSettings, out: Path) -> None:
    """Writes what is known of a corpus's speakers as JSON: `{"19": {"sex": "F"}}`; speakers not known are left out."""
    module = catalog.corpus(settings.kind, "corpus")
    found = module.sexes(settings) if hasattr(module, "sexes") else {}
    with atomic_path(out) as tmp:
        about = {speaker: {"sex": sex} for speaker, sex in found.items()}
        tmp.write_text(json.dumps(about, sort_keys=True) + "\n", encoding="utf-8")


def read_sexes(path: Path) -> dict[str, str]:
    """F or M of the speakers in a file that `write_sexes` wrote."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `snakemake --cores all {path}`")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return {speaker: known["sex"] for speaker, known in about.items() if known["sex"] in ("F", "M")}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f'{path}: expected speakers as {{"19": {{"sex": "F"}}}}, found something else ({error!r}); make it again: '
            f"`snakemake --cores all --force {path}`"
        ) from None


def readers(root: Path) -> dict[str, str]:
    """F or M of the readers of LibriSpeech's SPEAKERS.TXT (`19 | F | train-clean-100`) or LibriTTS's speakers.tsv."""
    names = ("SPEAKERS.TXT", "SPEAKERS.txt", "speakers.tsv")
    path = next((root / name for name in names if (root / name).is_file()), None)
    lines = decoded(path).splitlines() if path else []
    found = [SEPARATORS.split(line.strip()) for line in lines]
    return {row[0]: row[1] for row in found if len(row) > 1 and row[0].isdigit() and row[1] in ("F", "M")}


def rows(path: Path) -> list[list[str]]:
    """The lines of a table of speakers, cut at blanks; none where there is no such file."""
    return [line.split() for line in decoded(path).splitlines()] if path.is_file() else []
