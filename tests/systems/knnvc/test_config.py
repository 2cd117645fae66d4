"""Streams in the config: what is refused, and what a training without them depends on as before."""

import copy
from typing import Any

import pytest

from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.settings import Slice
from vcpipe.systems.knnvc.config import prematch_slice, render_slice, run_slice, unmatched_slice

PLAIN: dict[str, Any] = {
    "corpora": {"mine": {"kind": "folder", "root": "x"}},
    "audio": {"16k": {}},
    "features": {
        "tiny": {"kind": "tiny_random"},
        "voice": {"kind": "ge2e"},
        "mel": {"kind": "mel", "hop": 320},
        "envelope": {"kind": "envelope"},
        "pitch": {"kind": "f0", "method": "praat", "hop": 320},
        "pitch_10ms": {"kind": "f0", "method": "praat"},
    },
    "knnvc": {"corpus": "mine", "match": "tiny", "mix_plain": True, "training": {"preset": "cpu"}},
}
STREAMS = {"synthesis": "envelope", "content": "tiny", "pitch": "pitch", "generator": "source_filter_small"}


def config(**knnvc: Any) -> Any:
    raw = copy.deepcopy(PLAIN)
    raw["knnvc"] |= knnvc
    return load(raw)


def streams_of(made_by: Slice) -> list[str]:
    return list(made_by.get("streams", {}))


def test_without_streams_the_slices_have_the_keys_that_they_always_had() -> None:
    plain = config()
    run, row = run_slice(plain, prematched=True), render_slice(plain, "knnvc")
    assert set(prematch_slice(plain, "mine")) == {"stage", "revision", "settings", "match", "synthesis"}
    assert set(run["features"]) == {"match", "synthesis"} and run["units"]["dim"] == 64
    assert [v["stage"] for v in run["variants"]] == ["prematch", "feature"]
    assert set(row) == {"stage", "revision", "row", "convert", "run", "match", "synthesis", "wav"}
    assert "transpose" not in row["convert"] and plain.systems["knnvc"].variants(False) == ["tiny"]


def test_with_streams_every_slice_names_them_and_the_units_have_their_columns() -> None:
    found = config(**STREAMS)
    run, row = run_slice(found, prematched=True), render_slice(found, "knnvc")
    assert run["units"]["dim"] == 64 + 4 * 64 + 2
    assert list(run["features"]) == ["match", "synthesis", "content", "pitch"]
    assert run["variants"] == [prematch_slice(found, "mine"), unmatched_slice(found, "mine")]
    for made_by in (*run["variants"], row):
        assert streams_of(made_by) == ["content", "pitch"]
    assert row["convert"]["transpose"] == 0.0
    assert found.systems["knnvc"].variants(False) == ["unmatched"]
    alone = run_slice(config(**STREAMS, prematch={"topk": 9}), prematched=False)
    assert alone == run_slice(found, prematched=False)


def test_any_generator_may_hear_content() -> None:
    run = run_slice(config(content="mel", generator="vocos_small"), prematched=True)
    assert run["units"]["dim"] == 64 + 80 and streams_of(run["variants"][0]) == ["content"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"pitch": ""}, "'knnvc.pitch': the generator source_filter needs an F0"),
        ({"pitch": "pitch_10ms"}, "'knnvc.pitch': pitch_10ms lies on grid 16000/160, knnvc.match on 16000/320"),
        ({"pitch": "mel"}, "'knnvc.pitch': expected a feature of kind f0, mel is of kind mel"),
        ({"pitch": "pich"}, "'knnvc.pitch'.*did you mean 'pitch'"),
        ({"content": "voice"}, "'knnvc.content': expected a feature of frames, voice has a row for every utterance"),
        ({"content": "tinny"}, "'knnvc.content'.*did you mean 'tiny'"),
        ({"generator": "vocos_small"}, "'knnvc.pitch': the generator vocos does not read F0; remove the key"),
        ({"synthesis": ""}, "'knnvc.synthesis': .*with kind envelope, tiny has kind tiny_random"),
        (
            {"generator": {"preset": "source_filter_small", "parts": 2}},
            "'knnvc.synthesis': .*with parts 2, envelope has parts 4",
        ),
        ({"convert": {"transpose": 30}}, "'knnvc.convert.transpose'.*found 30"),
    ],
)
def test_streams_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        config(**{**STREAMS, **changed})


def test_a_transposition_needs_a_pitch() -> None:
    assert config(**STREAMS, convert={"transpose": -3}).systems["knnvc"].convert.transpose == -3
    with pytest.raises(InputError, match=r"'knnvc\.convert\.transpose': expected 0 without a pitch.*found -3"):
        config(convert={"transpose": -3})
    with pytest.raises(InputError, match=r"'knnvc\.rows\.up\.convert\.transpose': expected 0.*found 2"):
        config(rows={"up": {"convert": {"transpose": 2}}})


def test_the_names_of_what_is_made_here_are_kept() -> None:
    for name in ("prematched", "unmatched"):
        raw = copy.deepcopy(PLAIN)
        raw["features"][name] = {"kind": "mel"}
        with pytest.raises(InputError, match=f"'features.{name}': the name is kept"):
            load(raw)
