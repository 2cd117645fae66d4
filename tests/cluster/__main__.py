"""`python -m tests.cluster` (what `make cluster-test` calls): starts a SLURM of its own and runs these tests on it.

--if-possible   where there can be none, say why and succeed
anything else   goes to pytest
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster import slurm

PLUGIN = "snakemake_executor_plugin_slurm"
APT = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge"]


def main(arguments: list[str]) -> int:
    """Outside: checks, and goes on within a namespace. Within: the daemons, then pytest."""
    if slurm.NAMESPACE in os.environ:
        return _within(Path(os.environ[slurm.NAMESPACE]), arguments)
    optional = "--if-possible" in arguments
    if reason := _lacks():
        print(f"cluster tests {'skipped' if optional else 'cannot run'}: {reason}")
        return 0 if optional else 1
    folder = Path(tempfile.mkdtemp(prefix="vcpipe-cluster-"))
    slurm.CONF.mkdir(exist_ok=True)  # to lay a private folder over it
    inside = 'mount -t tmpfs -o mode=755 tmpfs "$0" && "$@"; exit $?'  # a shell, for it takes in what daemons leave
    pytest = [sys.executable, "-m", "tests.cluster", *(a for a in arguments if a != "--if-possible")]
    command = [
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("bash", "-c", inside, str(slurm.CONF), *pytest),
    ]
    code = subprocess.run(command, env={**os.environ, slurm.NAMESPACE: str(folder)}).returncode
    if code:
        print(f"what the tests and SLURM's daemons left lies in {folder}")
    else:
        shutil.rmtree(folder)
    return code


def _lacks() -> str:
    if slurm.lacks() and os.geteuid() == 0 and shutil.which("apt-get"):
        print("installing slurm-wlm and munge", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        if subprocess.run(APT, env=environment, capture_output=True).returncode:  # perhaps only its lists are old
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
            subprocess.run(APT, env=environment, capture_output=True)
    if not importlib.util.find_spec(PLUGIN):
        return "the slurm plugin is not installed; type: make env EXTRA=slurm"
    return slurm.lacks()


def _within(folder: Path, arguments: list[str]) -> int:
    try:
        slurm.start(folder)
    except AssertionError as error:
        logs = "".join(f"\n{file}:\n{file.read_text()[-1500:]}" for file in sorted(folder.glob("*.out")))
        print(f"SLURM does not start: {error}{logs}")
        return 1
    # the modules wait for SLURM more than they compute: all at once
    options = ["-q", "-m", "cluster", "-n", "5", "--dist", "loadfile", f"--basetemp={folder}/tests"]
    paths = [] if any(not a.startswith("-") for a in arguments) else ["tests/cluster"]
    return subprocess.run([sys.executable, "-m", "pytest", *options, *arguments, *paths]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
