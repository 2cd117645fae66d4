"""What no file of the project may do: run what it reads, or make every `snakemake` start slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.banned import findings
from tests.security.shell_lines import as_python, constants, shell_lines, unquoted
from vcpipe.config import load
from vcpipe.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("vcpipe", "workflow", "tools", "benchmarks", "tests")
FILES = sorted([*(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")), ROOT / "hubconf.py"])
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])
ALLOWED = {
    "vcpipe/corpora/archives.py": ["http://www.festvox.org/cmu_arctic/ (https only)"],  # shown, not fetched
    "vcpipe/nn/hubert.py": ["torch.serialization.safe_globals (widens what loads)"],  # by a class that does nothing
    "tests/exchange/test_arrays.py": ["allow_pickle"],  # from here on: bombs, and what would have set them off
    "tests/exchange/test_lhotse.py": ["allow_pickle"],
    "tests/exchange/test_npytree.py": ["allow_pickle"],
    "tests/packs/test_decode.py": ["allow_pickle", "import pickle (pickles)", "webdataset's decode"],
    "tests/security/bombs.py": ["import pickle (pickles)", "allow_pickle"],
    "tests/security/live.py": ["*"],
    "tests/systems/knnvc/test_hub.py": ["import torch.hub"],  # source="local"
    "tests/test_vad.py": ["import silero_vad"],  # the reference that ours is held against
}
"""What a file may do all the same, by the beginning of the finding."""
SAFE_UNQUOTED = {
    "threads": "a number",
    "params.shards": "a number of the schema",
    "params.max_reject_share": "a number of the schema",
    "params.pairs": "a number of the schema",
    "params.seed": "a number of the schema",
    "params.model": "quoted where it is made",
    "params.f0": "quoted where it is made",
    "params.trainer": "a number in words of ours",
    "wildcards.audio": "a name of the config",
    "wildcards.corpus": "a name of the config",
}


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", FILES, ids=relative)
def test_no_file_can_run_what_it_reads(file: Path) -> None:
    found = [line.partition(": ")[2] for line in findings(file.read_text(encoding="utf-8"), relative(file))]
    allowed = ALLOWED.get(relative(file), [])
    assert [what for what in found if not any(a == "*" or what.startswith(a) for a in allowed)] == []
    assert [a for a in allowed if a != "*" and not any(what.startswith(a) for what in found)] == [], "no longer needed"


@pytest.mark.parametrize("file", RULES, ids=relative)
def test_no_rule_can_either(file: Path) -> None:
    source = as_python(file)
    assert findings(source, relative(file)) == []
    for directive in ("wrapper", "module", "script", "notebook", "cwl"):
        assert f"workflow.{directive}" not in source


def test_what_stands_in_a_shell_line_is_quoted() -> None:
    sources = [as_python(file) for file in RULES]
    lines = [line for source in sources for line in shell_lines(source, constants(sources))]
    assert len(lines) > 10
    assert {name for line in lines for name in unquoted(line)} <= set(SAFE_UNQUOTED)


@pytest.mark.parametrize("name", ["a;b", "$(id)", "a b", "`id`", "a'b", "a|b", "a&b", "-rf", "../x", "a\nb", "~", "*"])
@pytest.mark.parametrize("key", ["corpora", "audio", "features", "packs"])
def test_a_name_of_the_config_can_stand_in_a_shell_line(key: str, name: str) -> None:
    with pytest.raises(InputError, match="a name has letters, digits"):
        load({key: {name: {}}})


@pytest.mark.parametrize(
    "body", ["shell: 'rm {input}'", "shell: f'rm {name}'", "shell: 'rm ' + name + SAFE", "run: shell(x)"]
)
def test_each_unquoted_placeholder_is_found(tmp_path: Path, body: str) -> None:
    (tmp_path / "x.smk").write_text(f"rule a:\n    {body}\n")
    lines = shell_lines(as_python(tmp_path / "x.smk"), {"SAFE": "> {log:q}"})
    assert lines and all(unquoted(line) for line in lines)


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "torch.load(path, **options)",
        "import torch as t; t.load(path)",
        "from torch import load",
        "from torch import load as l",
        "f = torch.load",
        "map(torch.load, paths)",
        "getattr(torch, 'load')(path)",
        "from torch import serialization; serialization.load(path)",
        "torch.serialization.add_safe_globals([X])",
        "torch.jit.load(path)",
        "from torch.jit import load",
        "torch.hub.load('a/b', 'c')",
        "from torch.hub import load_state_dict_from_url",
        "torch.utils.model_zoo.load_url(url)",
        "import torch.package",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "yaml.full_load(text)",
        "from yaml import load",
        "from yaml import CLoader as L",
        "YAML(typ='unsafe').load(text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, None, True)",
        "np.load(path, **options)",
        "from numpy import load as l; l(path)",
        "import numpy as n; f = n.load",
        "np.lib.format.read_array(f, True)",
        "import pickle",
        "import cloudpickle as c",
        "from pickle import loads",
        "from joblib import load",
        "import shelve",
        "import importlib; importlib.import_module('pickle')",
        "__import__('pickle')",
        "pd.read_pickle(path)",
        "frame.to_pickle(path)",
        "from pandas import read_hdf",
        "h5py.special_dtype(vlen=bytes)",
        "import tables",
        "archive.extractall(folder)",
        "import tarfile; tarfile.open(path).extract(member)",
        "shutil.unpack_archive(path)",
        "wds.WebDataset(url).decode()",
        "import webdataset; webdataset.WebDataset(url).shuffle(9).decode('torch')",
        "from webdataset import autodecode",
        "from webdataset.gopen import gopen",
        "eval('1')",
        "exec(code)",
        "f = eval",
        "import builtins; builtins.exec(code)",
        "getattr(builtins, 'eval')('1')",
        "os.system('ls')",
        "import os as o; o.popen('ls')",
        "from os import system",
        "os.execvp(a, b)",
        "getattr(os, name)",
        "subprocess.run('ls', shell=True)",
        "from subprocess import run; run('ls', shell=True)",
        "subprocess.run(command, shell=flag)",
        "subprocess.getoutput('ls')",
        "asyncio.create_subprocess_shell('ls')",
        "tempfile.mktemp()",
        "ssl._create_unverified_context()",
        "context.verify_mode = ssl.CERT_NONE",
        "context.check_hostname = False",
        "import requests",
        "import urllib.request",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import huggingface_hub",
        "from speechbrain.inference import EncoderClassifier",
        "torchaudio.pipelines.WAVLM_LARGE",
        "Model.from_pretrained('a/b')",
        "WhisperModel('tiny.en')",
        "import silero_vad",
        "url = 'http://example.org/weights.pt'",
    ],
)
def test_each_banned_thing_is_found(line: str) -> None:
    assert findings(line, "vcpipe/x.py")


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path, weights_only=True, map_location='cpu')",
        "yaml.safe_load(text)",
        "np.load(path)",
        "model.eval()",
        "np.load(path, allow_pickle=False)",
        "subprocess.run(['ls'])",
        "getattr(torch, precision)",
        "data.decode('utf-8')",
        "self.extract(feature)",
        "re.compile(pattern)",
        "import urllib.parse",
        "from speechbrain.lobes.features import Fbank",
        "WhisperModel(str(folder))",
        "url = 'http://127.0.0.1:8000/a.tar'",
    ],
)
def test_safe_ways_are_allowed(line: str) -> None:
    assert findings(line, "vcpipe/x.py") == []


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
