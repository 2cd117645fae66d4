from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import voxceleb2
from vcpipe.errors import InputError

TABLE = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000012 ,m ,dev \nid00017 ,n000017 ,m ,test \n"
DEV, TEST = "id00012/21Uxsk56VDQ/00001.m4a", "id00017/01dfn2spqyE/00001.M4A"


def scanned(root: Path) -> list[tuple[str, str, str, str, str]]:
    settings = voxceleb2.Settings(kind="voxceleb2", root=str(root))
    return [(c.utt_id, c.speaker, c.path, c.group, c.split) for c in voxceleb2.scan(settings, root)]


def expected(dev: str, test: str, *splits: str) -> list[tuple[str, str, str, str, str]]:
    return [
        ("id00012/21Uxsk56VDQ/00001", "id00012", f"{dev}/{DEV}", "id00012/21Uxsk56VDQ", splits[0]),
        ("id00017/01dfn2spqyE/00001", "id00017", f"{test}/{TEST}", "id00017/01dfn2spqyE", splits[1]),
    ]


@pytest.mark.parametrize("table", [None, TABLE])
def test_both_parts_are_listed_with_the_split_of_their_folder(tmp_path: Path, table: str | None) -> None:
    touch(tmp_path, f"dev/aac/{DEV}", f"test/aac/{TEST}", "dev/aac/id00012/21Uxsk56VDQ/00001.txt")
    if table:
        write(tmp_path, {"vox2_meta.csv": table})
    assert scanned(tmp_path) == expected("dev/aac", "test/aac", "train", "test")


def test_without_such_folders_the_split_is_the_tables_if_there_is_one(tmp_path: Path) -> None:
    touch(tmp_path, f"aac/{DEV}", f"aac/{TEST}")
    assert scanned(tmp_path) == expected("aac", "aac", "", "")
    write(tmp_path, {"vox2_meta.csv": TABLE})
    assert scanned(tmp_path) == expected("aac", "aac", "train", "test")


def test_a_broken_table_and_a_missing_tree_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one of aac, dev/aac, test/aac in it"):
        scanned(tmp_path)
    write(touch(tmp_path, f"aac/{DEV}"), {"vox2_meta.csv": "ID,Set\n"})
    with pytest.raises(InputError, match="expected the columns voxceleb2id, set, found id, set"):
        scanned(tmp_path)
