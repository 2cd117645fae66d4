"""Kills the workflow at many moments, runs it again, and compares what it leaves with a run that nobody disturbed.

    python benchmarks/kill_pipeline.py [--kills 50] [--seed 0] [--cores 2] [--signal KILL] [--whom group] [--only 3 17]

The feature stages of a small demo corpus in four shards: make, prepare, extract, derive, pre-match, pack. Two in five
kills come at moments spread over the run, the others as soon as something was written to a temporary file, was renamed,
or was noted by snakemake. Then, after SIGKILL with `--unlock` before it, the same command again. It must end with the
same bytes in every file of results/ (what lies in logs/ are times of day), and:

- no process of the killed run is left,
- whatever has its final name is whole, before anything is run again,
- no job that was finished runs again, and of those that were begun no more than there are cores,
- no temporary file is left, and snakemake knows of every file what made it, as it does after the quiet run.

`--whom head` kills snakemake alone, whose jobs go on. Prints one line a kill and a table; exits with 1 on a failure.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
MARK = "VCPIPE_KILLED_RUN"  # in the environment of a run and of all that it starts
CONFIG: dict[str, Any] = {
    "corpora": {"demo": {"kind": "demo", "shards": 4, "utterances": 3}},
    "audio": {"16k": {}},
    "features": {
        "units": {"kind": "whisper_tiny_en", "layer": 2},
        "f0": {"kind": "f0", "method": "praat"},
        "log_f0": {"kind": "log_f0", "of": "f0"},
    },
    "knnvc": {"corpus": "demo", "match": "units", "prematch": {"min_pool_s": 0.5}, "training": {"preset": "cpu"}},
    "packs": {"vocoder": {"corpus": "demo", "columns": {"units": "units", "wav": "16k"}, "target_mib": 2}},
}
TARGETS = ("features", "packs", *(f"results/features/prematched/demo/{i:03d}.h5" for i in range(4)))
IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x80, 0x100, 0x200
AIMS = ("moment", "write", "rename", "note")
TIMES = ("starttime", "endtime", "job_hash")  # of a record of snakemake, which no two runs share
RECORDS = (".snakemake/metadata", ".snakemake/incomplete")
EARLIER = 8
"""How often a kill that came too late is tried again, each time a fifth earlier."""


@dataclass(frozen=True)
class Kill:
    """When to kill: `at` is a share of the quiet run, of its time or of its events of that kind; then `delay_s`."""

    number: int
    aim: str
    at: float
    delay_s: float


@dataclass
class Quiet:
    """What a run does and leaves that nobody disturbed, and how long it took."""

    seconds: float
    events: Counter[str]
    jobs: set[str]
    files: dict[str, str]
    records: dict[str, dict[str, Any]]


@dataclass
class Outcome:
    """What came of a kill. `twice`: jobs that were begun before and after it; `late`: the run had ended before."""

    after_s: float
    late: bool = False
    twice: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


class Pipeline:
    """A working directory, and the command that a user types there."""

    def __init__(self, folder: Path, config: dict[str, Any], targets: Iterable[str], cores: int):
        self.folder, self.targets, self.cores, self.log = folder, list(targets), cores, folder / "killed.log"
        folder.mkdir(parents=True)
        self.configure(config)

    def configure(self, config: dict[str, Any]) -> None:
        """Lays a config where snakemake looks for it."""
        self.folders = folders(config)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def start(self, mark: str) -> subprocess.Popen[bytes]:
        with open(self.log, "wb") as log:
            return subprocess.Popen(
                self._command(*self.targets),
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(mark),
                start_new_session=True,
            )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and words of a run to the end; of the targets, unless others are given."""
        done = subprocess.run(
            self._command(*(arguments or self.targets)),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(""),
        )
        return done.returncode, done.stdout

    def files(self) -> dict[str, str]:
        """SHA-256 of every file of results/."""
        found = {}
        for path in sorted((self.folder / "results").rglob("*")):
            with suppress(FileNotFoundError, IsADirectoryError):  # a temporary file of a job that goes on
                found[str(path.relative_to(self.folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def records(self) -> dict[str, dict[str, Any]]:
        """What snakemake noted of every output, but for the times."""
        found = {path.name: json.loads(path.read_text()) for path in (self.folder / RECORDS[0]).iterdir()}
        return {name: {k: v for k, v in record.items() if k not in TIMES} for name, record in found.items()}

    def unfinished(self) -> list[str]:
        """Temporary files, and notes of outputs that are not whole."""
        left = [path for top in ("results", "logs") for path in (self.folder / top).rglob(".*")]
        left += (self.folder / RECORDS[1]).iterdir()
        return [str(path.relative_to(self.folder)) for path in left]

    def _command(self, *arguments: str) -> list[str]:
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        return [*snakemake, "--cores", str(self.cores), *arguments]

    def _environment(self, mark: str) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), MARK: mark}


class Watch:
    """Counts what happens in the folders of a pipeline as it happens, by inotify."""

    def __init__(self, pipeline: Pipeline):
        libc = ctypes.CDLL(None, use_errno=True)
        self.events: Counter[str] = Counter()
        self._fd = libc.inotify_init1(os.O_CLOEXEC)
        self._notes: set[int] = set()
        for name in (*pipeline.folders, *RECORDS):
            folder = pipeline.folder / name
            folder.mkdir(parents=True, exist_ok=True)
            wanted = IN_MODIFY | IN_MOVED_TO | IN_CREATE | IN_DELETE
            watched = libc.inotify_add_watch(self._fd, os.fsencode(folder), wanted)
            if watched < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))
            if name in RECORDS:
                self._notes.add(watched)

    def until(self, process: subprocess.Popen[bytes], aim: str, count: float, deadline: float) -> bool:
        """Waits for so many events of a kind, or for the deadline; False when the process ended before."""
        while self.events[aim] < count and time.monotonic() < deadline:
            left = min(0.1, max(0.0, deadline - time.monotonic()))
            if select.select([self._fd], [], [], left)[0]:
                self._take(os.read(self._fd, 1 << 16))
            elif process.poll() is not None:
                return False
        return process.poll() is None

    def close(self) -> None:
        os.close(self._fd)

    def _take(self, data: bytes) -> None:
        place = 0
        while place < len(data):
            watched, mask, _, length = struct.unpack_from("iIII", data, place)
            name = data[place + 16 : place + 16 + length].rstrip(b"\0")
            place += 16 + length
            if watched in self._notes:
                self.events["note"] += 1
            elif mask & IN_MOVED_TO:
                self.events["rename"] += 1
            elif name.endswith(b".tmp") and not mask & IN_DELETE:
                self.events["write"] += 1


def quiet_run(pipeline: Pipeline) -> Quiet:
    """Runs a pipeline to the end, and counts what happens in its folders."""
    watch, mark, started = Watch(pipeline), str(uuid.uuid4()), time.monotonic()
    process = pipeline.start(mark)
    watch.until(process, "write", 1, started + 3600)
    assert survivors(mark, 0.0), "no process of a run is found while it runs"
    watch.until(process, "never", 1, started + 3600)
    seconds = time.monotonic() - started
    if process.wait():
        raise SystemExit(pipeline.log.read_text())
    watch.close()
    begun, finished = jobs(pipeline.log.read_text())
    assert begun == finished, "the log of a run is not understood"
    return Quiet(seconds, watch.events, begun, pipeline.files(), pipeline.records())


def folders(config: dict[str, Any]) -> list[str]:
    """The folders that jobs write to; not that of the corpus, which is made beside its place and renamed."""
    corpus, audio = "results/corpora/demo", "results/audio/16k/demo"
    named = [f"results/features/{name}/demo" for name in (*config["features"], "prematched")]
    named += [f"results/packs/{name}" for name in config.get("packs", {})]
    parts = [f"{corpus}/{name}" for name in ("lists", "splits")]
    parts += [f"{audio}/{name}" for name in ("manifests", "rejects", "quality")]
    return [corpus, audio, *parts, *named]


def plan(kills: int, seed: int) -> list[Kill]:
    """Of every five kills two at a moment, and one at each other aim; each kind is spread over the whole run."""
    rng = random.Random(seed)
    aims = [("moment", "write", "moment", "rename", "note")[i % 5] for i in range(kills)]
    totals, seen = Counter(aims), Counter[str]()
    out = []
    for number, aim in enumerate(aims):
        at = (seen[aim] + rng.random()) / totals[aim]
        seen[aim] += 1
        out.append(Kill(number, aim, at, 0.0 if aim == "moment" else rng.choice((0.0, rng.uniform(0, 0.02)))))
    return out


def attempt(pipeline: Pipeline, kill: Kill, quiet: Quiet, sent: signal.Signals, head: bool = False) -> Outcome:
    """One kill, and all that is to be seen of it."""
    watch, mark, started = Watch(pipeline), str(uuid.uuid4()), time.monotonic()
    process = pipeline.start(mark)
    if kill.aim == "moment":
        watch.until(process, "never", 1, started + kill.at * quiet.seconds)
    else:
        watch.until(process, kill.aim, max(1, round(kill.at * quiet.events[kill.aim])), started + 10 * quiet.seconds)
    time.sleep(kill.delay_s)
    outcome = Outcome(time.monotonic() - started, late=process.poll() is not None)
    watch.close()
    if outcome.late:
        return outcome
    (os.kill if head else os.killpg)(process.pid, sent)
    process.wait()
    if not head:
        outcome.faults += [f"still runs: {words}" for words in survivors(mark)]
    for name, digest in pipeline.files().items():
        if not hidden(name) and quiet.files.get(name) != digest:
            outcome.faults.append(f"not whole, or not of this run: {name}")
    begun, finished = jobs(pipeline.log.read_text())
    if sent == signal.SIGKILL:
        status, words = pipeline.run("--unlock")
        if status:
            outcome.faults.append(f"--unlock: {words[-500:]}")
    status, words = pipeline.run()
    if status:
        outcome.faults.append(f"the second run: {words[-2000:]}")
    survivors(mark, 60.0)  # the jobs of a head that was killed alone
    again, _ = jobs(words)
    outcome.twice = begun & again
    if outcome.twice & finished:
        outcome.faults.append(f"finished, and made again: {sorted(outcome.twice & finished)}")
    if quiet.jobs - begun - again:
        outcome.faults.append(f"never begun: {sorted(quiet.jobs - begun - again)}")
    if len(outcome.twice) > pipeline.cores:
        outcome.faults.append(f"{len(outcome.twice)} jobs were begun twice: {sorted(outcome.twice)}")
    files = pipeline.files()
    outcome.faults += [
        f"differs: {name}" for name in sorted({*files, *quiet.files}) if files.get(name) != quiet.files.get(name)
    ]
    outcome.faults += [f"left behind: {name}" for name in pipeline.unfinished()]
    if pipeline.records() != quiet.records:
        outcome.faults.append("snakemake does not know of every file what made it")
    return outcome


def attempt_in_time(
    make: Callable[[int], Pipeline], kill: Kill, quiet: Quiet, sent: signal.Signals, head: bool = False
) -> tuple[Pipeline, Outcome]:
    """The kill in `make(0)`; where that run had ended before it, a little earlier in `make(1)`, and so on.

    A busy machine sees fewer of the events by which a kill is aimed. It gives up, and answers the last one, when even
    an early kill comes late.
    """
    for number in range(EARLIER):
        pipeline = make(number)
        outcome = attempt(pipeline, kill, quiet, sent, head)
        if not outcome.late:
            break
        kill = replace(kill, at=0.8 * kill.at)
    return pipeline, outcome


def jobs(log: str) -> tuple[set[str], set[str]]:
    """The jobs that a log of snakemake says were begun, and those that were finished: rule and wildcards."""
    names = {}
    for block in re.split(r"\n(?=(?:local)?rule )", log)[1:]:
        rule, jobid = re.match(r"(?:local)?rule (\w+):", block), re.search(r"jobid: (\d+)", block)
        if rule and jobid:
            wildcards = re.search(r"wildcards: (.*)", block.split("\n\n")[0])
            names[jobid[1]] = f"{rule[1]} {wildcards[1] if wildcards else ''}".strip()
    names = {jobid: name for jobid, name in names.items() if name not in ("features", "packs")}
    return set(names.values()), {names[i] for i in re.findall(r"Finished jobid: (\d+)", log) if i in names}


def survivors(mark: str, patience_s: float = 2.0) -> list[str]:
    """The command lines of the processes that a run has left, once it had some time."""
    until = time.monotonic() + patience_s
    while found := list(_marked(f"{MARK}={mark}".encode())):
        if time.monotonic() > until:
            return found
        time.sleep(0.02)
    return []


def _marked(wanted: bytes) -> Iterable[str]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
        except OSError:  # it has ended meanwhile
            continue


def hidden(name: str) -> bool:
    """Whether a file has a temporary name, or lies in a folder that has one."""
    return any(part.startswith(".") for part in Path(name).parts)


def main() -> None:
    """Kills, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--signal", choices=["KILL", "TERM", "INT"], default="KILL")
    parser.add_argument("--whom", choices=["group", "head"], default="group")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of kills, to repeat them")
    args = parser.parse_args()
    sent = signal.Signals[f"SIG{args.signal}"]
    with tempfile.TemporaryDirectory(prefix="vcpipe-kill-") as name:
        quiet = quiet_run(Pipeline(Path(name) / "quiet", CONFIG, TARGETS, args.cores))
        events = ", ".join(f"{quiet.events[aim]} of {aim}" for aim in AIMS[1:])
        print(f"a quiet run: {quiet.seconds:.1f} s, {len(quiet.files)} files; events: {events}", flush=True)
        tried, failed, twice = Counter[str](), Counter[str](), Counter[str]()
        for kill in plan(args.kills, args.seed):
            if args.only and kill.number not in args.only:
                continue

            def make(number: int, kill: Kill = kill) -> Pipeline:
                return Pipeline(Path(name) / f"kill-{kill.number}-{number}", CONFIG, TARGETS, args.cores)

            _, outcome = attempt_in_time(make, kill, quiet, sent, args.whom == "head")
            if outcome.late:
                raise SystemExit(f"kill {kill.number}: the run had always ended before; free the machine")
            for folder in Path(name).glob(f"kill-{kill.number}-*"):
                shutil.rmtree(folder)
            tried[kill.aim] += 1
            failed[kill.aim] += bool(outcome.faults)
            twice[kill.aim] = max(twice[kill.aim], len(outcome.twice))
            words = f"FAILED (--seed {args.seed} --only {kill.number})" if outcome.faults else "survived"
            print(f"{kill.number:3d} {kill.aim:<7}{outcome.after_s:6.2f} s {len(outcome.twice)} twice  {words}")
            print("".join(f"      {fault}\n" for fault in outcome.faults), end="", flush=True)
    print(f"\n{'SIG' + args.signal:<9}{'tried':>7}{'survived':>10}{'failed':>8}{'jobs begun twice, at most':>27}")
    for aim in (aim for aim in AIMS if tried[aim]):
        print(f"{aim:<9}{tried[aim]:>7}{tried[aim] - failed[aim]:>10}{failed[aim]:>8}{twice[aim]:>27}")
    most = max(twice.values(), default=0)
    print(f"{'all':<9}{tried.total():>7}{tried.total() - failed.total():>10}{failed.total():>8}{most:>27}")
    sys.exit(bool(failed.total()))


if __name__ == "__main__":
    main()
