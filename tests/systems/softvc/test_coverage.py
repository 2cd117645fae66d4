"""Units of one corpus counted against another's."""

import json
import logging

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.systems.softvc import literal
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.nn import soft_units
from vcpipe.settings import canonical
from vcpipe.store import Shard, write_shard
from vcpipe.systems.softvc import coverage
from vcpipe.systems.softvc.cli import app

GRID = Grid(16000, 320)
FIT = {"stage": "fit", "feature": {"kind": "soft_units"}}
SOFT = {"stage": "derive", "model": FIT}


def shard(path, rows, *, made_by=SOFT, dtype="int16"):
    dim = next(iter(rows.values())).shape[1]
    write_shard(path, rows.items(), made_by=made_by, grid=GRID, dim=dim, dtype=dtype)
    return path


def units(*numbers):
    return np.array(numbers, np.int16)[:, None]


def test_discrete_units_are_counted(tmp_path):
    one = shard(tmp_path / "0.h5", {"a": units(0, 3, 3), "b": units(1, 1)})
    two = shard(tmp_path / "1.h5", {"c": units(5)})
    with Shard(one, None) as a, Shard(two, None) as b:
        assert coverage.of_discrete([a, b]).tolist() == [1, 2, 0, 2, 0, 1]
        assert coverage.of_discrete([b, a]).tolist() == [1, 2, 0, 2, 0, 1]
        assert coverage.of_discrete([a, b], ["a"]).tolist() == [1, 0, 0, 2]
        assert coverage.of_discrete([a, b], []).tolist() == []


@pytest.mark.parametrize(("rows", "dtype"), [(units(0, -1), "int16"), (np.zeros((2, 3)), "float16")])
def test_what_is_no_discrete_unit_is_refused(tmp_path, rows, dtype):
    path = shard(tmp_path / "0.h5", {"a": rows}, dtype=dtype)
    with Shard(path, None) as a, pytest.raises(InputError, match=r"0\.h5: expected discrete units"):
        coverage.of_discrete([a])


@pytest.fixture
def model(tmp_path):
    """Eight units, whose vectors are the axes of the space."""
    network = soft_units.SoftUnits(5, 6, 8, 8)
    with torch.no_grad():
        network.labels.copy_(torch.eye(8))
    soft_units.save(tmp_path / "model.safetensors", network, canonical(FIT))
    return tmp_path / "model.safetensors"


def test_soft_units_count_for_the_nearest(tmp_path, model):
    """By the angle: a long vector is no nearer."""
    rows = 9 * np.eye(8)[[2, 2, 7, 0, 2]] + np.random.default_rng(0).random((5, 8))
    path = shard(tmp_path / "0.h5", {"a": rows[:3], "b": rows[3:]}, dtype="float16")
    with Shard(path, None) as a:
        assert coverage.of_soft(model, [a]).tolist() == [1, 0, 3, 0, 0, 0, 0, 1]
        assert coverage.of_soft(model, [a], {"b"}).tolist() == [1, 0, 1, 0, 0, 0, 0, 0]


def test_soft_units_of_another_model_are_refused(tmp_path, model):
    rows = {"a": np.eye(8)}
    other = shard(tmp_path / "0.h5", rows, made_by={"model": {**FIT, "stage": "other"}}, dtype="float16")
    with (
        Shard(other, None) as a,
        pytest.raises(InputError, match=r"0\.h5: soft units of another model.*stage is 'fit'"),
    ):
        coverage.of_soft(model, [a])
    narrow = shard(tmp_path / "1.h5", {"a": np.eye(3)}, dtype="float16")
    with Shard(narrow, None) as a, pytest.raises(InputError, match="3 columns, the model has 8"):
        coverage.of_soft(model, [a])


@pytest.fixture
def hubert(tmp_path):
    """The feature of a tiny HuBERT-Soft, and the vectors of its units as they lie in its file."""
    feature = literal.encoder(tmp_path, "hubert_soft")
    return feature, torch.load(feature["weights"], weights_only=True)["hubert"]["module.label_embedding.weight"].numpy()


def test_units_of_hubert_soft_count_for_the_nearest_vector_in_its_file(tmp_path, hubert):
    feature, vectors = hubert
    spoken = {"target": [4, 4, 9], "reference": [4, 9, 17, 17]}
    for name, numbers in spoken.items():
        rows = np.linspace(0.5, 3, len(numbers))[:, None] * vectors[numbers]
        shard(tmp_path / name / "000.h5", {"a": rows}, made_by={"feature": feature}, dtype="float16")
        write_table(tmp_path / f"{name}.csv", [Utterance("a", "s", "a", 1280, 16000, split="train")], Utterance)
    made_by = {name: {"units": {"feature": feature}, "shards": 1} for name in spoken}
    sides = [coverage.Side(tmp_path / f"{name}.csv", tmp_path / name) for name in spoken]
    found = coverage.check_coverage(made_by, *sides, None, tmp_path / "coverage.json")
    assert (found["unheard"], found["units"], found["unheard_share"]) == ([17], 3, 0.5)
    with Shard(tmp_path / "target" / "000.h5", None) as a:
        assert np.flatnonzero(coverage.of_hubert(feature, [a])).tolist() == [4, 9]


def test_a_hubert_that_cannot_count_is_refused(tmp_path, hubert):
    feature, vectors = hubert
    with Shard(shard(tmp_path / "0.h5", {"a": np.eye(3)}, dtype="float16"), None) as a:
        with pytest.raises(InputError, match=rf"expected soft units of .*, {vectors.shape[1]} columns, found 3"):
            coverage.of_hubert(feature, [a])
        given = torch.load(feature["weights"], weights_only=True)
        del given["hubert"]["module.label_embedding.weight"]
        torch.save(given, feature["weights"])
        with pytest.raises(InputError, match=r"has no label_embedding\.weight"):
            coverage.of_hubert(feature, [a])


def test_a_report_says_what_the_target_never_spoke():
    target, reference = np.array([5, 0, 1, 0, 0, 4]), np.array([10, 20, 20, 0, 50])
    found = coverage.report(target, reference)
    assert found["target_frames"] == 10
    assert found["reference_frames"] == 100
    assert found["units"] == 4
    assert found["unheard"] == [1, 4]
    assert found["unheard_share"] == pytest.approx(0.7)
    assert found["worst"] == [
        {"unit": 4, "reference_share": 0.5, "target_frames": 0},
        {"unit": 1, "reference_share": 0.2, "target_frames": 0},
        {"unit": 2, "reference_share": 0.2, "target_frames": 1},
    ]
    assert coverage.words(found) == (
        "70.0 % of the reference corpus's frames are of units that the target never spoke: 2 of 4 units"
    )


def test_the_worst_unit_is_the_one_that_lacks_most_not_the_commonest():
    found = coverage.report(np.array([58, 42, 0]), np.array([60, 20, 20]))
    assert [line["unit"] for line in found["worst"]] == [2, 0]


def test_the_divergence_is_that_of_scipy_and_between_0_and_1():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 50, 100), rng.integers(0, 9, 100)
    assert coverage.report(a, b)["js_divergence"] == pytest.approx(jensenshannon(a, b, 2) ** 2)
    assert coverage.report(a, 3 * a)["js_divergence"] == pytest.approx(0, abs=1e-12)
    assert coverage.report(a, 3 * a)["unheard"] == coverage.report(a, 3 * a)["worst"] == []
    assert coverage.report(np.array([1]), np.array([0, 1]))["js_divergence"] == 1


@pytest.mark.parametrize(("target", "reference", "name"), [([], [1], "target"), ([1], [0, 0], "reference")])
def test_no_frames_are_refused(target, reference, name):
    with pytest.raises(InputError, match=f"expected units of the {name}, found no frame"):
        coverage.report(np.array(target, np.int64), np.array(reference, np.int64))


def test_a_lack_is_written_and_said_and_no_error(tmp_path, caplog):
    out = tmp_path / "sub" / "coverage.json"
    with caplog.at_level(logging.INFO):
        found = coverage.write_coverage({"stage": "coverage"}, np.array([3, 0]), np.array([1, 3]), out)
    assert json.loads(out.read_text()) == {"format": "vcpipe-coverage-1", "slice": {"stage": "coverage"}, **found}
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "coverage.json: 75.0 % of the reference corpus's frames are of units" in record.getMessage()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        coverage.write_coverage({}, np.array([3, 1]), np.array([1, 3]), out)
    assert caplog.records[0].levelname == "INFO"
    assert "0.0 % of the reference corpus's frames" in caplog.text


@pytest.fixture
def sides(tmp_path, model):
    """A voice that speaks units 0 and 1, and a corpus that speaks 2 too, both with an utterance held out."""
    spoken = {"target": {"a": [0, 1, 1], "held": [2]}, "reference": {"b": [0, 1, 2, 2], "held": [3, 3]}}
    found = {}
    for name, rows in spoken.items():
        vectors = {utt_id: 2 * np.eye(8)[numbers] for utt_id, numbers in rows.items()}
        shard(tmp_path / name / "soft/000.h5", vectors, dtype="float16")
        numbers = {utt_id: units(*each) for utt_id, each in rows.items()}
        shard(tmp_path / name / "units/000.h5", numbers)
        table = [Utterance(i, "s", i, 960, 16000, split="test" if i == "held" else "train") for i in rows]
        write_table(tmp_path / name / "manifest.csv", table, Utterance)
        found[name] = tmp_path / name
    return found


@pytest.mark.parametrize("kind", ["soft", "units"])
def test_two_corpora_are_held_against_each_other_by_what_is_trained_on(tmp_path, model, sides, kind):
    made_by = {"stage": "coverage", **{name: {"units": SOFT, "shards": 1} for name in sides}}
    out = tmp_path / "coverage.json"
    command = ["coverage", "--slice", canonical(made_by), "--out", str(out)]
    for name, folder in sides.items():
        command += [f"--{name}", str(folder / kind), f"--{name}-manifest", str(folder / "manifest.csv")]
    result = CliRunner().invoke(app, [*command, *(["--model", str(model)] if kind == "soft" else [])])
    assert result.exit_code == 0, result.output
    assert "coverage.json: 50.0 % of the reference corpus's frames are of units that the target never" in result.stdout
    found = json.loads(out.read_text())
    assert (found["slice"], found["unheard"], found["reference_frames"]) == (made_by, [2], 4)


def test_vectors_without_a_model_are_refused(tmp_path, sides):
    made_by = {name: {"units": SOFT, "shards": 1} for name in sides}
    both = [coverage.Side(folder / "manifest.csv", folder / "soft") for folder in sides.values()]
    with pytest.raises(InputError, match=r"expected discrete units .* or count soft units with their model"):
        coverage.check_coverage(made_by, *both, None, tmp_path / "coverage.json")
