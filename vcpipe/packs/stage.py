"""From the shards of a corpus to the packs that the config asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from vcpipe.columns import Variant
from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, read_table
from vcpipe.packs.write import write_packs
from vcpipe.settings import Slice

log = logging.getLogger(__name__)


def pack_shards(made_by: Slice, manifest: Path, columns: Mapping[str, Sequence[Sequence[str]]], out: Path) -> None:
    """Packs the utterances of one split.

    Args:
        made_by: slice of the packs; its `columns` are what the shards must have been made under.
        manifest: of the copy of the corpus.
        columns: of each column the shards of each of its variants.
        out: index of the packs.
    """
    settings = made_by["settings"]
    utterances = [u for u in read_table(manifest, Utterance) if u.split == settings["split"]]
    if not utterances:
        raise InputError(f"{manifest}: no utterance has split {settings['split']}; set `split` of the pack")
    variants = {
        name: [
            Variant(tuple(map(Path, paths)), expect)
            for paths, expect in zip(shards, made_by["columns"][name], strict=True)
        ]
        for name, shards in columns.items()
    }
    audio = [name for name, slices in made_by["columns"].items() if all(s["stage"] == "audio" for s in slices)]
    written = write_packs(
        out.parent,
        variants,
        utterances,
        made_by=made_by,
        target_mib=settings["target_mib"],
        audio_columns=audio,
        audio_form=settings["form"],
        bits=settings["bits"],
    )
    log.info("%s: %d utterances in %d tars, %d left out", out, written.utterances, written.tars, len(written.left_out))
