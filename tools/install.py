"""Makes the environment: `.venv` beside this repository's README, with exactly the packages of `requirements.lock`.

`python3 tools/install.py` (what `make env` calls) may be repeated at will: an environment that was made from the
same lock, project file and Python is left as it is, at the price of reading two files. `python3 tools/install.py slurm`
(`make env EXTRA=slurm`) adds what few need, from `requirements-slurm.lock`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = (3, 11)
SO_SUFFIXES = (".so", ".pyd", ".dylib")


def install(root: Path, venv: Path) -> None:
    """Brings `venv` in line with the lock of the repository at `root`."""
    stamp = venv / ".installed"
    wanted = fingerprint(root)
    if stamp.is_file() and stamp.read_text() == wanted and (venv / "bin" / "python").exists():
        stamp.touch()  # for make, which compares times
        return
    stamp.unlink(missing_ok=True)
    python = venv / "bin" / "python"
    if python.exists() and python_of(python) != ".".join(map(str, sys.version_info[:2])):
        _say(f"{venv.name} is of Python {python_of(python)}: making it anew")
        shutil.rmtree(venv)
    if not python.exists():
        _say(f"making {venv.name} with Python {sys.version.split()[0]}")
        _run([sys.executable, "-m", "venv", str(venv)], "on Debian and Ubuntu: apt-get install python3-venv")
    others, torch = split_lock((root / "requirements.lock").read_text())
    _say(f"installing {len(others) + 1} packages; a few minutes the first time")
    _pip_lock(python, others)
    if installed_version(python, "torch") != torch.partition("==")[2]:
        _pip(python, ["--constraint", str(root / "requirements.lock"), torch])
    repair_torchaudio(python)
    _pip(python, ["--no-deps", "--no-build-isolation", "--editable", str(root)])
    stamp.write_text(wanted)
    _say(f"{venv.name} is ready")


def install_extra(root: Path, venv: Path, name: str) -> None:
    """Adds what one extra of pyproject.toml asks for to an environment that is there, as pinned in its own lock."""
    lock = root / f"requirements-{name}.lock"
    if not lock.is_file():
        known = sorted(file.stem.removeprefix("requirements-") for file in root.glob("requirements-*.lock"))
        raise SystemExit(f"EXTRA={name}: expected one of {', '.join(known) or 'none'}")
    lines = pins(lock.read_text())
    _say(f"adding {name}: {', '.join(lines)}")
    _pip_lock(venv / "bin" / "python", lines)
    (venv / f".installed-{name}").touch()  # for make, which compares times


def python_of(python: Path) -> str:
    """The version of an interpreter as `3.11`; '' where it does not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True).stdout.strip()


def fingerprint(root: Path) -> str:
    """What an environment depends on, as one string: the lock, the project file, this file, the Python."""
    files = [root / "requirements.lock", root / "pyproject.toml", Path(__file__)]
    parts = [sys.version, *(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def split_lock(text: str) -> tuple[list[str], str]:
    """The lock as its ordinary lines and the line of torch, which alone is installed with what it asks for."""
    lines = pins(text)
    torch = [line for line in lines if line.startswith("torch==")]
    if len(torch) != 1:
        raise SystemExit(f"requirements.lock: expected one line 'torch==VERSION', found {len(torch)}")
    return [line for line in lines if line not in torch], torch[0]


def pins(text: str) -> list[str]:
    """The lines of a lock without its comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def installed_version(python: Path, package: str) -> str:
    """The version of a package in an environment without its build's mark ('2.1.0+cpu' is '2.1.0'); '' if absent."""
    code = (
        "import importlib.metadata as m, sys\n"
        "try: print(m.version(sys.argv[1]).partition('+')[0])\n"
        "except m.PackageNotFoundError: pass"
    )
    return subprocess.run([str(python), "-c", code, package], capture_output=True, text=True).stdout.strip()


def repair_torchaudio(python: Path) -> None:
    """Makes `import torchaudio` work beside a torch of another build.

    Its published build has native libraries for one kind of torch; loading them beside another fails, though nothing
    that vcpipe uses is in them. Then, and only then, they are set aside, and what is written in torch remains.
    """
    broken = import_error(python, "torchaudio")
    if not broken:
        return
    folder = _package_folder(python, "torchaudio")
    moved = set_libraries_aside(folder / "lib") if folder else []
    still = import_error(python, "torchaudio")
    if still:
        raise SystemExit(f"torchaudio cannot be imported: {still}; remove .venv and run `make env` again")
    _say(f"torchaudio: {len(moved)} native libraries are for another build of torch; set aside in lib/unused")


def set_libraries_aside(folder: Path) -> list[Path]:
    """Moves the shared libraries of a folder into its `unused/`; returns where they went. Twice is as once."""
    libraries = sorted(file for file in folder.glob("*") if file.suffix in SO_SUFFIXES)
    unused = folder / "unused"
    if libraries:
        unused.mkdir(exist_ok=True)
    return [file.replace(unused / file.name) for file in libraries]


def import_error(python: Path, module: str) -> str:
    """The last line that importing a module prints on failure; '' if it can be imported."""
    done = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no message"])[-1]


def _package_folder(python: Path, package: str) -> Path | None:
    code = "import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])"
    done = subprocess.run([str(python), "-c", code, package], capture_output=True, text=True)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def _pip_lock(python: Path, lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(lines) + "\n")
        _pip(python, ["--no-deps", "--requirement", str(file)])


def _pip(python: Path, arguments: list[str]) -> None:
    hint = "see the lines above; is the package index reachable, and is there space on the disk?"
    _run([str(python), "-m", "pip", "install", "-qq", *arguments], hint)


def _run(command: list[str], hint: str) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:  # only then: pip also complains of wishes that the lock overrules on purpose
        raise SystemExit(f"{done.stdout.rstrip()}\nthis failed: {' '.join(command)}\n{hint}")


def _say(line: str) -> None:
    print(f"env: {line}", flush=True)


def check_python(version: tuple[int, ...]) -> None:
    """Refuses a Python that is too old, naming the way to choose another."""
    if version < OLDEST:
        found, wanted = (".".join(map(str, v)) for v in (version, OLDEST))
        raise SystemExit(f"vcpipe needs Python {wanted} or newer, this is {found}; try: make env PYTHON=python3.12")


if __name__ == "__main__":
    check_python(tuple(sys.version_info[:2]))
    here = Path(__file__).resolve().parent.parent
    install(here, here / ".venv")
    for extra in sys.argv[1:]:
        install_extra(here, here / ".venv", extra)
