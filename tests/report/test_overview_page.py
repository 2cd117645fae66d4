"""The front page: every figure with its interval, the best marked, comparisons told right, and columns that sort."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report import made_up
from tests.report.browser import Open
from tests.report.test_demo_page import Page
from vcpipe.errors import InputError
from vcpipe.measures import BY_NAME, MEASURES, number
from vcpipe.report import plots
from vcpipe.report.overview_page import COSTS, GROUPS, PLOTTED, write_overview_page
from vcpipe.results import Result, load

N_ROWS = 6
MEASURED = [measure for measure in MEASURES if measure.name in {*made_up.KEYS, "eer"}]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.results(tmp_path_factory.mktemp("results"), N_ROWS, 6)


@pytest.fixture
def rows(results: Path) -> list[Result]:
    return [load(folder) for folder in made_up.rows(results)]


@pytest.fixture
def overview(results: Path) -> dict[str, Any]:
    return dict(json.loads((results / "evaluation" / "overview.json").read_text()))


@pytest.fixture
def html(rows: list[Result], overview: dict[str, Any], tmp_path: Path) -> str:
    return write_overview_page(tmp_path / "out", rows, overview).read_text(encoding="utf-8")


def body(html: str, row: str) -> str:
    """The line of a row in the table."""
    found = re.search(rf'<tr>\s*<th scope="row"[^>]*><a href="systems/{row}\.html".*?</tr>', html, re.DOTALL)
    assert found
    return found[0]


def test_every_measure_and_cost_is_a_column_under_its_group_and_says_its_direction(html: str) -> None:
    page = Page(html)
    headings = [attrs for attrs in page.all("th") if attrs.get("scope") == "col" and "data-better" in attrs]
    assert [attrs["data-better"] for attrs in headings] == ["", *(m.better for m in (*MEASURED, *COSTS))]
    assert all(attrs["title"] for attrs in headings[1:])
    groups = [attrs for attrs in page.all("th") if attrs.get("scope") == "colgroup"]
    assert [attrs["data-group"] for attrs in groups] == list(GROUPS)
    assert sum(int(str(attrs["colspan"])) for attrs in groups) == len(MEASURED) + len(COSTS)
    assert "lower is better" in page.text and "higher is better" in page.text


def test_a_figure_stands_over_its_interval(html: str, rows: list[Result]) -> None:
    found = rows[2].metrics["measures"]["cos_target"]
    value, low, high = (number(BY_NAME["cos_target"], found[key]) for key in ("value", "low", "high"))
    assert re.search(rf">{value}<small>{low}\u202f–\u202f{high}</small>", body(html, "linearvc"))


def test_costs_are_those_of_the_trained_vocoder(html: str) -> None:
    assert ">4.20<" in body(html, "knnvc")  # million parameters
    assert "downloaded" not in html and "Size of the trained vocoder" in html


def test_reference_rows_are_apart_and_never_the_best(html: str, rows: list[Result]) -> None:
    ours, others = html.split("Reference rows, for orientation")
    for result in rows:
        part = others if result.system["kind"] == "reference" else ours
        assert f'href="systems/{result.row}.html"' in part
        if result.system["kind"] == "reference":
            assert "best" not in body(html, result.row)
    best = min(
        (r for r in rows if r.system["kind"] != "reference"), key=lambda r: r.metrics["measures"]["wer"]["value"]
    )
    assert "best" in body(html, best.row)


def test_what_was_not_measured_is_no_column_or_a_dash(
    overview: dict[str, Any], rows: list[Result], tmp_path: Path
) -> None:
    for number_, (row, result) in enumerate(zip(overview["rows"], rows, strict=True)):
        for table in (row["measures"], result.metrics["measures"]):
            table.pop("vuv_error", None)
            if number_:
                table.pop("mcd_db", None)
    overview["comparisons"] = []
    html = write_overview_page(tmp_path, rows, overview).read_text(encoding="utf-8")
    assert ">V/UV err.<" not in html and ">MCD<" in html
    assert 'data-merit=""' in body(html, "linearvc") and "–</td>" in body(html, "linearvc")
    assert "there are not two rows to compare" in html


def test_a_comparison_is_read_by_the_direction_of_its_measure(
    overview: dict[str, Any], rows: list[Result], tmp_path: Path
) -> None:
    def line(measure: str, difference: float, p_holm: float) -> dict[str, Any]:
        ends = {"low": difference - 0.01, "high": difference + 0.01}
        both = {"a": "knnvc", "b": "linearvc", "measure": measure, "difference": difference, "n": 6}
        return {**both, **ends, "p": p_holm / 3, "p_holm": p_holm}

    overview["comparisons"] = [
        line("wer", -0.1, 0.01),
        line("wer", 0.1, 0.0003),
        line("cos_target", 0.1, 0.01),
        line("cos_target", 0.1, 0.06),
    ]
    html = write_overview_page(tmp_path, rows, overview).read_text(encoding="utf-8")
    told = [Page(f"<p>{row}</p>").text for row in re.findall(r"<tr data-measure.*?</tr>", html, re.DOTALL)]
    assert "−10.0 points" in told[0] and told[0].endswith("first is better")
    assert "+10.0 points" in told[1] and "< 0.001" in told[1] and told[1].endswith("second is better")
    assert "+0.100" in told[2] and told[2].endswith("first is better")
    assert told[3].endswith("no difference shown")


@pytest.mark.parametrize("digest", ["00" * 32, None])
def test_an_overview_of_another_protocol_is_refused(
    overview: dict[str, Any], rows: list[Result], tmp_path: Path, digest: str | None
) -> None:
    overview["rows"][1]["protocol"] = digest
    with pytest.raises(InputError, match=r"overview\.json: row recordings: expected the protocol"):
        write_overview_page(tmp_path, rows, overview)


def test_the_protocol_is_shown_with_its_checksums_and_without_the_list_of_trials(
    overview: dict[str, Any], rows: list[Result], tmp_path: Path
) -> None:
    overview["protocol"]["trials"]["list"] = [["secret/utt", "ben", ["ben/ref0"], 1.0, 0]]
    text = Page(write_overview_page(tmp_path, rows, overview).read_text(encoding="utf-8")).text
    assert "ab" * 32 in text and overview["protocol"]["trials"]["digest"] in text and "secret/utt" not in text
    assert all(result.metrics["protocol"] in text for result in rows)


def test_intervals_are_drawn_for_the_main_measures(html: str) -> None:
    assert html.count('<svg class="chart"') == len(PLOTTED)
    assert html.count('class="row reference"') == len(PLOTTED) * 3


@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_an_interval_of_no_width_is_drawn(value: float) -> None:
    assert "nan" not in plots.intervals([("a", value, value, value, "system")], "x", "") + plots.difference(
        value, value, value, abs(value) or 1.0
    )


def test_curves_take_long_runs_and_far_values() -> None:
    long = [(float(step), 1e3 / (step + 1)) for step in range(50_000)]
    drawn = plots.curves([("train", long), ("valid", [(10.0, 2.0)])], "loss")
    assert len(drawn) < 12_000 and "logarithmic" in drawn
    assert "logarithmic" not in plots.curves([("train", [(1.0, -1.0), (2.0, 100.0)])], "loss")


@pytest.mark.browser
def test_columns_sort_groups_hide_and_comparisons_filter(html: str, tmp_path: Path, open_page: Open) -> None:
    watched = open_page(tmp_path / "out", "index.html")
    page = watched.page
    names = (
        "[...document.querySelectorAll('#figures-table tbody:first-of-type tr')].map((r) => r.cells[0].dataset.name)"
    )
    merits = (
        "(i) => [...document.querySelectorAll('#figures-table tbody:first-of-type tr')]"
        ".map((r) => Number(r.cells[i].dataset.merit))"
    )
    for column, measure in enumerate(MEASURED, start=1):
        heading = page.locator("#figures-table thead tr:last-child th").nth(column)
        heading.locator("button").press("Enter")
        best_first = page.evaluate(merits, column)
        assert best_first == sorted(best_first, reverse=True)
        assert heading.get_attribute("aria-sort") == ("descending" if measure.better == "higher" else "ascending")
        heading.locator("button").press("Enter")
        assert page.evaluate(merits, column) == sorted(best_first)
    assert page.locator("[aria-sort]").count() == 1
    page.locator("#figures-table thead tr:last-child button").first.click()
    assert page.evaluate(names) == sorted(page.evaluate(names), key=str.lower)
    assert page.locator(".references tr").first.get_attribute("class") == "title"

    page.locator("input[name=prosody]").uncheck()
    assert page.locator("[data-group=prosody]:visible").count() == 0
    assert page.locator("[data-group=words]:visible").count() > 0

    lines = page.locator("#comparisons-table tbody tr:visible")
    assert {line.get_attribute("data-measure") for line in lines.all()} == {"wer"}
    page.locator("select[name=measure]").select_option("")
    page.locator("select[name=row]").select_option("linearvc")
    assert all("linearvc" in (r.get_attribute("data-a"), r.get_attribute("data-b")) for r in lines.all())
    assert page.locator("output").inner_text().startswith(f"{lines.count()} of")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_never_wider_than_its_window(html: str, tmp_path: Path, open_page: Open, width: int) -> None:
    assert not open_page(tmp_path / "out", "index.html", width=width).wide()
