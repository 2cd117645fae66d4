"""The report site in a browser, from a disk: it plays, filters, compares blind, and asks for nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report import made_up
from tests.report.browser import Open, Watched
from vcpipe.report import listen, media
from vcpipe.report.listen import pair_id, write_listen
from vcpipe.report.site import write_site
from vcpipe.results import digest, load

pytestmark = pytest.mark.browser

N_ROWS, N_PAIRS, SECONDS = 4, 12, 0.3
LABELS = [label for _, label, _ in made_up.ROWS[:N_ROWS]]
# Plays the sounds of a page one after the other, and tells of each what came of it.
PLAY_ALL = """
async () => {
  const player = document.getElementById("player");
  const found = [];
  for (const button of document.querySelectorAll(".sound .play")) {
    button.click();
    const until = performance.now() + 20000;
    while (!player.currentTime) {
      if (performance.now() > until) throw new Error(`${button.getAttribute("aria-label")} does not play`);
      await new Promise((done) => setTimeout(done, 5));
    }
    const shown = document.querySelectorAll(".current").length;
    found.push([player.currentSrc.split("/").pop(), player.duration, player.readyState, shown]);
  }
  return found;
}
"""
# The same for pages that have a player for each sound.
PLAY_EACH = """
async () => {
  const found = [];
  for (const player of document.querySelectorAll("audio[src]")) {
    await player.play();
    found.push([player.getAttribute("src"), player.duration]);
    player.pause();
  }
  return found;
}
"""
CARDS = "[...document.querySelectorAll('#list article')].map((card) => card.id)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    out = made_up.results(folder, N_ROWS, N_PAIRS, seconds=SECONDS)
    audio = out / "audio" / made_up.COPY / made_up.CORPUS
    overview = out / "evaluation" / "overview.json"
    rows = made_up.rows(out)
    write_site(folder / "report", rows, overview, audio, made_up.AUDIO_SLICE, out, folder / "logs", made_up.SEXES)
    return folder / "report"


def once(write: Callable[..., tuple[float, bool]]) -> Callable[..., tuple[float, bool]]:
    """The same, but a name that was written is believed to be right."""
    done: dict[str, tuple[float, bool]] = {}

    def call(folder: Path, stem: str, *rest: Any) -> tuple[float, bool]:
        if stem not in done:
            done[stem] = write(folder, stem, *rest)
        return done[stem]

    return call


def data_of(watched: Watched) -> dict[str, Any]:
    return dict(json.loads(watched.page.inner_text("#data")))


def ids(site: Watched) -> list[str]:
    return list(site.page.evaluate(CARDS))


@pytest.mark.parametrize("name", ["index.html", "listen.html", "failures.html", "systems/knnvc.html"])
def test_every_page_fits_a_phone_and_plays(name: str, site: Path, open_page: Open) -> None:
    for scheme in ("light", "dark"):
        opened = open_page(site, name, width=390, color_scheme=scheme, reduced_motion="reduce")
        assert not opened.wide(), scheme
        assert opened.media == [], "nothing is asked for before it is played"
    for _, seconds in opened.page.evaluate(PLAY_EACH):
        assert seconds == pytest.approx(SECONDS, abs=0.05)


def test_every_sound_of_the_listening_page_plays_and_one_at_a_time(site: Path, open_page: Open) -> None:
    opened = open_page(site, "listen.html")
    found = opened.page.evaluate(PLAY_ALL)
    opened.page.click("#pager [data-step='1']")
    found += opened.page.evaluate(PLAY_ALL)
    assert len(found) == N_PAIRS * (N_ROWS + 2)
    assert {name for name, *_ in found} == {url.rsplit("/", 1)[-1] for url in opened.media}
    for name, seconds, ready, current in found:
        assert seconds == pytest.approx(SECONDS, abs=0.05), name
        assert (ready >= 2, current) == (True, 1), name


def test_pairs_are_chosen_ordered_and_found_again_by_the_address(site: Path, open_page: Open) -> None:
    opened = open_page(site, "listen.html")
    page, data = opened.page, data_of(opened)
    everyone = [pair["id"] for pair in data["pairs"]]
    assert ids(opened) == everyone[:10]
    assert page.inner_text("[name=count]") == "1 to 10 of 12 pairs"
    page.select_option("[name=from]", "ana")
    assert ids(opened) == [pair["id"] for pair in data["pairs"] if pair["from"] == "ana"]
    page.select_option("[name=from]", "")
    page.select_option("[name=fromsex]", "f")
    page.select_option("[name=tosex]", "m")
    women_to_men = [p["id"] for p in data["pairs"] if (data["sexes"][p["from"]], data["sexes"][p["to"]]) == ("f", "m")]
    assert ids(opened) == women_to_men
    page.select_option("[name=order]", "cos_target")
    place = [measure["name"] for measure in data["measures"]].index("cos_target")
    worst = {p["id"]: min(o[6][place] for o in p["outputs"]) for p in data["pairs"]}
    assert ids(opened) == sorted(women_to_men, key=lambda name: worst[name])
    page.uncheck(f"text={LABELS[1]}")
    assert page.locator("article").first.locator(".sound").count() == N_ROWS + 1
    page.fill("[name=q]", "captain harbor")
    assert 0 < len(ids(opened)) < len(women_to_men)
    again = open_page(site, f"listen.html{page.evaluate('location.hash')}")
    assert ids(again) == ids(opened)
    assert not again.page.is_checked(f"text={LABELS[1]}")
    page.fill("[name=q]", "nobody ever said this")
    assert page.is_visible("#none")
    page.click("#reset")
    assert ids(opened) == everyone[:10]
    last = data["pairs"][-1]["id"]
    linked = open_page(site, f"listen.html#{last}")
    assert ids(linked) == everyone[10:]
    assert linked.page.evaluate("document.activeElement.id") == last
    linked.page.evaluate(f"location.hash = '#{everyone[0]}'")
    linked.page.wait_for_selector(f'[id="{everyone[0]}"].here')


def test_keys_move_and_play(site: Path, open_page: Open) -> None:
    opened = open_page(site, "listen.html")
    page, data = opened.page, data_of(opened)
    here = "document.querySelector('.here')?.id"
    sound = "document.getElementById('player').src.split('/').pop()"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate(here) == data["pairs"][1]["id"]
    page.keyboard.press("k")
    assert page.evaluate(here) == data["pairs"][0]["id"]
    first = data["pairs"][0]
    page.keyboard.press("2")
    assert page.evaluate(sound) == f"{first['outputs'][1][1]}.wav"
    page.keyboard.press("Shift+Digit3")
    assert page.evaluate(sound) == f"{first['outputs'][2][1]}.wav"
    page.keyboard.press("r")
    assert page.evaluate(sound) == f"{data['sounds'][first['references'][0]][0]}.flac"
    page.keyboard.press("s")
    page.wait_for_selector(".source.playing")
    page.keyboard.press(" ")
    page.wait_for_function("document.getElementById('player').paused")
    page.keyboard.press("Escape")
    assert page.locator(".current").count() == 0
    page.keyboard.press("/")
    page.keyboard.type("js")
    assert page.input_value("[name=q]") == "js", "letters in a field are letters"
    page.click("#reset")
    for _ in range(11):
        page.keyboard.press("j")
    assert page.evaluate(here) == data["pairs"][10]["id"], "on the next page"
    page.locator("article.here .strip input").first.focus()
    page.keyboard.press("ArrowRight")
    assert float(page.locator("article.here .strip input").first.input_value()) == 0.05


def test_a_blind_comparison_to_its_end(site: Path, open_page: Open) -> None:
    opened = open_page(site, "listen.html")
    page, data = opened.page, data_of(opened)
    by_stem = {output[1]: data["systems"][output[0]] for pair in data["pairs"] for output in pair["outputs"]}
    page.click("#compare")
    page.select_option("[name=one]", "0")
    page.select_option("[name=two]", "2")
    page.fill("[name=n]", "4")
    page.fill("[name=seed]", "7")
    page.fill("[name=listener]", "somebody")
    page.click("text=Begin")
    answers = [("a", "same"), ("b", "a"), ("same", "b"), ("a", "a")]
    for number, (natural, voice) in enumerate(answers):
        page.wait_for_function(f"document.querySelector('#blind-title').textContent.includes('{number + 1} of 4')")
        seen = page.inner_text("body") + page.url + page.title() + page.inner_html("#trial")
        assert [word for word in (*LABELS, *(row for row, *_ in made_up.ROWS[:N_ROWS])) if word in seen] == []
        assert page.locator("#trial img").count() == 0
        page.keyboard.press("1")
        page.keyboard.press("2")
        if number == 2:  # it is kept when the page is left
            page.reload()
            page.click("#resume")
        page.check(f"[name=natural][value={natural}]")
        page.focus("[name=voice][value=a]")
        page.check(f"[name=voice][value={voice}]")
        page.keyboard.press("Enter")
    page.wait_for_selector("#score:not([hidden])")
    with page.expect_download() as download:
        page.click("#download")
    told = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert (told["format"], told["listener"], told["seed"]) == ("vcpipe-blind-1", "somebody", 7)
    assert {row: about["protocol"] for row, about in told["systems"].items()} == {
        row["row"]: row["protocol"] for row in (data["systems"][0], data["systems"][2])
    }
    assert [(trial["natural"], trial["voice"]) for trial in told["trials"]] == answers
    for trial in told["trials"]:
        assert {trial["a"], trial["b"]} == {"knnvc", "linearvc"}
        assert all(by_stem[trial["media"][side]]["row"] == trial[side] for side in "ab")
        assert trial["more_natural"] == (trial.get(trial["natural"]) if trial["natural"] != "same" else None)
        assert trial["plays"]["a"] >= 1 and trial["plays"]["b"] >= 1
        assert trial["pair"] == pair_id(trial["source_utt"], trial["target_speaker"])
    natural = next(row for row in told["summary"] if row["question"] == "natural")
    wins = [trial["more_natural"] for trial in told["trials"]]
    assert (natural["one_wins"], natural["same"], natural["two_wins"]) == (
        wins.count("knnvc"),
        1,
        wins.count("linearvc"),
    )
    assert LABELS[0] in page.inner_text("#score")
    page.click("#score .leave")
    assert len(ids(opened)) == 10
    page.click("#compare")
    page.click("text=Begin")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#discard")
    page.click("#compare")
    assert page.is_hidden("#resume")


def test_a_thousand_pairs_of_ten_rows_open_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_page: Open
) -> None:
    monkeypatch.setattr(listen, "media_name", lambda row, name: name if row else "natural")  # a few files for all
    for name in ("converted", "natural"):
        monkeypatch.setattr(media, name, once(getattr(media, name)))
    rows = [load(folder) for folder in made_up.rows(made_up.results(tmp_path, 10, 8))]
    many = [
        replace(
            row,
            pairs=[{**line, "source_utt": f"{line['source_utt']}-{n}"} for n in range(125) for line in row.pairs],
            judged=row.judged * 125,
            folder=rows[0].folder,
        )
        for row in rows
    ]
    wave = made_up.tone(150, SECONDS)
    told = write_listen(tmp_path / "out", many, lambda utt: wave, made_up.RATE, made_up.SEXES)
    assert told["pairs"] == 1000
    opened = open_page(tmp_path / "out", "listen.html")
    page = opened.page
    assert page.inner_text("[name=count]") == "1 to 10 of 1,000 pairs"
    assert page.evaluate("document.querySelectorAll('*').length") < 8000
    assert opened.media == []
    spent = page.evaluate(
        """() => {
          const order = document.querySelector("[name=order]");
          const began = performance.now();
          for (const option of order.options) {
            order.value = option.value;
            order.dispatchEvent(new Event("input", { bubbles: true }));
          }
          return (performance.now() - began) / order.options.length;
        }"""
    )
    assert spent < 5000, "milliseconds to order a thousand pairs and draw ten; a tenth of it where nothing else runs"
    assert page.evaluate("document.querySelectorAll('*').length") < 8000
    assert digest(many[0].protocol) == data_of(opened)["systems"][0]["protocol"]
