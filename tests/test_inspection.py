from pathlib import Path

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.inspection import describe
from vcpipe.manifest import Utterance, write_table
from vcpipe.store import write_shard


def test_a_shard_is_described_and_verified(tmp_path: Path) -> None:
    rows = [("a-1", np.ones((50, 4))), ("a-2", np.ones((100, 4)))]
    write_shard(tmp_path / "000.h5", rows, made_by={"layer": 2}, grid=Grid(16000, 320), dim=4, dtype="float16")
    text = describe(tmp_path / "000.h5", verify=True)
    for part in ("utterances  2", "150 x 4 float16", "3.0 s", "16000/320", "checked, good", '"layer": 2', "a-2  100"):
        assert part in text, text


def test_a_manifest_is_described(tmp_path: Path) -> None:
    rows = [Utterance(f"u{i}", f"s{i % 2}", "x.wav", 960000, 16000, split="train") for i in range(3)]
    write_table(tmp_path / "manifest.csv", rows, Utterance)
    text = describe(tmp_path / "manifest.csv")
    for part in ("rows        3", "speakers    2", "3.0 minutes", "train 3"):
        assert part in text, text


def test_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    for path, words in ((tmp_path / "x.bin", "found .bin"), (tmp_path / "y", "no such file"), (tmp_path, "not a run")):
        with pytest.raises(InputError, match=words):
            describe(path)
