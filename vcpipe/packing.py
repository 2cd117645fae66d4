"""What `packs:` of the config asks for: the slices of the packs, and the checks that need no recording."""

from __future__ import annotations

import re

from vcpipe.config import Config
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.settings import Slice

COLUMN = re.compile(r"[a-z][a-z0-9_]*")


def pack_slice(config: Config, pack: str) -> Slice:
    """What the packs of a name depend on."""
    settings = config.packs[pack]
    return {
        "stage": "pack",
        "revision": settings.REVISION,
        "settings": settings.model_dump(mode="json", include={"split", "target_mib", "bits", "form"}),
        "columns": {
            column: [config.source(name, settings.corpus, _where(pack))[1] for name in names]
            for column, names in columns(config, pack).items()
        },
    }


def columns(config: Config, pack: str) -> dict[str, tuple[str, ...]]:
    """The columns of a pack, each with the features or copies that it is drawn from."""
    return {column: config.packs[pack].variants(column) for column in config.packs[pack].columns}


def copy_of(config: Config, pack: str) -> str:
    """The copy of the recordings whose manifest says which utterances a pack has.

    Raises:
        InputError: for columns of copies that are not cut alike, whose utterances are not the same.
    """
    names = [name for names in columns(config, pack).values() for name in names]
    copies = dict.fromkeys(
        name if name in config.audio else config.copy_of(name)
        for name in names
        if name in config.audio or name in config.features
    )
    if not copies:
        raise InputError(f"config key '{_where(pack)}': expected a feature or a copy of the recordings")
    first, *others = copies
    for other in others:
        config.check_alike(first, other, _where(pack))
    return first


def check(config: Config) -> None:
    """Refuses what would only fail once all shards are made: names, rows of speakers, grids that do not zip."""
    for pack, settings in config.packs.items():
        config.corpus(settings.corpus, f"packs.{pack}.corpus")
        pack_slice(config, pack)
        copy_of(config, pack)
        grids: dict[str, Grid] = {}
        for column, names in columns(config, pack).items():
            where = f"{_where(pack)}.{column}"
            if not COLUMN.fullmatch(column):
                raise InputError(f"config key '{where}': a column is named by small letters, digits and _; rename it")
            for name in names:
                if grid := _grid(config, name, where):
                    grids[column] = grid
        if not grids:
            raise InputError(f"config key '{_where(pack)}': expected a column of frames or samples; add one")
        coarsest = min(grids.values(), key=lambda grid: grid.fps)
        for column, grid in grids.items():
            try:
                coarsest.ratio(grid)
            except InputError as error:
                raise InputError(f"config key '{_where(pack)}.{column}': {error}") from None


def _grid(config: Config, name: str, where: str) -> Grid | None:
    """Of a copy or a feature of frames; None for one vector an utterance, and for what a system derives."""
    if name in config.audio:
        return Grid(config.audio[name].rate, 1)
    if name not in config.features:
        return None
    feature = config.features[name]
    if feature.ROWS == "speaker":
        raise InputError(f"config key '{where}': {name} has rows of speakers, not of utterances; take it out")
    return feature.grid if feature.ROWS == "frame" else None


def _where(pack: str) -> str:
    return f"packs.{pack}.columns"
