import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vcpipe.errors import InputError
from vcpipe.manifest import Reject, Utterance, atomic_path, by_speaker, read_table, speaker_shard, write_table


def utterance(utt_id: str, speaker: str = "anna") -> Utterance:
    return Utterance(utt_id, speaker, f"{speaker}/{utt_id}.wav", 32000, 16000, 'said "so", twice', "en", "", "train")


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = [utterance("日本語-1"), utterance("b,c")]
    write_table(tmp_path / "m.csv", rows, Utterance)
    assert read_table(tmp_path / "m.csv", Utterance) == rows


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "m.csv", [Reject("a", "a.wav", "empty", "0 bytes")], Reject)
    with pytest.raises(InputError, match="expected the columns utt_id,speaker"):
        read_table(tmp_path / "m.csv", Utterance)
    with pytest.raises(InputError, match="no such table"):
        read_table(tmp_path / "none.csv", Utterance)


def test_a_speaker_stays_in_its_shard_whoever_else_comes_and_in_every_process() -> None:
    here = [speaker_shard(f"p{i}", 8) for i in range(100)]
    code = "from vcpipe.manifest import speaker_shard; print([speaker_shard(f'p{i}', 8) for i in range(100)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(here)
    assert len(set(here)) == 8


def test_nothing_half_written_stays_and_the_old_file_does(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as tmp:
        tmp.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".file[1].txt.99.tmp").write_text("half")
    (tmp_path / ".other.txt.99.tmp").write_text("another's")
    with atomic_path(tmp_path / "file[1].txt") as tmp:
        tmp.write_text("whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.txt.99.tmp", "file[1].txt"]


def test_speakers_come_sorted_with_their_utterances() -> None:
    rows = [utterance("b2", "b"), utterance("a1", "a"), utterance("b1", "b")]
    assert [(s, [u.utt_id for u in us]) for s, us in by_speaker(rows)] == [("a", ["a1"]), ("b", ["b1", "b2"])]


@pytest.mark.parametrize("where", ["write", "fsync"])
def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "file.txt"
    with pytest.raises(OSError, match="No space left") as error, atomic_path(path) as tmp:
        tmp.write_text("half")
        if where == "write":
            full()
        monkeypatch.setattr(os, "fsync", full)
    assert error.value.filename == str(path)


def test_an_error_that_has_a_name_or_no_number_keeps_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, atomic_path(tmp_path / "file.txt"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "another")
    assert error.value.filename == "another"
    with pytest.raises(OSError, match="^words of a library$") as error, atomic_path(tmp_path / "file.txt"):
        raise OSError("words of a library")
    assert error.value.filename is None
