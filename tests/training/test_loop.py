import csv
import logging
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.manifest import read_lines
from vcpipe.training import machine, resume, runs
from vcpipe.training.loop import train
from vcpipe.weights import read_safetensors

ENTER = """
import sys
from pathlib import Path
from vcpipe.training.lock import training_lock
with training_lock(*map(Path, sys.argv[1:])): pass
"""
TOLD = ("train/loss", "train/gradient", "train/lr", "valid/loss")
SLICE = {"stage": "train", "task": "toy", "lr": 0.01}


def go(toy, folder, on=None, made_by=SLICE, task=None, valid=(), **changes):
    settings = toy.settings(**changes)
    return train(
        task or toy.task,
        settings,
        settings,
        toy.loaders(on, valid),
        machine=machine.start(torch.device("cpu"), settings),
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


def kill(batch, number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def test_makes_the_run_folder_and_leaves_one_checkpoint(toy, tmp_path):
    info = go(toy, tmp_path)
    names = {p.name.split(".")[0] for p in (tmp_path / "run").iterdir()}
    assert names >= {"model", "config", "metrics", "events"}
    assert info["step"] == 12
    assert info["slice"] == SLICE
    assert [p.name for p in (tmp_path / "state").glob("run/*/step-*")] == ["step-000000000012"]
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
    told = [[r for r in rows(f / "run/metrics.csv") if r[1] in TOLD] for f in (whole, broken)]
    assert told[0] == told[1] and len(told[0]) == 21


def test_a_run_folder_that_was_lost_is_written_again_without_training(toy, tmp_path, caplog):
    """As of a job that was killed before snakemake had noted its success."""
    before = go(toy, tmp_path)
    shutil.rmtree(tmp_path / "run")
    again = go(toy, tmp_path, {number: lambda batch: pytest.fail("trained") for number in range(12)})
    assert again == before
    with caplog.at_level(logging.WARNING):
        go(toy, tmp_path, made_by=SLICE | {"lr": 0.02})
    assert caplog.text == "" and len(list((tmp_path / "state").glob("run/*/step-*"))) == 1


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGINT])
def test_other_signals_stop_as_well(toy, tmp_path, number):
    with pytest.raises(SystemExit) as stop:
        go(toy, tmp_path, {3: lambda batch: kill(batch, number)})
    assert stop.value.code == 128 + number
    go(toy, tmp_path)
    go(toy, tmp_path / "whole")
    assert same(model(tmp_path / "whole"), model(tmp_path))


def test_a_signal_that_comes_twice_does_not_hurt(toy, tmp_path):
    """As of a launcher that passes on what its processes have received already."""
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {3: lambda batch: [kill(batch), kill(batch)]})
    assert list((tmp_path / "state").glob("run/*/step-*4/manifest.json"))


@pytest.mark.parametrize("which", [2, 3])
def test_a_signal_cuts_a_validation_short_and_it_is_made_up_for(toy, tmp_path, which):
    """Also the third, which is the last."""

    def validate(state, loader):
        noise = torch.rand(1)  # a careless task: it must not move the training's random numbers
        return {"loss": sum(float(batch) for batch in loader) + noise.item()}

    def valid(interrupt):
        for number in range(3):
            if interrupt and number == 1:
                kill(None)
            yield number

    class Valid:
        asked = 0

        def __iter__(self):
            self.asked += 1
            return valid(self.interrupts and self.asked == which)

    task = SimpleNamespace(**{**vars(toy.task), "validate": validate})
    for folder, interrupts in ((tmp_path / "broken", True), (tmp_path / "whole", False)):
        valid_batches = Valid()
        valid_batches.interrupts = interrupts
        if interrupts:
            with pytest.raises(SystemExit):
                go(toy, folder, task=task, valid=valid_batches)
            (live,) = folder.glob("state/run/*/live/metrics.csv")
            assert not [row for row in rows(live) if row[:2] == (4 * which, "valid/loss")]
        go(toy, folder, task=task, valid=valid_batches)
    told = [[r for r in rows(tmp_path / f / "run/metrics.csv") if r[1] in TOLD] for f in ("whole", "broken")]
    assert told[0] == told[1]
    assert same(model(tmp_path / "whole"), model(tmp_path / "broken"))


def test_python_and_numpy_draw_on_where_they_stood(toy, tmp_path):
    drawn = {"whole": [], "broken": []}

    def task(into):
        def step(state, batch):
            into.append((random.random(), random.gauss(0, 1), float(np.random.standard_normal())))  # noqa: NPY002
            return toy.task.step(state, batch)

        return SimpleNamespace(**{**vars(toy.task), "step": step})

    go(toy, tmp_path / "whole", task=task(drawn["whole"]))
    with pytest.raises(SystemExit):
        go(toy, tmp_path / "broken", {6: kill}, task=task(drawn["broken"]))
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    go(toy, tmp_path / "broken", task=task(drawn["broken"]))
    assert drawn["whole"] == drawn["broken"]


def test_a_second_training_of_the_same_run_is_refused(toy, tmp_path):
    def second(batch):
        done = subprocess.run([sys.executable, "-c", ENTER, *folders], capture_output=True, text=True, timeout=20)
        assert re.search(rf"InputError: .*lock: held by .*{os.getpid()}", done.stderr)
        other = [str(tmp_path / "elsewhere"), folders[1]]
        done = subprocess.run([sys.executable, "-c", ENTER, *other], capture_output=True, text=True, timeout=20)
        assert re.search(rf"InputError: .*\.run\.lock: held by .*{os.getpid()}", done.stderr)

    folders = [str(tmp_path / "state"), str(tmp_path / "run")]
    go(toy, tmp_path, {3: second})
    assert subprocess.run([sys.executable, "-c", ENTER, *folders]).returncode == 0


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


def test_a_changed_config_starts_fresh_and_says_so(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {6: kill})
    before = set((tmp_path / "state").glob("run/*/step-*"))
    with caplog.at_level(logging.INFO):
        go(toy, tmp_path, made_by=SLICE | {"lr": 0.02})
    assert "has changed (lr is 0.01 in the file, the config says 0.02): it starts afresh" in caplog.text
    assert "goes on after" not in caplog.text
    assert before < set((tmp_path / "state").glob("run/*/step-*")), "the state of the first config must stay"
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_a_state_in_the_wrong_place_is_passed_over_aloud(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {6: kill})
    other = SLICE | {"lr": 0.02}
    states = tmp_path / "state" / "run"
    resume.folder(states, SLICE).rename(resume.folder(states, other))
    with caplog.at_level(logging.WARNING):
        go(toy, tmp_path, made_by=other)
    assert "lr is 0.01 in the file, the config says 0.02" in caplog.text
    whole = tmp_path / "whole"
    go(toy, whole)
    assert same(model(whole), model(tmp_path))


def test_a_state_of_another_version_is_refused_and_stays(toy, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(resume, "FORMAT", "vcpipe-state-1")
        go(toy, tmp_path, {6: kill})
    before = sorted((tmp_path / "state").rglob("*"))
    with pytest.raises(InputError, match=r"expected the format vcpipe-state-2, found vcpipe-state-1; .* `rm -r "):
        go(toy, tmp_path)
    assert sorted((tmp_path / "state").rglob("*")) == before


def test_a_damaged_state_gives_way_to_the_previous_one(toy, tmp_path, caplog):
    with pytest.raises(SystemExit):
        go(toy, tmp_path, {7: kill})
    (path,) = (tmp_path / "state").glob("run/*/step-*8/state.safetensors")
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
    (written,) = (tmp_path / "state").glob("run/*/not_finite_0.jsonl")
    assert read_lines(written)[0] == {"step": 8, "utt_id": "u7", "losses": {"loss": "nan", "gradient": "nan"}}
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
