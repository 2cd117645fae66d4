import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from vcpipe.corpora.speakers import readers
from vcpipe.errors import InputError
from vcpipe.manifest import Utterance
from vcpipe.trials import (
    PROTOCOLS,
    Protocol,
    Trial,
    draw_demo_trials,
    draw_trials,
    read_trials,
    reference_samples,
    to_themselves,
    trained_speakers,
    write_trials,
)

ROOT = Path(__file__).resolve().parent.parent
NEW = "source,target,references,reference_s,seed"


def utterances(held_out: str = "test") -> list[Utterance]:
    return [
        Utterance(f"{s}{n}", s, f"{s}/{n}.wav", 16000, 16000, split=held_out if n >= 3 else "train")
        for s in "abc"
        for n in range(5)
    ]


def table(folder: Path, *lines: str, header: str = "source,target,references") -> Path:
    path = folder / "trials.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def spoken(speakers: int, count: int = 12, split: str = "test", name: str = "s") -> list[Utterance]:
    """`count` utterances of each speaker, of 2, 4, 6, ... seconds; every fifth has no text."""
    return [
        Utterance(
            f"{name}{s:02d}-{n:02d}", f"{name}{s:02d}", "", 32000 * (n + 1), 16000, "text" if n % 5 else "", split=split
        )
        for s in range(speakers)
        for n in range(count)
    ]


def ids(utterances: tuple[Utterance, ...]) -> list[str]:
    return [u.utt_id for u in utterances]


def test_references_are_a_split_or_named_utterances(tmp_path: Path) -> None:
    first, second = read_trials(table(tmp_path, "a3,b,train", "a4,c,c1;c3"), utterances())
    assert (first.source.utt_id, first.target) == ("a3", "b")
    assert [u.utt_id for u in first.references] == ["b0", "b1", "b2"]
    assert [u.utt_id for u in second.references] == ["c1", "c3"]


@pytest.mark.parametrize(
    "line", ["a9,b,train", "a3,z,train", "a3,a,train", "a3,b,valid", "a3,b,c1", "a3,b", "a3", "a3,b,train,more"]
)
def test_a_line_that_cannot_be_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"trials\.csv:2"):
        read_trials(table(tmp_path, line), utterances())


@pytest.mark.parametrize(
    ("references", "words"),
    [
        ("b0;b9;b1", "'b9' is none in the manifest"),
        ("b0;c1", "'c1' is one of c"),
        ("b0;", "'' is none in the manifest"),
        ("trian", "'trian' is none in the manifest"),
    ],
)
def test_one_wrong_reference_among_several_is_named_and_not_dropped(
    tmp_path: Path, references: str, words: str
) -> None:
    with pytest.raises(InputError, match=rf"trials\.csv:2: expected references of speaker b, {words}"):
        read_trials(table(tmp_path, f"a3,b,{references}"), utterances())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trials.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"trials\.csv: "):
        read_trials(tmp_path / "trials.csv", utterances())


def test_another_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("src,tgt\na,b\n")
    with pytest.raises(InputError, match="expected the columns source,target,references,reference_s,seed"):
        read_trials(tmp_path / "trials.csv", utterances())
    with pytest.raises(InputError, match="no such trials file"):
        read_trials(tmp_path / "none.csv", utterances())


def test_the_others_are_all_that_is_no_source_in_the_table(tmp_path: Path) -> None:
    first, second, third = read_trials(table(tmp_path, "a3,b,others", "b4,a,others", "b0,c,train"), utterances())
    assert ids(first.references) == ["b1", "b2", "b3"]
    assert ids(second.references) == ["a0", "a1", "a2", "a4"]
    assert ids(third.references) == ["c0", "c1", "c2"]


def test_references_come_in_the_order_of_their_ids_or_as_they_are_given(tmp_path: Path) -> None:
    path = table(tmp_path, "a3,b,others", "a3,c,c3;c0;c1")
    first, second = read_trials(path, list(reversed(utterances())))
    assert ids(first.references) == ["b0", "b1", "b2", "b3", "b4"]
    assert ids(second.references) == ["c3", "c0", "c1"]


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        ("", {"b0": 16000, "b1": 16000, "b2": 16000}),
        ("0", {"b0": 16000, "b1": 16000, "b2": 16000}),
        ("0.5", {"b0": 8000}),
        ("1", {"b0": 16000}),
        ("2.25", {"b0": 16000, "b1": 16000, "b2": 4000}),
        ("3", {"b0": 16000, "b1": 16000, "b2": 16000}),
    ],
)
def test_only_so_many_seconds_of_the_references_are_heard(tmp_path: Path, wanted: str, heard: dict[str, int]) -> None:
    (trial,) = read_trials(table(tmp_path, f"a3,b,train,{wanted},7", header=NEW), utterances())
    assert dict(zip(ids(trial.references), reference_samples(trial), strict=True)) == heard
    assert (trial.reference_s, trial.seed) == (float(wanted or 0), 7)


def test_an_older_table_hears_all_and_has_no_seed(tmp_path: Path) -> None:
    old = read_trials(table(tmp_path, "a3,b,train"), utterances())
    assert old == read_trials(table(tmp_path, "a3,b,train,,0", header=NEW), utterances())
    assert old == read_trials(table(tmp_path, "a3,b,train,0,", header=NEW), utterances())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a3,b,train,3.1,0", "expected 3.1 s of references of speaker b, found 3.0 s for 'train'"),
        ("a3,b,train,-1,0", "found '-1' and '0'"),
        ("a3,b,train,nan,0", "found 'nan' and '0'"),
        ("a3,b,train,inf,0", "found 'inf' and '0'"),
        ("a3,b,train,ten,0", "found 'ten' and '0'"),
        ("a3,b,train,10,1.5", "found '10' and '1.5'"),
        ("a3,b,train,10,-1", "found '10' and '-1'"),
        ("a3,b,train", "expected source,target,references,reference_s,seed, found 3 columns"),
        ("a4,b,train,,0\na4,b,others,,0", "a line above has the name a4-as-b too"),
    ],
)
def test_a_line_of_seconds_and_seeds_that_cannot_be_is_named(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(InputError, match=rf"trials\.csv:{3 if 'above' in words else 2}: .*{words}"):
        read_trials(table(tmp_path, line, header=NEW), utterances())


def test_a_speaker_who_is_source_only_leaves_no_references(tmp_path: Path) -> None:
    lines = [f"b{n},a,train" for n in range(5)]
    with pytest.raises(InputError, match=r"trials\.csv:7: expected references of speaker b, found 0\.0 s for 'others'"):
        read_trials(table(tmp_path, *lines, "a3,b,others"), utterances())


def test_trials_of_one_pair_are_told_apart_by_seconds_and_seed(tmp_path: Path) -> None:
    path = table(tmp_path, "a3,b,train,,0", "a3,b,train,2,0", "a3,b,train,2,1", "a3,b,train,1.5,1", header=NEW)
    names = [t.name for t in read_trials(path, utterances())]
    assert names == ["a3-as-b", "a3-as-b-2s", "a3-as-b-2s-seed1", "a3-as-b-1.5s-seed1"]
    assert Trial(Utterance("v/1/2", "v", "", 1, 1), "w", ()).name == "v_1_2-as-w"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    people = spoken(4)
    drawn = draw_trials(people, Protocol(0, 2, 0, reference_s=7.5, seed=3))
    named = [Trial(people[0], "s01", (people[20], people[13]), 0.0, 2)]
    for trials in (drawn, draw_demo_trials(utterances(), 6, 1), named):
        write_trials(tmp_path / "out.csv", trials)
        found = read_trials(tmp_path / "out.csv", utterances() if trials[0].source.utt_id[0] in "abc" else people)
        assert [replace(t, named="") for t in found] == [replace(t, named="") for t in trials]
    assert (tmp_path / "out.csv").read_text() == f"{NEW}\ns00-00,s01,s01-08;s01-01,,2\n"


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


def test_a_speaker_to_himself_hears_as_much_as_the_systems_do() -> None:
    people = spoken(3)
    drawn = draw_trials(people, Protocol(0, 2, 0, reference_s=7.5, seed=3))
    own = to_themselves(drawn, people)
    assert {t.source for t in own} == {t.source for t in drawn}
    for trial in own:
        assert trial.target == trial.source.speaker and trial.source not in trial.references
        assert trial.reference_s == 7.5 and trial.seed == 3
        assert sum(reference_samples(trial)) == round(7.5 * trial.source.sample_rate)
