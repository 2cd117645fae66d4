import unicodedata
from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import multisinger
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    touch(
        root,
        "ManRaw/0_光年之外/0_光年之外_0.wav",
        "ManRaw/0_光年之外/0_光年之外_0.lab",
        "ManRaw/0_光年之外/0_光年之外_10.wav",
        "WomanRaw/0_A_B/0_A_B_3.wav",
        unicodedata.normalize("NFD", "WomanRaw/46_Café/46_Café_1.wav"),
        "LICENSE",
    )
    return write(root, {"ManRaw/0_光年之外/0_光年之外_0.txt": "感受停在\n", "WomanRaw/0_A_B/0_A_B_3.txt": "爱"})


def scan(root: Path) -> list[multisinger.Candidate]:
    return multisinger.scan(multisinger.Settings.model_validate({"kind": "multisinger", "root": str(root)}), root)


def test_the_official_tree_is_listed_and_men_are_not_women(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path))
    assert [(c.utt_id, c.speaker, c.group, c.text) for c in found] == [
        ("M0_光年之外_0", "M0", "M0_光年之外", "感受停在"),
        ("M0_光年之外_10", "M0", "M0_光年之外", ""),
        ("W0_A_B_3", "W0", "W0_A_B", "爱"),
        ("W46_Café_1", "W46", "W46_Café", ""),
    ]
    assert all((tmp_path / c.path).is_file() and c.language == "zh" for c in found)


@pytest.mark.parametrize(
    "name",
    [
        "ManRaw/0_a.wav",
        "ManRaw/0_a_1.wav",
        "ManRaw/a/0_a_0.wav",
        "ManRaw/0_a/1_a_0.wav",
        "ManRaw/0_a/b/0_a_0.wav",
        "ManRaw/0_a/0_a.wav",
    ],
)
def test_a_recording_elsewhere_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected ManRaw/0_<song>/0_<song>_0\.wav, found .*; move it away"):
        scan(touch(tmp_path, name))


def test_a_tree_that_is_not_the_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the folders ManRaw and WomanRaw in it, found OpenSinger"):
        scan(touch(tmp_path, "OpenSinger/ManRaw/0_a/0_a_0.wav"))
