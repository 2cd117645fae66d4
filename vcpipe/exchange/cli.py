"""The commands of exchange: `vcpipe export` and `vcpipe import`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vcpipe.options import PathOption


class Written(StrEnum):
    """Layouts that are written."""

    knn_vc = "knn-vc"
    grad_svc = "grad-svc"
    fastersvc = "fastersvc"
    sv2tts = "sv2tts"


class Read(StrEnum):
    """Layouts that are read."""

    knn_vc = "knn-vc"
    grad_svc = "grad-svc"
    npy_tree = "npy-tree"
    lhotse_shar = "lhotse-shar"


def export(
    layout: Annotated[Written, typer.Option(help="whose layout")],
    manifest: PathOption,
    column: Annotated[list[str], typer.Option(help="name=FOLDER_OF_SHARDS, once for each column")],
    to: Annotated[Path, typer.Option(help="new or empty folder")],
) -> None:
    """Writes shards as the files that another code base reads; a missing --column is named with what makes it."""
    from vcpipe.exchange import fastersvc, gradsvc, knnvc, sv2tts

    modules = {m.NAME: m for m in (knnvc, gradsvc, fastersvc, sv2tts)}
    count = modules[layout.value].export(manifest, column, to)
    print(f"{to}: {count} {'items' if layout is Written.fastersvc else 'utterances'} in the layout of {layout.value}")


def import_(
    layout: Annotated[Read, typer.Option(help="whose layout")],
    from_: Annotated[Path, typer.Option("--from", help="folder of the tree, only read")],
    to: Annotated[Path, typer.Option(help="new or empty folder, for manifest.csv and a folder of shards a column")],
    shards: Annotated[int, typer.Option(min=1, max=1000, help="files per column; a speaker stays within one")] = 4,
    column: Annotated[
        list[str] | None, typer.Option(help="name=FOLDER of npy-tree, name=FIELD of lhotse-shar; all unless given")
    ] = None,
    grid: Annotated[list[str] | None, typer.Option(help="name=rate/hop of a column, or name=utterance")] = None,
    speaker_level: Annotated[
        int | None, typer.Option(help="which folder of a file's path names the speaker: 0 the first, -1 the nearest")
    ] = None,
) -> None:
    """Makes shards and a manifest of the files of another code base; nothing in them is run."""
    from vcpipe.errors import InputError
    from vcpipe.exchange import gradsvc, gradsvc_tree, knnvc, lhotse, npytree
    from vcpipe.exchange.columns import named
    from vcpipe.exchange.tree import Options, write_import

    readers = {knnvc.NAME: knnvc.read, gradsvc.NAME: gradsvc_tree.read, npytree.NAME: npytree.read}
    readers[lhotse.NAME] = lhotse.read
    if not from_.is_dir():
        raise InputError(f"--from {from_}: no such folder; give the root of a {layout.value} tree")
    given = [text if "=" in text else f"{text}={text}" for text in column or []]
    columns = named(given, "--column", "FOLDER")
    options = Options(from_.resolve(), columns, named(grid or [], "--grid", "rate/hop"), speaker_level)
    count = write_import(readers[layout.value](options), to, shards)
    print(f"{to}: {count} utterances; read them with {to / 'manifest.csv'} and the shards beside it")
