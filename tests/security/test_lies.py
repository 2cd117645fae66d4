"""Safetensors files that lie: each is refused by name, without a crash and without the memory that it claims."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.security.lies import GOOD, LIES
from vcpipe.errors import InputError
from vcpipe.training import runs
from vcpipe.weights import MAX_HEADER, read_safetensors, write_safetensors

ROOT = Path(__file__).resolve().parents[2]
TASK: Any = SimpleNamespace(REVISION=1, rebuild=lambda made_by, tensors, where: torch.nn.Linear(1, 1))


def run_folder(folder: Path, weights: bytes, checksum: str) -> Path:
    folder.mkdir()
    info = {"format": runs.FORMAT, "slice": {"task": "toy"}, "step": 1, "checksum": checksum}
    (folder / "config.json").write_text(json.dumps(info))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.mark.parametrize("what", list(LIES))
def test_a_file_that_lies_is_refused_by_name(tmp_path: Path, what: str) -> None:
    (tmp_path / "m.safetensors").write_bytes(LIES[what])
    with pytest.raises(InputError, match=r"m\.safetensors: cannot be read as safetensors \(.+\); make it again") as e:
        read_safetensors(tmp_path / "m.safetensors")
    assert "\n" not in str(e.value) and len(str(e.value)) < 1000
    with pytest.raises(InputError, match=r"run/model\.safetensors: "):
        runs.load(run_folder(tmp_path / "run", LIES[what], "0"), TASK)


def test_there_are_more_than_twenty_lies_and_the_honest_file_is_read(tmp_path: Path) -> None:
    assert len(LIES) > 20
    (tmp_path / "m.safetensors").write_bytes(GOOD)
    tensors, metadata = read_safetensors(tmp_path / "m.safetensors")
    assert tensors["a"].tolist() == [0, 0] and metadata == {"checksum": "0"}
    write_safetensors(tmp_path / "w.safetensors", tensors, {"checksum": runs.checksum(tensors)})
    run = run_folder(tmp_path / "run", (tmp_path / "w.safetensors").read_bytes(), runs.checksum(tensors))
    assert runs.load(run, TASK)[1]["step"] == 1


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.safetensors")
    for path in (tmp_path / "m.safetensors", tmp_path, tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match="cannot be read as safetensors"):
            read_safetensors(path)


LARGE = """
import json, resource, struct, sys
from pathlib import Path
from safetensors import safe_open
import torch
from vcpipe.errors import InputError
from vcpipe.weights import read_safetensors
limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (256 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
path = Path(sys.argv[1])
for bits in range(20, 64):
    header = json.dumps({"a": {"dtype": "U8", "shape": [1 << bits], "data_offsets": [0, 1 << bits]}}).encode()
    for length in (len(header), 1 << bits):
        path.write_bytes(struct.pack("<Q", length) + header)
        try:
            read_safetensors(path)
        except InputError as error:
            print(str(error)[:120])
"""


def test_large_claims_take_no_memory(tmp_path: Path) -> None:
    """In a process that may have a quarter of a GB more than it has: what is claimed is never given."""
    command = [sys.executable, "-c", LARGE, str(tmp_path / "m.safetensors")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-800:]
    assert done.stdout.count("cannot be read as safetensors") == 2 * 44


@pytest.mark.parametrize("size", [MAX_HEADER + 1, 100_000_001])
def test_a_header_that_is_too_long_is_not_read(tmp_path: Path, size: int) -> None:
    with open(tmp_path / "m.safetensors", "wb") as f:
        f.write(size.to_bytes(8, "little"))
        f.truncate(8 + size)  # blanks that take no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=f"its header has {size} bytes, more than {MAX_HEADER}"):
        read_safetensors(tmp_path / "m.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10  # KiB
