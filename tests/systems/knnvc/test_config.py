"""Streams in the config: what is refused, and what a training without them depends on as before."""

import copy
from typing import Any, get_args

import pytest

from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.settings import Slice
from vcpipe.systems.knnvc.applied import ALWAYS, APPLIED
from vcpipe.systems.knnvc.config import ConvertSettings, prematch_slice, render_slice, run_slice, unmatched_slice

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


def test_a_row_records_what_its_method_goes_by_and_nothing_else() -> None:
    convert = {"transpose": 3, "alpha": 0.2, "match_spectrum": True, "scale": True}
    found = config(**STREAMS, convert=convert, rows={"world": {"convert": {"method": "world"}}})
    recorded = {row: render_slice(found, row)["convert"] for row in found.systems["knnvc"].all_rows}
    assert recorded["knnvc_resynthesis"] == {"method": "none", "loudness_lufs": -16.0}
    assert recorded["world"] == {
        "method": "world",
        "loudness_lufs": -16.0,
        "match_spectrum": True,
        "spread": 0.0,
        "scale": True,
    }
    of_a_voice = {"alpha", "transpose", "match_spectrum", "spread"}
    knn = of_a_voice | {"topk", "weighting", "temperature", "smoothness", "candidates", "own_content"}
    assert set(recorded["knnvc"]) == set(recorded["knnvc_same_speaker"]) == {"method", "loudness_lufs", *knn}
    assert recorded["knnvc"]["transpose"] == 3
    without_pitch = render_slice(config(convert={"match_spectrum": False}), "knnvc")["convert"]
    assert set(without_pitch) == {"method", "loudness_lufs", *knn} - {"transpose", "spread", "own_content"}


def test_without_content_there_is_none_to_mix() -> None:
    with pytest.raises(InputError, match=r"'knnvc\.convert\.own_content': expected 1 without content.*found 0.5"):
        config(convert={"own_content": 0.5})
    with pytest.raises(InputError, match=r"'knnvc\.rows\.mine\.convert\.own_content': expected 1 without content"):
        config(rows={"mine": {"convert": {"own_content": 0.5}}})
    assert render_slice(config(**STREAMS, convert={"own_content": 0.5}), "knnvc")["convert"]["own_content"] == 0.5


def test_every_method_has_keys_and_every_key_but_that_of_recordings_a_method() -> None:
    assert set(APPLIED) == set(get_args(ConvertSettings.model_fields["method"].annotation))
    assert ALWAYS.union(*APPLIED.values()) == set(ConvertSettings.model_fields) - {"trim_references"}


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        ({"method": "world", "alpha": 0.2}, r"\.alpha': expected 0 with method world.*found 0.2"),
        ({"method": "world", "transpose": -2}, r"\.transpose': expected 0 with method world.*found -2"),
        ({"method": "none", "match_spectrum": True}, r"\.match_spectrum': expected false with method none"),
        ({"method": "mean", "own_content": 0.2}, r"\.own_content': expected 1 with method mean.*found 0.2"),
        ({"method": "world", "spread": 0.2}, r"\.spread': expected 0 without match_spectrum or a pitch.*found 0.2"),
    ],
)
def test_what_a_method_would_ignore_is_refused_where_it_is_set(convert: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=r"'knnvc\.rows\.mine\.convert" + words):
        config(**STREAMS, rows={"mine": {"convert": convert}})
    with pytest.raises(InputError, match=r"'knnvc\.convert" + words):
        config(**STREAMS, convert=convert)
