"""The set-up: what `make env` decides, on fake trees; no package is installed here."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
SLURM_LOCK = (ROOT / "requirements-slurm.lock").read_text()


PROFILES = ("default", "gpu", "slurm")


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vcpipe_install", ROOT / "tools" / "install.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


installer = _load()


def _environment(tmp_path: Path, torchaudio: str) -> Path:
    """A python that finds only a fake torchaudio, whose `__init__` is given, with two native libraries."""
    lib = tmp_path / "site" / "torchaudio" / "lib"
    lib.mkdir(parents=True)
    (lib / "__init__.py").write_text("")
    (lib / "libtorchaudio.so").write_text("native")
    (lib / "_torchaudio.abi3.so").write_text("native")
    (lib.parent / "__init__.py").write_text(torchaudio)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path / "site"} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "__pycache__")


BREAKS_ON_LIBRARY = (
    "import pathlib\nif list((pathlib.Path(__file__).parent / 'lib').glob('*.so')): raise OSError('undefined symbol')\n"
)


def test_torchaudio_that_imports_is_left_alone(tmp_path: Path) -> None:
    python = _environment(tmp_path, "")
    installer.repair_torchaudio(python)
    lib = tmp_path / "site" / "torchaudio" / "lib"
    assert _names(lib) == ["__init__.py", "_torchaudio.abi3.so", "libtorchaudio.so"]


def test_native_libraries_of_another_build_are_set_aside_once(tmp_path: Path) -> None:
    python = _environment(tmp_path, BREAKS_ON_LIBRARY)
    lib = tmp_path / "site" / "torchaudio" / "lib"
    for _ in range(2):
        installer.repair_torchaudio(python)
        assert _names(lib) == ["__init__.py", "unused"]
        assert _names(lib / "unused") == ["_torchaudio.abi3.so", "libtorchaudio.so"]
    assert installer.import_error(python, "torchaudio") == ""


def test_torchaudio_broken_for_another_reason_is_an_error_with_that_reason(tmp_path: Path) -> None:
    python = _environment(tmp_path, "raise ImportError('no such thing as sound')")
    with pytest.raises(SystemExit, match=r"no such thing as sound.*make env"):
        installer.repair_torchaudio(python)


@pytest.mark.parametrize("version", [(3, 11), (3, 12), (3, 13)])
def test_supported_pythons_are_accepted(version: tuple[int, int]) -> None:
    installer.check_python(version)


def test_an_old_python_is_refused_with_a_way_out() -> None:
    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or newer, this is 3\.9; try: make env PYTHON="):
        installer.check_python((3, 9))


def test_an_up_to_date_environment_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, calls = _repository(tmp_path, monkeypatch)
    installer.install(root, root / ".venv")
    first = len(calls)
    assert first >= 3
    installer.install(root, root / ".venv")
    assert len(calls) == first
    (root / "requirements.lock").write_text("numpy==1.0\ntorch==2.1\n")
    installer.install(root, root / ".venv")
    assert len(calls) > first


def test_packages_are_installed_without_their_wishes_and_torch_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, calls = _repository(tmp_path, monkeypatch)
    installer.install(root, root / ".venv")
    lock, torch, editable = [call for call in calls if "install" in call]
    assert "--no-deps" in lock
    assert torch[-1] == "torch==2.0"
    assert "--no-deps" not in torch
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(editable)


def test_a_suitable_torch_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, calls = _repository(tmp_path, monkeypatch)
    monkeypatch.setattr(installer, "installed_version", lambda python, package: "2.0")
    installer.install(root, root / ".venv")
    assert not [call for call in calls if call[-1].startswith("torch==")]


def test_a_failed_installation_leaves_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = _repository(tmp_path, monkeypatch)
    installer.install(root, root / ".venv")
    (root / "requirements.lock").write_text("numpy==1.0\ntorch==2.1\n")

    def fail(command: list[str], hint: str) -> None:
        raise SystemExit("no network")

    monkeypatch.setattr(installer, "_run", fail)
    with pytest.raises(SystemExit, match="no network"):
        installer.install(root, root / ".venv")
    assert not (root / ".venv" / ".installed").exists()


def test_a_build_mark_is_not_part_of_the_version(tmp_path: Path) -> None:
    python = _environment(tmp_path, "")
    info = tmp_path / "site" / "torch_like-2.13.0+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-like\nVersion: 2.13.0+cpu\n")
    assert installer.installed_version(python, "torch-like") == "2.13.0"
    assert installer.installed_version(python, "no-such-package-here") == ""


def test_the_lock_pins_every_line_to_a_public_version() -> None:
    others, torch = installer.split_lock(LOCK)
    for line in [*others, torch]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
    names = [line.partition("==")[0].lower() for line in others]
    assert len(names) == len(set(names))
    assert {"snakemake==9.27.1", "torchaudio==2.11.0"} <= set(others)


@pytest.mark.parametrize("lock", [LOCK, SLURM_LOCK], ids=["base", "slurm"])
def test_the_lock_names_no_place(lock: str) -> None:
    assert not re.search(r"https?:|file:|@|index-url|find-links|/opt|/work", lock)


def test_an_extra_is_added_as_pinned_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, calls = _repository(tmp_path, monkeypatch)
    (root / "requirements-slurm.lock").write_text("# more\npandas==3.0\n")
    installer.install(root, root / ".venv")
    calls.clear()
    installer.install_extra(root, root / ".venv", "slurm")
    assert len(calls) == 1 and "--no-deps" in calls[0]
    assert (root / ".venv" / ".installed-slurm").is_file()
    with pytest.raises(SystemExit, match="EXTRA=pbs: expected one of slurm"):
        installer.install_extra(root, root / ".venv", "pbs")


def test_the_lock_of_the_extra_has_what_its_extra_asks_for_and_repeats_nothing() -> None:
    pins = dict(line.split("==") for line in installer.pins(SLURM_LOCK))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["slurm"]
    assert [re.split("[><=]", line)[0] in pins for line in wanted] == [True]
    others = {line.partition("==")[0].lower() for line in installer.pins(LOCK)}
    assert not others & {name.lower() for name in pins}


def test_the_profile_for_slurm_goes_by_the_rules_of_the_workflow_and_by_the_default_profile() -> None:
    profiles = {name: yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text()) for name in PROFILES}
    rules = {
        name
        for file in (ROOT / "workflow").rglob("*.smk")
        for name in re.findall(r"^rule (\w+):", file.read_text(), re.M)
    }
    for profile in profiles.values():
        assert set(profile.get("set-resources", {})) | set(profile.get("set-threads", {})) <= rules
        assert profile.items() >= profiles["default"].items()  # it stands in place of the default one
    assert profiles["slurm"]["slurm-no-requeue"] and profiles["slurm"]["retries"] > 0  # one owner of retries


def test_the_installer_starts_on_the_oldest_syntax_far_enough_to_say_so() -> None:
    source = (ROOT / "tools" / "install.py").read_text()
    compile(source, "install.py", "exec", dont_inherit=True)
    import ast

    ast.parse(source, feature_version=(3, 8))


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "-s", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True).stdout
    for target in ("env", "demo", "test", "cluster-test", "check", "clean"):
        assert f"make {target} " in shown


def test_templates_and_sentences_are_package_data() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["vcpipe"]
    package = ROOT / "vcpipe"
    listed = {file for pattern in data for file in package.glob(pattern)}
    needed = {f for f in package.rglob("*") if f.is_file() and f.suffix in {".txt", ".html", ".css", ".js"}}
    assert needed <= listed


def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[list[str]]]:
    """A repository with a lock, and the commands that an installation there would have run."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "requirements.lock").write_text("# a lock\nnumpy==1.0\ntorch==2.0\n")
    (root / "pyproject.toml").write_text("")
    calls: list[list[str]] = []

    def record(command: list[str], hint: str) -> None:
        calls.append(command)
        if "venv" in command:
            folder = Path(command[-1]) / "bin"
            folder.mkdir(parents=True)
            (folder / "python").write_text("#!/bin/sh\n")
            (folder / "python").chmod(0o755)

    monkeypatch.setattr(installer, "_run", record)
    return root, calls
