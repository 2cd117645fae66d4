"""The life of a worker of `vcpipe.guarded`: what it is allowed, and how it answers through its pipe."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vcpipe.errors import InputError

HEADER = struct.Struct("<4sBIQ")  # magic, kind, bytes of JSON, bytes of array
MAGIC = b"vcg1"
JSON, ARRAY, PAIR, RAISED, MORE_TIME = 0, 1, 2, 3, 4
PIPE = 1 << 20  # a result of this size is handed over without waiting for this process
OUT_OF_MEMORY = 77  # exit code of a worker

_pipe: list[int] = []  # in a worker: where its results go


def work(function: Callable[[Any], Any], tasks: int, results: int, memory: int) -> None:
    """The life of a worker: until the pipe of tasks ends."""
    gc.freeze()  # the garbage of the parent is not ours to collect: it may close files
    _settle(memory, results)
    _pipe[:] = [results]
    while head := read(tasks, 4):
        item = json.loads(read(tasks, struct.unpack("<I", head)[0]))
        kind, data = JSON, memoryview(b"")
        try:
            result = function(item)
            about, array = result if isinstance(result, tuple) else (None, result)
            if isinstance(array, np.ndarray):
                flat = np.ascontiguousarray(array).reshape(-1)
                kind, data = PAIR if isinstance(result, tuple) else ARRAY, flat.view(np.uint8).data
                result = {"shape": array.shape, "dtype": flat.dtype.str, "about": about}
            text = json.dumps(result).encode()
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        except Exception as error:
            refusal = " ".join(str(error).splitlines()) if isinstance(error, InputError) else None
            kind, data, text = RAISED, memoryview(b""), json.dumps([traceback.format_exc(), refusal]).encode()
        write(results, HEADER.pack(MAGIC, kind, len(text), len(data)) + text)
        write(results, data)


def more_time(limit_s: float) -> None:
    """Begins another part of the work on an item, which has `limit_s` seconds from now; nothing outside a worker.

    For work whose length only shows under way: a tight limit guards the part that may hang, this one the rest. What
    takes longer is a `TimedOut` of kind `later`.
    """
    if _pipe:
        text = json.dumps(limit_s).encode()
        write(_pipe[0], HEADER.pack(MAGIC, MORE_TIME, len(text), 0) + text)


def _settle(memory: int, results: int) -> None:
    """Limits and signals of a worker."""
    import faulthandler

    faulthandler.disable()  # the parent reports a crash; a dump of its stack would be noise
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    with open("/proc/self/statm") as f:
        held = int(f.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bounds = [b for b in (held + memory, soft, hard) if b != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    for settle in (
        lambda: fcntl.fcntl(results, fcntl.F_SETPIPE_SZ, PIPE),
        lambda: Path("/proc/self/oom_score_adj").write_text("1000"),  # short of memory, lose a worker, not the job
    ):
        with contextlib.suppress(OSError):
            settle()


def write(fd: int, data: memoryview | bytes) -> None:
    """All of `data`, however often the pipe is full."""
    view = memoryview(data)
    while len(view):
        view = view[os.write(fd, view) :]


def read(fd: int, count: int) -> bytes:
    """`count` bytes; fewer, or none, where the pipe ends."""
    parts = []
    while count and (part := os.read(fd, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def ended(pid: int, patience_s: float = 0.0) -> str:
    """Kills a worker, unless it has ended or will within `patience_s`, and says how it ended; for its parent."""
    until = time.monotonic() + patience_s
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() >= until:
            os.kill(pid, signal.SIGKILL)
            found = os.waitpid(pid, 0)
            break
        time.sleep(0.001)
    status = found[1]
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.WEXITSTATUS(status)
    return "out of memory" if code == OUT_OF_MEMORY else f"ended by itself with code {code}"
