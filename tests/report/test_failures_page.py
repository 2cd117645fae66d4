"""The worst pairs by each measure: the right ones, in the right order, readable and playable."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.report import made_up
from tests.report.browser import Open
from tests.report.test_site import HOSTILE, write
from vcpipe.measures import BY_NAME
from vcpipe.report import failures_page
from vcpipe.report.failures_page import RANKED, write_failures_page
from vcpipe.report.listen import pair_id
from vcpipe.report.values import badness, of_pair
from vcpipe.results import Result, load

N_PAIRS = 30


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up.results(tmp_path_factory.mktemp("results"), 4, N_PAIRS, label=HOSTILE)


@pytest.fixture(scope="module")
def rows(results: Path) -> list[Result]:
    return [load(folder) for folder in made_up.rows(results)]


def data(out: Path) -> dict[str, Any]:
    html = (out / "failures.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def test_the_page_has_the_worst_of_every_row_by_every_measure(
    rows: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures_page, "WORST", 3)
    write_failures_page(tmp_path, rows)
    there = {(pair["row"], pair["name"]) for pair in data(tmp_path)["pairs"]}
    expected = set()
    for number, result in enumerate(rows):
        for measure in RANKED:
            values = [(v, -i) for i, line in enumerate(result.judged) if (v := of_pair(measure, line)) is not None]
            worst = sorted(((badness(measure, v), i) for v, i in values), reverse=True)[:3]
            expected |= {(number, result.judged[-i]["name"]) for _, i in worst}
    assert there == expected
    assert len(there) < 4 * N_PAIRS


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("wer", 0.1, 0.2),
        ("cos_target", 0.9, 0.8),
        ("cos_source", 0.1, 0.2),
        ("duration_ratio", 1.1, 0.8),
        ("duration_ratio", 0.9, 1.4),
        ("nearer_to_target", 1.0, 0.0),
    ],
)
def test_worse_follows_the_direction_of_a_measure(name: str, better: float, worse: float) -> None:
    assert badness(BY_NAME[name], worse) > badness(BY_NAME[name], better)


def test_a_pair_has_its_text_what_was_heard_its_sounds_and_its_card(results: Path, rows: list[Result]) -> None:
    out = write(results.parent / "report", results).parent
    found = data(out)
    pair = next(p for p in found["pairs"] if p["row"] == 2)
    line = next(p for p in rows[2].pairs if p["name"] == pair["name"])
    verdict = next(j for j in rows[2].judged if j["name"] == pair["name"])
    assert pair["said"] == line["text"] and pair["written"]
    assert " ".join(word for word, _ in pair["heard"]) == verdict["hypothesis"]
    assert sum(not right for _, right in pair["heard"]) == verdict["word_errors"]
    assert set(pair["sounds"]) == {"source", "reference", "converted"}
    assert all((out / path).is_file() for p in found["pairs"] for path in p["sounds"].values())
    assert pair["id"] == pair_id(line["source_utt"], line["target_speaker"])
    assert pair["id"] in (out / "listen.html").read_text(encoding="utf-8")


def test_without_text_it_shows_what_was_heard_in_the_source(tmp_path: Path) -> None:
    results = made_up.results(tmp_path, 1, 2, text=False)
    write_failures_page(tmp_path, [load(folder) for folder in made_up.rows(results)])
    pair = data(tmp_path)["pairs"][0]
    assert not pair["written"] and pair["said"] == "nobody wrote this down"
    html = (tmp_path / "failures.html").read_text(encoding="utf-8")
    assert ">WER to source<" in html and ">WER<" not in html


@pytest.mark.browser
def test_a_measure_and_a_row_are_chosen_and_recordings_play(results: Path, open_page: Open, rows: list[Result]) -> None:
    out = write(results.parent / "report", results).parent
    watched = open_page(out, "failures.html")
    page = watched.page
    values = "[...document.querySelectorAll('#list .value')].map((v) => parseFloat(v.textContent))"
    assert page.locator("#list article").count() == failures_page.WORST
    assert watched.media == []
    shown = page.evaluate(values)
    assert shown == sorted(shown, reverse=True)
    labels = set(page.locator("#list a.row").all_inner_texts())
    assert labels <= {HOSTILE, "LinearVC"}  # no reference row unless it is asked for
    page.locator("select[name=measure]").select_option(label="like target")
    page.locator("select[name=row]").select_option(label="Source unchanged")
    shown = page.evaluate(values)
    assert shown == sorted(shown)
    lowest = min(line["cos_target"] for line in rows[3].judged)
    assert shown[0] == pytest.approx(lowest, abs=6e-4)
    assert set(page.locator("#list a.row").all_inner_texts()) == {"Source unchanged"}
    lengths = page.evaluate(
        """async () => {
          const found = [];
          for (const player of document.querySelectorAll('#list li:first-child audio')) {
            await player.play(); found.push(player.duration); player.pause();
          }
          return found;
        }"""
    )
    assert lengths == pytest.approx([0.3] * 3, abs=0.01)
    assert page.locator("#list a.card").first.get_attribute("href").startswith("listen.html#")


@pytest.mark.browser
def test_a_link_chooses_the_row_and_a_phone_needs_no_sideways_scroll(results: Path, open_page: Open) -> None:
    out = write(results.parent / "report", results).parent
    watched = open_page(out, "systems/linearvc.html", width=390)
    watched.page.get_by_role("link", name="where it fails").click()
    watched.page.wait_for_selector("#list article")
    assert set(watched.page.locator("#list a.row").all_inner_texts()) == {"LinearVC"}
    assert not watched.wide()
