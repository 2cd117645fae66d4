from dataclasses import replace
from pathlib import Path

import pytest

from tests.people import spoken, utterances
from vcpipe.errors import InputError
from vcpipe.evaluation.drawing import Protocol, draw_demo_trials, draw_trials
from vcpipe.manifest import Utterance
from vcpipe.trials import Trial, read_trials, reference_samples, to_themselves, write_trials

NEW = "source,target,references,reference_s,seed"


def table(folder: Path, *lines: str, header: str = "source,target,references") -> Path:
    path = folder / "trials.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


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


def test_a_speaker_to_himself_hears_as_much_as_the_systems_do() -> None:
    people = spoken(3)
    drawn = draw_trials(people, Protocol(0, 2, 0, reference_s=7.5, seed=3))
    own = to_themselves(drawn, people)
    assert {t.source for t in own} == {t.source for t in drawn}
    for trial in own:
        assert trial.target == trial.source.speaker and trial.source not in trial.references
        assert trial.reference_s == 7.5 and trial.seed == 3
        assert sum(reference_samples(trial)) == round(7.5 * trial.source.sample_rate)
