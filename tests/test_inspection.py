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


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a":\n', "line 2 is not JSON"),
        ("a.jsonl", b"\xff\xfe\n", "is not JSON"),
        ("a.csv", b"speaker,split\na,train\nb\n", "row 3 has 1 columns, expected 2"),
        ("a.csv", b"speaker,split\na,train,more\n", "row 2 has 3 columns, expected 2"),
        ("a.csv", b"\xff\xfe\n", "not a table"),
        ("a.csv", b"n_samples,sample_rate\nmany,16000\n", "whole numbers in n_samples and sample_rate"),
        ("a.csv", b"n_samples,sample_rate\n1,0\n", "whole numbers in n_samples and sample_rate"),
        ("a.csv", b"n_samples\n1\n", "whole numbers in n_samples and sample_rate"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        describe(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


def test_empty_files_are_described(tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl"):
        (tmp_path / name).write_text("")
        assert "rows        0" in describe(tmp_path / name)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"x")
    for path, words in ((tmp_path / "x.bin", "found .bin"), (tmp_path / "y", "no such file"), (tmp_path, "not a run")):
        with pytest.raises(InputError, match=words):
            describe(path)
