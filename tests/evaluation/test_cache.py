"""Findings are kept by content; what is not whole is found anew."""

import errno
import fcntl
import logging
import multiprocessing
import os

import pytest

from vcpipe.errors import InputError
from vcpipe.evaluation.cache import Cache

ABOUT = {"name": "ear", "version": "1"}


def test_what_was_put_is_there_in_this_process_and_the_next(tmp_path):
    cache = Cache(tmp_path / "new", "asr", ABOUT)
    values = {"a": "the cat", "b": "", "c": {"x": 0.1, "none": None}, "d": [1.5, "ö\u2028"], "e": 0.0, "f": 1e-300}
    for key, value in values.items():
        assert cache.get(key) is None
        cache.put(key, value)
    again = Cache(tmp_path / "new", "asr", ABOUT)
    assert {key: again.get(key) for key in values} == values == {key: cache.get(key) for key in values}
    assert len(again) == len(cache) == len(values)
    assert again.get("g") is None


@pytest.mark.parametrize("other", [{"name": "ear", "version": "2"}, {"name": "ear"}, {}])
def test_another_judge_has_a_file_of_its_own(tmp_path, other):
    Cache(tmp_path, "asr", ABOUT).put("a", 1)
    assert Cache(tmp_path, "asr", other).get("a") is None
    assert Cache(tmp_path, "mcd", ABOUT).get("a") is None
    assert Cache(tmp_path, "asr", dict(reversed(ABOUT.items()))).get("a") == 1


def test_what_another_process_finds_is_seen(tmp_path):
    mine, other = Cache(tmp_path, "asr", ABOUT), Cache(tmp_path, "asr", ABOUT)
    other.put("a", 1)
    assert mine.get("a") == 1
    mine.put("b", 2)
    assert other.get("b") == 2


def test_the_first_finding_stands(tmp_path):
    one, two = Cache(tmp_path, "asr", ABOUT), Cache(tmp_path, "asr", ABOUT)
    one.put("a", 1)
    two.put("a", 2)
    assert Cache(tmp_path, "asr", ABOUT).get("a") == 1


@pytest.mark.parametrize("cut", [1, 2, 10, 30])
def test_a_torn_last_line_is_survived(tmp_path, cut, caplog):
    cache = Cache(tmp_path, "asr", ABOUT)
    cache.put("a", "first")
    cache.put("b", "torn")
    os.truncate(cache.path, cache.path.stat().st_size - cut)
    again = Cache(tmp_path, "asr", ABOUT)
    assert (again.get("a"), again.get("b")) == ("first", None)
    again.put("c", "after")
    again.put("b", "found again")
    last = Cache(tmp_path, "asr", ABOUT)
    expected = "torn" if cut == 1 else "found again"  # nothing but its end was missing, which the next line gave it
    assert [last.get(key) for key in "abc"] == ["first", expected, "after"]


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path):
    cache = Cache(tmp_path, "asr", ABOUT)
    cache.put("a", 1)
    cache.put("b", 2)
    data = cache.path.read_bytes()
    cache.path.write_bytes(data[:-5])
    reader = Cache(tmp_path, "asr", ABOUT)
    assert reader.get("b") is None
    cache.path.write_bytes(data)
    assert reader.get("b") == 2


def test_no_damaged_byte_gives_another_finding(tmp_path, caplog):
    cache = Cache(tmp_path, "asr", ABOUT)
    values = {"a": 0.1234, "b": "the cat", "c": [1, 2]}
    for key, value in values.items():
        cache.put(key, value)
    data = cache.path.read_bytes()
    start = data.index(b"\n") + 1
    for at in range(start, len(data)):
        harmed = bytearray(data)
        harmed[at] ^= 1 << at % 8
        cache.path.write_bytes(harmed)
        found = Cache(tmp_path, "asr", ABOUT)
        got = {key: found.get(key) for key in values}
        assert all(value in (None, values[key]) for key, value in got.items())
        assert sum(value is None for value in got.values()) <= 2  # a harmed end of a line costs two
        assert len(found) >= 1


def test_a_line_damaged_in_the_middle_is_left_out_and_told(tmp_path, caplog):
    cache = Cache(tmp_path, "asr", ABOUT)
    for key in "abc":
        cache.put(key, key * 3)
    cache.path.write_bytes(cache.path.read_bytes().replace(b"bbb", b"bab"))
    with caplog.at_level(logging.WARNING):
        again = Cache(tmp_path, "asr", ABOUT)
    assert [again.get(key) for key in "abc"] == ["aaa", None, "ccc"]
    assert "1 damaged lines left out; what they held is judged anew" in caplog.text


def test_zeros_after_a_power_failure_and_foreign_lines_are_left_out(tmp_path):
    cache = Cache(tmp_path, "asr", ABOUT)
    cache.put("a", 1)
    with open(cache.path, "ab") as f:
        f.write(b"\0" * 100 + b'\n["x"]\n{}\n[1,2,3]\n\xff\n' + b"[" * 100_000 + b"\n")
    cache.put("b", 2)
    again = Cache(tmp_path, "asr", ABOUT)
    assert (again.get("a"), again.get("b"), len(again)) == (1, 2, 2)


def test_a_file_that_somebody_removed_is_begun_anew(tmp_path):
    cache = Cache(tmp_path, "asr", ABOUT)
    cache.put("a", "a long finding, to be gone")
    cache.path.unlink()
    cache.put("b", 2)
    other = Cache(tmp_path, "asr", ABOUT)
    assert (other.get("a"), other.get("b")) == (None, 2)
    other.put("c", 3)
    assert cache.get("c") == 3


@pytest.mark.parametrize("value", [None, float("nan"), {"x": float("inf")}])
def test_what_is_no_finding_is_a_fault(tmp_path, value):
    cache = Cache(tmp_path, "asr", ABOUT)
    with pytest.raises(ValueError, match=r"None|JSON compliant"):
        cache.put("a", value)
    assert not cache.path.exists()


def _put_many(folder, mine):
    cache = Cache(folder, "asr", ABOUT)
    for i in range(200):
        cache.put(f"{mine}-{i}", [mine, i, "x" * (i * 37 % 5000)])


def test_many_processes_may_put_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_put_many, args=(tmp_path, n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    cache = Cache(tmp_path, "asr", ABOUT)
    assert len(cache) == 800
    for n in range(4):
        for i in range(200):
            assert cache.get(f"{n}-{i}") == [n, i, "x" * (i * 37 % 5000)]
    assert sum(line.startswith(b"{") for line in cache.path.read_bytes().splitlines()) == 1


def test_without_locks_nothing_is_written(tmp_path, monkeypatch):
    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    cache = Cache(tmp_path, "asr", ABOUT)
    with pytest.raises(InputError, match="its file system has no locks .*; keep results/ on another disk"):
        cache.put("a", 1)
