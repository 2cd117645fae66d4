"""A small part of the whole run, which is `python -m tests.fuzz`."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.fuzz.recordings import damaged, good, write
from tests.fuzz.run import LIMIT_S, decoded_alone, prepared
from tests.fuzz.shards import contents, damage, round_trip

FILES = 100


def test_no_recording_crashes_or_hangs_a_decoder(tmp_path: Path) -> None:
    cases = good() + damaged(FILES)
    write(cases, tmp_path)
    report = decoded_alone(cases, tmp_path)
    assert report.breaches == []
    assert report.slowest[0] < LIMIT_S
    assert report.verdicts["good"] >= len(good()) and report.verdicts["truncated"] > 5


def test_a_corpus_with_bad_recordings_is_prepared_as_without_them(tmp_path: Path) -> None:
    report = prepared(damaged(FILES, seed=1), tmp_path)
    assert report.breaches == []
    assert sum(report.verdicts.values()) == FILES + len(good())
    assert not list(tmp_path.rglob("pwned"))


def test_the_same_seed_makes_the_same_files() -> None:
    first, other = damaged(30, seed=3), damaged(30, seed=4)
    time.sleep(1.1)  # a file may hold the time of day
    again = damaged(30, seed=3) == first  # not in the assertion, which would print two megabytes
    assert again and first != other, "the files of a seed differ from one call to the next"


@settings(max_examples=200, deadline=None)
@given(content=contents())
def test_any_shard_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, content: tuple) -> None:
    round_trip(tmp_path_factory.mktemp("shard") / "000.h5", content)


def test_a_damaged_shard_is_found_or_reads_as_it_was(tmp_path: Path) -> None:
    _, escaped = damage(tmp_path, 100)
    assert escaped == []
