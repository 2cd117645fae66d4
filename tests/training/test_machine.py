"""Trainings of several processes, in pieces and in half precision, against the plain one; through the command line."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from tests.vocoders import test_train as vocoder
from tests.vocoders.test_task import CPU, batch, config
from vcpipe.training import machine
from vcpipe.vocoders import task
from vcpipe.weights import read_safetensors

WEIGHTS = {"mel": 45, "stft": 1, "adversarial": 1, "feature": 2}
GAN = {"adversarial_from": 0, "discriminators": "small", "weights": WEIGHTS, "ema": None, "batch": 4, "steps": 4}
PLAIN = {"steps": 50, "batch": 4, "checkpoint_every": 20}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return vocoder.write_corpus(tmp_path_factory.mktemp("corpus"))


def command(corpus, run, training, processes=1, module="vcpipe", **machine):
    values = {"log_every": 1, "validate_every": 1000, **training}
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    options = {
        "--slice": json.dumps(vocoder.made_by(**values)),
        "--manifest": corpus / "manifest.csv",
        "--audio": corpus / "wav",
        "--state": corpus / "state",
        "--out": corpus / run,
        "--machine": json.dumps(machine),
        "--device": "cpu",
        "--threads": 1,
    }
    flat = [str(word) for pair in options.items() for word in pair]
    return [*start, module, "knnvc", "train", *flat, str(corpus / "matched"), str(corpus / "plain")]


def train(corpus, run, training, processes=1, **options):
    line = command(corpus, run, training, processes, **options)
    done = subprocess.run(line, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return read_safetensors(corpus / run / "model.safetensors")[0], done.stderr


@pytest.fixture(scope="module")
def alone(corpus):
    """The weights of a training of 50 steps by one process."""
    return train(corpus, "alone", PLAIN)[0]


def farthest(a, b):
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a)


def test_two_processes_train_as_one(corpus, alone):
    pair, told = train(corpus, "pair", PLAIN, processes=2)
    assert farthest(alone, pair) <= 1e-5
    assert told.count("step 50/50  loss") == 1, "the first process speaks for both"
    assert farthest(alone, train(corpus, "pieces", PLAIN, accumulate=4)[0]) <= 1e-5


def test_two_processes_stop_together_and_one_goes_on(corpus, alone):
    """torchrun passes a signal on to processes that have received it already."""
    running = subprocess.Popen(
        command(corpus, "stopped", PLAIN, processes=2), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with running:
        for line in running.stderr:
            if "step 7/50" in line:
                os.killpg(running.pid, signal.SIGTERM)
                break
        rest = running.stderr.read()
        assert running.wait(60) != 0
    assert "stopped by signal 15" in rest and not (corpus / "stopped").exists()
    weights, told = train(corpus, "stopped", PLAIN)
    assert "run by 2 processes and goes on with 1" in told and "goes on after step" in told
    assert farthest(alone, weights) <= 1e-5


def test_adversarial_updates_are_the_same_on_two_processes_in_two_pieces(corpus):
    """In float64: a log spectrum in a discriminator multiplies what is rounded off by 50 in every step."""
    module = "tests.training.in_float64"
    one, _ = train(corpus, "gan", GAN, module=module)
    two, _ = train(corpus, "gan2", GAN, processes=2, module=module, accumulate=2)
    assert farthest(one, two) <= 1e-9


def test_a_batch_that_cannot_be_dealt_is_refused(corpus):
    line = command(corpus, "odd", {"batch": 3}, accumulate=2)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "3 crops cannot be dealt to 1 processes in 2 pieces each; give a multiple of 2" in done.stderr


@pytest.mark.parametrize("precision", ["32", "16"])
def test_a_loss_that_is_not_finite_ends_all_processes(corpus, precision):
    line = command(corpus, f"nan{precision}", PLAIN | {"lr": 1e30, "precision": precision}, processes=2)
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert re.search(r"vcpipe: step \d+: loss '\w+' is (nan|inf); the batch was u\d", done.stderr)


def test_keys_that_change_the_numbers_do_not_come_in_by_the_back_door(corpus):
    done = subprocess.run(command(corpus, "odd", {}, lr=0.1), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "--machine: 'lr' changes the numbers and belongs into --slice" in done.stderr


def stepped(steps=6, **training):
    """The state and all losses of a few steps on one batch; float16 begins with a scale that it can keep."""
    cfg = config(**{"lr": 1e-4, "ema": None, **training})
    torch.manual_seed(0)
    state = task.build(cfg, CPU)
    state.equip(machine.start(CPU, cfg.training))
    if state.machine.scaler is not None:
        state.machine.scaler._init_scale = 64.0
    return state, [task.step(state, batch()) for _ in range(steps)]


@pytest.mark.parametrize("precision", ["bf16", "16"])
@pytest.mark.parametrize("adversarial_from", [None, 0])
def test_half_precision_follows_float32(precision, adversarial_from):
    """Gradients are clipped after they were unscaled: else their norm would be 64 times that of float32."""
    options = {"grad_clip": 0.5, "adversarial_from": adversarial_from}
    _, whole = stepped(**options)
    state, half = stepped(precision=precision, **options)
    assert all(p.dtype == torch.float32 for p in state.modules["model"].parameters())
    for a, b in zip(whole, half, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=0.02)
        assert b["gradient"] == pytest.approx(a["gradient"], rel=0.3)
    assert whole[-1]["mel"] < whole[0]["mel"] and half[-1]["mel"] < half[0]["mel"]


def test_float16_leaves_out_steps_whose_gradient_is_too_large_and_lowers_its_scale():
    state, _ = stepped(steps=0, precision="16")
    before = {k: v.clone() for k, v in state.modules["model"].state_dict().items()}
    state.machine.scaler._init_scale = 2.0**40
    losses = task.step(state, batch())
    assert losses["skipped"] == 1 and state.step == 1
    assert all(torch.equal(before[k], v) for k, v in state.modules["model"].state_dict().items())
    assert state.machine.scaler.get_scale() < 2.0**40
    while "skipped" in losses:
        losses = task.step(state, batch())
    assert state.machine.scaler.get_scale() >= 1 and math.isfinite(losses["gradient"])
    state.machine.scaler.update(0.5)
    bad = batch()
    bad["wav"][0, 0] = math.inf
    assert not all(map(math.isfinite, task.step(state, bad).values()))


def test_clipping_bounds_the_step_and_not_the_told_norm():
    state, (losses,) = stepped(steps=1, grad_clip=0.25)
    norm = torch.stack([p.grad.norm() for p in state.modules["model"].parameters() if p.grad is not None]).norm()
    assert losses["gradient"] > 1 and norm.item() == pytest.approx(0.25, rel=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_models_are_the_same_models():
    _, plain = stepped(steps=3)
    state, compiled = stepped(steps=3, compile=True)
    for a, b in zip(plain, compiled, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    assert not any("_orig_mod" in name for name in task.export(state))
