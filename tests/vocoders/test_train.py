"""The stage from shards to a run folder, on noise."""

import os
import signal

import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.settings import check
from vcpipe.store import write_shard
from vcpipe.training import runs
from vcpipe.vocoders import task
from vcpipe.vocoders.config import REVISION, TrainingSettings, generator_settings
from vcpipe.vocoders.train import train_vocoder

IDS = [f"u{i}" for i in range(8)]
WAV = {"stage": "audio", "shards": 1}
PLAIN, MATCHED = {"stage": "feature"}, {"stage": "prematch"}


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path)


def write_corpus(folder):
    """Noise: audio, plain units and matched ones of all but the first utterance."""
    rng = np.random.default_rng(0)
    samples = {i: int(rng.integers(5000, 12000)) for i in IDS}
    wavs = ((i, 0.1 * rng.standard_normal((samples[i], 1))) for i in IDS)
    write_shard(folder / "wav/000.h5", wavs, made_by=WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    for name, made_by, ids in (("plain", PLAIN, IDS), ("matched", MATCHED, IDS[1:])):
        rows = ((i, rng.standard_normal((samples[i] // 320, 6))) for i in ids)
        write_shard(folder / name / "000.h5", rows, made_by=made_by, grid=Grid(16000, 320), dim=6, dtype="float16")
    rows = [Utterance(i, "s", i, samples[i], 16000, split="valid" if i in IDS[:2] else "train") for i in IDS]
    write_table(folder / "manifest.csv", rows, Utterance)
    return folder


def made_by(**training):
    values = {"preset": "cpu", "steps": 6, "segment_frames": 12, "batch": 2, "log_every": 2, "validate_every": 3}
    values |= {"checkpoint_every": 2, "valid_max_s": 0.4, **training}
    return {
        "stage": "train",
        "task": "vocoder",
        "revision": REVISION,
        "generator": generator_settings({"preset": "vocos_small", "width": 16, "depth": 1}, "g").model_dump(
            mode="json"
        ),
        "training": check(TrainingSettings, values, "t").model_dump(mode="json"),
        "units": {"grid": "16000/320", "dim": 6},
        "wav": WAV,
        "variants": [MATCHED, PLAIN],
    }


def go(corpus, slice_, out="run"):
    folders = [corpus / "matched", corpus / "plain"]
    cpu = torch.device("cpu")
    return train_vocoder(slice_, corpus / "manifest.csv", corpus / "wav", folders, corpus / "state", corpus / out, cpu)


def interrupted(monkeypatch, *arguments):
    """The training of `go`, asked to stop in its fourth step."""
    step = task.step

    def asked(state, batch):
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(state, batch)

    with monkeypatch.context() as patch:
        patch.setattr(task, "step", asked)
        with pytest.raises(SystemExit, match="143"):
            go(*arguments)


def test_a_trained_vocoder_is_loaded_from_its_folder_alone(corpus):
    go(corpus, made_by())
    (corpus / "run").rename(corpus / "elsewhere")
    generator, info = runs.load(corpus / "elsewhere", task)
    assert info["slice"] == made_by()
    assert generator(torch.zeros(1, 5, 6)).shape == (1, 1, 1600)


@pytest.mark.parametrize("discriminators", [None, "small"])
def test_an_interrupted_training_continues_bit_for_bit(corpus, monkeypatch, discriminators):
    adversarial = {} if discriminators is None else {"adversarial_from": 2, "discriminators": discriminators}
    slice_ = made_by(**adversarial)
    whole = go(corpus, slice_, "whole")
    interrupted(monkeypatch, corpus, slice_, "broken")
    broken = go(corpus, slice_, "broken")
    assert broken["step"] == whole["step"] == 6
    assert broken["checksum"] == whole["checksum"]


def test_a_training_does_not_go_on_over_other_data(corpus, monkeypatch, caplog):
    interrupted(monkeypatch, corpus, made_by())
    text = (corpus / "manifest.csv").read_text()
    assert text.count(",train") > 2
    (corpus / "manifest.csv").write_text(text.replace(",train", ",valid", 1))
    caplog.clear()
    with caplog.at_level("INFO"):
        go(corpus, made_by())
    assert "training starts" in caplog.text and "goes on" not in caplog.text


def test_keys_of_the_machine_reach_the_training_and_not_its_slice(corpus):
    slice_ = made_by()
    slice_["training"] = {k: v for k, v in slice_["training"].items() if k not in TrainingSettings.MACHINE}
    folders = [corpus / "matched", corpus / "plain"]
    arguments = (corpus / "manifest.csv", corpus / "wav", folders, corpus / "state")
    cpu = torch.device("cpu")
    quick = train_vocoder(slice_, *arguments, corpus / "a", cpu, {"cache_mib": 0, "log_every": 1})
    plain = train_vocoder(slice_, *arguments, corpus / "b", cpu)
    assert quick["checksum"] == plain["checksum"] and quick["slice"] == plain["slice"] == slice_
    names = [(corpus / run / "metrics.csv").read_text().count("train/loss") for run in ("a", "b")]
    assert names[0] > names[1]


def test_audio_that_does_not_fit_the_units_is_refused(corpus):
    rows = [(i, np.full((5000, 1), 0.1)) for i in IDS]
    write_shard(corpus / "wav/000.h5", rows, made_by=WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    with pytest.raises(InputError, match=r"u\d: frames on grid 16000/320 differ"):
        go(corpus, made_by())


def test_mistakes_are_refused_before_training(corpus):
    slice_ = made_by()
    with pytest.raises(InputError, match="1 folders for the 2 variants"):
        cpu = torch.device("cpu")
        train_vocoder(slice_, corpus / "manifest.csv", corpus / "wav", [corpus / "plain"], corpus, corpus / "r", cpu)
    with pytest.raises(InputError, match="6 columns on grid 16000/320 in the shards, the slice says 9 on 16000/320"):
        go(corpus, slice_ | {"units": {"grid": "16000/320", "dim": 9}})
    with pytest.raises(InputError, match="made under other settings"):
        go(corpus, slice_ | {"variants": [PLAIN, MATCHED]})
    rows = [Utterance(i, "s", i, 9000, 16000, split="train") for i in IDS]
    write_table(corpus / "manifest.csv", rows, Utterance)
    with pytest.raises(InputError, match="no utterance of split 'valid'"):
        go(corpus, slice_)
