import unicodedata
from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import popcs
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    second = unicodedata.normalize("NFD", "popcs-Bébé")
    touch(root, "popcs-隐形的翅膀/0000_wf0.wav", "popcs-隐形的翅膀/0001_wf0.wav", f"{second}/0000_wf0.wav")
    touch(root, "popcs-隐形的翅膀/0000.TextGrid")
    return write(
        root,
        {
            "popcs-隐形的翅膀/0000.txt": "每一次 都在\n",
            "popcs-隐形的翅膀/0000_ph.txt": "m ei y i c i",
            f"{second}/0000.txt": "bé bé",
            "TERMS_OF_ACCESS": "",
        },
    )


def scan(root: Path, *test_songs: str) -> list[popcs.Candidate]:
    values = {"kind": "popcs", "root": str(root), "test_songs": test_songs}
    return popcs.scan(popcs.Settings.model_validate(values), root)


def test_the_official_tree_is_listed(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path), "隐形的翅膀")
    assert [(c.utt_id, c.group, c.text, c.split) for c in found] == [
        ("popcs-Bébé-0000", "popcs-Bébé", "bé bé", ""),
        ("popcs-隐形的翅膀-0000", "popcs-隐形的翅膀", "每一次 都在", "test"),
        ("popcs-隐形的翅膀-0001", "popcs-隐形的翅膀", "", "test"),
    ]
    assert all((tmp_path / c.path).is_file() and c.speaker == "popcs" and c.language == "zh" for c in found)


def test_a_held_out_song_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="popcs-说散就散: no such song, but `test_songs` names it"):
        scan(miniature(tmp_path), "说散就散")


@pytest.mark.parametrize(
    "name", ["popcs/popcs-a/0000_wf0.wav", "popcs-a/0000.wav", "0000_wf0.wav", "other-a/0000_wf0.wav"]
)
def test_a_recording_elsewhere_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=r"expected .*popcs-<song>/0000_wf0\.wav, found .*; move it away, or set `root`"
    ):
        scan(touch(tmp_path, name))
