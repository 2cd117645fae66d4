"""The published names, their argument order, and `torch.hub`."""

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.conftest import tone
from vcpipe.errors import InputError
from vcpipe.systems.knnvc.hub import KNeighborsVC, knn_vc

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def loaded(tiny_run: Path) -> KNeighborsVC:
    return knn_vc(device="cpu", run=tiny_run)


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_arguments_stand_in_the_published_order() -> None:
    assert parameters(knn_vc) == ["pretrained", "progress", "prematched", "device", "run"]
    assert inspect.signature(knn_vc).parameters["run"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters(KNeighborsVC.get_features) == ["self", "path", "weights", "vad_trigger_level"]
    assert parameters(KNeighborsVC.get_matching_set) == ["self", "wavs", "weights", "vad_trigger_level"]
    assert parameters(KNeighborsVC.match)[1:] == [
        *("query_seq", "matching_set", "synth_set", "topk", "tgt_loudness_db", "target_duration", "device")
    ]


def test_torch_hub_loads_it(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = torch.hub.load(str(ROOT), "knn_vc", source="local", run=tiny_run, device="cpu", trust_repo=True)
    wave = torch.from_numpy(tone(1.0))
    out = found.match(found.get_features(wave), found.get_matching_set([wave, wave], vad_trigger_level=0), device="cpu")
    assert out.shape == (16000,) and torch.isfinite(out).all()


def test_without_a_device_it_is_the_one_that_is_there(tiny_run: Path) -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert knn_vc(run=tiny_run).device.type == expected


def test_what_cannot_be_done_is_refused(tiny_run: Path, loaded: KNeighborsVC, monkeypatch: pytest.MonkeyPatch) -> None:
    wave, mixing = torch.from_numpy(tone(1.0)), torch.ones(24)
    for refused in (
        lambda: loaded.get_features(wave, mixing),  # type: ignore[arg-type]
        lambda: loaded.get_matching_set([wave], mixing),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match="weights: expected None, found Tensor.*`layer` in config.yaml"):
            refused()
    frames = loaded.get_features(wave)
    with pytest.raises(InputError, match="device cuda:1: the vocoder is on cpu"):
        loaded.match(frames, frames, device="cuda:1")
    with pytest.raises(InputError, match="device meta: expected auto, cpu, cuda"):
        knn_vc(device="meta", run=tiny_run)
    with pytest.raises(InputError, match="pretrained=False"):
        knn_vc(pretrained=False, device="cpu")


def test_hubconf_names_every_package_that_converting_needs() -> None:
    tree = ast.parse((ROOT / "hubconf.py").read_text())
    named = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    training_only = {"vcpipe.training.loop", "vcpipe.training.progress", "vcpipe.training.machine"}
    reached, todo = set(), ["vcpipe.systems.knnvc.hub"]
    needed = set()
    while todo:
        module = todo.pop()
        if module in reached or module in training_only or not (file := source(module)):
            continue
        reached.add(module)
        for name in imported(file):
            if name.startswith("vcpipe"):
                todo.append(name)
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                needed.add(name.partition(".")[0])
    assert len(reached) > 15
    elsewhere = {"av", "yaml"}  # asked for by m4a recordings and by `vcpipe du` alone
    weights_only = {"silero_vad"}  # a file in its package is read
    assert (needed - elsewhere) | weights_only == set(named)


def source(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None  # a name inside a module
    return Path(spec.origin) if spec and spec.origin else None


def imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module.startswith("vcpipe"))
