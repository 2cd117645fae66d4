"""Training a classifier: its losses and scores, and the stage from shards to a run folder."""

import math
import os
import signal

import numpy as np
import pytest
import torch

from tests.systems.softvc import literal
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.settings import check
from vcpipe.store import write_shard
from vcpipe.systems.softvc import classifier_task as task
from vcpipe.systems.softvc import classifier_train
from vcpipe.systems.softvc.classifier_settings import ClassifierTraining, of_slice
from vcpipe.systems.softvc.classifier_train import train_classifier
from vcpipe.training import machine, runs

FRAMES = 30


def build(content, embds="pits", **training):
    cfg = of_slice(literal.made_by(content, embds, **training), "here")
    torch.manual_seed(0)
    state = task.build(cfg, literal.CPU)
    state.equip(machine.start(literal.CPU, cfg.training))
    return state


def batch(embds="pits", lengths=(FRAMES, FRAMES)):
    """Two buzzes, one an octave above the other, with labels of their pitch or level."""
    rows = [literal.buzz(1.0, hz, seed=hz)[: FRAMES * 320] for hz in (120, 240)]
    wav = torch.from_numpy(np.stack(rows)).float()
    lengths = torch.tensor(lengths)
    wav = wav * (torch.arange(FRAMES * 320) < 320 * lengths[:, None])
    hz = torch.tensor([120.0, 240.0])[:, None].expand(2, FRAMES)
    voiced = (torch.arange(FRAMES) % 10 > 2).float().expand(2, -1)
    labels = torch.stack([hz * voiced, voiced], -1) if embds == "pits" else -30 + 20 * torch.randn(2, FRAMES, 1)
    return {"wav": wav, "labels": labels, "lengths": lengths, "utt_id": ["a", "b"], "seconds": 1.2}


def whole(found, row):
    return {k: v[row : row + 1] if isinstance(v, torch.Tensor) else v for k, v in found.items()}


def weights(state):
    return {k: v.clone() for k, v in state.modules["model"].state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
@pytest.mark.parametrize("mask_share", [0, 0.8])
def test_steps_lower_the_loss_on_one_batch(tmp_path, kind, mask_share):
    state = build(literal.encoder(tmp_path, kind), mask_share=mask_share, lr=2e-3 if kind == "whisper" else 2e-4)
    before = weights(state)
    loader = [whole(batch(), row) for row in (0, 1)]
    first = task.validate(state, loader)
    for _ in range(12):
        losses = task.step(state, batch())
        assert all(map(math.isfinite, losses.values()))
    assert state.step == 12
    assert task.validate(state, loader)["loss"] < 0.8 * first["loss"]
    assert [name for name, value in weights(state).items() if torch.equal(value, before[name])] in (
        [],
        ["encoder.net.positions"],
    )


def test_hidden_and_seen_frames_are_weighed_by_alpha(tmp_path):
    content = literal.encoder(tmp_path)
    for alpha in (1.0, 0.25):
        losses = task.step(build(content, mask_share=0.5, alpha=alpha), batch())
        assert losses["loss"] == pytest.approx(alpha * losses["hidden"] + (1 - alpha) * losses["seen"], rel=1e-5)
    assert set(task.step(build(content), batch())) == {"loss", "gradient"}


@torch.no_grad()
def test_zeros_after_a_recording_count_for_nothing(tmp_path):
    state = build(literal.encoder(tmp_path), mask_share=0)
    short = batch(lengths=(FRAMES, 12))
    found = float(task._losses(state, short)["loss"])
    short["labels"][1, 12:] = torch.tensor([800.0, 1.0])
    assert float(task._losses(state, short)["loss"]) == found
    alone = whole(short, 1)
    alone = {**alone, "wav": alone["wav"][:, : 12 * 320], "labels": alone["labels"][:, :12]}
    first = task._losses(state, whole(batch(), 0))["loss"]
    mean = (float(first) + float(task._losses(state, alone)["loss"])) / 2
    assert found == pytest.approx(mean, rel=1e-3), "a crop counts as much as another, however long"


def test_pieces_of_a_batch_average_to_the_whole(tmp_path):
    content = literal.encoder(tmp_path)
    values = [task.step(build(content, accumulate=n), batch(lengths=(FRAMES, 12))) for n in (1, 2)]
    assert values[0]["loss"] == pytest.approx(values[1]["loss"], rel=1e-4)
    assert values[0]["gradient"] == pytest.approx(values[1]["gradient"], rel=1e-3)


def test_a_loss_that_is_not_finite_changes_nothing(tmp_path):
    state = build(literal.encoder(tmp_path))
    before, bad = weights(state), batch()
    bad["wav"][1, 100] = math.nan
    assert not all(map(math.isfinite, task.step(state, bad).values()))
    assert state.step == 0 and same(before, weights(state))


def test_scores_are_counted_over_frames(tmp_path, monkeypatch):
    state = build(literal.encoder(tmp_path))
    labels = torch.tensor([0, 0, 0, 3, 3, 5])
    guesses = torch.tensor([0, 0, 1, 3, 4, 0])
    scores = 10.0 * torch.nn.functional.one_hot(guesses, state.cfg.classes)
    monkeypatch.setattr(task, "_heard", lambda *_: iter([(scores[None], labels[None])]))
    found = task.validate(state, [])
    sixths = {"accuracy": 3, "near": 4, "majority": 3}
    assert {name: found[name] for name in sixths} == pytest.approx({n: v / 6 for n, v in sixths.items()})
    thirds = {"voiced_accuracy": 1, "voiced_near": 2, "voiced_majority": 2}
    assert {name: found[name] for name in thirds} == pytest.approx({n: v / 3 for n, v in thirds.items()})
    assert found["loss"] == pytest.approx(float(torch.nn.functional.cross_entropy(scores, labels)))
    monkeypatch.setattr(task, "_heard", lambda *_: iter([]))
    with pytest.raises(InputError, match="validation has no utterances"):
        task.validate(state, [])


def test_dynamics_are_judged_without_voicing(tmp_path):
    scores = task.validate(build(literal.encoder(tmp_path), "dyns"), [whole(batch("dyns"), 0)])
    assert set(scores) == {"loss", "accuracy", "near", "majority"}


def test_shows_classes_above_how_likely_they_are(tmp_path):
    state = build(literal.encoder(tmp_path))
    shown = task.show(state, [whole(batch(), row) for row in (0, 1, 0)])
    assert set(shown.pictures) == {"0/classes", "1/classes"}
    picture = shown.pictures["0/classes"]
    assert picture.shape == (3, 2 * state.cfg.classes, FRAMES)
    torch.testing.assert_close(picture.sum(1), torch.full((3, FRAMES), 2.0))
    assert picture[0, state.cfg.classes - 1, 0] == 1, "unvoiced at the bottom of the upper half"


@pytest.mark.parametrize("kind", ["whisper", "hubert_soft"])
def test_exported_weights_rebuild_to_the_same_numbers_without_a_file(tmp_path, kind):
    content = literal.encoder(tmp_path, kind)
    state = build(content, ema=0.9, mask_share=0.8)
    for _ in range(2):
        task.step(state, batch())
    tensors = task.export(state)
    assert not same(tensors, weights(state)), "the averaged ones"
    (tmp_path / f"{kind}.pt").unlink()
    model = task.rebuild(literal.made_by(content, mask_share=0.8), tensors, "here")
    lengths = batch()["lengths"] * 320
    with task.averaged(state), torch.no_grad():
        expected = state.modules["model"](batch()["wav"], lengths)
        assert all(map(torch.equal, model(batch()["wav"], lengths), expected))
    with pytest.raises(InputError, match="here: "):
        task.rebuild(literal.made_by(content, mask_share=0), tensors, "here")


def test_a_slice_of_something_else_is_refused(tmp_path):
    made = literal.made_by(literal.encoder(tmp_path))
    for change, words in (
        ({"task": "vocoder"}, "expected the run of a classifier"),
        ({"revision": 0}, "made by revision 0 of the classifier code"),
        ({"encoder": {"kind": "mel"}}, "expected a feature of kind whisper_tiny_en, whisper, hubert_soft, found 'mel'"),
        ({"embds": "pitch"}, "embds"),
    ):
        with pytest.raises(InputError, match=words):
            of_slice(made | change, "here")


def test_presets():
    paper = check(ClassifierTraining, {"preset": "paper"}, "t")
    published = {"steps": 80_000, "batch": 32, "lr": 1e-5, "betas": (0.9, 0.98), "grad_clip": 10, "mask_share": 0.8}
    assert {key: getattr(paper, key) for key in published} == published and paper.alpha == 1
    assert check(ClassifierTraining, {"preset": "cpu", "steps": 7}, "t").steps == 7
    with pytest.raises(InputError, match="no preset 'gpu'"):
        check(ClassifierTraining, {"preset": "gpu"}, "t")


@pytest.fixture
def corpus(tmp_path):
    literal.write_corpus(tmp_path)
    return tmp_path


def go(corpus, slice_, out="run", **arguments):
    folders = (corpus / "manifest.csv", corpus / "wav", corpus / slice_["embds"], corpus / "state", corpus / out)
    return train_classifier(slice_, *folders, literal.CPU, **arguments)


@pytest.mark.parametrize("embds", ["pits", "dyns"])
def test_a_trained_classifier_is_loaded_from_its_folder_alone(corpus, embds):
    slice_ = literal.made_by(literal.encoder(corpus), embds)
    go(corpus, slice_)
    (corpus / "run").rename(corpus / "elsewhere")
    (corpus / "whisper.pt").unlink()
    model, info = runs.load(corpus / "elsewhere", task)
    assert info["slice"] == slice_
    assert model(torch.zeros(1, 3200), torch.tensor([3200]))[0].shape == (1, 10, 256)


def test_an_interrupted_training_continues_bit_for_bit(corpus, monkeypatch):
    slice_ = literal.made_by(literal.encoder(corpus), mask_share=0.8)
    uninterrupted = go(corpus, slice_, "whole")
    step = task.step

    def asked(state, found):
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(state, found)

    with monkeypatch.context() as patch:
        patch.setattr(task, "step", asked)
        with pytest.raises(SystemExit, match="143"):
            go(corpus, slice_, "broken")
    broken = go(corpus, slice_, "broken")
    assert broken["step"] == uninterrupted["step"] == 6
    assert broken["checksum"] == uninterrupted["checksum"]


def test_crops_begin_on_frames_and_come_in_another_order_each_epoch(corpus, monkeypatch):
    """Samples that count themselves say where a crop was cut."""
    ids = [f"u{i}" for i in range(6)]
    counting = ((i, np.arange(1, 1 + 320 * (60 + 3 * n) + 77)[:, None]) for n, i in enumerate(ids))
    write_shard(corpus / "wav/000.h5", counting, made_by=literal.WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    made = literal.labels_slice("pits")
    labels = ((i, np.arange(2 * (60 + 3 * n)).reshape(-1, 2)) for n, i in enumerate(ids))
    write_shard(corpus / "pits/000.h5", labels, made_by=made, grid=Grid(16000, 320), dim=2, dtype="float32")
    sources = []

    class Kept(Crops):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            sources.append(self)

    monkeypatch.setattr(classifier_train, "Crops", Kept)
    monkeypatch.setattr(classifier_train, "run_loop", lambda *args, **kwargs: {})
    go(corpus, literal.made_by(literal.encoder(corpus)))
    batches = [sources[0][n] for n in range(20)]
    starts = torch.cat([found["wav"][:, 0] for found in batches]) - 1
    assert bool((starts % 320 == 0).all()) and len(starts.unique()) > 10
    labelled = torch.cat([found["labels"][:, 0, 0] for found in batches])
    assert torch.equal(starts / 320, labelled / 2), "the label of a frame is that of its own samples"
    orders = {tuple(batches[n]["utt_id"] + batches[n + 1]["utt_id"]) for n in range(0, 20, 2)}
    assert all(sorted(order) == ids[2:] for order in orders) and len(orders) > 3


def test_a_training_does_not_go_on_over_other_data(corpus, monkeypatch):
    """Its state is named by what it draws from: the table of utterances, and every shard."""
    seen = []
    monkeypatch.setattr(classifier_train, "run_loop", lambda *args, **kwargs: seen.append(kwargs["data"]))
    slice_ = literal.made_by(literal.encoder(corpus))
    go(corpus, slice_)
    go(corpus, slice_)
    rows = ((f"u{i}", np.ones(((16000 + 3200 * i + 77) // 320, 2))) for i in range(6))
    made = literal.labels_slice("pits")
    write_shard(corpus / "pits/000.h5", rows, made_by=made, grid=Grid(16000, 320), dim=2, dtype="float32")
    go(corpus, slice_)
    text = (corpus / "manifest.csv").read_text()
    (corpus / "manifest.csv").write_text(text.replace(",train", ",valid", 1))
    go(corpus, slice_)
    assert seen[0] == seen[1] and len(set(seen)) == 3


def test_mistakes_are_refused_before_training(corpus):
    slice_ = literal.made_by(literal.encoder(corpus))
    with pytest.raises(InputError, match="--machine: 'lr' changes the numbers"):
        go(corpus, slice_, hardware={"lr": 1})
    with pytest.raises(InputError, match="made under other settings"):
        go(corpus, slice_ | {"labels": literal.labels_slice("dyns")})
    rows = [(f"u{i}", np.zeros((100, 2))) for i in range(6)]
    made, folder = literal.labels_slice("pits"), corpus / "pits/000.h5"
    write_shard(folder, rows, made_by=made, grid=Grid(16000, 160), dim=2, dtype="float32")
    with pytest.raises(InputError, match="labels: 2 columns on grid 16000/160 in the shards, expected 2 on 16000/320"):
        go(corpus, slice_)
    rows = [Utterance(f"u{i}", "s", f"u{i}", 9000, 16000, split="train") for i in range(6)]
    write_table(corpus / "manifest.csv", rows, Utterance)
    with pytest.raises(InputError, match="no utterance of split 'valid'"):
        go(corpus, slice_)
