"""What no file of the project may do: run what it reads, or make every `snakemake` start slow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(p for folder in ("vcpipe", "workflow", "tools") for p in (ROOT / folder).rglob("*.py"))
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
UNSAFE_YAML = {"load", "load_all", "full_load", "unsafe_load"}


def findings(source: str) -> list[str]:
    """What is banned in a file's text, as `line: what`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        what = ""
        if isinstance(node, ast.Import):
            what = _banned_module([alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom):
            what = _banned_module([node.module or ""]) or _banned_names(node)
        elif isinstance(node, ast.Call):
            what = _banned_call(node)
        if what:
            found.append(f"{node.lineno}: {what}")
    return found


def _banned_module(names: list[str]) -> str:
    bad = [name for name in names if name.partition(".")[0] in PICKLES]
    return f"import {bad[0]}" if bad else ""


def _banned_names(node: ast.ImportFrom) -> str:
    names = {alias.name for alias in node.names}
    if node.module == "yaml" and names & (UNSAFE_YAML | {"Loader", "UnsafeLoader", "FullLoader"}):
        return "an unsafe name from yaml"
    if node.module in ("torch", "numpy") and "load" in names:
        return f"from {node.module} import load (call it by its full name)"
    return "os.system" if node.module == "os" and names & {"system", "popen"} else ""


def _banned_call(node: ast.Call) -> str:
    name = ast.unparse(node.func)
    owner, _, last = name.rpartition(".")
    given = {k.arg: k.value for k in node.keywords}
    if owner in ("torch", "th") and last == "load" and not _is(given.get("weights_only"), True):
        return "torch.load without weights_only=True"
    if owner == "yaml" and last in UNSAFE_YAML:
        return f"yaml.{last} (use yaml.safe_load)"
    if "allow_pickle" in given and not _is(given["allow_pickle"], False):
        return "allow_pickle"
    if last in ("extractall", "unpack_archive"):
        return f"{last} (take the members that are wanted, by name)"
    if name in ("eval", "exec", "os.system", "os.popen"):
        return name
    if "shell" in given and not _is(given["shell"], False):
        return "shell=True"
    return ""


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_can_run_what_it_reads(file: Path) -> None:
    assert findings(file.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "from torch import load",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "from yaml import load",
        "np.load(path, allow_pickle=True)",
        "import pickle",
        "import cloudpickle as c",
        "from pickle import loads",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
        "eval('1')",
        "exec(code)",
        "os.system('ls')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run(command, shell=flag)",
    ],
)
def test_each_banned_thing_is_found(line: str) -> None:
    assert len(findings(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True, map_location='cpu')",
        "yaml.safe_load(text)",
        "np.load(path)",
        "model.eval()",
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls'])",
    ],
)
def test_safe_ways_are_allowed(line: str) -> None:
    assert findings(line) == []


LIGHT = """
import sys
import vcpipe.config, vcpipe.catalog
from vcpipe import catalog
for kind in catalog.CORPORA: catalog.corpus(kind, "corpora")
for kind in catalog.FEATURES: catalog.feature(kind, "features")
for name in catalog.system_names(): catalog.system_config(name)
print(*sorted({"torch", "torchaudio", "numpy", "scipy", "librosa", "h5py"} & set(sys.modules)))
"""


def test_reading_a_config_imports_neither_torch_nor_numpy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.split() == []
