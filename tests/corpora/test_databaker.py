from pathlib import Path

import pytest

from tests.corpora.miniature import touch
from vcpipe.corpora import databaker
from vcpipe.errors import InputError

LABELS = (
    "000001\t卡尔普#2陪外孙#1玩滑梯#4。\r\n\tka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1\r\n"
    "000002\t“宝马#1配挂#3，”貂蝉#1怨枕#4！\r\n\tbao2 ma3 pei4 gua4 diao1 chan2 yuan4 zhen3\r\n"
)


def miniature(root: Path, labels: str = LABELS, encoding: str = "utf-8-sig") -> Path:
    touch(root, "Wave/000001.wav", "Wave/000002.wav", "Wave/000003.wav", "PhoneLabeling/000001.interval")
    path = root / "ProsodyLabeling" / "000001-010000.txt"
    path.parent.mkdir()
    path.write_bytes(labels.encode(encoding))
    return root


def scan(root: Path, **values: str) -> list[databaker.Candidate]:
    return databaker.scan(databaker.Settings.model_validate({"kind": "databaker", "root": str(root), **values}), root)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_official_tree_is_listed_without_the_marks(tmp_path: Path, encoding: str) -> None:
    found = scan(miniature(tmp_path, encoding=encoding))
    assert [(c.utt_id, c.text) for c in found] == [
        ("000001", "卡尔普陪外孙玩滑梯。"),
        ("000002", "“宝马配挂，”貂蝉怨枕！"),
        ("000003", ""),
    ]
    assert {(c.speaker, c.language, c.path[:5]) for c in found} == {("databaker", "zh", "Wave/")}


def test_the_text_may_be_the_pinyin(tmp_path: Path) -> None:
    assert scan(miniature(tmp_path), text="pinyin")[0].text == "ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1"


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("000001\t一#4。\n000002\t二#4。\n", r":2: expected the pinyin of 000001, found '000002"),
        ("\tyi1\n", r":1: expected a line like `000001"),
        ("000001\t一#4。\n\tyi1\n\tyi1\n", r":3: expected a line like"),
        ("1\t一#4。\n", r":1: expected a line like"),
    ],
)
def test_lines_out_of_step_are_named(tmp_path: Path, labels: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        scan(miniature(tmp_path, labels))


def test_a_tree_that_is_not_the_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the folders Wave and ProsodyLabeling in it, found none"):
        scan(tmp_path)
    touch(miniature(tmp_path), "Wave/copy.wav")
    with pytest.raises(InputError, match=r"copy\.wav: expected a name like 000001\.wav"):
        scan(tmp_path)
    (tmp_path / "ProsodyLabeling" / "000001-010000.txt").unlink()
    with pytest.raises(InputError, match=r"000001-010000\.txt: the file cannot be read"):
        scan(tmp_path)
