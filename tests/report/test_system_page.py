"""The page of a row: its figures, its run if it still is that one, its data, its timings, its speakers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.report import made_up, made_up_sources
from tests.report.browser import Open
from tests.report.test_demo_page import Page
from tests.report.test_site import edit, write
from vcpipe.measures import BY_NAME, number
from vcpipe.report import system_page
from vcpipe.report.values import of_pairs
from vcpipe.results import load


@pytest.fixture
def results(tmp_path: Path) -> Path:
    out = made_up.results(tmp_path, 2, 12, speakers=("ana", "ben", "cleo"))
    made_up_sources.run(out)
    made_up_sources.stats(out)
    made_up_sources.logs(tmp_path)
    return out


def page_of(results: Path, row: str = "knnvc") -> Page:
    out = write(results.parent / "report", results).parent
    return Page((out / "systems" / f"{row}.html").read_text(encoding="utf-8"))


def test_it_shows_what_the_row_is_how_it_learnt_and_on_what(results: Path) -> None:
    page = page_of(results)
    assert "a trained system" in page.text and "4,200,000 parameters, 16.2 MiB" in page.text
    assert "arch vocos" in page.text and "step 1,600" in page.text
    charts = [attrs["aria-label"] for attrs in page.all("svg")]
    assert charts == ["The loss loss over 1,600 steps"] * 2 + [
        "The loss mel over 1,600 steps",  # of training and validation in one: their values are near
        "The loss stft over 1,600 steps",
    ]
    assert "trained and judged on" in page.text and "train_hifigan_prematched" in page.text
    assert "judge recordings" not in page.text


def test_a_figure_without_an_interval_is_shown_alone(results: Path) -> None:
    row = load(results / "demo" / "knnvc")
    for found in row.metrics["measures"].values():
        found.update(low=None, high=None)
    figures = system_page._figures(row)
    assert [figure.meaning for figure in figures][:2] == [BY_NAME["wer"].meaning, BY_NAME["cos_target"].meaning]


def test_a_system_that_hears_no_references_has_none(tmp_path: Path) -> None:
    heard = page_of(made_up.results(tmp_path / "a", 2, 4, speakers=("ana", "ben"))).text
    assert "of the target's speech on average" in heard and "none is heard" not in heard
    learned = made_up.results(tmp_path / "b", 2, 4, speakers=("ana", "ben"), system={"hears_references": False})
    text = page_of(learned).text
    assert "none is heard" in text and "of the target's speech on average" not in text


def test_a_row_without_a_run_says_so(results: Path) -> None:
    page = page_of(results, "recordings")
    assert "Nothing was trained for it." in page.text and page.all("svg") == []
    assert "judged on" in page.text and "trained and judged" not in page.text


@pytest.mark.parametrize("change", ["again", "gone", "silent"])
def test_curves_that_are_not_those_of_the_row_are_not_shown(results: Path, change: str) -> None:
    run = results / "runs" / made_up_sources.RUN
    if change == "again":
        edit(run / "config.json", checksum="00" * 16)
    elif change == "gone":
        (run / "config.json").unlink()
    else:
        (run / "metrics.csv").unlink()
    page = page_of(results)
    words = {"again": "was trained again since", "gone": "is not there any more", "silent": "wrote no losses"}
    assert words[change] in page.text and page.all("svg") == []


def test_without_statistics_and_timings_it_says_how_to_get_them(tmp_path: Path) -> None:
    page = page_of(made_up.results(tmp_path, 1, 2))
    assert "snakemake --cores all stats" in page.text and "No step of it was timed." in page.text


def test_speakers_and_pairs_of_them_have_the_figures_of_their_lines(results: Path) -> None:
    judged = load(results / "demo" / "knnvc").judged
    page = page_of(results)
    for measure in (BY_NAME["wer"], BY_NAME["cos_target"]):
        mine = [line for line in judged if (line["source_speaker"], line["target_speaker"]) == ("ana", "ben")]
        shown = number(measure, of_pairs(measure, mine))
        assert len(mine) > 1 and f"ana {'%'}" not in page.text
        assert re.search(rf"\bana {shown} ", page.text), (measure.name, shown)
    cells = [attrs for attrs in page.all("td") if "title" in attrs]
    assert len(cells) == 2 * 9 and sum(attrs.get("class") == "empty" for attrs in cells) == 2 * 3
    as_source = [line for line in judged if line["source_speaker"] == "ben"]
    assert f"ben m {len(as_source)} {number(BY_NAME['wer'], of_pairs(BY_NAME['wer'], as_source))}" in page.text


def test_without_text_words_are_counted_against_the_source(tmp_path: Path) -> None:
    page = page_of(made_up.results(tmp_path, 1, 4, text=False))
    assert "WER to source" in page.text and "None" not in page.text


def test_very_many_speakers_are_listed_but_not_laid_out(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_page, "MATRIX", 2)
    page = page_of(results)
    assert not [attrs for attrs in page.all("td") if "title" in attrs] and "cleo f" in page.text


def test_rates_are_of_all_words_and_means_of_what_was_measured() -> None:
    lines: list[dict[str, Any]] = [
        {"word_errors": 1, "words": 2, "mcd_db": 4.0},
        {"word_errors": 0, "words": 6, "mcd_db": None},
        {"word_errors": 0, "words": 0},
    ]
    assert of_pairs(BY_NAME["wer"], lines) == 1 / 8
    assert of_pairs(BY_NAME["mcd_db"], lines) == 4.0
    assert of_pairs(BY_NAME["rtf"], lines) is None


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_is_never_wider_than_its_window(results: Path, open_page: Open, width: int) -> None:
    out = write(results.parent / "report", results).parent
    watched = open_page(out, "systems/knnvc.html", width=width)
    watched.page.locator("summary").first.press("Enter")
    assert watched.page.get_by_text("arch", exact=True).is_visible()
    assert not watched.wide()
