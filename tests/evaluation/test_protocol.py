"""Who is enrolled from what, which recording says the same, and what the protocol holds."""

import json

import pytest

from vcpipe import __version__, results
from vcpipe.errors import InputError
from vcpipe.evaluation.judge import Judge, Judges
from vcpipe.evaluation.protocol import Enrolment, Parallel, protocol, versions
from vcpipe.manifest import Utterance


def utterance(utt_id, split="train", text=""):
    return Utterance(utt_id, utt_id[0], f"{utt_id}.wav", 16000, 16000, text=text, split=split)


def pair(source, target, **changes):
    line = {"name": f"{source}-as-{target}", "source_utt": source, "source_speaker": source[0]}
    line |= {"target_speaker": target, "references": [f"{target}1"], "reference_s": 1.0, "seed": 7, "text": "hello"}
    return line | changes


UTTERANCES = [
    *(utterance(f"a{i}", split) for i, split in enumerate(("test", "valid", "train", "train", "test"))),
    *(utterance(f"b{i}", "test") for i in range(3)),
    utterance("c0", "test"),
]


def test_speakers_are_known_by_recordings_that_nobody_converts():
    enrolment = Enrolment([pair("a0", "b"), pair("b1", "a"), pair("a3", "b")], UTTERANCES, 2)
    assert enrolment("a", "a0") == enrolment("a", "b1") == ("a2", "a1")  # training ones first, then by id
    assert enrolment("b", "a0") == ("b0", "b2")
    assert enrolment.about() == {
        "count": 2,
        "apart_from_sources": {"a": ["a2", "a1"], "b": ["b0", "b2"]},
        "all_are_sources": {},
    }


def test_where_all_recordings_are_sources_only_the_trials_own_is_left_out():
    enrolment = Enrolment([pair(f"b{i}", "a") for i in range(3)] + [pair("a0", "b")], UTTERANCES, 2)
    assert enrolment("b", "b0") == ("b1", "b2")
    assert enrolment("b", "b1") == ("b0", "b2")
    assert enrolment("b", "a0") == ("b0", "b1")
    assert enrolment.about()["all_are_sources"] == {"b": ["b0", "b1", "b2"]}
    assert "b" not in enrolment.about()["apart_from_sources"]


def test_one_recording_is_a_target_but_no_source_that_can_be_known():
    enrolment = Enrolment([pair("a0", "c"), pair("c0", "a")], UTTERANCES, 5)
    assert enrolment("c", "a0") == ("c0",)
    with pytest.raises(InputError, match="speaker c: expected a recording besides c0 to know the voice by, found none"):
        enrolment("c", "c0")


def test_a_recording_of_the_target_that_says_the_same():
    said = [utterance("b2", "test", "Mister Smith won't come."), utterance("b1", text="Mr. Smith will not come!")]
    said += [utterance("b3", text=""), utterance("a0", text="mister smith won't come"), utterance("c0", text="hello")]
    trial = pair("a0", "b", text="MISTER SMITH WON'T COME")
    parallel = Parallel([trial], said)
    assert parallel(trial) == "b1"
    assert parallel(pair("a0", "b", text="hello")) is None
    assert parallel(pair("a0", "b", text="")) is None
    assert parallel(pair("a0", "c", text="hello")) is None  # not among the targets
    assert parallel(pair("a0", "a", text="")) == "a0"


def judges():
    def made(name):
        return Judge(name, {"name": name, "version": "1"}, lambda: None)

    one, two = (Judge(f"quality-{n}", {"name": n, "version": "2"}, lambda: None) for n in ("x", "y"))
    return Judges(made("asr"), made("verifier"), (one, two), made("prosody"), made("mcd"))


MADE_BY = {"judge": {"seed": 3, "resamples": 10, "asr": "asr"}, "wav": {"shards": 1}}
SYSTEM = {"row": "r", "system": "s", "speaker_encoder": None, "models": {"m": "12"}, "settings": {"k": 4}, "label": "R"}


def test_everything_that_a_figure_depends_on():
    pairs = [pair("a0", "b"), pair("b1", "a")]
    found = protocol(MADE_BY, SYSTEM, pairs, judges(), {"count": 10})
    assert json.loads(json.dumps(found)) == found
    assert (found["format"], found["row"]) == (results.FORMAT, "r")
    assert found["system"] == {"system": "s", "speaker_encoder": None, "models": {"m": "12"}, "settings": {"k": 4}}
    assert found["trials"]["list"][0] == ["a0", "b", ["b1"], 1.0, 7]
    assert found["trials"]["n"] == 2
    assert found["asr"] == {"name": "asr", "version": "1"}
    assert list(found["quality"]) == ["x", "y"]
    assert found["enrolment"] == {"count": 10}
    assert found["intervals"] == {"seed": 3, "resamples": 10}
    assert found["versions"]["vcpipe"] == __version__
    assert found["versions"]["numpy"] and found["normaliser"]["version"]
    assert found["slice"] == MADE_BY


@pytest.mark.parametrize(
    ("made_by", "system", "trial"),
    [
        ({**MADE_BY, "wav": {"shards": 2}}, SYSTEM, {}),
        ({**MADE_BY, "judge": {**MADE_BY["judge"], "seed": 4}}, SYSTEM, {}),
        (MADE_BY, {**SYSTEM, "settings": {"k": 5}}, {}),
        (MADE_BY, SYSTEM, {"seed": 8}),
        (MADE_BY, SYSTEM, {"references": ["b2"]}),
    ],
)
def test_another_protocol_has_another_digest(made_by, system, trial):
    one = protocol(MADE_BY, SYSTEM, [pair("a0", "b")], judges(), {})
    other = protocol(made_by, system, [pair("a0", "b", **trial)], judges(), {})
    assert results.digest(one) != results.digest(other)


def test_versions_of_what_is_installed():
    assert list(versions("numpy", "no-such-package-at-all")) == ["numpy"]
