"""Plots as inline SVG, coloured by the page's own style sheet, so that they follow its light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 480, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 34
ROW = 22  # height of a line of `ranges`
LABEL = 120  # width of the names of `ranges`


def histogram(values: Sequence[float], label: str, unit: str, n_bins: int = 30) -> str:
    """How often which value occurs: bars over `n_bins` equal bins, with the median marked.

    Args:
        values: at least one, finite.
        label: what is counted, for people who do not see the picture.
        unit: of the values, written under the axis.
    """
    low, high = float(np.min(values)), float(np.max(values))
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value, or what rounding makes of it
        low, high = (low, low + 1) if low == 0 else (low - 0.5, high + 0.5)
    counts, edges = np.histogram(values, n_bins, (low, high))
    x_ticks, y_ticks = ticks(low, high, 6), ticks(0, float(counts.max()), 4)
    x = _Scale(low, high, LEFT, WIDTH - RIGHT)
    y = _Scale(0, max(float(counts.max()), y_ticks[-1]), HEIGHT - BOTTOM, TOP)
    median = float(np.median(values))
    parts = [_grid_line(LEFT, WIDTH - RIGHT, y(tick), _number(tick)) for tick in y_ticks]
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        if count:
            words = f"{_number(left)} to {_number(right)} {unit}: {count}"
            box = f'x="{x(left):.1f}" y="{y(count):.1f}" width="{max(x(right) - x(left) - 1, 0.5):.1f}"'
            parts.append(
                f'<rect class="bar" {box} height="{y(0) - y(count):.1f}"><title>{escape(words)}</title></rect>'
            )
    parts.append(f'<line class="mark" x1="{x(median):.1f}" x2="{x(median):.1f}" y1="{TOP}" y2="{y(0):.1f}"/>')
    parts += [_text(x(tick), HEIGHT - BOTTOM + 14, _number(tick)) for tick in x_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, unit))
    words = f"Histogram of {label}: {len(values)} values, median {_number(median)} {unit}"
    return _svg(WIDTH, HEIGHT, words, parts)


def ranges(rows: Sequence[tuple[str, float, float, float]], label: str, unit: str) -> str:
    """A line for each name from low to high with a dot between: `(name, low, middle, high)`."""
    low, high = min(row[1] for row in rows), max(row[3] for row in rows)
    if low == high:
        low, high = low - 0.5, high + 0.5
    height = TOP + ROW * len(rows) + BOTTOM
    x = _Scale(low, high, LABEL + 8, WIDTH - RIGHT - 6)
    marks = ticks(low, high, 6)
    parts = [f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>' for t in marks]
    for number, (name, a, middle, b) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        words = f"{name}: {_number(a)} to {_number(b)} {unit}, median {_number(middle)}"
        short = name if len(name) <= 16 else name[:15] + "…"
        parts.append(f"<g><title>{escape(words)}</title>" + _text(LABEL, y + 4, short, "end"))
        parts.append(f'<line class="range" x1="{x(a):.1f}" x2="{x(b):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<circle class="dot" cx="{x(middle):.1f}" cy="{y:.1f}" r="4"/></g>')
    parts += [_text(x(tick), height - BOTTOM + 14, _number(tick)) for tick in marks]
    parts.append(_text((LABEL + WIDTH - RIGHT) / 2, height - 4, unit))
    return _svg(WIDTH, height, f"{label} of {len(rows)} speakers, in {unit}", parts)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two values, about so many: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / max(about, 1)
    if raw <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


class _Scale:
    """From values to places on the picture."""

    def __init__(self, low: float, high: float, start: float, stop: float):
        self.low, self.start = low, start
        self.slope = (stop - start) / (high - low) if high > low else 0.0

    def __call__(self, value: float) -> float:
        return self.start + (float(value) - self.low) * self.slope


def _number(value: float) -> str:
    return f"{value:.4g}"


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _grid_line(x1: float, x2: float, y: float, words: str) -> str:
    line = f'<line class="grid" x1="{x1}" x2="{x2}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return line + _text(x1 - 6, y + 4, words, "end")


def _svg(width: int, height: int, words: str, parts: Sequence[str]) -> str:
    head = f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
    return head + "".join(parts) + "</svg>"
