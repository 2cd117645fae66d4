from pathlib import Path

import pytest
import soundfile

from tests.conftest import RATE, tone
from tests.corpora.miniature import textgrid, write
from vcpipe.corpora import librispeech
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    """The official tree: two subsets, a speaker with two chapters, one chapter without a transcript."""
    for subset, speaker, chapter in [
        ("train-clean-100", "84", "121123"),
        ("train-clean-100", "84", "121550"),
        ("dev-clean", "174", "50561"),
    ]:
        folder = root / subset / speaker / chapter
        folder.mkdir(parents=True)
        for n in range(2):
            soundfile.write(folder / f"{speaker}-{chapter}-{n:04d}.flac", tone(1.0, seed=n), RATE)
        if chapter != "121550":
            lines = [f"{speaker}-{chapter}-{n:04d} LINE NUMBER {n}\n" for n in range(2)]
            (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    (root / "SPEAKERS.TXT").write_text(";ID |SEX|...")
    return root


def settings(root: Path, **subsets: str) -> librispeech.Settings:
    return librispeech.Settings.model_validate({"kind": "librispeech", "root": str(root), "subsets": subsets})


def test_the_official_tree_is_listed_with_speakers_chapters_texts_and_splits(tmp_path: Path) -> None:
    found = librispeech.scan(
        settings(miniature(tmp_path), **{"train-clean-100": "train", "dev-clean": "valid"}), tmp_path
    )
    assert len(found) == 6
    by_id = {c.utt_id: c for c in found}
    first = by_id["84-121123-0001"]
    assert (first.speaker, first.group, first.text, first.split) == ("84", "84-121123", "LINE NUMBER 1", "train")
    assert first.path == "train-clean-100/84/121123/84-121123-0001.flac"
    assert by_id["84-121550-0000"].text == "" and by_id["84-121550-0000"].speaker == "84"
    assert by_id["174-50561-0000"].split == "valid"


def test_a_missing_subset_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="test-clean: no such subset.*found dev-clean, train-clean-100"):
        librispeech.scan(settings(miniature(tmp_path), **{"test-clean": "test"}), tmp_path)


def test_a_file_with_a_foreign_name_is_named(tmp_path: Path) -> None:
    root = miniature(tmp_path)
    soundfile.write(root / "dev-clean" / "174" / "50561" / "copy.flac", tone(1.0), RATE)
    with pytest.raises(InputError, match=r"copy\.flac: expected a name like 84-121123-0000"):
        librispeech.scan(settings(root, **{"dev-clean": "valid"}), root)


def test_real_librispeech_is_read(real_data: Path) -> None:
    root = real_data / "corpora" / "LibriSpeech"
    found = librispeech.scan(settings(root, **{"train-clean-100": "train", "test-other": "test"}), root)
    assert len({c.speaker for c in found if c.split == "train"}) == 151
    assert len([c for c in found if c.split == "test"]) == 60
    assert all(c.text for c in found)


def aligned(root: Path, alignments: Path | None = None) -> dict[str, list[str]]:
    given = settings(root, **{"train-clean-100": "train"}).model_copy(update={"alignments": str(alignments or "")})
    ids = ["84-121123-0000", "84-121123-0001", "84-121550-0000"]
    return {k: [w.text for w in v] for k, v in librispeech.alignments(given, root, ids)}


CHAPTER = '84-121123-0000 ",LINE,NUMBER,," "0.1,0.2,0.3,0.4,0.5"\n84-121123-0009 ",A," "0.1,0.2,0.3"\n'


def test_alignments_are_lines_of_the_chapter_or_textgrids(tmp_path: Path) -> None:
    root = miniature(tmp_path)
    assert aligned(root) == {}
    chapters = root / "train-clean-100" / "84"
    grid = textgrid([(0.0, 0.4, "line"), (0.4, 0.6, "<unk>"), (0.6, 0.8, "1")])
    write(chapters, {"121123/84-121123.alignment.txt": CHAPTER, "121123/84-121123-0001.TextGrid": grid})
    assert aligned(root) == {
        "84-121123-0000": ["", "LINE", "NUMBER", ""],
        "84-121123-0001": ["", "LINE", "NUMBER", "1", ""],
    }


def test_alignments_of_another_folder_are_found_whatever_its_shape(tmp_path: Path) -> None:
    root = miniature(tmp_path / "LibriSpeech")
    grid = textgrid([(0.0, 0.4, "word")])
    write(
        tmp_path / "aligned",
        {"train-clean-100/84/121123/84_121123.alignment.txt": CHAPTER, "84/84-121550-0000.TextGrid": grid},
    )
    found = aligned(root, tmp_path / "aligned")
    assert found == {"84-121123-0000": ["", "LINE", "NUMBER", ""], "84-121550-0000": ["", "word", ""]}
    with pytest.raises(InputError, match="nowhere: no such folder; set `alignments`"):
        aligned(root, tmp_path / "nowhere")


def test_neither_the_subsets_nor_the_alignments_are_what_the_recordings_are(tmp_path: Path) -> None:
    given = settings(tmp_path, **{"dev-clean": "valid"})
    assert given.content() == given.model_copy(update={"alignments": "x"}).content()
    assert given.content() == {"kind": "librispeech", "revision": 1}


def test_real_librispeech_without_alignments_has_none(real_data: Path) -> None:
    root = real_data / "corpora" / "LibriSpeech"
    given = settings(root, **{"test-other": "test"})
    assert list(librispeech.alignments(given, root, [c.utt_id for c in librispeech.scan(given, root)])) == []
