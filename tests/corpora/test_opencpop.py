from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import opencpop
from vcpipe.errors import InputError

LINE = "{}|感受停在我发端的指尖|g an sh ou|C4 C4 D4 D4|0.1 0.1 0.2 0.2|0.1 0.1 0.1 0.1|0 0 0 0\n"


def miniature(root: Path) -> Path:
    touch(
        root,
        *(f"segments/wavs/{i}.wav" for i in (2001000001, 2001000002, 2009000001)),
        "wavs/2001.wav",
        "midis/2001.midi",
    )
    return write(
        root,
        {
            "segments/train.txt": LINE.format(2001000001) + LINE.format(2001000002) + "\n",
            "segments/test.txt": LINE.format(2009000001),
            "segments/transcriptions.txt": "",
        },
    )


def scan(root: Path, **subsets: str) -> list[opencpop.Candidate]:
    values = {"kind": "opencpop", "root": str(root), **({"subsets": subsets} if subsets else {})}
    return opencpop.scan(opencpop.Settings.model_validate(values), root)


def test_the_official_split_is_kept_and_valid_is_left_to_the_share(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path))
    assert [(c.utt_id, c.group, c.split) for c in found] == [
        ("2001000001", "2001", ""),
        ("2001000002", "2001", ""),
        ("2009000001", "2009", "test"),
    ]
    assert {(c.speaker, c.text, c.language) for c in found} == {("opencpop", "感受停在我发端的指尖", "zh")}
    assert all((tmp_path / c.path).is_file() for c in found)


def test_the_splits_can_be_named(tmp_path: Path) -> None:
    assert [c.split for c in scan(miniature(tmp_path), train="train", test="valid")] == ["train", "train", "valid"]
    assert [c.utt_id for c in scan(tmp_path, test="test")] == ["2009000001"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2009000002\n", r"test\.txt:2: expected a line like 2001000001\|text"),
        ("x|y\n", r"test\.txt:2: expected a line like"),
        (LINE.format(2009000001), r"test\.txt:2: 2009000001 is listed twice"),
        (LINE.format(2001000001), r"test\.txt:2: 2001000001 is listed twice"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    with open(miniature(tmp_path) / "segments" / "test.txt", "a") as f:
        f.write(line)
    with pytest.raises(InputError, match=words):
        scan(tmp_path)


def test_a_tree_that_is_not_the_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"segments/wavs: no such folder; found opencpop in .*; set `root`"):
        scan(touch(tmp_path, "opencpop/segments/wavs/2001000001.wav"))
    (miniature(tmp_path) / "segments" / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train\.txt: the file cannot be read"):
        scan(tmp_path)
