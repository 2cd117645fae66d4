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
WIDE_LABEL = 168  # and of `intervals`
POINTS = 300  # of a curve; more are averaged
APART = 8.0  # a curve whose largest value is more times its smallest is drawn on a logarithmic axis
SPARK_WIDTH, SPARK_HEIGHT = 150, 16


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


def intervals(rows: Sequence[tuple[str, float, float, float, str]], label: str, unit: str) -> str:
    """A line for each name: a dot at the value, whiskers to the ends of its interval.

    Args:
        rows: `(name, low, value, high, kind)`, at least one, drawn from the top; `kind` becomes a class of the line.
        label: what is shown, for people who do not see the picture.
        unit: of the values, written under the axis; may be empty.
    """
    low, high = min(min(row[1:4]) for row in rows), max(max(row[1:4]) for row in rows)
    if low == high:
        low, high = low - 0.5, high + 0.5
    height = TOP + ROW * len(rows) + BOTTOM
    x = _Scale(low, high, WIDE_LABEL + 12, WIDTH - RIGHT - 6)
    marks = ticks(low, high, 5)
    parts = [f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>' for t in marks]
    for number, (name, a, value, b, kind) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        words = f"{name}: {_number(value)} {unit}".rstrip() + f", from {_number(a)} to {_number(b)}"
        short = name if len(name) <= 27 else name[:26] + "…"
        parts.append(f'<g class="row {escape(kind)}"><title>{escape(words)}</title>')
        parts.append(_text(WIDE_LABEL, y + 4, short, "end"))
        parts.append(f'<line class="whisker" x1="{x(a):.1f}" x2="{x(b):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        for end in (a, b):
            parts.append(
                f'<line class="whisker" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="{y - 4:.1f}" y2="{y + 4:.1f}"/>'
            )
        parts.append(f'<circle class="value" cx="{x(value):.1f}" cy="{y:.1f}" r="4.5"/></g>')
    parts += [_text(x(tick), height - BOTTOM + 14, _number(tick)) for tick in marks]
    parts.append(_text((WIDE_LABEL + WIDTH - RIGHT) / 2, height - 4, unit))
    return _svg(WIDTH, height, f"{label} of {len(rows)} rows with intervals", parts)


def difference(low: float, value: float, high: float, reach: float) -> str:
    """One interval around zero, small enough for a line of a table; the axis goes from `-reach` to `reach`."""
    x = _Scale(-reach, reach, 4, SPARK_WIDTH - 4)
    middle, kind = SPARK_HEIGHT / 2, "apart" if low > 0 or high < 0 else "across"
    parts = [f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{SPARK_HEIGHT}"/>']
    parts.append(f'<g class="{kind}"><line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{middle}" y2="{middle}"/>')
    parts.append(f'<circle cx="{x(value):.1f}" cy="{middle}" r="3.5"/></g>')
    box = f'width="{SPARK_WIDTH}" height="{SPARK_HEIGHT}" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}"'
    return f'<svg class="spark" {box} aria-hidden="true">{"".join(parts)}</svg>'


def curves(series: Sequence[tuple[str, Sequence[tuple[float, float]]]], label: str) -> str:
    """Values over steps: a line for each `(kind, [(step, value), ...])`; `kind` becomes its class.

    The axis of the values is logarithmic where they are positive and lie far apart.

    Args:
        series: each with at least one point, finite, the steps rising.
        label: what is shown, for people who do not see the picture.
    """
    drawn = [(kind, _thinned(points)) for kind, points in series]
    steps = [step for _, points in drawn for step, _ in points]
    values = [value for _, points in drawn for _, value in points]
    low, high = min(values), max(values)
    log = low > 0 and high > APART * low
    if low == high:
        low, high = low - 0.5, high + 0.5
    y_ticks = log_ticks(low, high) if log else ticks(low, high, 4)
    low, high = min(low, y_ticks[0]), max(high, y_ticks[-1])
    x = _Scale(min(steps), max(steps), LEFT, WIDTH - RIGHT)
    scale = _Scale(*((math.log(low), math.log(high)) if log else (low, high)), HEIGHT - BOTTOM, TOP)
    parts = [_grid_line(LEFT, WIDTH - RIGHT, scale(math.log(tick) if log else tick), _number(tick)) for tick in y_ticks]
    for kind, points in drawn:
        places = [(x(step), scale(math.log(value) if log else value)) for step, value in points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        words = f"{kind}: {_number(points[0][1])} at step {points[0][0]:,.0f}, {_number(points[-1][1])} at the end"
        parts.append(f'<g class="curve {escape(kind)}"><title>{escape(words)}</title><polyline points="{path}"/>')
        parts.append(f'<circle cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="3.5"/></g>')
    x_ticks = ticks(min(steps), max(steps), 5)
    parts += [_text(x(tick), HEIGHT - BOTTOM + 14, f"{tick:,.0f}") for tick in x_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "step" + (", logarithmic upwards" if log else "")))
    return _svg(WIDTH, HEIGHT, f"{label} over {max(steps):,.0f} steps", parts)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive values: 1, 2 and 5 times the powers of ten; powers alone where many fit."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = [m * 10.0**power for power in powers for m in steps if low <= m * 10.0**power <= high]
        if len(found) <= 6:
            break
    return found or [low, high]


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


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `POINTS` points, each the mean of its neighbours, so that a long run draws as fast as a short one."""
    size = -(-len(points) // POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


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
