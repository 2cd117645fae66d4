"""The page of a corpus, from the tables beside it."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vcpipe.audio import REASONS
from vcpipe.manifest import Reject, write_table
from vcpipe.report import stats_page
from vcpipe.report.stats_page import write_page
from vcpipe.stats import F0_COLUMNS, by_speaker, in_all

VOID = {"meta", "link", "br", "img", "input", "hr", "source"}
MARKUP = "<img src=x onerror=alert(1)>"


class Balanced(HTMLParser):
    """Every tag is closed in order; notes ids, links and what would be fetched."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert "src" not in found and not any(name.startswith("on") for name in found), (tag, attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if "href" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def row(speaker: str, number: int, f0: bool = True, **other: Any) -> dict[str, Any]:
    measured = {
        "utt_id": f"{speaker}/{number}",
        "speaker": speaker,
        "split": "train" if number else "valid",
        "seconds": 1.5 + number,
        "level_dbfs": -25.0 - number,
        "peak_dbfs": -3.0,
        "snr_db": 30.0 + number,
        "clipped_share": 0.001 * number,
        "speech_share": 0.8,
    }
    return {**measured, **(dict(zip(F0_COLUMNS, (90.0, 120.0 + number, 200.0), strict=True)) if f0 else {}), **other}


def page(
    folder: Path,
    rows: list[dict[str, Any]],
    rejects: list[Reject] | None = None,
    features: dict[str, int] | None = None,
) -> str:
    """Writes the tables as `write_stats` does, and the page; its HTML."""
    rejects = rejects or []
    pooled = {r["speaker"]: [r[c] for c in F0_COLUMNS] for r in rows if r.get("f0_median_hz")}
    tables = {"utterances": rows, "speakers": by_speaker(rows, pooled if F0_COLUMNS[0] in rows[0] else None)}
    for name, table in tables.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    counts = {r.reason: sum(o.reason == r.reason for o in rejects) for r in rejects}
    total = {"corpus": "mine", "copy": "16k", **in_all(rows), "rejects": counts, "features": features or {}}
    (folder / "corpus.json").write_text(json.dumps(total))
    write_table(folder / "rejects.csv", rejects, Reject)
    assert write_page(folder, folder / "rejects.csv") == folder / "index.html"
    return (folder / "index.html").read_text(encoding="utf-8")


def words(html: str) -> str:
    """The page's text with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<(style|script)>.*?</\1>|<[^>]*>", " ", html, flags=re.S))


def test_the_page_shows_the_figures_a_plot_of_every_measure_and_every_speaker(tmp_path: Path) -> None:
    html = page(tmp_path, [row(s, n) for s in ("p225", "p226") for n in range(3)], features={"mel": 3 << 20})
    found = Balanced(html)
    assert html.count("<svg") == len(stats_page.CAPTIONS) + 1
    text = words(html)
    assert "6 of 2 speakers: 4 train, 2 valid." in text and "31 dB" in text and "121 Hz" in text
    assert "p225" in text and "mel 3.0 MiB" in text
    assert {link[1:] for link in found.links if link.startswith("#")} <= set(found.ids)
    assert not [link for link in found.links if not link.startswith(("#", "data:", "speakers.csv", "utterances.csv"))]
    assert len(found.ids) == len(set(found.ids))


def test_without_f0_there_is_no_pitch_and_nothing_else_is_missing(tmp_path: Path) -> None:
    html = page(tmp_path, [row("p225", n, f0=False) for n in range(2)])
    Balanced(html)
    assert html.count("<svg") == len(stats_page.CAPTIONS) - 1
    assert "Pitch" not in words(html) and "F0 median" not in words(html)
    assert "None was made yet" in html and "every recording that was found could be used" in html


def test_a_corpus_where_nothing_is_voiced_has_a_page(tmp_path: Path) -> None:
    rows = [{**row("p225", n), **dict.fromkeys(F0_COLUMNS, "")} for n in range(2)]
    Balanced(html := page(tmp_path, rows))
    assert "Pitch" not in words(html) and "F0 median" in words(html)


def test_names_that_are_markup_are_text(tmp_path: Path) -> None:
    rejects = [Reject("r", MARKUP, "silent", MARKUP)]
    html = page(tmp_path, [row(MARKUP, n) for n in range(2)], rejects, {MARKUP: 5})
    Balanced(html)
    assert "<img" not in html and "&lt;img" in html


def test_rejects_are_explained_and_counted_and_only_some_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats_page, "EXAMPLES", 3)
    rejects = [Reject(f"u{i}", f"path{i}.wav", "silent" if i else "noisy", f"detail {i}") for i in range(5)]
    text = words(page(tmp_path, [row("p225", n) for n in range(5)], rejects))
    assert f"silent 4 {REASONS['silent']}" in text and f"noisy 1 {REASONS['noisy']}" in text
    assert "50.0 % 5 of 10 recordings" in text
    assert "3 of 5 rejects" in text and "path2.wav" in text and "path3.wav" not in text


@pytest.mark.parametrize("reason", ["duplicate", "crashed", "timed_out", "noisy", "too_short"])
def test_every_reason_that_is_given_is_explained(reason: str) -> None:
    assert REASONS[reason]


def test_a_corpus_of_many_speakers_lists_some_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_page, "SPEAKERS", 10)
    rows = [row(f"p{i:03d}", n, f0_median_hz=100.0 + i) for i in range(100) for n in range(2)]
    html = page(tmp_path, rows)
    assert "The first 10 of 100; all are in" in words(html)
    assert "p009" in words(html) and html.count('class="range"') <= stats_page.RANGES
    drawn = re.findall(r"<title>(p\d+): 90 to 200 Hz, median (\d+)", html)
    medians = [int(m) for _, m in drawn]
    assert medians == sorted(medians) and len(medians) > stats_page.RANGES / 2


def test_the_page_is_the_same_for_the_same_tables(tmp_path: Path) -> None:
    rows = [row("p225", n) for n in range(3)]
    assert page(tmp_path, rows) == page(tmp_path, rows)
