from pathlib import Path

import pytest

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance
from vcpipe.trials import draw_trials, read_trials


def utterances(held_out: str = "test") -> list[Utterance]:
    return [
        Utterance(f"{s}{n}", s, f"{s}/{n}.wav", 16000, 16000, split=held_out if n >= 3 else "train")
        for s in "abc"
        for n in range(5)
    ]


def table(folder: Path, *lines: str) -> Path:
    path = folder / "trials.csv"
    path.write_text("\n".join(["source,target,references", *lines]) + "\n")
    return path


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
    with pytest.raises(InputError, match="expected the columns source,target,references"):
        read_trials(tmp_path / "trials.csv", utterances())
    with pytest.raises(InputError, match="no such trials file"):
        read_trials(tmp_path / "none.csv", utterances())


@pytest.mark.parametrize("held_out", ["test", "valid"])
def test_drawn_trials_convert_held_out_sources_and_repeat(held_out: str) -> None:
    trials = draw_trials(utterances(held_out), 5, seed=1)
    assert len(trials) == 5 and trials == draw_trials(utterances(held_out), 5, seed=1)
    for trial in trials:
        assert trial.source.split == held_out and trial.source.speaker != trial.target
        assert {u.split for u in trial.references} == {"train"}
        assert {u.speaker for u in trial.references} == {trial.target}
    assert len({t.target for t in trials}) > 1


def test_one_speaker_alone_cannot_be_converted() -> None:
    with pytest.raises(InputError, match="at least two speakers, found 1"):
        draw_trials([u for u in utterances() if u.speaker == "a"], 5, 0)
