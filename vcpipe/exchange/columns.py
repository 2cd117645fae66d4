"""What a layout needs of our shards: named columns, each checked before a file is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, read_table
from vcpipe.settings import canonical
from vcpipe.store import Shard

BLOCK_ROWS = 1 << 20
USUAL: Mapping[str, object] = {
    "centre": "cell",
    "pad": "reflect",
    "power": 1,
    "epsilon": 0.0,
    "pre_emphasis": 0.0,
    "log": "ln",
    "ref_db": 0.0,
    "symmetric": None,
}
"""What a mel's slice leaves out where it is this."""


@dataclass(frozen=True)
class Need:
    """A column of a layout. What was imported says no kind and no settings: of it the rest is checked.

    Args:
        name: in `--column name=FOLDER`.
        make: block of the config that makes the right one.
        fps: frames per second of a row a frame; 0: any.
        rate: samples per second that it is made from; 0: any. Of sound, the rate itself.
        dims: columns that are right; none: any.
        kinds: of feature that are right; none: any. `audio` is a copy of the recordings.
        settings: of the feature that must be as here.
        row: what a row stands for.
        optional: whether the layout can be written without it.
    """

    name: str
    make: str
    fps: int = 0
    rate: int = 0
    dims: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    row: str = "frame"
    optional: bool = False


def sound(name: str, rate: int, optional: bool = False) -> Need:
    """The recordings themselves at a rate."""
    make = f"audio: {{{rate // 1000}k: {{rate: {rate}}}}}"
    return Need(name, make, rate, rate, (1,), ("audio",), optional=optional)


class Column:
    """All shards of a folder as one, open: rows by utterance, or by speaker.

    Raises:
        InputError: when the folder has no shards, when they do not belong together, or are not what is needed.
    """

    def __init__(self, layout: str, need: Need, folder: Path):
        self.need, self.folder, self.layout = need, folder, layout
        paths = sorted(folder.glob("[0-9][0-9][0-9].h5"))
        if not paths:
            raise InputError(f"--column {need.name}={folder}: expected shards 000.h5, …, found none; {self._advice()}")
        self._stack = ExitStack()
        self._owner: dict[str, Shard] = {}
        self.shards: list[Shard] = []
        try:
            for path in paths:
                shard = self._stack.enter_context(Shard(path, None))
                self.shards.append(shard)
                if canonical(shard.slice) != canonical(self.shards[0].slice):
                    raise InputError(f"{path}: made under other settings than {paths[0].name} beside it; make it again")
                self._owner |= dict.fromkeys(shard.utt_ids, shard)
            self._check()
        except BaseException:
            self.close()
            raise

    def __contains__(self, name: str) -> bool:
        return name in self._owner

    def __iter__(self) -> Iterator[str]:
        return iter(self._owner)

    @property
    def grid(self) -> Grid:
        """Of the rows."""
        return self.shards[0].grid

    @property
    def dim(self) -> int:
        """Columns of a row."""
        return self.shards[0].dim

    def length(self, name: str) -> int:
        """Rows of an utterance."""
        return self._of(name).length(name)

    def read(self, name: str, start: int = 0, count: int | None = None) -> NDArray[Any]:
        """`count` rows from `start`, `(count, D)`; all by default."""
        return self._of(name).read(name, start, count)

    def vector(self, name: str) -> NDArray[Any]:
        """The one row `(D,)` of an utterance or a speaker."""
        found = self.read(name)
        if len(found) != 1:
            raise InputError(f"{self.folder}: {name} has {len(found)} rows, expected one; {self._advice()}")
        row: NDArray[Any] = found[0]
        return row

    def blocks(self, name: str) -> Iterator[NDArray[Any]]:
        """All rows in blocks `(n, D)`, so that a long recording need not be in memory whole."""
        total = self.length(name)
        for start in range(0, total, BLOCK_ROWS):
            yield self.read(name, start, min(BLOCK_ROWS, total - start))

    def close(self) -> None:
        """Closes the files."""
        self._stack.close()

    def _of(self, name: str) -> Shard:
        if name not in self._owner:
            what = "speaker" if self.need.row == "speaker" else "utterance"
            raise InputError(f"{self.folder}: {what} {name} is in none of its shards; make them again with snakemake")
        return self._owner[name]

    def _check(self) -> None:
        need, shard = self.need, self.shards[0]
        row = shard.row
        kind, settings = _made(shard)
        imported = shard.slice.get("stage") == "import"
        wrong = [
            need.row != row,
            bool(need.dims) and shard.dim not in need.dims,
            bool(need.kinds) and not imported and kind not in need.kinds,
            need.row == "frame" and bool(need.fps) and shard.grid.fps != need.fps,
            bool(need.rate) and row == "frame" and shard.grid.rate != need.rate,
        ]
        differing = (
            []
            if imported
            else [
                f"{key}: {found}"
                for key, expected in need.settings.items()
                if (found := settings.get(key, USUAL.get(key))) != expected
            ]
        )
        if any(wrong) or differing:
            settled = f", {', '.join(differing)}" if differing else ""
            raise InputError(
                f"--column {need.name}={self.folder}: {self.layout} cannot use {kind or 'imported rows'} on grid "
                f"{shard.grid} with {shard.dim} columns, one row a {row}{settled}; {self._advice()}"
            )

    def _advice(self) -> str:
        return f"make the right one with `{self.need.make}` in config.yaml and give its folder of shards"


def _made(shard: Shard) -> tuple[str, Mapping[str, object]]:
    """The kind of what made a shard (`audio` for recordings), and its settings."""
    if shard.slice.get("stage") == "audio":
        return "audio", {}
    feature = shard.slice.get("feature")
    return (str(feature.get("kind", "")), feature) if isinstance(feature, dict) else ("", {})


class Columns:
    """The columns of an export, `with Columns(layout, needs, given) as columns:`; `columns["mel"].read(utt_id)`.

    Args:
        layout: its name.
        needs: what it takes.
        given: `name=FOLDER` of each.
    """

    def __init__(self, layout: str, needs: Sequence[Need], given: Sequence[str]):
        known = {need.name: need for need in needs}
        folders = named(given, "--column", "FOLDER_OF_SHARDS")
        if stray := [name for name in folders if name not in known]:
            raise InputError(f"--column {stray[0]}: {layout} has no such column; it takes {', '.join(known)}")
        for need in needs:
            if need.name not in folders and not need.optional:
                raise InputError(
                    f"--column {need.name}=FOLDER_OF_SHARDS is missing: {layout} needs it; made with `{need.make}` in "
                    "config.yaml"
                )
        self._columns: dict[str, Column] = {}
        try:
            for name, folder in folders.items():
                self._columns[name] = Column(layout, known[name], Path(folder))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Columns:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def close(self) -> None:
        """Closes the files."""
        for column in self._columns.values():
            column.close()

    def utterances(self, manifest: Path, splits: Sequence[str] = ("train", "valid")) -> list[Utterance]:
        """The rows of a manifest that are of these splits, or of none; refused when a column lacks one.

        Raises:
            InputError: when none is left, or naming the first that is missing.
        """
        kept = [u for u in read_table(manifest, Utterance) if u.split in (*splits, "")]
        if not kept:
            raise InputError(f"{manifest}: expected utterances of {' or '.join(splits)}, found none; give another")
        for column in self._columns.values():
            for u in kept:
                column.length(u.speaker if column.need.row == "speaker" else u.utt_id)
        return sorted(kept, key=lambda u: (u.speaker, u.utt_id))


def named(given: Sequence[str], option: str, value: str) -> dict[str, str]:
    """`name=value` options as a mapping; an InputError for one that is not so, or comes twice."""
    out: dict[str, str] = {}
    for text in given:
        name, equals, what = text.partition("=")
        if not (name and equals and what) or name in out:
            raise InputError(f"{option} {text}: expected {option} name={value}, each name once; correct it")
        out[name] = what
    return out
