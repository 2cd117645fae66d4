"""Text files of Praat: the interval tiers of a TextGrid, long or short. Standard library only.

Of such a file Praat reads strings, flags and numbers that stand alone, in order; all else is decoration, which the
short form leaves out. So one reader does for both (Praat's manual, "TextGrid file formats").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vcpipe.corpora.files import decoded
from vcpipe.errors import InputError

NEAR_S = 1e-6  # times that differ by less are the same: they went through decimal text
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|<(exists|absent)>|(?<!\S)([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)')
_STRING, _FLAG, _NUMBER = 1, 2, 3  # groups of it


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of time, in seconds."""

    label: str
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Tier:
    """Intervals in order, under a name."""

    name: str
    intervals: list[Interval]


def read_tiers(path: Path) -> list[Tier]:
    """The interval tiers of a TextGrid in UTF-8 or UTF-16; tiers of points are passed over.

    Raises:
        InputError: naming the file and the line of what is not as it should be.
    """
    tokens = _Tokens(path)
    if not tokens.string("ooTextFile").startswith("ooTextFile") or tokens.string("TextGrid") != "TextGrid":
        raise InputError(f"{tokens.where()}: not a TextGrid; save it as a TextGrid text file with Praat")
    tokens.span()
    tiers = []
    for _ in range(tokens.count() if tokens.flag() else 0):
        kind, name = tokens.string("the class of a tier"), tokens.string("the name of a tier")
        tokens.span()
        size = tokens.count()
        if kind == "IntervalTier":
            tiers.append(Tier(name, list(_intervals(tokens, size))))
        else:
            for _ in range(size):
                tokens.number("the time of a point")
                tokens.string("the mark of a point")
    return tiers


def _intervals(tokens: _Tokens, size: int) -> Iterator[Interval]:
    last_s = -math.inf
    for _ in range(size):
        start_s, stop_s = tokens.span()
        if stop_s < start_s or start_s < last_s - NEAR_S:
            raise InputError(
                f"{tokens.where()}: expected intervals in order, found {start_s:g} to {stop_s:g} after {last_s:g}; "
                "mend it with Praat"
            )
        last_s = stop_s
        yield Interval(tokens.string("the text of an interval").strip(), start_s, stop_s)


class _Tokens:
    """What stands in a text file of Praat, one after the other."""

    def __init__(self, path: Path):
        self.path, self.text = path, decoded(path)
        self.matches = _TOKEN.finditer(self.text)
        self.at = 0

    def string(self, what: str) -> str:
        return self._next(_STRING, what).replace('""', '"')

    def number(self, what: str) -> float:
        value = float(self._next(_NUMBER, what))
        if not math.isfinite(value):
            raise InputError(f"{self.where()}: expected {what}, found a number that is too large; mend it with Praat")
        return value

    def span(self) -> tuple[float, float]:
        return self.number("xmin"), self.number("xmax")

    def count(self) -> int:
        return int(self.number("size"))

    def flag(self) -> bool:
        return self._next(_FLAG, "<exists>") == "exists"

    def where(self) -> str:
        return f"{self.path}:{self.text.count(chr(10), 0, self.at) + 1}"

    def _next(self, group: int, what: str) -> str:
        match = next(self.matches, None)
        self.at = match.start() if match else len(self.text)
        if match is None or match[group] is None:
            found = repr(match[0][:40]) if match else "the end of the file"
            raise InputError(f"{self.where()}: expected {what} of a TextGrid, found {found}; save it again with Praat")
        return match[group]
