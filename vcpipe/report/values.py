"""A measure of one pair, of several, and of a row with its interval, as pages show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from vcpipe.measures import Measure, merit, number

Line = Mapping[str, Any]


def of_pair(measure: Measure, line: Line) -> float | None:
    """What one line of `judged.jsonl` says of a measure; None where nothing was measured."""
    if measure.kind == "rate":
        errors, units = (line.get(key) for key in measure.keys)
        return float(errors) / float(units) if errors is not None and units else None
    value = line.get(measure.keys[0])
    return None if value is None or not math.isfinite(value) else float(value)


def of_pairs(measure: Measure, lines: Iterable[Line]) -> float | None:
    """The same over several lines: all errors over all units, else the mean of those that have one."""
    there = [line for line in lines if of_pair(measure, line) is not None]
    if not there:
        return None
    if measure.kind == "rate":
        errors, units = (sum(float(line[key]) for line in there) for key in measure.keys)
        return errors / units
    return sum(float(line[measure.keys[0]]) for line in there) / len(there)


def badness(measure: Measure, value: float) -> float:
    """Larger is worse; for measures that have a better end."""
    good = merit(measure, value)
    assert good is not None, f"{measure.name} has no better end"
    return -good


def interval(measure: Measure, low: float, high: float) -> str:
    """The ends of an interval without their unit, `6.8 – 8.1` with narrow blanks, so that a column stays narrow."""
    return minus(f"{number(measure, low)}\u202f–\u202f{number(measure, high)}")


def minus(words: str) -> str:
    """Numbers with the minus of print, which is as wide as a digit."""
    return words.replace("-", "−")
