"""Bombs through every door by which a file comes in: the canary is never made, and the door says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch

from tests.conftest import RATE, tone
from tests.corpora.tars import good_tar
from tests.security.bombs import BOMBS
from vcpipe import audio, cli, sections, trials, weights
from vcpipe.corpora import folder, lists
from vcpipe.corpora.unpack import unpack
from vcpipe.errors import InputError
from vcpipe.nn import ctranslate2, hubert, kmeans, wavlm, whisper_weights
from vcpipe.nn.discriminators import hifigan_discriminators
from vcpipe.packs.decode import decode
from vcpipe.packs.stream import Packs
from vcpipe.store import Shard
from vcpipe.systems.knnvc.hub import knn_vc
from vcpipe.training import runs
from vcpipe.vocoders.checkpoints import load_discriminators, load_generator
from vcpipe.vocoders.config import generator_settings
from vcpipe.vocoders.task import build_generator

ROOT = Path(__file__).resolve().parents[2]
Door = Callable[[Path], object]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture(scope="module")
def hatched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the canary of each bomb that was read as is common, and what was said meanwhile."""
    folder = tmp_path_factory.mktemp("live")
    for kind, make in BOMBS.items():
        (folder / kind).write_bytes(make(folder / f"canary of {kind}"))
    command = [sys.executable, "-m", "tests.security.live", str(folder)]
    return folder, subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120).stderr


@pytest.mark.parametrize("kind", list(BOMBS))
def test_each_bomb_is_live(kind: str, hatched: tuple[Path, str]) -> None:
    """Without that, no other test here could fail."""
    assert (hatched[0] / f"canary of {kind}").is_dir(), hatched[1][-800:]


def generator() -> torch.nn.Module:
    shape = {"preset": "hifigan_v1", "rates": [5, 4], "kernels": [11, 8], "channels": 8, "pre_dim": 6}
    return build_generator(generator_settings(shape, "x"), 7, 20, normed=False)


def command(*arguments: str) -> None:
    cli.app(list(arguments), standalone_mode=False)


def imported(path: Path, layout: str = "npy-tree") -> None:
    """The file as the one of a tree that `vcpipe import` is given."""
    place = path.parent / "tree" / "p225" / f"p225_001{path.suffix}"
    place.parent.mkdir(parents=True)
    path.rename(place)
    grid = ["--grid", "units=16000/320"] if layout == "npy-tree" else []
    tree = path.parent / "tree"
    command("import", "--layout", layout, "--from", str(tree), "--to", str(path.parent / "to"), *grid)


def shar(path: Path) -> None:
    """The file as a member of a field of a Shar folder."""
    field = path.parent / "shar"
    field.mkdir()
    (field / "cuts.000000.jsonl").write_text("{}\n")
    members = {f"a{path.suffix}": path.read_bytes(), "a.json": b"{}"}
    (field / "features.000000.tar").write_bytes(good_tar(members))
    command("import", "--layout", "lhotse-shar", "--from", str(field), "--to", str(path.parent / "to"))


def run_folder(path: Path) -> Path:
    """The file as the weights of a run folder."""
    run = path.parent / "run"
    run.mkdir()
    info = {"format": runs.FORMAT, "slice": {"task": "vocoder"}, "step": 1, "checksum": "0"}
    (run / "config.json").write_text(json.dumps(info))
    path.rename(run / "model.safetensors")
    return run


def run_config(path: Path) -> Path:
    """The file as the settings of a run folder."""
    run = path.parent / "run"
    run.mkdir()
    path.rename(run / "config.json")
    return run


def index(path: Path) -> Packs:
    """The file as the index of packs."""
    path.rename(path.with_name("index.json"))
    return Packs(path.parent, None)


def packed(path: Path) -> None:
    """The file as a tar of packs, read by webdataset with our decoder."""
    import webdataset

    for _ in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False).map(decode):
        pass


def hub(path: Path) -> None:
    """The run folder by way of hubconf.py."""
    import hubconf

    assert hubconf.knn_vc is knn_vc
    hubconf.knn_vc(run=run_folder(path), device="cpu")


def snakemake(path: Path) -> None:
    """The file as a config of the workflow; snakemake tells of it in its own words."""
    run = ["snakemake", "-n", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(path)]
    done = subprocess.run([sys.executable, "-m", *run], cwd=path.parent, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "is not valid JSON or YAML" in said, said[-800:]
    raise InputError(said)


CHECKPOINTS: dict[str, Door] = {
    "read_pickle_checkpoint": weights.read_pickle_checkpoint,
    "a generator": lambda path: load_generator(generator(), path),
    "discriminators": lambda path: load_discriminators(hifigan_discriminators(), path),
    "wavlm": lambda path: wavlm.load(path, 6),
    "hubert": lambda path: hubert.load(path, 6),
    "whisper": whisper_weights.load,
    "kmeans": kmeans.load,
    "ctranslate2": lambda path: ctranslate2.read_variables(path, "WhisperSpec", 3),
}
DOORS: list[tuple[str, str, str, Door]] = [
    *((f"{door}, {kind}", kind, "x.pt", do) for door, do in CHECKPOINTS.items() for kind in ("pt", "pt_legacy", "pkl")),
    *((f"kmeans as {name}", kind, name, kmeans.load) for kind, name in [("npy", "c.npy"), ("npz", "c.npz")]),
    *((f"kmeans as {name}", "pkl", name, kmeans.load) for name in ("c.km", "c.joblib", "c.pkl", "c.npy")),
    ("weights as safetensors", "pt", "x.safetensors", lambda path: load_generator(generator(), path)),
    ("inspect a table", "pkl", "x.csv", lambda path: command("inspect", str(path))),
    ("inspect lines", "pkl", "x.jsonl", lambda path: command("inspect", str(path))),
    ("inspect tensors", "pkl", "x.safetensors", lambda path: command("inspect", str(path))),
    ("inspect a checkpoint", "pt", "x.pt", lambda path: command("inspect", str(path))),
    ("inspect a shard, attribute", "h5_attribute", "x.h5", lambda path: command("inspect", "--verify", str(path))),
    ("inspect a shard, dataset", "h5_dataset", "x.h5", lambda path: command("inspect", "--verify", str(path))),
    ("inspect a run", "pkl", "x", lambda path: command("inspect", str(run_config(path)))),
    ("a shard, attribute", "h5_attribute", "x.h5", lambda path: Shard(path, None)),
    ("a shard, pickle", "pkl", "x.h5", lambda path: Shard(path, None)),
    ("import .npy", "npy", "x.npy", imported),
    ("import .npy, pickle", "pkl", "x.npy", imported),
    ("import .npy, npz", "npz", "x.npy", imported),
    *((f"import .pt, {kind}", kind, "x.pt", imported) for kind in ("pt", "pt_legacy", "pkl")),
    ("import kNN-VC's", "pt", "x.pt", lambda path: imported(path, "knn-vc")),
    ("import Shar's", "npy", "x.npy", shar),
    ("index of packs", "pkl", "x", index),
    ("tar of packs", "tar", "x.tar", packed),
    ("config", "yaml", "x.yaml", lambda path: sections.read([path])),
    ("config, pickle", "pkl", "x.yaml", lambda path: sections.read([path])),
    ("vcpipe du", "yaml", "x.yaml", lambda path: command("du", "--config", str(path))),
    ("snakemake --configfile", "yaml", "x.yaml", snakemake),
    ("trials", "pkl", "x.csv", lambda path: trials.read_trials(path, [])),
    ("a recording", "pkl", "x.wav", lambda path: audio.load(path, RATE)),
    ("hubconf, weights", "pkl", "x", hub),
    ("hubconf, config", "pkl", "x", lambda path: knn_vc(run=run_config(path), device="cpu")),
]


@pytest.mark.parametrize(("kind", "name", "door"), [pytest.param(*rest, id=what) for what, *rest in DOORS])
def test_a_bomb_is_refused_and_does_not_go_off(
    kind: str, name: str, door: Door, tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    path = tmp_path / name
    path.write_bytes(BOMBS[kind](canary))
    with pytest.raises(InputError) as refused:
        door(path)
    assert str(refused.value).strip() and not canary.exists()


def test_a_shard_of_pickles_is_bytes_to_us(tmp_path: Path, canary: Path) -> None:
    (tmp_path / "x.h5").write_bytes(BOMBS["h5_dataset"](canary))
    with Shard(tmp_path / "x.h5", None) as shard:
        shard.read("u")
        with pytest.raises(InputError, match="damaged"):
            shard.verify()
    assert not canary.exists()


def test_a_corpus_with_bombs_in_it_is_unpacked_and_listed_without_reading_them(tmp_path: Path, canary: Path) -> None:
    """Members that other code bases would unpickle are plain files, which no corpus takes up."""
    sound = tmp_path / "u.wav"
    soundfile.write(sound, tone(1.0), RATE)
    names = {"pkl": "meta.pkl", "pt": "spk0/u.pth", "npy": "spk0/u.npy", "yaml": "spk0/config.yaml", "tar": "x.tar"}
    members = {name: BOMBS[kind](canary) for kind, name in names.items()} | {"spk0/u.pyd": BOMBS["pkl"](canary)}
    (tmp_path / "c.tar").write_bytes(good_tar({**members, "spk0/u.wav": sound.read_bytes()}))
    unpack(tmp_path / "c.tar", tmp_path / "corpus")
    counts = lists.refresh("c", folder.Settings(kind="folder", root=str(tmp_path / "corpus")), tmp_path / "lists")
    assert sum(counts.values()) == 1 and not canary.exists()


def test_the_config_that_snakemake_would_run_is_refused_when_it_is_looked_at(tmp_path: Path, canary: Path) -> None:
    """Snakemake runs expressions of a config that says `__use_yte__`, before it reads the Snakefile: see SECURITY.md.

    What reads a config without snakemake runs nothing.
    """
    text = f"__use_yte__: true\n?__import__('os').mkdir({str(canary)!r}) or 'corpora': {{}}\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InputError):
        command("du", "--config", str(tmp_path / "x.yaml"))
    assert not canary.exists()
