"""The listening page as it is written: its data, its files, and what it refuses. A browser opens it elsewhere."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from tests.report import made_up
from vcpipe.errors import InputError
from vcpipe.report.listen import SHOWN, pair_id, write_listen
from vcpipe.results import Result, load

HOSTILE = "</script><script>alert('1')</script><!-- & \"quotes\""


def waves(utt_id: str) -> NDArray[Any]:
    return made_up.tone(100 + 7 * len(utt_id), 0.3)


def write(out: Path, rows: list[Result], **options: Any) -> dict[str, int]:
    return write_listen(out, rows, waves, made_up.RATE, made_up.SEXES, **options)


def data_of(out: Path) -> dict[str, Any]:
    page = (out / "listen.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def changed(row: Result, place: int, pair: dict[str, Any], verdict: dict[str, Any]) -> Result:
    """The row with other values in one of its trials."""
    pairs, judged = list(row.pairs), list(row.judged)
    pairs[place], judged[place] = {**pairs[place], **pair}, {**judged[place], **pair, **verdict}
    return replace(row, pairs=pairs, judged=judged)


@pytest.fixture
def rows(tmp_path: Path) -> list[Result]:
    return [load(folder) for folder in made_up.rows(made_up.results(tmp_path, 3, 5))]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "report"


def test_every_pair_is_there_once_with_every_row_and_every_file(rows: list[Result], out: Path) -> None:
    told = write(out, rows)
    data = data_of(out)
    assert [system["row"] for system in data["systems"]] == [row.row for row in rows]
    assert [pair["id"] for pair in data["pairs"]] == [
        pair_id(line["source_utt"], line["target_speaker"]) for line in rows[0].pairs
    ]
    assert all([output[0] for output in pair["outputs"]] == [0, 1, 2] for pair in data["pairs"])
    sounds = [f"{stem}.flac" for stem, _ in data["sounds"].values()]
    sounds += [f"{output[1]}.wav" for pair in data["pairs"] for output in pair["outputs"]]
    expected = {*sounds, *(f"{Path(name).stem}.png" for name in sounds)}
    assert {path.name for path in (out / "media").iterdir()} == expected
    assert told["pairs"] == 5
    assert told["recordings"] == told["written"] == len(sounds)
    assert told["bytes"] == sum(path.stat().st_size for path in (out / "media").iterdir())


def test_the_numbers_are_those_that_were_judged(rows: list[Result], out: Path) -> None:
    write(out, rows)
    pair, judged = data_of(out)["pairs"][1], rows[2].judged[1]
    _, _, seconds, heard, wrong, counts, values = pair["outputs"][2]
    assert seconds == pytest.approx(0.3)
    assert heard == judged["hypothesis"]
    assert [heard.split()[i] for i in wrong] == ["lamb"] * judged["word_errors"]
    assert counts == [judged["word_errors"], judged["words"]]
    by_name = dict(zip([measure.name for measure in SHOWN], values, strict=True))
    assert by_name["wer"] == pytest.approx(100 * judged["word_errors"] / judged["words"], abs=0.01)
    assert by_name["cos_target"] == pytest.approx(judged["cos_target"], abs=1e-4)
    assert by_name["nearer_to_target"] == 100 * judged["nearer_to_target"]


def test_what_was_not_measured_is_null(rows: list[Result], out: Path) -> None:
    odd = changed(rows[0], 0, {}, {"f0_corr": None, "mcd_db": None})
    del odd.judged[0]["dnsmos_p808"]
    write(out, [odd])
    names = [measure.name for measure in SHOWN]
    values = data_of(out)["pairs"][0]["outputs"][0][6]
    assert [values[names.index(name)] for name in ("f0_corr", "mcd_db", "dnsmos_p808")] == [None] * 3


def test_without_a_text_words_are_held_against_what_was_heard_in_the_source(tmp_path: Path, out: Path) -> None:
    row = load(made_up.rows(made_up.results(tmp_path, 1, 2, text=False))[0])
    write(out, [changed(row, 0, {}, {"hypothesis": "nobody wrote that down", "echo_word_errors": 1})])
    pair = data_of(out)["pairs"][0]
    assert (pair["text"], pair["echo"], pair["source_errors"]) == ("", "nobody wrote this down", None)
    assert pair["outputs"][0][3:6] == ["nobody wrote that down", [2], [1, 4]]


def test_a_row_of_other_trials_has_its_own_cards(rows: list[Result], out: Path) -> None:
    itself = changed(rows[2], 0, {"target_speaker": rows[2].pairs[0]["source_speaker"], "reference_utt": ""}, {})
    write(out, [rows[0], itself])
    pairs = {pair["id"]: pair for pair in data_of(out)["pairs"]}
    assert len(pairs) == 6
    own = next(pair for pair in pairs.values() if pair["from"] == pair["to"])
    assert ([output[0] for output in own["outputs"]], own["references"]) == ([1], [])
    assert [output[0] for output in pairs[pair_id(rows[0].pairs[0]["source_utt"], "ben")]["outputs"]] == [0]


def test_texts_cannot_end_the_script_that_they_stand_in(rows: list[Result], out: Path) -> None:
    write(out, [changed(rows[0], 0, {"text": HOSTILE}, {"hypothesis": HOSTILE})])
    assert data_of(out)["pairs"][0]["text"] == HOSTILE
    assert "alert('1')</script>" not in (out / "listen.html").read_text(encoding="utf-8")


def test_a_sex_is_told_only_where_it_is_known(rows: list[Result], out: Path) -> None:
    write_listen(out, rows, waves, made_up.RATE, {"ana": "F", "ben": "male", "cleo": "", "nobody": "f"})
    assert data_of(out)["sexes"] == {"ana": "f", "ben": "m"}


def test_nothing_comes_from_elsewhere(rows: list[Result], out: Path) -> None:
    write(out, rows)
    assert not re.search(r"https?:|src=.//|href=.//|@import|url\(|fetch\(", (out / "listen.html").read_text("utf-8"))


def test_a_rebuild_writes_what_changed_and_removes_what_went(rows: list[Result], out: Path) -> None:
    write(out, rows)
    assert write(out, rows)["written"] == 0
    wav = rows[1].folder / rows[1].pairs[0]["converted"]
    wav.unlink()
    made_up.write(wav, made_up.tone(333, 0.3))
    told = write(out, rows)
    assert (told["written"], told["removed"]) == (1, 0)
    told = write(out, rows[:2])
    assert (told["written"], told["removed"]) == (0, 2 * len(rows[2].pairs))


def test_a_page_that_fails_halfway_is_not_there(rows: list[Result], out: Path) -> None:
    write(out, rows)
    (rows[2].folder / rows[2].pairs[3]["converted"]).unlink()
    with pytest.raises(InputError, match="expected a converted recording"):
        write(out, rows)
    assert not (out / "listen.html").exists()
    with pytest.raises(InputError, match="expected at least one row"):
        write(out, [])


def test_an_anchor_is_plain_and_no_two_pairs_share_one() -> None:
    assert pair_id("1272-128104-0000", "251") == "1272-128104-0000-as-251"
    pairs = [("a/b", "c"), ("a-b", "c"), ("a b", "c"), ("é", "c"), ("a", "b-as-c"), ("a-as-b", "c")]
    pairs += [("a", "as-b"), ("a-as", "b")]  # neither side says "-as-"
    odd = [pair_id(*pair) for pair in pairs]
    odd.append(pair_id("a-b", odd[0].removeprefix("a-b-as-")))  # one that is named as the anchor of another
    assert len(set(odd)) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]+", name) for name in odd)
