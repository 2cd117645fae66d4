import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from tests.people import spoken, utterances
from vcpipe.corpora.speakers import readers
from vcpipe.errors import InputError
from vcpipe.evaluation.drawing import PROTOCOLS, Protocol, draw_demo_trials, draw_trials, trained_speakers
from vcpipe.manifest import Utterance
from vcpipe.trials import read_trials

ROOT = Path(__file__).resolve().parents[2]


def test_the_protocol_of_the_paper_is_two_hundred_sources_to_the_39_others() -> None:
    people = spoken(42)
    trials = draw_trials(people, PROTOCOLS["paper"])
    assert len(trials) == 7800
    sources = {t.source.utt_id: t.source for t in trials}
    assert len(sources) == 200 and set(Counter(u.speaker for u in sources.values()).values()) == {5}
    assert set(Counter(t.source.utt_id for t in trials).values()) == {39}
    assert set(Counter(t.target for t in trials).values()) == {195}
    for t in trials:
        assert t.target != t.source.speaker and {u.speaker for u in t.references} == {t.target}
        assert not sources.keys() & {u.utt_id for u in t.references} and len(t.references) == 7
        assert 3 <= t.source.n_samples / 16000 <= 15 and t.source.text


@pytest.mark.parametrize("targets", [1, 2, 3, 4, 5])
def test_every_target_comes_equally_often_and_no_pair_twice(targets: int) -> None:
    trials = draw_trials(spoken(6), Protocol(0, 5, targets))
    assert set(Counter(t.target for t in trials).values()) == {5 * targets}
    assert set(Counter(t.source.utt_id for t in trials).values()) == {targets}
    assert len({t.name for t in trials}) == len(trials) == 30 * targets
    pairs = Counter((t.source.speaker, t.target) for t in trials)
    assert set(pairs.values()) == {targets} and len(pairs) == 30


def test_a_draw_repeats_whatever_the_order_and_changes_with_the_seed() -> None:
    people = spoken(8)
    drawn = draw_trials(people, Protocol(5, 2, 2))
    shuffled = random.Random(0).sample(people, len(people))
    assert drawn == draw_trials(shuffled, Protocol(5, 2, 2))
    others = [draw_trials(people, Protocol(5, 2, 2, seed=seed)) for seed in (1, 2, 3)]
    assert len({tuple(t.source.utt_id for t in trials) for trials in [drawn, *others]}) == 4
    assert {t.seed for t in others[1]} == {2}


def test_another_speaker_does_not_change_what_is_drawn_of_the_first() -> None:
    def sources(speakers: int) -> set[str]:
        return {t.source.utt_id for t in draw_trials(spoken(speakers), Protocol(0, 3, 1))}

    assert sources(4) < sources(5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rarer", ["F", "M"])
def test_sexes_come_in_turn_and_equally_often(seed: int, rarer: str) -> None:
    people = spoken(9)
    sexes = {f"s{n:02d}": rarer if n < 3 else {"F": "M", "M": "F"}[rarer] for n in range(8)}
    trials = draw_trials(people, Protocol(6, 2, 2, seed=seed), sexes=sexes)
    assert Counter(sexes[s] for s in {t.source.speaker for t in trials}) == {"F": 3, "M": 3}
    pairs = Counter(sexes[t.source.speaker] + sexes[t.target] for t in trials)
    assert pairs["FM"] == pairs["MF"] and pairs["FF"] == pairs["MM"] > 0
    assert "s08" in {t.target for t in draw_trials(people, Protocol(0, 2, 0), sexes=sexes)}


def test_utterances_with_text_are_preferred_as_sources() -> None:
    few = [replace(u, text="") if u.utt_id != "s01-03" else u for u in spoken(3)]
    assert "s01-03" in {t.source.utt_id for t in draw_trials(few, Protocol(0, 1, 1))}


def test_nobody_of_the_training_is_a_target() -> None:
    trained = [replace(u, split=("train", "valid", "test")[int(u.utt_id[-1]) % 3]) for u in spoken(3, name="t")]
    seen = trained_speakers(trained)
    assert seen == {"t00", "t01", "t02"}
    people = [*trained, *spoken(3, name="u")]
    both = draw_trials(people, PROTOCOLS["unseen"], seen)
    assert {t.source.speaker for t in both} == {t.target for t in both} == {"u00", "u01", "u02"}
    from_seen = draw_trials(people, Protocol(0, 1, 2), seen, seen_sources=True)
    assert {t.source.speaker for t in from_seen} == seen and {t.source.split for t in from_seen} == {"test"}
    assert Counter(t.target for t in from_seen) == {"u00": 2, "u01": 2, "u02": 2}
    assert {len(t.references) for t in from_seen} == {12}
    assert trained_speakers(spoken(2)) == set()
    for nobody, seen_sources in ((set(), False), (None, True)):
        with pytest.raises(InputError, match="--unseen-in: expected the manifest of a training"):
            draw_trials(people, PROTOCOLS["unseen"], nobody, seen_sources)


@pytest.mark.parametrize(
    ("people", "protocol", "words"),
    [
        (spoken(6), Protocol(7, 2, 0), r"expected 7 speakers .* found 6 of 6; ask for fewer --speakers"),
        (spoken(6), Protocol(0, 7, 0), r"expected 6 speakers with 7 utterances .*found 0 of 6; s00 has 6 utterances"),
        (spoken(2), Protocol(0, 2, 0, min_reference_s=150), r"150 s of references beside, .*s00 has 1\d\d\.0 s"),
        (spoken(2), Protocol(0, 2, 0, reference_s=160), r"160 s of references beside, .*s00 has 1\d\d\.0 s"),
        ([*spoken(3), *spoken(1, 2, name="z")], Protocol(0, 2, 0), r"found 3 of 4; z00 has 1 utterances"),
        (spoken(1), Protocol(0, 2, 0), "expected other targets for each source, found 0"),
        (spoken(3), Protocol(0, 2, 3), "expected 3 targets for each source, found 2"),
        (spoken(3, split="valid"), Protocol(0, 2, 0), "--split test: expected utterances of it, found 36 of valid"),
        ([], Protocol(0, 2, 0, split=""), "expected some speakers .*found 0 of 0"),
    ],
)
def test_what_there_is_not_enough_of_is_said(people: list[Utterance], protocol: Protocol, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw_trials(people, protocol)


def test_of_enough_speakers_those_without_enough_are_passed_over() -> None:
    people = [*spoken(2), *spoken(3, 2, name="z")]
    assert {t.target for t in draw_trials(people, Protocol(2, 2, 0))} == {"s00", "s01"}


def test_the_committed_trials_of_librispeech_are_those_of_their_command(real_data: Path) -> None:
    root = real_data / "corpora" / "LibriSpeech"
    texts = "".join(path.read_text() for path in root.glob("test-other/*/*/*.trans.txt"))
    text = dict(line.split(" ", 1) for line in texts.splitlines())
    people = [
        Utterance(f.stem, f.parts[-3], "", soundfile.info(f).frames, 16000, text[f.stem], split="test")
        for f in root.glob("test-other/*/*/*.flac")
    ]
    seen = {path.name for path in root.glob("train-clean-100/*")}
    protocol = replace(PROTOCOLS["unseen"], max_s=12.0, min_reference_s=30.0)
    for name, targets, count in (("librispeech_unseen", 0, 150), ("librispeech_unseen_small", 1, 30)):
        drawn = draw_trials(people, replace(protocol, targets=targets), seen, sexes=readers(root))
        assert drawn == read_trials(ROOT / "data_splits" / "trials" / f"{name}.csv", people)
        assert len(drawn) == count and set(Counter(t.target for t in drawn).values()) == {count // 6}


@pytest.mark.parametrize("held_out", ["test", "valid"])
def test_drawn_trials_convert_held_out_sources_and_repeat(held_out: str) -> None:
    trials = draw_demo_trials(utterances(held_out), 5, seed=1)
    assert len(trials) == 5 and trials == draw_demo_trials(utterances(held_out), 5, seed=1)
    for trial in trials:
        assert trial.source.split == held_out and trial.source.speaker != trial.target
        assert {u.split for u in trial.references} == {"train"}
        assert {u.speaker for u in trial.references} == {trial.target}
    assert len({t.target for t in trials}) > 1
    assert trials == draw_demo_trials(list(reversed(utterances(held_out))), 5, seed=1)


def test_one_speaker_alone_cannot_be_converted() -> None:
    with pytest.raises(InputError, match="at least two speakers, found 1"):
        draw_demo_trials([u for u in utterances() if u.speaker == "a"], 5, 0)
