import csv
import logging
import math
import os
import signal
from types import SimpleNamespace

import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.training import runs
from vcpipe.training.loop import train
from vcpipe.weights import read_safetensors

SLICE = {"stage": "train", "task": "toy", "lr": 0.01}


def go(toy, folder, on=None, made_by=SLICE, task=None, **changes):
    settings = toy.settings(**changes)
    return train(
        task or toy.task,
        settings,
        settings,
        toy.loaders(on),
        made_by=made_by,
        run_dir=folder / "run",
        state_dir=folder / "state",
    )


def model(folder):
    return read_safetensors(folder / "run" / "model.safetensors")[0]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def rows(path):
    with open(path, newline="") as f:
        return [(int(r["step"]), r["name"], r["value"]) for r in csv.DictReader(f)]


def kill(batch):
    os.kill(os.getpid(), signal.SIGTERM)


def test_makes_the_run_folder_and_leaves_no_state(toy, tmp_path):
    info = go(toy, tmp_path)
    names = {p.name.split(".")[0] for p in (tmp_path / "run").iterdir()}
    assert names >= {"model", "config", "metrics", "events"}
    assert info["step"] == 12
    assert info["slice"] == SLICE
    assert not list((tmp_path / "state").iterdir())
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    table = rows(tmp_path / "run" / "metrics.csv")
    assert [s for s, name, _ in table if name == "train/loss"] == [2, 4, 6, 8, 10, 12]
    assert [s for s, name, _ in table if name == "valid/loss"] == [4, 8, 12]
    assert {n for _, n, _ in table} >= {"train/steps_per_s", "train/audio_s_per_s", "train/data_wait", "train/lr"}


def test_events_hold_numbers_sounds_and_pictures(toy, tmp_path):
    go(toy, tmp_path)
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    tags = events.Tags()
    assert "valid/loss" in tags["scalars"]
    assert tags["audio"] == ["tone"]
    assert tags["images"] == ["grey"]


@pytest.mark.parametrize("at", [1, 4, 6, 11])
def test_an_interrupted_run_continues_bit_for_bit(toy, tmp_path, at):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    go(toy, whole)
    with pytest.raises(SystemExit) as stop:
        go(toy, broken, {at - 1: kill})
    assert stop.value.code == 143
    assert not (broken / "run").exists()
    go(toy, broken)
    assert same(model(whole), model(broken))
    losses = [[r for r in rows(f / "run/metrics.csv") if r[1] in ("valid/loss", "train/lr")] for f in (whole, broken)]
    assert losses[0] == [r for r in losses[1] if r[0] % 2 == 0]


def test_what_was_logged_after_the_last_state_is_logged_once(toy, tmp_path):
    """A run that dies without a chance to save (as of a power cut) goes on from its last checkpoint."""

    def die(batch):
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        go(toy, tmp_path, {9: die})
    go(toy, tmp_path)
    steps = [s for s, name, _ in rows(tmp_path / "run/metrics.csv") if name == "train/loss"]
    assert steps == sorted(set(steps))
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_the_state_of_another_slice_is_not_used(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {6: kill})
    before = sorted((tmp_path / "state").iterdir())
    go(toy, tmp_path, made_by=SLICE | {"lr": 0.02})
    assert sorted((tmp_path / "state").iterdir()) == before, "the state of the first slice must stay"
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_a_state_in_the_wrong_place_is_passed_over_aloud(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {6: kill})
    other = SLICE | {"lr": 0.02}
    from vcpipe.training.saved import folder

    folder(tmp_path / "state", SLICE).rename(folder(tmp_path / "state", other))
    with caplog.at_level(logging.WARNING):
        go(toy, tmp_path, made_by=other)
    assert "lr is 0.01 in the file, the config says 0.02" in caplog.text
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_a_damaged_state_gives_way_to_the_previous_one(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {7: kill})
    (state,) = (tmp_path / "state").iterdir()
    path = state / "current" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.INFO):
        go(toy, tmp_path)
    assert "damaged" in caplog.text
    assert "goes on after step 5" in caplog.text
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_nan_stops_with_the_utterances_and_keeps_the_last_state(toy, tmp_path, caplog):
    with pytest.raises(InputError, match=r"step 8: loss 'loss' is nan; the batch was u7"):
        go(toy, tmp_path, {7: lambda b: b["y"].fill_(math.nan)})
    assert not (tmp_path / "run").exists()
    with caplog.at_level(logging.INFO):
        go(toy, tmp_path)
    assert "goes on after step 5" in caplog.text


def test_weights_that_are_not_finite_are_never_saved(toy, tmp_path):
    def spoil(state, batch):
        losses = toy.task.step(state, batch)
        if state.step == 10:
            with torch.no_grad():
                state.modules["model"][2].bias.fill_(math.inf)
        return losses

    with pytest.raises(InputError, match=r"step 10: module/model/2\.bias is no longer finite"):
        go(toy, tmp_path, task=SimpleNamespace(**{**vars(toy.task), "step": spoil}))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_keeps_the_weights_that_the_config_asks_for(toy, tmp_path, keep):
    scores = iter([3.0, 1.0, 2.0])
    task = SimpleNamespace(**{**vars(toy.task), "validate": lambda s, v: {"loss": next(scores)}})
    info = go(toy, tmp_path, task=task, keep=keep)
    assert info["step"] == {"last": 12, "best": 8}[keep]
    assert info["best"] == {"score": 1.0, "step": 8, "scores": {"loss": 1.0}}
    other = {"last": "best", "best": "last"}[keep]
    there = read_safetensors(tmp_path / "run" / f"{other}.safetensors")[1]
    assert there["step"] == {"last": "12", "best": "8"}[other]


def test_a_run_folder_of_before_is_replaced_whole(toy, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "junk").write_text("old")
    go(toy, tmp_path)
    assert not (tmp_path / "run" / "junk").exists()
    assert runs.load(tmp_path / "run", toy.task)[1]["step"] == 12


def test_signal_handlers_are_given_back(toy, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    go(toy, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
