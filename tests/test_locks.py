"""One holder at a time, over processes, forks and kills."""

import errno
import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcpipe import locks
from vcpipe.errors import InputError

WAIT_S = 10
HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from vcpipe.locks import held
def live(end):
    os.write(end, b".")
    time.sleep(60)
def child():
    how = sys.argv[2]
    begun, end = os.pipe()
    if how == "fork":
        if (number := os.fork()) == 0:
            live(end)
    if how == "worker":
        import multiprocessing
        worker = multiprocessing.get_context("fork").Process(target=live, args=(end,))
        worker.start()
        number = worker.pid
    if how in ("fork", "worker"):
        os.read(begun, 1)
        return number
    if how == "program":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False).pid
    return 0
with held(Path(sys.argv[1]), "training"):
    print(child(), flush=True)
    sys.stdin.read()
"""


def holder(path: Path, how: str = "alone") -> tuple[subprocess.Popen, int]:
    """A process that holds the lock until its input ends, and its child."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, int(process.stdout.readline())


def attempt(path: Path) -> subprocess.CompletedProcess:
    code = "import sys, pathlib, vcpipe.locks\nwith vcpipe.locks.held(pathlib.Path(sys.argv[1]), 'second'): pass"
    return subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=WAIT_S)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Processes that are killed when the test is over."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        os.kill(number, signal.SIGKILL)


def test_the_second_is_refused_and_told_who_holds_it(path: Path) -> None:
    process, _ = holder(path)
    done = attempt(path)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert f"{path}: held by process {process.pid} on {socket.gethostname()} since 20" in said
    assert f"(training); wait for it, or stop it with `kill {process.pid}`" in said
    process.communicate("", timeout=WAIT_S)
    assert attempt(path).returncode == 0
    assert not path.exists()


def test_it_is_refused_in_the_same_process_too_and_free_afterwards(path: Path) -> None:
    for _ in range(2):
        with locks.held(path, "one"):
            with pytest.raises(InputError, match=rf"held by process {os.getpid()} .*\(one\)"), locks.held(path, "two"):
                pass
            assert json.loads(path.read_text())["what"] == "one"
            assert attempt(path).returncode == 1
        assert not path.exists()
    with pytest.raises(RuntimeError), locks.held(path, "three"):
        raise RuntimeError
    assert not path.exists()


@pytest.mark.parametrize("how", ["alone", "fork", "worker", "program"])
def test_the_lock_of_a_killed_process_is_free_though_its_children_live(path: Path, caplog, stopped, how: str) -> None:
    process, child = holder(path, how)
    if child:
        stopped.append(child)
    process.kill()
    process.wait(WAIT_S)
    caplog.set_level(logging.INFO)
    with locks.held(path, "the next"):
        assert f"was held by process {process.pid} on {socket.gethostname()}" in caplog.text and "died" in caplog.text
        assert json.loads(path.read_text())["pid"] == os.getpid()
    if child:
        os.kill(child, 0)


def test_a_forked_child_that_ends_the_block_frees_nothing(path: Path) -> None:
    child = -1
    try:
        with locks.held(path, "the parent"):
            child = os.fork()
            if child == 0:
                raise SystemExit
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert json.loads(path.read_text())["pid"] == os.getpid()
            assert attempt(path).returncode == 1
    except SystemExit:
        os._exit(0)
    assert attempt(path).returncode == 0


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": "x"}', '{"pid": 1}', "\0" * 9000])
def test_a_holder_without_a_name_is_a_holder(path: Path, content: str) -> None:
    with locks.held(path, "first"):
        path.write_text(content)
        with pytest.raises(InputError, match="held by another process"), locks.held(path, "second"):
            pass


@pytest.mark.parametrize("content", ["", "{", "\0" * 9000])
def test_a_file_that_says_nothing_is_taken_over(path: Path, caplog, content: str) -> None:
    caplog.set_level(logging.INFO)
    path.write_text(content)
    with locks.held(path, "first"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists() and not caplog.text


def test_another_host_is_named_where_to_kill(path: Path) -> None:
    with locks.held(path, "first"):
        path.write_text('{"pid": 7, "host": "node\\u001b9", "since": "2020", "what": "training"}')
        words = "held by process 7 on node9 since 2020 .*`kill 7` on node9"
        with pytest.raises(InputError, match=words), locks.held(path, "second"):
            pass


def test_a_file_that_was_removed_while_it_was_opened_is_not_the_lock(path: Path, monkeypatch) -> None:
    """The one before removes its file after we have opened it, and a third makes a new one."""
    other = path.with_name("other")
    opened = locks._opened

    def slowly(path: Path):
        file = opened(path)
        if not other.exists():
            path.rename(other)
        return file

    monkeypatch.setattr(locks, "_opened", slowly)
    with locks.held(path, "first"):
        assert json.loads(path.read_text())["what"] == "first" and other.read_text() == ""
        assert attempt(path).returncode == 1


def test_another_ones_file_is_not_removed(path: Path) -> None:
    with locks.held(path, "first"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


def test_never_two_at_once(path: Path) -> None:
    """Eight processes take and leave it as fast as they can."""
    code = """
import os, sys, time
from pathlib import Path
from vcpipe.errors import InputError
from vcpipe.locks import held
path, times = Path(sys.argv[1]), 0
inside = path.with_name("inside")
deadline = time.monotonic() + 60
while times < 40 and time.monotonic() < deadline:
    try:
        with held(path, "work"):
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
            inside.unlink()
            times += 1
    except InputError:
        pass
print(times)
"""
    command = [sys.executable, "-c", code, path]
    each = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in each:
        out, wrong = process.communicate(timeout=120)
        assert (out, wrong) == ("40\n", "")
    assert not path.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_said(path: Path, monkeypatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    words = "cannot be locked" if number == errno.EIO else "has no locks .*use a folder on another disk"
    with pytest.raises(InputError, match=words), locks.held(path, "first"):
        pass


def test_a_place_that_cannot_be_written_is_said(path: Path) -> None:
    with pytest.raises(InputError, match="the lock cannot be made .No such file"), locks.held(path / "x", "first"):
        pass
    path.symlink_to("/dev/full")
    with pytest.raises(InputError, match="the lock cannot be made"), locks.held(path, "first"):
        pass


def test_threads_of_a_process_exclude_each_other(path: Path) -> None:
    said = []

    def second() -> None:
        try:
            with locks.held(path, "second"):
                said.append("")
        except InputError as error:
            said.append(str(error))

    with locks.held(path, "first"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(WAIT_S)
    assert len(said) == 1 and "(first)" in said[0]
