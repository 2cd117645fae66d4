"""The table of all rows: what stands in it, what may not stand beside what."""

import csv
import json

import numpy as np
import pytest

from vcpipe import results
from vcpipe.errors import InputError
from vcpipe.evaluation.intervals import summarise
from vcpipe.evaluation.overview import table, write_overview
from vcpipe.manifest import write_lines

PEOPLE = ["ann", "bob", "cy", "dee", "eve"]
CROSSED = [(s, t) for s in PEOPLE for t in PEOPLE if s != t]


def make_row(folder, name, kind="system", wer=0.1, voice=0.8, trials=CROSSED, reference_s=5.0, seed=0, **protocol):
    """A judged row under `folder`; `protocol` is laid over what it was judged by."""
    out = folder / name
    out.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    pairs = [
        {
            "name": f"{source}-as-{target}",
            "source_utt": f"{source}-1",
            "source_speaker": source,
            "target_speaker": target,
            "references": [f"{target}-2"],
            "reference_s": reference_s,
            "seed": 0,
        }
        for source, target in trials
    ]
    judged = [
        {key: pair[key] for key in ("name", "source_utt", "source_speaker", "target_speaker")}
        | {"word_errors": int(rng.binomial(100, wer)), "words": 100, "cos_target": float(voice + rng.normal(0, 0.02))}
        for pair in pairs
    ]
    genuine = [{"speaker": s, "utt": f"{s}-1", "cos": 0.85 + 0.01 * i} for i, s in enumerate(PEOPLE)]
    listed = results.trials(pairs)
    about = {
        "format": results.FORMAT,
        "row": name,
        "system": {"system": "knnvc", "settings": {"k": 4}},
        "trials": {"n": len(pairs), "digest": results.digest(listed), "list": listed},
        "asr": {"name": "ear", "version": "1", "settings": {"beam": 5}},
        "enrolment": {"count": 3, "apart_from_sources": {s: [f"{s}-2"] for s in PEOPLE}, "all_are_sources": {}},
        "intervals": {"seed": 0, "resamples": 300},
        "versions": {"numpy": "2.0"},
        "slice": {"row": name},
        **protocol,
    }
    metrics = {
        "row": name,
        "n": len(pairs),
        "measures": summarise(judged, genuine, 0, 300),
        "genuine": genuine,
        "costs": {"parameters": 1234567, "model_mib": 4.7, "peak_mib": None},
        "protocol": results.digest(about),
    }
    system = {"row": name, "label": name.title(), "kind": kind, "about": f"About {name}.", **about["system"]}
    for file, value in (("system", system), ("protocol", about), ("metrics", metrics)):
        (out / f"{file}.json").write_text(json.dumps(value), encoding="utf-8")
    write_lines(out / "pairs.jsonl", pairs)
    write_lines(out / "judged.jsonl", judged)
    return out


def written(folders, out):
    write_overview(folders, out)
    return json.loads((out / "overview.json").read_text(encoding="utf-8"))


@pytest.fixture
def rows(tmp_path):
    """White noise, a good and a bad system, and a baseline."""
    return [
        make_row(tmp_path / "demo", "noise", "reference", wer=0.99, voice=0.3),
        make_row(tmp_path / "demo", "bad", wer=0.5, voice=0.7, seed=1),
        make_row(tmp_path / "demo", "good", wer=0.1, voice=0.8, seed=2),
        make_row(tmp_path / "demo", "mean", "baseline", wer=0.12, voice=0.6, seed=3),
    ]


def refused(folders, out, *said):
    with pytest.raises(InputError) as error:
        write_overview(folders, out)
    for words in said:
        assert words in str(error.value)
    assert not (out / "overview.json").exists()


def test_rows_stand_as_their_files_say(rows, tmp_path):
    found = written(rows, tmp_path)
    assert [row["row"] for row in found["rows"]] == ["bad", "good", "mean", "noise"]  # systems first, reference last
    for row in found["rows"]:
        loaded = results.load(tmp_path / "demo" / row["row"])
        assert row["measures"] == loaded.metrics["measures"] and row["costs"] == loaded.metrics["costs"]
        assert row["protocol"] == results.digest(loaded.protocol)
        assert (row["n"], row["reference_s"], row["about"]) == (20, 5.0, f"About {row['row']}.")


def test_the_table_as_csv(rows, tmp_path):
    found = written(rows, tmp_path)
    with open(tmp_path / "overview.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["row"] for line in lines] == ["bad", "good", "mean", "noise"]
    wer = found["rows"][0]["measures"]["wer"]
    assert [float(lines[0][f"wer{end}"]) for end in ("", "_low", "_high", "_n")] == list(wer.values())
    assert (lines[0]["mcd_db"], lines[0]["peak_mib"], lines[0]["parameters"]) == ("", "", "1234567")


def test_comparisons_are_of_all_but_reference_rows_and_corrected_within_a_measure(rows, tmp_path):
    comparisons = written(rows, tmp_path)["comparisons"]
    assert {(c["a"], c["b"]) for c in comparisons} == {("bad", "good"), ("bad", "mean"), ("good", "mean")}
    for measure in ("wer", "cos_target", "eer"):
        mine = sorted((c for c in comparisons if c["measure"] == measure), key=lambda c: c["p"])
        assert len(mine) == 3
        assert mine[0]["p_holm"] == pytest.approx(min(1, 3 * mine[0]["p"]))
        assert all(c["p_holm"] >= c["p"] and c["n"] == 20 for c in mine)
    (found,) = (c for c in comparisons if (c["a"], c["b"], c["measure"]) == ("bad", "good", "wer"))
    assert found["low"] < found["difference"] < found["high"] and found["low"] > 0 and found["p_holm"] < 0.05


def test_what_all_rows_share_is_told(rows, tmp_path):
    rows.append(make_row(tmp_path / "demo", "later", seed=4, versions={"numpy": "2.1", "torch": "2.9"}))
    shared = written(rows, tmp_path)["protocol"]
    assert shared["asr"] == {"name": "ear", "version": "1", "settings": {"beam": 5}}
    assert shared["trials"]["n"] == 20
    assert shared["versions"] == {"numpy": "2.0, 2.1", "torch": "2.9, none"}
    assert "row" not in shared and "slice" not in shared


def test_other_judges_are_refused(rows, tmp_path):
    other = make_row(tmp_path / "demo", "other", asr={"name": "ear", "version": "1", "settings": {"beam": 1}})
    refused([*rows, other], tmp_path, str(other), "'asr.settings.beam'", "expected 5", "found 1")


@pytest.mark.parametrize("kind", ["system", "reference"])
def test_a_judge_that_only_one_row_had(rows, tmp_path, kind):
    other = make_row(tmp_path / "demo", "other", kind, quality={"dnsmos": {"version": "1"}})
    refused([*rows, other], tmp_path, "'quality'", "judge them all again", "--forcerun judge -- evaluate")


def test_other_trials_are_refused(rows, tmp_path):
    other = make_row(tmp_path / "demo", "other", trials=CROSSED[:-1])
    refused([*rows, other], tmp_path, str(other), "(20), found 19", "eve-1 to dee")


def test_other_enrolment_is_refused(rows, tmp_path):
    count = make_row(tmp_path / "a", "other", "reference", enrolment={"count": 4})
    refused([*rows, count], tmp_path, "'enrolment.count'")
    enrolled = {"count": 3, "apart_from_sources": {s: [f"{s}-3"] for s in PEOPLE}, "all_are_sources": {}}
    refused([*rows, make_row(tmp_path / "b", "other", enrolment=enrolled)], tmp_path, "'enrolment.apart_from_sources")


def test_reference_rows_have_trials_of_their_own(rows, tmp_path):
    same = make_row(tmp_path / "demo", "same", "reference", trials=[(s, s) for s in PEOPLE], enrolment={"count": 3})
    assert written([*rows, same], tmp_path)["rows"][-1]["n"] == 5


def test_how_much_was_heard_is_a_rows_own(rows, tmp_path):
    less = make_row(tmp_path / "demo", "less", reference_s=1.0, seed=7)
    found = written([*rows, less], tmp_path)
    assert {row["row"]: row["reference_s"] for row in found["rows"]}["less"] == 1.0
    assert ("good", "less") in {(c["a"], c["b"]) for c in found["comparisons"]}


def test_one_row_twice_and_none(rows, tmp_path):
    refused([rows[1], make_row(tmp_path / "again", "bad")], tmp_path, "'bad' is", "too")
    refused([], tmp_path, f"`vcpipe overview ROW... --out {tmp_path}`")


def test_a_row_without_its_protocol_is_refused(rows, tmp_path):
    (rows[2] / "protocol.json").unlink()
    refused(rows, tmp_path, str(rows[2] / "protocol.json"))


def test_too_few_speakers_are_not_compared(tmp_path):
    two = [("ann", "bob"), ("bob", "ann")]
    folders = [make_row(tmp_path / "demo", name, trials=two, seed=i) for i, name in enumerate(("a", "b"))]
    assert written(folders, tmp_path)["comparisons"] == []
    assert "[" not in table(tmp_path).split("*")[0].split("WER")[1]


def test_a_table_that_fits_a_terminal(rows, tmp_path):
    write_overview(rows, tmp_path)
    text = table(tmp_path)
    assert max(map(len, text.splitlines())) <= 120
    first, *_ = text.split("\n\n")
    head, bad, good, mean, line, noise = first.splitlines()
    assert "WER % ↓" in head and "like target ↑" in head and "DNSMOS" not in head  # nobody measured that
    assert [row.split()[0] for row in (bad, good, mean, noise)] == ["Bad", "Good", "Mean", "Noise"]
    assert set(line) == {"-"}
    assert "0.8" in good and "*" in good and "*" not in noise and "*" not in bad
    assert "[" in good
    assert "WER: Good is clearly better than Bad; not clearly better than Mean" in text and "1,234,567" in text


def test_a_table_of_nothing(tmp_path):
    with pytest.raises(
        InputError, match=r"overview\.json: no such overview; make it with `vcpipe overview ROW\.\.\. --out"
    ):
        table(tmp_path)
