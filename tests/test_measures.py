"""The table of measures: complete, in order, and words that fit a table."""

from pathlib import Path

import pytest

from vcpipe.measures import BY_NAME, MEASURES, merit, number, shown

ORDER = [
    *("wer", "cer", "wer_echo", "cer_echo"),
    *("eer", "cos_target", "cos_source", "nearer_to_target"),
    *("f0_corr", "f0_rmse_cents", "vuv_error", "energy_corr", "duration_ratio"),
    *("mcd_db", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808", "distillmos", "rtf"),
]


def test_names_are_unique_and_in_the_order_of_a_table():
    assert [measure.name for measure in MEASURES] == ORDER
    assert list(BY_NAME) == ORDER


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_each_is_complete(measure):
    assert len(measure.keys) == (2 if measure.kind == "rate" else 1)
    assert measure.meaning.endswith(".") and len(measure.meaning) < 120
    assert len(measure.label) <= 14
    assert (measure.unit == "%") == (measure.scale == 100)


def test_only_what_has_two_signs_has_no_lower_end():
    assert {m.name for m in MEASURES if m.least is None} == {"cos_target", "cos_source", "f0_corr", "energy_corr"}
    assert {m.name for m in MEASURES if m.least == 1} == {m.name for m in MEASURES if m.group == "quality"}
    assert {m.least for m in MEASURES} == {None, 0, 1}


def test_meanings_say_what_was_counted():
    assert "the source speakers' own recordings" in BY_NAME["eer"].meaning
    assert "features of source and references at hand" in BY_NAME["rtf"].meaning


@pytest.mark.parametrize(
    ("name", "value", "people"),
    [
        ("wer", 0.1234, "12.3 %"),
        ("cos_target", 0.8765, "0.876"),
        ("f0_rmse_cents", 123.4, "123 cents"),
        ("mcd_db", None, "–"),
    ],
)
def test_what_people_see(name, value, people):
    assert shown(BY_NAME[name], value) == people
    assert number(BY_NAME[name], value) == people.split()[0]


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [
        ("wer", 0.1, 0.2),
        ("cos_target", 0.9, 0.8),
        ("cos_source", 0.5, 0.6),
        ("eer", 0.4, 0.3),
        ("duration_ratio", 1.01, 0.9),
        ("duration_ratio", 0.99, 1.1),
        ("duration_ratio", 2.0, 0.0),
    ],
)
def test_more_merit_is_better(name, better, worse):
    assert merit(BY_NAME[name], better) > merit(BY_NAME[name], worse)


def test_an_error_rate_beyond_guessing_is_no_further_gain():
    assert merit(BY_NAME["eer"], 0.7) == merit(BY_NAME["eer"], 0.5) > merit(BY_NAME["eer"], 0.49)


def test_the_document_tells_of_each():
    text = (Path(__file__).parents[1] / "docs" / "EVALUATION.md").read_text(encoding="utf-8")
    for measure in MEASURES:
        assert f"| `{measure.name}` | {measure.label} |" in text, measure.name
