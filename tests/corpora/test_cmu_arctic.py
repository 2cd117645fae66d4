from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import cmu_arctic
from vcpipe.errors import InputError

TEXTS = (
    '( arctic_a0001 "Author of the danger trail, Philip Steels, etc." )\n'
    '( arctic_a0002 "He said, \\"Not at this particular case, Tom.\\"" )\n'
)


def miniature(root: Path) -> Path:
    """Two speakers, one in a folder named after a release; the same names of sentences; electroglottograms beside."""
    for folder in ("cmu_us_bdl_arctic", "cmu_us_slt_arctic-0.95-release"):
        touch(root, *(f"{folder}/wav/arctic_a000{n}.wav" for n in (1, 2, 3)), f"{folder}/orig/arctic_a0001.wav")
        write(root, {f"{folder}/etc/txt.done.data": TEXTS})
    return touch(root, "cmu_us_bdl_arctic.tar.bz2", "other/wav/arctic_a0001.wav")


def scanned(root: Path) -> list[tuple[str, str, str, str]]:
    settings = cmu_arctic.Settings(kind="cmu_arctic", root=str(root))
    return [(c.utt_id, c.speaker, c.path, c.text) for c in cmu_arctic.scan(settings, root)]


def test_every_speaker_is_listed_with_ids_of_their_own(tmp_path: Path) -> None:
    found = scanned(miniature(tmp_path))
    assert [f[:3] for f in found] == [
        (f"{speaker}_arctic_a000{n}", speaker, f"{folder}/wav/arctic_a000{n}.wav")
        for speaker, folder in (("bdl", "cmu_us_bdl_arctic"), ("slt", "cmu_us_slt_arctic-0.95-release"))
        for n in (1, 2, 3)
    ]
    assert [f[3] for f in found[:3]] == [
        "Author of the danger trail, Philip Steels, etc.",
        'He said, "Not at this particular case, Tom."',
        "",
    ]


def test_a_broken_line_of_text_is_named(tmp_path: Path) -> None:
    write(miniature(tmp_path), {"cmu_us_bdl_arctic/etc/txt.done.data": TEXTS + "arctic_a0003 no brackets\n"})
    with pytest.raises(
        InputError, match=r"txt\.done\.data:3: expected \( arctic_a0001 \"text\" \), found 'arctic_a0003"
    ):
        scanned(tmp_path)


def test_the_folder_of_one_speaker_is_not_the_root(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected folders like cmu_us_bdl_arctic in it, found none; set `root`"):
        scanned(miniature(tmp_path) / "cmu_us_bdl_arctic")
