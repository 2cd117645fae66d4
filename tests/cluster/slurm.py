"""A SLURM of two nodes on this machine, for the tests: real daemons, real signals, and make-believe GPUs.

It runs in a namespace of its own, which `python -m tests.cluster` makes: there /etc/slurm is a fresh folder that nobody
outside sees, and when the namespace ends, however it ends, every daemon and every job ends with it. So a real
/etc/slurm/slurm.conf is neither read nor touched, and none is left behind, with which every later start of snakemake
would wait ten seconds for an answer. It must be that path: what starts within a job looks nowhere else.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CONF = Path("/etc/slurm")
NAMESPACE = "VCPIPE_CLUSTER"  # set within it: the folder of the daemons
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "srun", "unshare")
NODE, SPARE = "n1", "n2"  # the second is there to be lost; each is a partition of its name

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket=/etc/slurm/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
# without control groups: nothing is enforced but time
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SlurmdTimeout=10
# seconds between the SIGTERM and the SIGKILL, as usual
KillWait=30
MinJobAge=600
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
# cores and memory are claimed, so that what the profile asks for is there on any machine
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {size}
NodeName={spare} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {size}
PartitionName={node} Nodes={node} Default=YES
PartitionName={spare} Nodes={spare}
"""
SIZE = "Boards=1 SocketsPerBoard=1 CoresPerSocket=32 ThreadsPerCore=1 RealMemory=256000 Gres=gpu:8 State=UNKNOWN"


def lacks() -> str:
    """Why there can be no SLURM here; empty where there can."""
    if missing := [name for name in PROGRAMS if not program(name)]:
        return f"{', '.join(missing)} not found; on Debian and Ubuntu: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "the daemons of a private SLURM want root"
    if subprocess.run([program("unshare"), "--mount", "--pid", "--fork", "true"], capture_output=True).returncode:
        return "this machine allows no namespaces (unshare --mount --pid)"
    return ""


def start(folder: Path) -> None:
    """Starts the daemons, whose logs and state go to `folder`, and waits until each node has run a job."""
    for name in ("state", "munge", f"spool-{NODE}", f"spool-{SPARE}"):
        (folder / name).mkdir(parents=True)
    host = socket.gethostname().partition(".")[0]
    conf = SLURM_CONF.format(host=host, folder=folder, ports=_free_ports(3), node=NODE, spare=SPARE, size=SIZE)
    (CONF / "slurm.conf").write_text(conf)
    for gpu in range(8):  # that can be asked for and given; the job finds its CUDA_VISIBLE_DEVICES and no card
        (CONF / f"gpu{gpu}").touch()
    (CONF / "gres.conf").write_text(f"NodeName={NODE},{SPARE} Name=gpu File={CONF}/gpu[0-7]\n")
    (CONF / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    _munged(folder / "munge")
    _daemon(folder, "slurmctld", "-D")
    for node in (NODE, SPARE):
        start_node(folder, node)
        run("srun", "--partition", node, "--immediate=20", "true")


def start_node(folder: Path, node: str) -> None:
    """Starts the daemon of a node, anew where it was lost, and waits until it takes jobs."""
    _daemon(folder, "slurmd", "-D", "-N", node)
    wait_for(lambda: run("sinfo", "-h", "-n", node, "-p", node, "-o", "%T").strip() in ("idle", "mixed"), node, 40)


def lose_node(folder: Path, node: str) -> None:
    """What a power cut does: the node's daemon, the keepers of its jobs and the jobs are gone at once."""
    keepers = [
        int(pid)
        for job in run("squeue", "-h", "-w", node, "-o", "%i").split()
        for pid in run("pgrep", "-f", rf"^slurmstepd: \[{job}\.", check=False).split()
    ]
    victims = [int((folder / f"slurmd-{node}.pid").read_text()), *(p for keeper in keepers for p in tree(keeper))]
    for pid in victims:
        kill(pid)


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    return [pid, *(p for child in run("pgrep", "-P", str(pid), check=False).split() for p in tree(int(child)))]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to a process that may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def run(*command: str, check: bool = True) -> str:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def wait_for(happened: Callable[[], object], what: str, timeout_s: float) -> None:
    """Looks ten times a second."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.1)


def program(name: str) -> str:
    """Where a program lies; daemons are not on everybody's path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _munged(at: Path) -> None:
    (at / "key").touch(0o600)
    (at / "key").write_bytes(os.urandom(1024))
    files = [f"--{name}-file={at / name}" for name in ("key", "log", "pid", "seed")]
    sock = CONF / "munge.socket"  # every folder above it must be open to all, as those of tests are not
    _daemon(at.parent, "munged", "--foreground", f"--socket={sock}", *files)
    wait_for(sock.exists, "munged", 10)


def _daemon(folder: Path, name: str, *arguments: str) -> None:
    with open(folder / f"{name}.out", "ab") as out:
        subprocess.Popen(
            [program(name), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
