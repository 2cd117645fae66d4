from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.exchange import shards
from vcpipe.errors import InputError
from vcpipe.exchange.cli import export, import_
from vcpipe.grid import Grid

app = typer.Typer()
app.command()(export)
app.command("import")(import_)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_export_and_import(tmp_path: Path) -> None:
    us = shards.utterances(0.5)
    units = shards.frames(us, Grid(16000, 320), 8, "float16")
    shards.column(tmp_path / "units", units, shards.of(us), Grid(16000, 320), {"kind": "wavlm"})
    manifest = shards.manifest(tmp_path, us)
    done = run("export", "--layout", "knn-vc", "--manifest", manifest, "--column", f"units={tmp_path / 'units'}",
               "--to", tmp_path / "out")  # fmt: skip
    assert done.exit_code == 0 and "6 utterances in the layout of knn-vc" in done.output
    done = run("import", "--layout", "knn-vc", "--from", tmp_path / "out", "--to", tmp_path / "back", "--shards", 2)
    assert done.exit_code == 0, done.output
    assert shards.read(tmp_path / "back" / "units").keys() == units.keys()
    done = run("import", "--layout", "npy-tree", "--from", tmp_path / "out", "--to", tmp_path / "again",
               "--column", "units=.:.pt", "--grid", "units=16000/320")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert shards.read(tmp_path / "again" / "units").keys() == units.keys()


def test_wrong_words(tmp_path: Path) -> None:
    assert run("export", "--layout", "nobody", "--manifest", "m", "--column", "a=b", "--to", "t").exit_code == 2
    absent = run("import", "--layout", "knn-vc", "--from", tmp_path / "absent", "--to", tmp_path / "out")
    assert isinstance(absent.exception, InputError) and "no such folder" in str(absent.exception)


@pytest.mark.parametrize("command", ["export", "import"])
def test_help(command: str) -> None:
    done = run(command, "--help")
    assert done.exit_code == 0 and "--layout" in done.output
