"""What every command promises: one line and exit code 2 for a wrong input, help where nothing was asked for."""

import sys
from pathlib import Path

import pytest
import torch

from vcpipe import cli
from vcpipe.device import choose
from vcpipe.errors import InputError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["vcpipe", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["convert", "--source", "a", "--reference", "b", "--out", "c"], "Missing option '--run'"),
        (["convert", "--run", "a", "--reference", "b", "--out", "c"], "Missing option '--source'"),
        (["knnvc", "convert", "--run", "a", "--source", "b", "--out", "c"], "Missing option '--reference'"),
        (["convert", "--runn", "a"], "No such option: --runn"),
        (["convert", "--topk", "none"], "Invalid value for '--topk'"),
        (["convert", "--target-duration", "-1"], "Invalid value for '--target-duration'"),
        (["extract"], "Missing option '--slice'"),
        (["inspect"], "Missing argument 'path'"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_a_command_typed_wrong_is_answered_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert run(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("vcpipe: ") and words in err and "--help`" in err and "`vcpipe " in err
    assert len(err.splitlines()) == 1 and out == ""


@pytest.mark.parametrize("arguments", [["--help"], ["convert", "--help"], ["knnvc", "convert", "--help"]])
def test_help_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert run(monkeypatch, *arguments) == 0
    out, err = capsys.readouterr()
    assert "Usage: " in out and err == ""
    assert "--target-duration" in out or arguments == ["--help"]


def test_the_help_named_in_an_error_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "convert", "--run", "a")
    hint = capsys.readouterr().err.split("`")[1].split()
    assert hint[0] == "vcpipe" and run(monkeypatch, *hint[1:]) == 0
    assert "--reference" in capsys.readouterr().out


def test_nothing_asked_for_is_answered_with_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["knnvc"]):
        assert run(monkeypatch, *arguments) == 2
        assert capsys.readouterr().err.startswith("Usage: ")


def test_what_the_system_refuses_is_one_line_with_the_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_text("a file")
    arguments = ["--slice", '{"kind": "demo"}', "--root", str(tmp_path / "root"), "--out", str(tmp_path / "a" / "b")]
    monkeypatch.setattr("vcpipe.corpora.demo.make", lambda settings, root: None)
    assert run(monkeypatch, "make-corpus", *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"vcpipe: {tmp_path / 'a'}: ") and "check the path" in err
    assert len(err.splitlines()) == 1


def test_any_other_fault_shows_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(path: Path, verify: bool) -> str:
        raise OSError("no file is named")

    monkeypatch.setattr("vcpipe.inspection.describe", fail)
    monkeypatch.setattr(sys, "argv", ["vcpipe", "inspect", str(tmp_path)])
    with pytest.raises(OSError, match="no file is named"):
        cli.main()


@pytest.mark.parametrize("device", ["meta", "mps", "xla", "gpu", "cuda:x", ""])
def test_only_known_kinds_of_device_are_taken(device: str) -> None:
    with pytest.raises(InputError, match=f"--device {device}: expected auto, cpu, cuda or cuda:N; use --device cpu"):
        choose(device, "--device")


def test_a_card_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match="device cuda:9: expected cuda:0 to cuda:1"):
        choose("cuda:9")
    assert (choose("cuda:1"), choose("auto").type) == (torch.device("cuda:1"), "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device cuda: this torch sees no CUDA device"):
        choose("cuda")
    assert choose("auto") == torch.device("cpu")
