from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import voxceleb1
from vcpipe.errors import InputError

TABLE = (
    "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    "id10001\tA.J._Buckley\tm\tIreland\tdev\n"
    "id10002\tA.R._Rahman\tm\tIndia\tdev\n"
    "id10270\tEartha_Kitt\tf\tUSA\ttest\n"
    "id10003\tAamir_Khan\tm\tIndia\tdev\n"
)
PIECES = ("id10001/1zcIwhmdeo4/00001.wav", "id10001/1zcIwhmdeo4/00002.wav", "id10002/-xQz/00001.wav")


def miniature(root: Path, parts: bool = False) -> Path:
    """In one folder, or in two parts; a speaker of the table is not on disk."""
    dev, test = ("dev/wav", "test/wav") if parts else ("wav", "wav")
    touch(root, *(f"{dev}/{piece}" for piece in PIECES), f"{test}/id10270/5r0dWxy17C8/00001.wav")
    return write(root, {"vox1_meta.csv": TABLE})


def settings(root: Path, **keys: object) -> voxceleb1.Settings:
    return voxceleb1.Settings.model_validate({"kind": "voxceleb1", "root": str(root), **keys})


@pytest.mark.parametrize("parts", [False, True])
def test_pieces_are_listed_with_speakers_videos_and_the_split_of_the_table(tmp_path: Path, parts: bool) -> None:
    found = voxceleb1.scan(settings(miniature(tmp_path, parts)), tmp_path)
    assert [(c.utt_id, c.speaker, c.group, c.split) for c in found] == [
        ("id10001/1zcIwhmdeo4/00001", "id10001", "id10001/1zcIwhmdeo4", "train"),
        ("id10001/1zcIwhmdeo4/00002", "id10001", "id10001/1zcIwhmdeo4", "train"),
        ("id10002/-xQz/00001", "id10002", "id10002/-xQz", "train"),
        ("id10270/5r0dWxy17C8/00001", "id10270", "id10270/5r0dWxy17C8", "test"),
    ]
    assert found[-1].path == ("test/" if parts else "") + "wav/id10270/5r0dWxy17C8/00001.wav"
    assert {(c.text, c.language) for c in found} == {("", "")}


def test_only_speakers_of_the_nationalities_are_taken(tmp_path: Path) -> None:
    found = voxceleb1.scan(settings(miniature(tmp_path), nationalities=["usa", "IRELAND"]), tmp_path)
    assert {c.speaker for c in found} == {"id10001", "id10270"}


def test_a_nationality_of_nobody_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of 'Irland'; did you mean 'Ireland'"):
        voxceleb1.scan(settings(miniature(tmp_path), nationalities=["Irland"]), tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.replace("\t", ","), None),
        (TABLE.replace("\n", " \r\n").replace("\t", " \t "), None),
        (TABLE.replace("Nationality", "Country"), "expected the columns voxceleb1id, nationality, set, found"),
        ("", "expected the columns voxceleb1id, nationality, set, found nothing"),
        (TABLE + "id10004\tAaron\tm\n", "expected voxceleb1id, nationality, set.*found 'id10004"),
        (TABLE.replace("\ttest", "\teval"), "with dev or test at last, found 'id10270"),
        (TABLE.replace("id10002", "id19999"), "id10002/-xQz/00001.wav: expected a speaker of"),
    ],
)
def test_a_table_is_read_with_commas_or_spaces_too_and_a_broken_one_is_named(
    tmp_path: Path, table: str, message: str | None
) -> None:
    root = write(miniature(tmp_path), {"vox1_meta.csv": table})
    if message is None:
        assert [c.split for c in voxceleb1.scan(settings(root), root)] == ["train"] * 3 + ["test"]
        return
    with pytest.raises(InputError, match=message):
        voxceleb1.scan(settings(root), root)


def test_a_tree_of_another_shape_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, {"vox1_meta.csv": TABLE})
    with pytest.raises(InputError, match="expected one of wav, dev/wav, test/wav in it, found none"):
        voxceleb1.scan(settings(root), root)
    touch(root, "wav/id10001/00001.wav")
    with pytest.raises(InputError, match=r"id10001/00001\.wav: expected .*/wav/<speaker>/<video>/<number>"):
        voxceleb1.scan(settings(root), root)
    (root / "vox1_meta.csv").unlink()
    with pytest.raises(InputError, match=r"vox1_meta\.csv: no such table"):
        voxceleb1.scan(settings(root), root)
