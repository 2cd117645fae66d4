from __future__ import annotations

from pathlib import Path

import pytest

from vcpipe.errors import InputError
from vcpipe.exchange.files import distinct, files_below, inside, safe_name, whole_folder


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "a" / "out") as tmp:
        (tmp / "file").write_text("x")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "file").read_text() == "x"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["out"]


def test_an_error_leaves_nothing_and_a_killed_run_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".out.123.tmp").mkdir()
    (tmp_path / ".out.123.tmp" / "half").write_text("x")
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as tmp:
        (tmp / "file").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_taken_and_a_full_one_or_a_file_is_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with whole_folder(tmp_path / "empty") as tmp:
        (tmp / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "empty/file", "link"):
        with pytest.raises(InputError, match="new or empty folder"), whole_folder(tmp_path / name):
            pass
    assert (tmp_path / "empty" / "file").read_text() == "x" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [("p225", "p225"), ("Zoë B", "Zoë B"), ("a/b|c,d\ne", "a_b_c_d_e"), ("a\\b:c", "a_b_c"), ("小明 1", "小明 1")],
)
def test_safe_names(text: str, name: str) -> None:
    assert safe_name(text) == name


@pytest.mark.parametrize("text", ["", ".", "..", "...", " ", ".hidden", "x" * 300])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="cannot be a file name"):
        safe_name(text)


def test_two_ids_at_one_place() -> None:
    distinct([("a", "1"), ("b", "2"), ("a", "1")])
    with pytest.raises(InputError, match="'1' and '2' would both be written as A"):
        distinct([("a", "1"), ("A", "2")])


@pytest.mark.parametrize("path", ["", "/a", "../a", "a/../../b", "a\\..\\b", "a\0b"])
def test_paths_that_lead_out(path: str) -> None:
    with pytest.raises(InputError, match="inside its folder"):
        inside(path, "somewhere")


def test_hidden_files_and_linked_folders_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.npy", "a.npy", ".c.npy", "d.txt", ".git/e.npy"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [p.name for p in files_below(tmp_path / "in", ".npy")] == ["a.npy", "b.npy"]
    with pytest.raises(InputError, match=r"expected \*\.pt files"):
        files_below(tmp_path / "in", ".pt")


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    Path(tmp_path, "a\udcff.npy").touch()
    with pytest.raises(InputError, match="not UTF-8"):
        files_below(tmp_path, ".npy")
