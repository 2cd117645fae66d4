"""Reading a row: whole, or refused with what is wrong and what to type."""

import json

import pytest

from vcpipe import results
from vcpipe.errors import InputError
from vcpipe.manifest import write_lines

SYSTEM = {
    "row": "fine",
    "kind": "system",
    "system": "knnvc",
    "speaker_encoder": None,
    "models": {"vocoder": {"step": 100, "checksum": "ab"}},
    "settings": {"topk": 4},
}


@pytest.fixture
def row(tmp_path):
    """A judged row of three trials."""
    pairs = [
        {
            "name": f"t{i}",
            "source_utt": f"ann-{i}",
            "source_speaker": "ann",
            "target_speaker": "bob",
            "references": ["bob-1", "bob-2"],
            "reference_s": 4.5,
            "seed": i,
        }
        for i in range(3)
    ]
    judged = [{key: pair[key] for key in ("name", "source_utt", "source_speaker", "target_speaker")} for pair in pairs]
    listed = results.trials(pairs)
    protocol = {
        "format": results.FORMAT,
        "row": "fine",
        "system": {key: SYSTEM[key] for key in ("system", "speaker_encoder", "models", "settings")},
        "trials": {"n": 3, "digest": results.digest(listed), "list": listed},
        "asr": {"name": "ear", "version": "1"},
    }
    write(tmp_path / "system.json", SYSTEM)
    write(tmp_path / "metrics.json", {"row": "fine", "n": 3, "measures": {}, "protocol": results.digest(protocol)})
    write(tmp_path / "protocol.json", protocol)
    write_lines(tmp_path / "pairs.jsonl", pairs)
    write_lines(tmp_path / "judged.jsonl", judged)
    return tmp_path


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")


def edit(path, **values):
    write(path, {**json.loads(path.read_text(encoding="utf-8")), **values})


def edit_line(path, number, **values):
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[number] |= values
    write_lines(path, lines)


def refused(folder, *said):
    with pytest.raises(InputError) as error:
        results.load(folder)
    for words in said:
        assert words in str(error.value)


def test_a_row_is_read_as_it_is(row):
    found = results.load(row)
    assert (found.row, found.folder, len(found.pairs), len(found.judged)) == ("fine", row, 3, 3)
    assert found.protocol["trials"]["list"][1] == ["ann-1", "bob", ["bob-1", "bob-2"], 4.5, 1]


def test_a_system_that_learned_its_voices_heard_no_references(row):
    assert results.load(row).reference_s == 4.5
    system = json.loads((row / "system.json").read_text())
    (row / "system.json").write_text(json.dumps({**system, "hears_references": False}))
    assert results.load(row).reference_s is None


def test_a_digest_is_of_the_content_alone():
    assert results.digest({"a": 1, "b": [1, 2]}) == results.digest({"b": [1, 2], "a": 1})
    assert results.digest({"a": 1, "b": [1, 2]}) != results.digest({"a": 1, "b": [2, 1]})


def test_without_a_protocol_there_are_no_figures(row):
    (row / "protocol.json").unlink()
    refused(row, "protocol.json", "are not shown", "snakemake --cores all --forcerun judge -- evaluate")


def test_a_protocol_that_was_edited(row):
    edit(row / "protocol.json", asr={"name": "ear", "version": "2"})
    refused(row, "metrics.json", "expected figures made under the protocol beside it", "another")


def test_another_format(row):
    edit(row / "protocol.json", format="vcpipe-protocol-0")
    refused(row, "vcpipe-protocol-1", "'vcpipe-protocol-0'")


@pytest.mark.parametrize("name", ["system.json", "metrics.json", "pairs.jsonl", "judged.jsonl"])
def test_a_file_that_is_missing(row, name):
    (row / name).unlink()
    refused(row, name, "found none")


@pytest.mark.parametrize(("name", "where"), [("metrics.json", "metrics.json"), ("judged.jsonl", "judged.jsonl:3")])
def test_a_file_that_is_cut_off(row, name, where):
    text = (row / name).read_text(encoding="utf-8")
    (row / name).write_text(text[:-10], encoding="utf-8")
    refused(row, where, "expected JSON", "cut off")


def test_a_file_of_other_bytes(row):
    (row / "system.json").write_bytes(b'{"row": "\xff"}')
    refused(row, "system.json", "UTF-8")


def test_a_list_where_keys_belong(row):
    write(row / "system.json", [1])
    refused(row, "system.json", "expected keys with values")
    write(row / "system.json", SYSTEM)
    (row / "judged.jsonl").write_text("3\n", encoding="utf-8")
    refused(row, "judged.jsonl:1", "expected keys with values")


def test_files_of_another_row(row):
    edit(row / "system.json", row="other")
    refused(row, "metrics.json", "expected the row 'other', found 'fine'")


def test_an_unknown_kind(row):
    edit(row / "system.json", kind="toy")
    refused(row, "system.json", "system, baseline, reference", "'toy'")


def test_a_key_that_is_missing(row):
    write(row / "system.json", {key: value for key, value in SYSTEM.items() if key != "kind"})
    refused(row, "expected the key 'kind'")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("system", "other"),
        ("speaker_encoder", "ge2e"),
        ("models", {"vocoder": {"step": 200, "checksum": "cd"}}),
        ("settings", {"topk": 8}),
    ],
)
def test_converted_again_by_another_system(row, key, value):
    edit(row / "system.json", **{key: value})
    refused(row, "protocol.json", f"'system.{key}'", "another conversion", "--forcerun judge -- evaluate")


def test_a_trial_that_was_not_judged(row):
    lines = (row / "judged.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (row / "judged.jsonl").write_text("".join(lines[:2]), encoding="utf-8")
    refused(row, "judged.jsonl", "expected the 3 trials", "found 2 lines", "t2")


def test_trials_in_another_order(row):
    lines = (row / "judged.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (row / "judged.jsonl").write_text("".join(lines[::-1]), encoding="utf-8")
    refused(row, "in their order")


def test_a_name_twice(row):
    edit_line(row / "pairs.jsonl", 2, name="t0")
    refused(row, "pairs.jsonl", "'t0' twice")


@pytest.mark.parametrize("key", ["source_utt", "source_speaker", "target_speaker"])
def test_a_verdict_of_another_trial(row, key):
    edit_line(row / "judged.jsonl", 1, **{key: "eve"})
    refused(row, "judged.jsonl: t1", f"expected {key}", "eve")


def test_converted_again_from_other_references(row):
    edit_line(row / "pairs.jsonl", 1, references=["bob-3"])
    refused(row, "protocol.json", "key 'trials'")


def test_figures_of_fewer_trials(row):
    edit(row / "metrics.json", n=2)
    refused(row, "metrics.json", "expected figures of 3 trials, found 2")


def test_no_trials(row):
    (row / "pairs.jsonl").write_text("", encoding="utf-8")
    refused(row, "pairs.jsonl", "expected at least one trial")
