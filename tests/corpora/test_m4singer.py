import json
import unicodedata
from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import m4singer
from vcpipe.errors import InputError

META = [
    {"item_name": "Alto-1#美错#0000", "txt": "美丽 错误", "phs": ["m", "ei"], "is_slur": [0, 0]},
    {"item_name": "Alto-1#美错#0001", "txt": "没有录音"},
    {"item_name": "Tenor-2#Let it gö#0000", "txt": "let it go"},
]


def miniature(root: Path, meta: str = json.dumps(META, ensure_ascii=False)) -> Path:
    touch(
        root,
        "Alto-1#美错/0000.wav",
        "Alto-1#美错/0000.mid",
        "Alto-1#美错/0000.TextGrid",
        "Alto-1#美错/0007.wav",
        unicodedata.normalize("NFD", "Tenor-2#Let-it-gö/0000.wav"),
    )
    return write(root, {"meta.json": meta})


def scan(root: Path) -> list[m4singer.Candidate]:
    return m4singer.scan(m4singer.Settings.model_validate({"kind": "m4singer", "root": str(root)}), root)


def test_the_official_tree_is_listed(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path))
    assert [(c.utt_id, c.speaker, c.group, c.text) for c in found] == [
        ("Alto-1#美错#0000", "Alto-1", "Alto-1#美错", "美丽 错误"),
        ("Alto-1#美错#0007", "Alto-1", "Alto-1#美错", ""),
        ("Tenor-2#Let-it-gö#0000", "Tenor-2", "Tenor-2#Let-it-gö", "let it go"),
    ]
    assert all((tmp_path / c.path).is_file() and c.language == "zh" and not c.split for c in found)


@pytest.mark.parametrize(
    "meta", ["", "{", "[1]", '{"a": 1}', '[{"item_name": "a"}]', '[{"item_name": 1, "txt": "a"}]', "[" * 9999]
)
def test_a_broken_list_is_refused(tmp_path: Path, meta: str) -> None:
    with pytest.raises(InputError, match=r"meta\.json: expected a list of objects") as error:
        scan(miniature(tmp_path, meta))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["stray.wav", "no sharp/0000.wav", "#song/0000.wav", "Alto-1#/0000.wav", "Alto-1#a/b/0000.wav"]
)
def test_a_recording_elsewhere_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected .*<singer>#<song>/0000\.wav, found .*; move it away"):
        scan(touch(miniature(tmp_path), name))


def test_without_the_list_it_is_not_the_corpus(tmp_path: Path) -> None:
    (miniature(tmp_path) / "meta.json").unlink()
    with pytest.raises(InputError, match=r"meta\.json: expected the list of all phrases.*set `root`"):
        scan(tmp_path)
