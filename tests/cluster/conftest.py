"""These tests are for `make cluster-test`; without `-m cluster` they are not even collected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.cluster import slurm
from tests.cluster.project import Project


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if "cluster" in config.option.markexpr else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Outside of the namespace there is no SLURM to run on."""
    if slurm.NAMESPACE not in os.environ:
        reason = slurm.lacks() or "no SLURM of its own was started; type: make cluster-test"
        for item in items:
            if item.get_closest_marker("cluster"):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def daemons() -> Path:
    """The folder of SLURM's daemons."""
    return Path(os.environ[slurm.NAMESPACE])


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The whole demo, made on this machine without SLURM or interruption; whoever needs it first makes it."""
    project = Project(tmp_path_factory.getbasetemp().parent / "reference")
    with FileLock(f"{project.folder}.lock"):
        if not project.folder.exists():
            project.make().local("train_hifigan_prematched", "demo")
    return project
