"""The demo page: everything it shows is there, nothing comes from elsewhere, and a browser can play it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.report.browser import Open
from vcpipe.errors import InputError
from vcpipe.report import demo_page, pictures
from vcpipe.report.demo_page import Pair, figures, heard, write_page

RATE = 16000
VOID = {"meta", "link", "img", "br", "input", "hr"}
HOSTILE = '<script>alert("1")</script> & "quotes"'


def _tone(hz: float, seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def _pair(name: str, **changes: Any) -> Pair:
    pair = Pair(
        name=name,
        text="Please call Stella.",
        source_speaker="anna",
        target_speaker="bert",
        source=(_tone(200, 0.5), RATE),
        reference=(_tone(110, 0.8), RATE),
        converted=(_tone(120, 0.5), RATE),
        numbers={
            "hypothesis": "please call Ella",
            "word_errors": 1,
            "words": 3,
            "source_word_errors": 0,
            "char_errors": 2,
            "chars": 18,
            "cos_target": 0.81,
            "cos_source": 0.42,
            "nearer_to_target": True,
            "rtf": 0.314159,
        },
    )
    return replace(pair, **changes)


SUMMARY = {"n": 2, "wer": 1 / 6, "source_wer": 0.0, "nearer_to_target": 1.0, "cos_target": 0.81, "rtf": 0.31}
SETTINGS = {"knnvc": {"k": 4, "prematched": True, "rates": [10, 8]}, "title": HOSTILE}
HOW = ["Made by hand.", "$ make demo"]


class Page(HTMLParser):
    """The tags of a page, refusing one that is closed out of order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing, line {self.getpos()[0]}"

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "new" / "page"
    hostile = _pair("b/to c", text=HOSTILE, source_speaker=HOSTILE, numbers={"hypothesis": HOSTILE, "words": 0})
    write_page(out, [_pair("a-as-b"), hostile], SUMMARY, SETTINGS, [*HOW, HOSTILE])
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_every_tag_is_closed_in_order(page: Page) -> None:
    assert page.open == []
    assert len(page.all("article")) == 2


def test_three_players_and_three_pictures_a_pair_and_all_files_are_there(page: Page, folder: Path) -> None:
    sources = [attrs["src"] for tag in ("audio", "img") for attrs in page.all(tag)]
    assert len(sources) == len(set(sources)) == 12
    for source in sources:
        assert source
        assert (folder / source).stat().st_size > 100
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert there == {*sources, "index.html"}


def test_nothing_comes_from_elsewhere(page: Page, folder: Path) -> None:
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=.//|href=.//|@import|url\(", text)
    for _, attrs in page.tags:
        for key in ("src", "href"):
            value = attrs.get(key)
            assert value is None or re.match(r"#|data:,$|audio/|pictures/", value), value


def test_links_lead_to_places_on_the_page_and_names_are_unique(page: Page) -> None:
    places = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(places) == len(set(places))
    for attrs in page.all("a"):
        assert str(attrs["href"]).removeprefix("#") in places
    assert "a-as-b" in places


def test_texts_are_shown_not_run(page: Page) -> None:
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) >= 4  # text, heard as, speaker, setting, how


def test_every_picture_and_player_says_what_it_is(page: Page) -> None:
    assert all(attrs["alt"] for attrs in page.all("img"))
    assert all(attrs["aria-label"] for attrs in page.all("audio"))
    assert {attrs["preload"] for attrs in page.all("audio")} == {"none"}
    labels = [attrs["aria-label"] for attrs in page.all("audio")]
    assert len(labels) == len(set(labels))


def test_numbers_settings_and_commands_are_readable(page: Page) -> None:
    for words in (
        "Words misheard 1 of 3 in the source 0",
        "Letters misheard 2 of 18",
        "target 0.81 source 0.42",
        "Nearer to the target",
        "Work per second 0.314 s",
        "Words misheard 16.7 %",
        "In the original recordings: 0.0 %",
        "Right voice 100 %",
        "k 4 prematched true rates 10, 8",
        "make demo",
        "consent",
    ):
        assert words in page.text, words
    assert "$ make demo" not in page.text


def test_a_number_that_was_not_measured_is_not_shown() -> None:
    assert [f.label for f in figures({"wer": None, "n": 3})] == ["Conversions"]
    assert figures({}) == []


@pytest.mark.parametrize(
    ("text", "hypothesis", "wrong"),
    [
        ("Please call Stella.", "please call stella", []),
        ("Please call Stella.", "please call Ella", ["Ella"]),
        ("one two", "one and two", ["and"]),
        ("one two", "", []),
        ("", "anything", []),
    ],
)
def test_words_that_were_not_said_are_marked(text: str, hypothesis: str, wrong: list[str]) -> None:
    words = heard(text, hypothesis)
    assert [word for word, _ in words] == hypothesis.split()
    assert [word for word, right in words if not right] == wrong


def test_recordings_are_those_that_were_given(folder: Path) -> None:
    wave, rate = soundfile.read(folder / "audio" / "a-as-b-converted.wav", dtype="float32")
    assert rate == RATE
    assert np.abs(wave - _tone(120, 0.5)).max() < 2**-14


def test_a_recording_that_lies_there_is_left_and_another_is_replaced(tmp_path: Path) -> None:
    write_page(tmp_path, [_pair("x")], {}, {}, [])
    files = {kind: tmp_path / "audio" / f"x-{kind}.wav" for kind in demo_page.KINDS}
    before = {kind: file.stat().st_ino for kind, file in files.items()}
    write_page(tmp_path, [_pair("x", converted=(_tone(300, 0.5), RATE))], {}, {}, [])
    after = {kind: file.stat().st_ino for kind, file in files.items()}
    assert before["source"] == after["source"]
    wave, _ = soundfile.read(files["converted"], dtype="float32")
    assert np.abs(wave - _tone(300, 0.5)).max() < 2**-14


def test_a_page_that_fails_halfway_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_page(tmp_path, [_pair("x")], {}, {}, [])

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pictures, "spectrogram", fail)
    with pytest.raises(OSError, match="disk full"):
        write_page(tmp_path, [_pair("x")], {}, {}, [])
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "expected at least one pair"),
        ([_pair("a b"), _pair("a/b")], "'a b' and 'a/b' have one file name"),
        ([_pair("x", source=(np.zeros((2, 5), np.float32), RATE))], r"source of pair 'x'.*found shape \(2, 5\)"),
        ([_pair("x", converted=(np.zeros(0, np.float32), RATE))], r"converted of pair 'x'.*found shape \(0,\)"),
        ([_pair("x", reference=(np.full(9, np.nan, np.float32), RATE))], "reference of pair 'x'.*NaN or infinity"),
    ],
)
def test_what_cannot_be_shown_is_refused(pairs: list[Pair], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        write_page(tmp_path / "out", pairs, {}, {}, [])
    assert not (tmp_path / "out").exists()


def test_pictures_of_a_pair_share_their_width_and_are_clear_after_the_end(folder: Path) -> None:
    from matplotlib.image import imread

    shown = {kind: imread(folder / "pictures" / f"a-as-b-{kind}.png") for kind in demo_page.KINDS}
    assert {picture.shape for picture in shown.values()} == {(pictures.ROWS, 100, 4)}
    opaque = {kind: int((picture[0, :, 3] > 0).sum()) for kind, picture in shown.items()}
    assert opaque == {"source": 62, "reference": 100, "converted": 62}


DURATIONS = """
async () => {
  const found = {};
  for (const player of document.querySelectorAll("audio")) {
    await player.play();
    found[player.getAttribute("src")] = player.duration;
  }
  return found;
}
"""


@pytest.mark.browser
def test_a_browser_plays_every_recording_and_sorts_and_filters(open_page: Open, tmp_path: Path) -> None:
    other = {"word_errors": 2, "words": 3, "cos_target": 0.9, "cos_source": 0.1}
    pairs = [_pair("first"), _pair("second", source_speaker="carla", numbers=other)]
    write_page(tmp_path / "page", pairs, SUMMARY, SETTINGS, HOW)
    opened = open_page(tmp_path / "page", "index.html", width=390)
    page = opened.page

    def rows() -> list[str]:
        return list(page.evaluate("[...document.querySelectorAll('article:not([hidden])')].map((a) => a.id)"))

    assert not opened.wide()
    assert opened.media == []
    expected = {"source": 0.5, "reference": 0.8, "converted": 0.5}
    assert page.evaluate(DURATIONS) == pytest.approx(
        {f"audio/{name}-{kind}.wav": s for name in ("first", "second") for kind, s in expected.items()}, abs=0.01
    )
    assert rows() == ["first", "second"]
    for order in ("-target", "errors"):
        page.select_option("[name=order]", order)
        assert rows() == ["second", "first"], order
    page.select_option("[name=from]", "carla")
    assert rows() == ["second"]
    assert page.inner_text("[name=count]") == "1 of 2"
