"""Plots as SVG: what is drawn where, and nothing that breaks a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcpipe.report.plots import HEIGHT, WIDTH, histogram, ranges, ticks

FINITE = st.floats(-1e6, 1e6, allow_nan=False, allow_subnormal=False).map(lambda v: round(v, 5))
MARKUP = "<script>alert('&\")</script>"


def drawn(svg: str) -> ElementTree.Element:
    """The picture, which must be well-formed, without numbers that are none, and named for those who do not see it."""
    assert not re.search(r"\b(nan|inf)\b", svg)
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own picture
    assert root.get("role") == "img" and root.get("aria-label")
    return root


def places(root: ElementTree.Element) -> list[tuple[float, float]]:
    out = []
    for e in root.iter():
        for x, y in (("x", "y"), ("x1", "y1"), ("x2", "y2"), ("cx", "cy")):
            if e.get(x) is not None:
                out.append((float(str(e.get(x))), float(str(e.get(y)))))
    return out


@settings(deadline=None, max_examples=100)
@given(st.lists(FINITE, min_size=1, max_size=60))
def test_every_value_is_in_a_bar_and_every_bar_in_the_picture(values: list[float]) -> None:
    root = drawn(histogram(values, "length", "s"))
    titles = [t.text or "" for t in root.iter("title")]
    assert sum(int(words.rpartition(": ")[2]) for words in titles) == len(values)
    assert all(-0.5 <= x <= WIDTH + 0.5 and -0.5 <= y <= HEIGHT + 0.5 for x, y in places(root))


def test_a_histogram_has_the_counts_of_its_bins_and_marks_the_median() -> None:
    root = drawn(histogram([0.0, 0.1, 0.2, 10.0], "length", "s", n_bins=10))
    bars = list(root.iter("rect"))
    assert [e.findtext("title") for e in bars] == ["0 to 1 s: 3", "9 to 10 s: 1"]
    assert float(bars[0].get("height", 0)) == pytest.approx(3 * float(bars[1].get("height", 0)), abs=0.2)
    (mark,) = [e for e in root.iter("line") if e.get("class") == "mark"]
    left, right = float(bars[0].get("x", 0)), float(bars[1].get("x", 0))
    assert float(mark.get("x1", 0)) == pytest.approx(left + 0.15 * (right - left) / 9, abs=0.2)
    assert root.get("aria-label") == "Histogram of length: 4 values, median 0.15 s"


@pytest.mark.parametrize("values", [[0.0], [5.0] * 9, [-3.0], [1.0, np.nextafter(1.0, 2)], [1e12, 1e12 + 1e-4]])
def test_one_value_is_one_bar(values: list[float]) -> None:
    bars = list(drawn(histogram(values, "x", "u")).iter("rect"))
    assert len(bars) == 1 and float(bars[0].get("width", 0)) > 0


def test_ranges_are_in_order_inside_the_picture_and_name_who_they_are_of() -> None:
    rows = [("p225", 80.0, 120.0, 200.0), ("a speaker with a long name", 100.0, 220.0, 400.0)]
    root = drawn(ranges(rows, "F0 range", "Hz"))
    lines = [e for e in root.iter("line") if e.get("class") == "range"]
    dots = list(root.iter("circle"))
    assert len(lines) == len(dots) == 2
    for line, dot in zip(lines, dots, strict=True):
        assert float(line.get("x1", 0)) < float(dot.get("cx", 0)) < float(line.get("x2", 0))
    titles = [t.text for t in root.iter("title")]
    assert titles[1] == "a speaker with a long name: 100 to 400 Hz, median 220"
    assert "a speaker with …" in [t.text for t in root.iter("text")]
    width, height = map(float, str(root.get("viewBox")).split()[2:])
    assert all(0 <= x <= width and 0 <= y <= height for x, y in places(root))
    drawn(ranges([("one", 5.0, 5.0, 5.0)], "F0 range", "Hz"))


def test_names_and_units_are_text_whatever_they_are() -> None:
    for svg in (histogram([1.0, 2.0], MARKUP, MARKUP), ranges([(MARKUP, 1.0, 2.0, 3.0)], MARKUP, MARKUP)):
        assert "<script" not in svg
        assert MARKUP in "".join(drawn(svg).itertext())


@settings(deadline=None, max_examples=300)
@given(st.floats(-1e6, 1e6, allow_subnormal=False), st.floats(1e-6, 1e6, allow_subnormal=False), st.integers(1, 12))
def test_ticks_are_round_even_and_inside(low: float, span: float, about: int) -> None:
    high = low + span
    if span < 1e-6 * abs(low):
        return
    found = ticks(low, high, about)
    assert len(found) <= about + 1
    assert all(low - 1e-6 * span <= t <= high + 1e-6 * span for t in found)
    for step in np.diff(found):
        mantissa = step / 10 ** np.floor(np.log10(step) + 1e-6)
        assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-2


def test_ticks_of_a_point_and_of_a_known_range() -> None:
    assert ticks(3.0, 3.0, 5) == [3.0]
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(-70.3, -12, 6) == [-70, -60, -50, -40, -30, -20]
    assert ticks(0, 1, 4) == [0, 0.5, 1]
