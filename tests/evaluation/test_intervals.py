"""Figures against counting by hand, intervals against known truth."""

import time

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.evaluation.intervals import compare, eer, holm, summarise
from vcpipe.measures import MEASURES


def trial(source, target, utt=0, **values):
    return {
        "name": f"{source}-{utt}-{target}",
        "source_utt": f"{source}-{utt}",
        "source_speaker": source,
        "target_speaker": target,
        **values,
    }


def crossed(n, utterances=1, seed=0, shift=0.0, same_people=True):
    """Every source to every other target; a correlation that people differ in, words misheard, a voice."""
    rng = np.random.default_rng(seed)
    of_source, of_target = rng.normal(0, 0.05, n), rng.normal(0, 0.05, n)
    return [
        trial(
            f"s{s}",
            f"s{t}" if same_people else f"t{t}",
            u,
            f0_corr=float(0.7 + of_source[s] + of_target[t] + rng.normal(0, 0.02) + shift),
            word_errors=int(rng.binomial(20, 0.1 + 0.02 * (s % 3))),
            words=20,
            cos_target=float(0.8 + of_target[t] + rng.normal(0, 0.05) + shift),
            nearer_to_target=bool(rng.random() < 0.9),
        )
        for s in range(n)
        for u in range(utterances)
        for t in range(n)
        if s != t or not same_people
    ]


def natural(n, count=5, seed=1):
    rng = np.random.default_rng(seed)
    return [
        {"speaker": f"s{s}", "utt": f"s{s}-{u}", "cos": float(rng.normal(0.85, 0.05))}
        for s in range(n)
        for u in range(count)
    ]


# figures


def test_what_each_kind_of_measure_is():
    lines = [
        trial("a", "b", 0, word_errors=1, words=10, f0_corr=0.5, nearer_to_target=True),
        trial("b", "c", 1, word_errors=9, words=30, f0_corr=None, nearer_to_target=False),
        trial("c", "a", 2, word_errors=0, words=0, f0_corr=0.9, nearer_to_target=True),
    ]
    found = summarise(lines, [])
    assert found.keys() == {"wer", "f0_corr", "nearer_to_target"}
    assert (found["wer"]["value"], found["wer"]["n"]) == (10 / 40, 2)
    assert (found["f0_corr"]["value"], found["f0_corr"]["n"]) == (pytest.approx(0.7), 2)
    assert (found["nearer_to_target"]["value"], found["nearer_to_target"]["n"]) == (2 / 3, 3)


def test_measures_come_in_the_order_of_the_table():
    found = list(summarise(crossed(4), natural(4)))
    assert found == [measure.name for measure in MEASURES if measure.name in found]


def test_no_number_is_told_with_its_trial():
    with pytest.raises(InputError, match="trial a-0-b: key f0_corr: expected a number, found nan"):
        summarise([trial("a", "b", f0_corr=float("nan"))], [])


# the equal error rate


def slow_eer(converted, genuine):
    """Every threshold, and the straight line between the two where the errors cross."""
    thresholds = [*sorted({*converted, *genuine}), np.inf]
    accepted = [np.mean([c >= x for c in converted]) for x in thresholds]
    missed = [np.mean([g < x for g in genuine]) for x in thresholds]
    for i in range(1, len(thresholds)):
        before, after = missed[i - 1] - accepted[i - 1], missed[i] - accepted[i]
        if after >= 0:
            return missed[i - 1] + (missed[i] - missed[i - 1]) * before / (before - after)
    raise AssertionError


@pytest.mark.parametrize(
    ("converted", "genuine", "expected"),
    [
        ([0.1, 0.2], [0.8, 0.9], 0.0),  # every conversion is found out
        ([0.5, 0.5, 0.5], [0.5, 0.5], 0.5),  # a verifier that says the same of all
        ([0.9, 0.95], [0.1, 0.2], 1.0),  # conversions are nearer than the genuine: not cut off at one half
        ([0.1, 0.9], [0.1, 0.9], 0.5),
        ([0.1, 0.2, 0.3, 0.8], [0.25, 0.7, 0.9, 0.95], 0.25),
    ],
)
def test_eer_by_hand(converted, genuine, expected):
    assert eer(np.array(converted), np.array(genuine)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_eer_by_trying_every_threshold(seed):
    rng = np.random.default_rng(seed)
    converted = rng.normal(0.7 + 0.03 * seed, 0.1, 57).round(2)  # rounded, so that there are ties
    genuine = rng.normal(0.8, 0.1, 23).round(2)
    assert eer(converted, genuine) == pytest.approx(slow_eer(converted, genuine), abs=1e-12)


def test_eer_is_the_usual_one_of_a_roc_curve():
    metrics = pytest.importorskip("sklearn.metrics")
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq

    rng = np.random.default_rng(3)
    converted, genuine = rng.normal(0.75, 0.1, 300), rng.normal(0.8, 0.1, 80)
    labels = np.repeat([0, 1], [300, 80])
    accepted, found, _ = metrics.roc_curve(labels, np.concatenate([converted, genuine]))
    usual = brentq(lambda x: 1 - x - interp1d(accepted, found)(x), 0, 1)
    assert eer(converted, genuine) == pytest.approx(usual, abs=1e-9)


def test_eer_needs_genuine_recordings():
    assert "eer" not in summarise(crossed(4), [])
    assert summarise(crossed(4), natural(4))["eer"]["n"] == 12


def test_eer_of_genuine_speakers_who_are_no_targets():
    found = summarise(crossed(4, same_people=False), [{"speaker": "x", "utt": "x", "cos": 0.8}], resamples=200)["eer"]
    assert found["low"] <= found["value"] <= found["high"]


# intervals


def test_the_same_numbers_every_time_and_of_every_order():
    lines = crossed(5)
    assert summarise(lines, natural(5)) == summarise(lines, natural(5))
    other = summarise(lines[::-1], natural(5)[::-1])
    for name, found in summarise(lines, natural(5)).items():
        assert other[name] == pytest.approx(found)
    assert summarise(lines, [], seed=1)["f0_corr"] != summarise(lines, [])["f0_corr"]


@pytest.mark.parametrize(
    ("name", "values", "least"),
    [
        ("f0_rmse_cents", [0.0, 0.1, 900.0], 0),
        ("mcd_db", [0.1, 0.2, 9.0], 0),
        ("vuv_error", [0.0, 0.01, 0.5], 0),
        ("dnsmos_ovrl", [1.01, 1.02, 2.9], 1),
        ("f0_corr", [0.0, 0.01, 0.9], None),
    ],
)
def test_an_interval_ends_where_its_measure_does(name, values, least):
    lines = [trial(f"s{s}", "t", **{name: value}) for s, value in enumerate(values)]
    low = summarise(lines, [])[name]["low"]
    assert low < 0 if least is None else low == least


def test_a_correlation_is_one_at_the_most():
    lines = [trial(f"s{s}", "t", f0_corr=value) for s, value in enumerate([1.0, 0.99, 0.1])]
    found = summarise(lines, [])["f0_corr"]
    assert found["value"] < found["high"] == 1


def test_an_interval_takes_in_a_value_beyond_the_end_of_its_scale():
    lines = [trial(f"s{s}", "t", dnsmos_ovrl=value) for s, value in enumerate([0.8, 0.9, 1.0])]
    found = summarise(lines, [])["dnsmos_ovrl"]
    assert found["low"] == found["value"] < 1 < found["high"]


@pytest.mark.parametrize("people", [("a", "b"), ("a", "a")])
def test_too_few_speakers_have_no_interval(people):
    source, target = people
    found = summarise([trial(source, target, u, f0_corr=0.1 * u) for u in range(9)], [])["f0_corr"]
    assert (found["low"], found["high"]) == (None, None)
    assert found["value"] == pytest.approx(0.4)


def test_two_speakers_on_a_side_are_taken_as_they_are():
    """The interval is then about other sources, into these two."""
    lines = [trial(f"s{s}", f"t{t}", f0_corr=0.01 * s + t) for s in range(8) for t in range(2)]
    found = summarise(lines, [])["f0_corr"]
    assert found["low"] > 0.5 and found["high"] < 0.58  # the two targets are 1 apart


def test_where_only_targets_vary_it_is_the_interval_of_their_means():
    values = [0.3, 0.5, 0.4, 0.8, 0.6, 0.7, 0.2, 0.5, 0.9, 0.1]
    lines = [trial("s", f"t{t}", u, f0_corr=value) for t, value in enumerate(values) for u in range(20)]
    found = summarise(lines, [], resamples=20000)["f0_corr"]
    half = 2.262 * np.std(values, ddof=1) / np.sqrt(10)  # of Student's t
    assert found["low"] == pytest.approx(np.mean(values) - half, abs=0.03)
    assert found["high"] == pytest.approx(np.mean(values) + half, abs=0.03)


def test_a_speaker_to_himself_counts_once():
    values = [0.3, 0.5, 0.4, 0.8, 0.6, 0.7, 0.2, 0.5, 0.9, 0.1]
    to_self = [trial(f"s{s}", f"s{s}", f0_corr=value) for s, value in enumerate(values)]
    to_one = [trial(f"s{s}", "t", f0_corr=value) for s, value in enumerate(values)]
    a, b = (summarise(lines, [], resamples=20000)["f0_corr"] for lines in (to_self, to_one))
    assert a["low"] == pytest.approx(b["low"], abs=0.01)
    assert a["high"] == pytest.approx(b["high"], abs=0.01)


def test_more_conversions_between_the_same_people_tell_nothing_new():
    """As if trials were independent the interval of 60 times as many would be eight times narrower."""
    few, many = (summarise(crossed(8, utterances=u), [])["f0_corr"] for u in (1, 60))
    assert many["high"] - many["low"] > 0.7 * (few["high"] - few["low"])


@pytest.mark.parametrize("same_people", [False, True])
def test_intervals_hold_what_they_promise(same_people):
    """Ten speakers a side: of 120 made-up tables about 114 intervals should hold the truth."""
    held = [
        found["low"] <= 0.7 <= found["high"]
        for seed in range(120)
        for found in [summarise(crossed(10, seed=seed, same_people=same_people), [], resamples=500)["f0_corr"]]
    ]
    assert 0.89 <= np.mean(held) <= 0.995


def test_as_many_conversions_as_a_paper_has():
    lines, recordings = crossed(40, utterances=5), natural(40)
    assert len(lines) == 7800
    start = time.process_time()
    found = summarise(lines, recordings)
    assert time.process_time() - start < 8  # 2 s on an idle core
    assert found["eer"]["low"] < found["eer"]["value"] < found["eer"]["high"]


# comparisons


def test_a_difference_is_of_the_common_trials():
    a = [trial("a", "b", 0, f0_corr=0.9), trial("b", "c", 0, f0_corr=0.5), trial("c", "a", 0, f0_corr=0.3)]
    b = [trial("b", "c", 0, f0_corr=0.4), trial("c", "a", 0, f0_corr=None), trial("x", "b", 0, f0_corr=0.0)]
    assert compare(a, b) == {
        "f0_corr": {"difference": pytest.approx(0.1), "low": None, "high": None, "p": None, "n": 1}
    }


def test_nothing_in_common_is_not_compared():
    assert compare([trial("a", "b", f0_corr=0.9)], [trial("a", "a", f0_corr=0.5)]) == {}


def test_one_pair_of_speakers_several_times_is_compared_in_order():
    a = [trial("a", "b", f0_corr=0.9), trial("a", "b", f0_corr=0.5)]
    b = [trial("a", "b", f0_corr=0.8), trial("a", "b", f0_corr=0.3), trial("a", "b", f0_corr=0.0)]
    found = compare(a, b)["f0_corr"]
    assert (found["difference"], found["n"]) == (pytest.approx(0.15), 2)


def test_a_row_does_not_differ_from_itself():
    for found in compare(crossed(6), crossed(6), natural(6)).values():
        assert (found["difference"], found["low"], found["high"], found["p"]) == (0, 0, 0, 1)


def test_what_people_have_in_common_cancels():
    """Rows differ by 0.02 where people differ by 0.07: the intervals overlap, the difference stands."""
    a, b = crossed(10), crossed(10, shift=-0.02)
    ours, theirs = summarise(a, [])["f0_corr"], summarise(b, [])["f0_corr"]
    assert ours["low"] < theirs["high"]
    found = compare(a, b)["f0_corr"]
    assert found["difference"] == pytest.approx(0.02)
    assert found["low"] == pytest.approx(0.02) and found["high"] == pytest.approx(0.02)
    assert found["p"] == 1 / 2001  # never less than that


def test_the_other_way_round_is_the_same_with_another_sign():
    a, b = crossed(6, seed=1), crossed(6, seed=2)
    there, back = compare(a, b, natural(6)), compare(b, a, natural(6))
    for name, found in there.items():
        assert found["difference"] == pytest.approx(-back[name]["difference"])
        assert found["low"] == pytest.approx(-back[name]["high"])
        assert found["p"] == pytest.approx(back[name]["p"])


@pytest.mark.parametrize("seed", range(12))
def test_zero_is_outside_just_where_p_is_small(seed):
    for found in compare(crossed(6, seed=seed), crossed(6, seed=seed + 50, shift=0.05), natural(6)).values():
        assert (found["low"] > 0 or found["high"] < 0) == (found["p"] < 0.05)


def test_chance_seldom_makes_a_difference():
    """Two rows that differ by nothing but noise and people's own luck with each: p < 0.05 at most about that often."""
    ps = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        luck = rng.normal(0, 0.05, 10)
        a = crossed(10, seed=seed)
        b = [{**line, "f0_corr": line["f0_corr"] + luck[int(line["target_speaker"][1:])]} for line in a]
        ps.append(compare(a, b, resamples=300)["f0_corr"]["p"])
    assert np.mean(np.array(ps) < 0.05) <= 0.09
    assert 0.2 < np.median(ps) < 0.8


def test_costs_are_not_compared():
    a, b = ([{**line, "rtf": rtf} for line in crossed(4)] for rtf in (0.1, 0.2))
    assert "rtf" in summarise(a, []) and "rtf" not in compare(a, b)


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
