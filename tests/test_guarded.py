"""Functions that crash, hang, eat memory and raise: each costs its own item, and nothing else."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.guarded import Died, Failure, Guarded, Raised, TimedOut
from vcpipe.worker import more_time


def work(item: str | int) -> object:
    if item == "segfault":
        ctypes.string_at(0)
    if item == "abort":
        os.abort()
    if item == "exit":
        os._exit(3)
    if item == "hang":
        time.sleep(1000)
    if item == "spin":
        while True:
            pass
    if item == "memory":
        return np.ones(1 << 40, np.uint8)
    if item == "raise":
        raise RuntimeError("broken ümlaut")
    if item == "unsendable":
        return {1, 2}
    if isinstance(item, int):
        return np.full((item, 2), item, np.float32)
    return [item, 1.5, None]


def names(results: list[object]) -> list[str]:
    return [type(r).__name__ for r in results]


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_failures_name_their_item(workers: int) -> None:
    items = [7, "segfault", "a\n日本語 '\"", 0, "abort", "exit", "memory", "raise", "unsendable", 300_000, "z"]
    with Guarded(work, workers, 10.0, memory=1 << 30) as pool:
        got = list(pool.map(items))
    kinds = "ndarray Died list ndarray Died Died Died Raised Raised ndarray list"
    assert names(got) == kinds.split()
    for item, result in zip(items, got, strict=True):
        if isinstance(item, int):
            np.testing.assert_array_equal(result, work(item))
            assert result.shape == (item, 2) and result.dtype == np.float32
        elif isinstance(result, Failure):
            assert result.item == item
        else:
            assert result == [item, 1.5, None]
    words = {r.item: r.words for r in got if isinstance(r, Failure)}
    assert words["segfault"] == "killed by SIGSEGV" and words["abort"] == "killed by SIGABRT"
    assert words["exit"] == "ended by itself with code 3" and words["memory"] == "out of memory"
    assert "RuntimeError: broken ümlaut" in words["raise"] and "not JSON serializable" in words["unsendable"]


@pytest.mark.parametrize("hang", ["hang", "spin"])
def test_a_hang_costs_its_item_and_its_limit(hang: str) -> None:
    items = [1, 2, hang, 3, 4, hang, 5]
    begun = time.monotonic()
    with Guarded(work, 2, lambda item: 0.4 if item == hang else 20.0) as pool:
        got = list(pool.map(items))
    assert time.monotonic() - begun < 4
    assert names(got) == ["ndarray", "ndarray", "TimedOut", "ndarray", "ndarray", "TimedOut", "ndarray"]
    assert got[2] == TimedOut(hang, "no result after 0.4 s")


def test_what_was_waiting_behind_a_crash_is_done_by_another_worker() -> None:
    items = [i if i % 3 else "segfault" for i in range(60)]
    with Guarded(work, 2) as pool:
        got = list(pool.map(items))
    assert [isinstance(r, Died) for r in got] == [i % 3 == 0 for i in range(60)]
    assert [len(r) for r in got if not isinstance(r, Failure)] == [i for i in range(60) if i % 3]


def test_every_kind_of_array_comes_back_as_it_was() -> None:
    arrays = [
        np.zeros((0, 3), np.float16),
        np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2],
        np.asfortranarray(np.random.default_rng(0).normal(size=(50, 7))),
        np.array(3.5),
        np.array([True, False]),
    ]
    with Guarded(lambda i: arrays[i]) as pool:
        for expected, got in zip(arrays, pool.map(range(len(arrays))), strict=True):
            np.testing.assert_array_equal(got, expected, strict=True)


def test_an_array_may_come_with_words() -> None:
    with Guarded(lambda n: ([["a", n], ["b", None]], np.arange(n, dtype=np.float32))) as pool:
        for n, (about, array) in zip((0, 5, 400_000), pool.map((0, 5, 400_000)), strict=True):
            assert about == [["a", n], ["b", None]]
            np.testing.assert_array_equal(array, np.arange(n, dtype=np.float32), strict=True)


def test_a_slow_reader_loses_nothing_and_time_away_is_not_counted() -> None:
    with Guarded(work, 2, limit_s=0.3) as pool:
        results = pool.map([400_000 + i for i in range(6)])
        first = next(results)
        time.sleep(1.0)
        assert [len(first), *(len(r) for r in results)] == [400_000 + i for i in range(6)]


def test_a_loop_that_is_left_and_items_that_raise_leave_a_usable_pool() -> None:
    def items():  # type: ignore[no-untyped-def]
        yield from (1, 2)
        raise KeyError("the list")

    with Guarded(work, 2, 30.0) as pool:
        for _ in pool.map(["a", "hang", "hang", "b"]):
            break
        with pytest.raises(KeyError, match="the list"):
            list(pool.map(items()))
        with pytest.raises(ValueError, match="expected an item of at most"):
            list(pool.map(["x" * 100_000]))
        assert names(list(pool.map([3, "c"]))) == ["ndarray", "list"]
        assert list(pool.map([])) == []


def test_only_a_window_of_the_items_is_taken() -> None:
    taken: list[int] = []
    with Guarded(work, 2) as pool:
        results = pool.map(taken.append(i) or i for i in range(1000))  # type: ignore[func-returns-value]
        next(results)
        assert len(taken) <= 12
        results.close()


def test_workers_are_kept_warm_and_die_with_the_pool() -> None:
    with Guarded(lambda _: os.getpid(), 1) as pool:
        pids = set(pool.map(range(20)))
    assert len(pids) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(pids.pop(), 0)


PARENT = """
import os, signal, time
from vcpipe.guarded import Guarded
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
def work(i):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece, beside the other worker
    time.sleep(1000)
with Guarded(work, 2, 1000.0) as pool:
    list(pool.map([1, 2]))
"""


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_parent(number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        assert parent.stdout is not None and parent.stderr is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(number)
        assert parent.wait(10) != 0
        until = time.monotonic() + 5
        while not all(map(gone, pids)) and time.monotonic() < until:
            time.sleep(0.01)
        assert all(map(gone, pids))
        assert (number == signal.SIGINT) == (b"KeyboardInterrupt" in parent.stderr.read())


def test_a_worker_that_is_killed_while_idle_is_replaced() -> None:
    with Guarded(lambda _: os.getpid(), 2) as pool:
        before = set(pool.map(range(50)))
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        got = list(pool.map(range(50)))
    assert sum(isinstance(r, Failure) for r in got) <= 2 and not before & set(got)


def test_a_pool_can_be_used_from_a_thread_while_others_run() -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        with Guarded(work, 2) as pool:
            assert names(list(pool.map([1, "raise", 2]))) == ["ndarray", "Raised", "ndarray"]
    finally:
        stop.set()
        other.join()


def test_a_raised_exception_is_not_a_death() -> None:
    with Guarded(lambda item: os.getpid() if item else 1 / 0) as pool:
        first, failure, last = pool.map([1, 0, 1])
    assert first == last and isinstance(failure, Raised) and "ZeroDivisionError" in failure.words


def slowly(item: list[float]) -> str:
    for seconds, limit_s in zip(item[::2], item[1::2], strict=False):
        time.sleep(seconds)
        more_time(limit_s)
    time.sleep(item[-1])
    return "done"


def test_more_time_begins_a_limit_of_its_own_for_this_item_alone() -> None:
    items = [[0.1, 30.0, 1.2], [2.0], [0.1, 0.5, 0.1, 0.7, 0.9], [0.1], [0.3, 30.0, 0.3, 30.0, 0.5]]
    with Guarded(slowly, 1, 0.6) as pool:
        got = list(pool.map(items))
    assert got[0] == got[3] == got[4] == "done"
    assert got[1] == TimedOut(items[1], "no result after 0.6 s")
    assert got[2] == TimedOut(items[2], "no result after 0.7 s", later=True)
    more_time(1.0)  # outside of a worker there is nobody to ask


def refuse(item: str) -> None:
    raise (InputError if item == "refused" else ValueError)("a.wav: expected sound,\nfound none")


def test_what_was_refused_is_one_line_here_and_a_fault_has_its_traceback() -> None:
    with Guarded(refuse) as pool:
        refused, fault = pool.map(["refused", "fault"])
    assert isinstance(refused, Raised) and isinstance(fault, Raised)
    error = refused.error("b.h5: u1", "feature mel")
    assert isinstance(error, InputError) and str(error) == "b.h5: u1: a.wav: expected sound, found none"
    assert str(refused.error("a.wav")) == "a.wav: expected sound, found none"
    error = fault.error("b.h5: u1", "feature mel")
    assert isinstance(error, RuntimeError)
    assert str(error).startswith("b.h5: u1: feature mel: Traceback") and "ValueError: a.wav" in str(error)
