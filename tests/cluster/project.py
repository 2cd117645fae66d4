"""A working directory with the demo at its smallest, and what a user types in it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.slurm import run, wait_for

ROOT = Path(__file__).parents[2]
SMALL = Path(__file__).with_name("small.yaml")
COMPUTES = ("prepare_audio", "extract", "prematch", "train_hifigan_prematched", "render_knnvc", "judge")
TRAINING_LOG = "logs/train_hifigan_prematched.log"
RUN = "results/runs/hifigan_prematched"


class Project:
    """A working directory of its own: config.yaml, the splits, and what is made there."""

    def __init__(self, folder: Path):
        self.folder, self.head_log = folder, folder / "head.log"
        self.profile = folder / "profiles" / "mine" / "profile.yaml"

    def make(self) -> Project:
        """Without the committed trials, which name more utterances than the small corpus has."""
        (self.folder / "data_splits").mkdir(parents=True)
        (self.folder / "data_splits" / "demo").symlink_to(ROOT / "data_splits" / "demo")
        shutil.copy(ROOT / "config.yaml", self.folder)
        shutil.copytree(ROOT / "profiles" / "slurm", self.profile.parent)
        self.edit_profile("# slurm-status-command: squeue", "slurm-status-command: squeue")
        self.edit_profile("status-checks: 20", "status-checks: 1")
        self.edit_profile("latency-wait: 60", "latency-wait: 5")
        return self

    def edit_profile(self, before: str, after: str) -> None:
        """As a user does who follows its comments."""
        text = self.profile.read_text()
        assert text.count(before) == 1, before
        self.profile.write_text(text.replace(before, after))

    def copy_of(self, other: Project, *without: str) -> Project:
        """As the other one stands, without some of its results and without its logs."""
        shutil.copytree(other.folder, self.folder, symlinks=True)
        for path in ("logs", *(f"results/{name}" for name in without)):
            shutil.rmtree(self.folder / path)
        return self

    def local(self, *targets: str, options: Sequence[str] = ()) -> str:
        """Runs snakemake on this machine; what it printed."""
        at = ["--cores", "2", "--workflow-profile", str(ROOT / "profiles" / "default"), *options]
        command = self._command(at, *targets)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=_environment(), timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *targets: str) -> subprocess.Popen[bytes]:
        """Starts a head on the cluster and leaves it running."""
        command = self._command(["--workflow-profile", "profiles/mine"], *targets)
        with open(self.head_log, "ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=_environment(), start_new_session=True
            )

    def type(self, script: str) -> str:
        """Lines that a user types, in a shell whose `snakemake` knows this test's small config; what they printed."""
        snakemake = shlex.join(self._command([]))
        done = subprocess.run(
            ["bash", "-c", f'set -euo pipefail; snakemake() {{ {snakemake.removesuffix("--")} "$@"; }}; {script}'],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=_environment(),
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def finish(self, head: subprocess.Popen[bytes], timeout_s: float = 400) -> str:
        """What the heads printed, the last of which is to end well."""
        try:
            code = head.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            raise AssertionError(f"not done in {timeout_s} s:\n{self.printed()[-3000:]}") from None
        assert code == 0, self.printed()[-3000:]
        return self.printed()

    def printed(self) -> str:
        """By the heads so far."""
        return self.head_log.read_text()

    def job(self, nth: int, timeout_s: float = 180) -> str:
        """SLURM's number of the nth job that the heads submitted."""
        pattern = r"has been submitted with SLURM jobid (\d+)"
        wait_for(lambda: len(re.findall(pattern, self.printed())) > nth, f"job {nth} of {self.folder}", timeout_s)
        return re.findall(pattern, self.printed())[nth]

    def run_name(self) -> str:
        """The name that all jobs of the last head have."""
        return re.findall(r"SLURM run ID: (\S+)", self.printed())[-1]

    def process(self, words: str, timeout_s: float = 180) -> int:
        """The stage of this project whose command holds the words, as soon as it runs."""
        found: list[int] = []

        def look() -> bool:
            found[:] = filter(self._is_mine, map(int, run("pgrep", "-f", words, check=False).split()))
            return bool(found)

        wait_for(look, f"'{words}' in {self.folder}", timeout_s)
        return found[0]

    def wait_for_step(self, step: int, timeout_s: float = 180) -> None:
        """Until the log of the training that runs tells of this step or a later one."""
        log = self.folder / TRAINING_LOG

        def reached() -> bool:
            return log.exists() and any(int(s) >= step for s in re.findall(r"\bstep (\d+)/", log.read_text()))

        wait_for(reached, f"step {step} of {self.folder}", timeout_s)

    def training_logs(self) -> list[str]:
        """Of each time that the training was started: the head shows those of the failed ones."""
        failed = re.findall(rf"^Logfile {TRAINING_LOG}:\n=+\n(.*?)\n=+$", self.printed(), re.M | re.S)
        return [*failed, (self.folder / TRAINING_LOG).read_text()]

    def resumed_at(self) -> list[int | None]:
        """The step after which the training went on, of each time that it was started; None where it began."""
        found = [re.search(r"goes on after step (\d+)", log) for log in self.training_logs()]
        return [int(match[1]) if match else None for match in found]

    def made(self, *names: str) -> dict[str, bytes]:
        """The files below some folders of results/."""
        at = self.folder / "results"
        return {str(p.relative_to(at)): p.read_bytes() for name in names for p in (at / name).rglob("*") if p.is_file()}

    def model(self) -> str:
        """The checksum of the trained weights."""
        return str(json.loads((self.folder / RUN / "config.json").read_text())["checksum"])

    def _command(self, at: list[str], *targets: str) -> list[str]:
        """One thread for each stage: then the numbers are the same wherever it runs."""
        threads = [f"{rule}=1" for rule in COMPUTES]
        return [
            *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *at),
            *("--configfile", "config.yaml", str(SMALL), "--set-threads", *threads, "--", *targets),
        ]

    def _is_mine(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.folder and Path(
                f"/proc/{pid}/exe"
            ).readlink().name.startswith("python")
        except FileNotFoundError:
            return False


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
