import json

import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.training import runs
from vcpipe.vocoders import task as vocoder
from vcpipe.weights import write_safetensors

SLICE = {"stage": "train", "task": "toy"}


@pytest.fixture
def run(toy, tmp_path):
    state = toy.task.build(toy.settings(), torch.device("cpu"))
    runs.publish(tmp_path / "run", {"model": (toy.task.export(state), 7)}, [], SLICE, {"note": 1})
    return tmp_path / "run"


def test_gives_back_what_was_written(toy, run):
    module, info = runs.load(run, toy.task)
    assert (info["step"], info["slice"], info["note"]) == (7, SLICE, 1)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert info["checksum"] == runs.checksum(dict(module.state_dict()))


def test_no_pickle_in_the_folder(run):
    assert {p.name for p in run.iterdir()} == {"model.safetensors", "config.json"}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: (run / "config.json").unlink(), "not a run folder"),
        (lambda run: (run / "config.json").write_text("{"), "config.json: damaged"),
        (lambda run: (run / "config.json").write_text('{"format": "x"}'), "expected format"),
        (lambda run: (run / "model.safetensors").unlink(), "model.safetensors: cannot be read"),
        (lambda run: (run / "model.safetensors").write_bytes(b"abc"), "model.safetensors: cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(toy, run, damage, words):
    damage(run)
    with pytest.raises(InputError, match=words):
        runs.load(run, toy.task)


def test_one_changed_byte_is_noticed(toy, run):
    path = run / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged, or not the weights"):
        runs.load(run, toy.task)


def test_weights_of_another_run_are_noticed(toy, run, tmp_path):
    state = toy.task.build(toy.settings(), torch.device("cpu"))
    tensors = toy.task.export(state)
    write_safetensors(run / "model.safetensors", tensors, {"checksum": runs.checksum(tensors), "step": "7"})
    with pytest.raises(InputError, match="not the weights that"):
        runs.load(run, toy.task)


def test_another_tasks_or_revisions_run_is_no_vocoder(run):
    with pytest.raises(InputError, match="expected the run of a vocoder, found 'toy'"):
        runs.load(run, vocoder)
    info = json.loads((run / "config.json").read_text())
    info["slice"] = {"task": "vocoder", "revision": 0}
    (run / "config.json").write_text(json.dumps(info))
    with pytest.raises(InputError, match="made by revision 0 of the vocoder code"):
        runs.load(run, vocoder)
