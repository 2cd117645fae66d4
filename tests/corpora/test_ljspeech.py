from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import HELLO, textgrid, touch, write
from vcpipe.corpora import ljspeech
from vcpipe.errors import InputError

TABLE = (
    'LJ001-0001|"Printing," in the only sense of 1485|"Printing," in the only sense of fourteen eighty-five\n'
    'LJ001-0002|"in being|"in being\n'
    "LJ002-0001|Hello, world|Hello, world\n"
    "LJ050-0278|never recorded|never recorded\n"
)


def miniature(root: Path) -> Path:
    """Quotes that nothing closes, a recording without a line and a line without a recording."""
    touch(root, *(f"wavs/{name}.wav" for name in ("LJ001-0001", "LJ001-0002", "LJ002-0001", "LJ003-0001")), "README")
    return write(root, {"metadata.csv": TABLE})


def settings(root: Path, **keys: object) -> ljspeech.Settings:
    return ljspeech.Settings.model_validate({"kind": "ljspeech", "root": str(root), **keys})


def test_the_recordings_are_listed_with_chapters_and_normalized_texts(tmp_path: Path) -> None:
    found = ljspeech.scan(settings(miniature(tmp_path)), tmp_path)
    assert [(c.utt_id, c.group, c.text) for c in found] == [
        ("LJ001-0001", "LJ001", '"Printing," in the only sense of fourteen eighty-five'),
        ("LJ001-0002", "LJ001", '"in being'),
        ("LJ002-0001", "LJ002", "Hello, world"),
        ("LJ003-0001", "LJ003", ""),
    ]
    assert {(c.speaker, c.language, c.split) for c in found} == {("LJ", "en", "")}
    assert found[0].path == "wavs/LJ001-0001.wav"


def test_the_text_as_printed_can_be_taken(tmp_path: Path) -> None:
    assert ljspeech.scan(settings(miniature(tmp_path), text="raw"), tmp_path)[0].text.endswith("sense of 1485")


@pytest.mark.parametrize("line", ["LJ003-0001|only one text", "LJ003-0001|a|b|c", "LJ003-0001,a,b"])
def test_a_line_with_another_number_of_fields_is_named(tmp_path: Path, line: str) -> None:
    root = write(miniature(tmp_path), {"metadata.csv": TABLE + line})
    with pytest.raises(InputError, match=r"metadata\.csv:5: expected <utterance>\|<text>\|<text>, found 'LJ003-0001"):
        ljspeech.scan(settings(root), root)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"metadata\.csv: no such table; set `root`"):
        ljspeech.scan(settings(tmp_path), tmp_path)


def test_alignments_are_found_by_name(tmp_path: Path) -> None:
    root = miniature(tmp_path / "corpus")
    write(tmp_path / "mfa", {"wavs/LJ002-0001.TextGrid": textgrid(HELLO)})
    found = dict(
        ljspeech.alignments(settings(root, alignments=str(tmp_path / "mfa")), root, ["LJ002-0001", "LJ001-0001"])
    )
    assert list(found) == ["LJ002-0001"]
    with pytest.raises(InputError, match=r"nowhere: no such folder; set `alignments`"):
        list(ljspeech.alignments(settings(root, alignments=str(tmp_path / "nowhere")), root, ["LJ002-0001"]))


def test_real_ljspeech_is_read(real_data: Path) -> None:
    root = real_data / "corpora" / "LJSpeech-1.1"
    found = ljspeech.scan(settings(root), root)
    assert len(found) == 24
    assert all(c.text and c.group == "LJ001" and (root / c.path).is_file() for c in found)
    assert found[1].text == "in being comparatively modern."
