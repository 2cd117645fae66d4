"""From shards to a run folder: what is learned, kept, refused, and gone on with."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.systems.softvc import made_up
from vcpipe.errors import InputError
from vcpipe.systems.softvc import statistics, task
from vcpipe.systems.softvc.train import check_dealt, shares, train_acoustic
from vcpipe.training import runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made_up.write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("condition", ["none", "continuous", "quantised"])
def test_a_run_folder_speaks_with_the_voices_of_its_corpus(
    tmp_path: Path, place: dict[str, Any], condition: str
) -> None:
    run = made_up.train(tmp_path, place, condition)
    trained, info = runs.load(run, task)
    assert isinstance(trained, task.Trained)
    assert list(task.voices_of(info)) == ["high", "low"]
    voices = task.voices_of(info)
    assert voices["low"].median_log_f0 < voices["high"].median_log_f0
    assert trained.acoustic.voices is not None
    assert (trained.acoustic.condition is None) == (condition == "none")
    told = torch.tensor([[5.0, 1.0, -20.0]]).expand(1, 8, 3)
    made = trained.acoustic.generate(torch.randn(1, 4, 64), told, torch.tensor([0]))
    assert made.shape == (1, 8, 16) and torch.isfinite(made).all()


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(tmp_path: Path, place: dict[str, Any]) -> None:
    whole = made_up.train(tmp_path / "whole", place, steps=4)
    (tmp_path / "cut").mkdir()
    from vcpipe.systems.softvc import train as stage

    made_by = made_up.made_by(steps=4)

    class Stopped(Exception):
        pass

    real, calls = task.step, []

    def step(state: Any, batch: Any) -> dict[str, float]:
        if len(calls) == 2:
            raise Stopped
        calls.append(1)
        return real(state, batch)

    task.step = step
    try:
        with pytest.raises(Stopped):
            stage.train_acoustic(made_by, [place], tmp_path / "cut/state", tmp_path / "cut/run", made_up.CPU)
    finally:
        task.step = real
    stage.train_acoustic(made_by, [place], tmp_path / "cut/state", tmp_path / "cut/run", made_up.CPU)
    assert runs.read_info(tmp_path / "cut/run")["checksum"] == runs.read_info(whole)["checksum"]


def test_a_refined_run_keeps_its_voices_and_learns_another(tmp_path: Path, place: dict[str, Any]) -> None:
    base = made_up.train(tmp_path, place)
    other = made_up.write_corpus(tmp_path / "mine", {"ana": 160.0})  # a name before those of the others
    made_by = {**made_up.made_by(corpora=2, lr=1e-9, ema=None), "from": made_up.made_by(), "same_speakers": False}
    train_acoustic(made_by, [other, place], tmp_path / "state2", tmp_path / "refined", made_up.CPU, base=base)
    before, after = (runs.load(folder, task)[0].acoustic for folder in (base, tmp_path / "refined"))
    voices = task.voices_of(runs.read_info(tmp_path / "refined"))
    assert list(voices) == ["high", "low", "ana"]
    assert torch.allclose(after.voices.weight[:2], before.voices.weight, atol=1e-6)
    assert torch.allclose(after.voices.weight[2], before.voices.weight.mean(dim=0), atol=1e-6)
    means = [voice.energy_mean_db for voice in voices.values()]
    assert after.condition.energy[:3, 0].tolist() == pytest.approx(means, rel=1e-5)
    assert torch.equal(after.condition.pitch, before.condition.pitch)
    units, told = torch.randn(1, 4, 64), torch.tensor([[5.0, 1.0, -20.0]]).expand(1, 8, 3)
    same = [model.generate(units, told, torch.tensor([1])) for model in (before, after)]
    assert torch.allclose(*same, atol=1e-4)


def test_a_stranger_of_a_known_name_is_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    base = made_up.train(tmp_path, place)
    other = made_up.write_corpus(tmp_path / "mine", {"ana": 160.0, "low": 300.0})
    made_by = {**made_up.made_by(), "from": made_up.made_by(), "same_speakers": False}
    with pytest.raises(InputError, match=r"voices\.json: expected speakers that .*run does not speak as, found low"):
        train_acoustic(made_by, [other], tmp_path / "state2", tmp_path / "refined", made_up.CPU, base=base)


@pytest.mark.parametrize(("pieces", "words"), [(1, ""), (2, "3 and 1 .* multiples of 2")])
def test_shares_of_a_batch_that_cannot_be_dealt_are_named(pieces: int, words: str) -> None:
    with pytest.raises(InputError, match=words) if words else nullcontext():
        check_dealt([3, 1], pieces)


def test_a_run_goes_on_only_from_the_one_that_its_slice_names(tmp_path: Path, place: dict[str, Any]) -> None:
    base = made_up.train(tmp_path, place)
    other = {**made_up.made_by(), "from": made_up.made_by(steps=7)}
    with pytest.raises(InputError, match=r"run: made under other settings: training.steps is 3 .*says 7"):
        train_acoustic(other, [place], tmp_path / "state2", tmp_path / "refined", made_up.CPU, base=base)
    for made_by, given in ((other, None), (made_up.made_by(), base)):
        with pytest.raises(InputError, match="--base: expected for a slice that goes on"):
            train_acoustic(made_by, [place], tmp_path / "state2", tmp_path / "refined", made_up.CPU, base=given)


def test_a_model_of_units_that_the_slice_does_not_name_is_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="--units: expected for units that a fitted model makes"):
        train_acoustic(
            made_up.made_by(),
            [place],
            tmp_path / "state",
            tmp_path / "run",
            made_up.CPU,
            units=tmp_path / "m.safetensors",
        )


def test_the_decoder_stays_as_it_is_while_it_is_frozen(tmp_path: Path, place: dict[str, Any]) -> None:
    base = made_up.train(tmp_path, place)
    for steps, frozen in ((2, True), (4, False)):
        made_by = made_up.made_by(steps=steps, freeze_decoder=2, ema=None, weight_decay=0.5)
        made_by |= {"from": made_up.made_by(), "same_speakers": True}
        out = tmp_path / f"run{steps}"
        train_acoustic(made_by, [place], tmp_path / f"state{steps}", out, made_up.CPU, base=base)
        before, after = (runs.load(folder, task)[0].acoustic.state_dict() for folder in (base, out))
        moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert "encoder" in moved
        assert ("decoder" in moved) != frozen


def test_a_corpus_without_a_held_out_utterance_is_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    text = Path(place["manifest"]).read_text().replace("valid", "test")
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(InputError, match="no utterance of split 'valid'"):
        made_up.train(tmp_path, {**place, "manifest": str(tmp_path / "manifest.csv")})


def test_held_out_strangers_are_validated_on(tmp_path: Path) -> None:
    place = made_up.write_corpus(tmp_path / "corpus", {"low": 110.0, "high": 220.0, "held": 160.0})
    text = Path(place["manifest"]).read_text()
    lines = [
        line.replace("train", "valid") if line.startswith("held") else line.replace("valid", "test")
        for line in text.splitlines()
    ]
    Path(place["manifest"]).write_text("\n".join(lines) + "\n")
    statistics.write_statistics(
        made_up.statistics_slice(),
        Path(place["manifest"]),
        Path(place["f0"][0]),
        Path(place["energy"][0]),
        Path(place["statistics"]),
    )
    run = made_up.train(tmp_path, place)
    assert list(task.voices_of(runs.read_info(run))) == ["high", "low"]
    assert runs.read_info(run)["best"]["score"] > 0


def test_shards_of_another_slice_are_refused(tmp_path: Path, place: dict[str, Any]) -> None:
    made_by = made_up.made_by()
    made_by["data"][0]["mel"] = [{"stage": "feature", "feature": {"kind": "mel", "mels": 17}}]
    with pytest.raises(InputError, match="mel/000.h5"):
        train_acoustic(made_by, [place], tmp_path / "state", tmp_path / "run", made_up.CPU)


@pytest.mark.parametrize(
    ("wanted", "batch", "expected"), [([1.0], 16, [16]), ([0.8, 0.2], 12, [10, 2]), ([0.99, 0.01], 12, [11, 1])]
)
def test_a_batch_is_shared_out(wanted: list[float], batch: int, expected: list[int]) -> None:
    assert shares(wanted, batch) == expected


def test_a_batch_too_small_for_its_corpora_is_refused() -> None:
    with pytest.raises(InputError, match=r"batch 1: expected at least one of each of 2"):
        shares([0.5, 0.5], 1)
