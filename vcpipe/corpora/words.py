"""When each word of a recording is said, for the corpora that know it: one table of JSON lines a shard."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, read_lines, read_table, write_lines
from vcpipe.settings import CorpusSettings

log = logging.getLogger(__name__)

SUFFIXES = (".alignment.txt", ".textgrid", ".wrd")


def write_words(settings: CorpusSettings, listed: Path, out: Path) -> None:
    """Writes the words of the recordings of a list; those without an alignment are left out.

    Raises:
        InputError: for a kind of corpus that has no alignments, or where none of them is found.
    """
    module = catalog.corpus(settings.kind, "corpus")
    if not hasattr(module, "alignments"):
        raise InputError(
            f"corpora of kind {settings.kind} have no word alignments; align them (as TextGrids) and list them as "
            "`kind: folder` with `alignments`"
        )
    utt_ids = [c.utt_id for c in read_table(listed, Candidate)]
    found = dict(module.alignments(settings, Path(settings.root), utt_ids))
    if utt_ids and not found:
        raise InputError(
            f"{listed}: none of {len(utt_ids)} recordings has an alignment in "
            f"{getattr(settings, 'alignments', '') or settings.root}; set `alignments` of the corpus to their folder"
        )
    rows = [{"utt_id": i, "words": [[w.text, w.start_s, w.stop_s] for w in found[i]]} for i in utt_ids if i in found]
    write_lines(out, rows)
    log.info("%s: words of %d of %d recordings", out, len(rows), len(utt_ids))


def digest(settings: CorpusSettings) -> str:
    """Of the files that may hold alignments as they lie now: their names, sizes and times of change."""
    found = hashlib.blake2b(digest_size=8)
    for folder, below, names in os.walk(getattr(settings, "alignments", "") or settings.root):
        below.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                stat = os.stat(os.path.join(folder, name))
                found.update(f"{folder}/{name}-{stat.st_size}-{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def read_words(path: Path) -> dict[str, list[tuple[str, float, float]]]:
    """For each recording its words: what is said ('' is silence), and from when to when in seconds."""
    rows: list[dict[str, Any]] = read_lines(path)
    return {row["utt_id"]: [(text, start_s, stop_s) for text, start_s, stop_s in row["words"]] for row in rows}
