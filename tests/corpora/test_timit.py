from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import timit
from vcpipe.corpora.alignments import Word
from vcpipe.errors import InputError

SA1 = "0 46797 She had your dark suit in greasy wash water all year.\n"
WRD = "3050 5723 she\n5723 10337 had\n9190 11517 your\n12640 14714 dark\n"
IDS = [("FCJF0_SA1", "FCJF0", "train"), ("FCJF0_SX37", "FCJF0", "train"), ("MDAB0_SA1", "MDAB0", "test")]


def miniature(root: Path, lower: bool = False, copies: bool = False) -> Path:
    """Two speakers, one of each part; with or without RIFF copies beside the SPHERE files."""
    for speaker, sentences in (("TRAIN/DR1/FCJF0", ("SA1", "SX37")), ("TEST/DR1/MDAB0", ("SA1",))):
        for sentence in sentences:
            name = f"{speaker}/{sentence}"
            files = {f"{name}.WAV": "NIST_1A\n", f"{name}.TXT": SA1, f"{name}.WRD": WRD, f"{name}.PHN": "0 1 h#\n"}
            write(root, {k.lower() if lower else k: v for k, v in files.items()})
            if copies:
                touch(root, f"{name}.WAV.wav")
    return root


def settings(root: Path, **keys: object) -> timit.Settings:
    return timit.Settings.model_validate({"kind": "timit", "root": str(root), **keys})


def listed(root: Path, **keys: object) -> list[tuple[str, str, str]]:
    return [(c.utt_id, c.speaker, c.split) for c in timit.scan(settings(root, **keys), root)]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("above", ["", "data", "TIMIT", "timit/data"])
def test_the_tree_is_listed_in_upper_or_lower_case_and_at_every_depth(tmp_path: Path, lower: bool, above: str) -> None:
    miniature(tmp_path / above, lower)
    assert listed(tmp_path) == IDS
    first = timit.scan(settings(tmp_path), tmp_path)[0]
    assert first.text == "She had your dark suit in greasy wash water all year."
    name = "TRAIN/DR1/FCJF0/SA1.WAV"
    assert first.path == f"{above}/{name.lower() if lower else name}".lstrip("/")


def test_a_riff_copy_beside_its_original_is_no_second_recording(tmp_path: Path) -> None:
    miniature(tmp_path, copies=True)
    assert listed(tmp_path) == IDS
    (tmp_path / "TRAIN" / "DR1" / "FCJF0" / "SA1.WAV").unlink()
    assert listed(tmp_path) == IDS
    assert timit.scan(settings(tmp_path), tmp_path)[0].path == "TRAIN/DR1/FCJF0/SA1.WAV.wav"


def test_the_sentences_of_everybody_can_be_left_out(tmp_path: Path) -> None:
    assert listed(miniature(tmp_path), sa_sentences=False) == [IDS[1]]


@pytest.mark.parametrize("gathered", ["speakers", "ALL", "TIMIT/speakers"])
def test_speakers_in_one_folder_have_no_official_split(tmp_path: Path, gathered: str) -> None:
    write(
        touch(tmp_path, f"{gathered}/FCJF0/SA1.WAV", f"{gathered}/MDAB0/SX37.wav"), {f"{gathered}/FCJF0/SA1.TXT": SA1}
    )
    assert listed(tmp_path) == [("FCJF0_SA1", "FCJF0", ""), ("MDAB0_SX37", "MDAB0", "")]
    assert [c.text[:3] for c in timit.scan(settings(tmp_path), tmp_path)] == ["She", ""]


def test_gathered_speakers_beside_the_original_are_no_second_recordings(tmp_path: Path) -> None:
    touch(miniature(tmp_path / "data").parent, "speakers/FCJF0/SA1.WAV")
    assert listed(tmp_path) == IDS


def test_a_tree_of_another_shape_and_a_foreign_name_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected TRAIN and TEST, data, speakers or ALL in it, found none"):
        listed(tmp_path)
    touch(tmp_path, "TRAIN/DR1/FCJF0/notes.wav")
    with pytest.raises(InputError, match=r"notes\.wav: expected a name like SA1\.WAV"):
        listed(tmp_path)


@pytest.mark.parametrize("lower", [False, True])
def test_words_are_read_in_samples_with_the_pause_up_to_the_end(tmp_path: Path, lower: bool) -> None:
    root = miniature(tmp_path, lower)
    found = dict(timit.alignments(settings(root), root, ["FCJF0_SA1"]))
    assert found == {
        "FCJF0_SA1": [
            Word("", 0, 3050 / 16000),
            Word("she", 3050 / 16000, 5723 / 16000),
            Word("had", 5723 / 16000, 10337 / 16000),
            Word("your", 10337 / 16000, 11517 / 16000),  # the corpus lets two words share a sound: the later is cut
            Word("", 11517 / 16000, 12640 / 16000),
            Word("dark", 12640 / 16000, 14714 / 16000),
            Word("", 14714 / 16000, 46797 / 16000),
        ]
    }


def test_words_can_lie_in_another_tree(tmp_path: Path) -> None:
    root = touch(tmp_path / "mine", "speakers/FCJF0/SA1.wav")
    assert list(timit.alignments(settings(root), root, ["FCJF0_SA1"])) == []
    official = miniature(tmp_path / "official")
    found = dict(timit.alignments(settings(root, alignments=str(official)), root, ["FCJF0_SA1"]))
    assert [w.text for w in found["FCJF0_SA1"]] == ["", "she", "had", "your", "", "dark", ""]


def test_a_broken_word_file_is_named_with_its_line(tmp_path: Path) -> None:
    root = write(miniature(tmp_path), {"TRAIN/DR1/FCJF0/SA1.WRD": "3050 5723 she\n5723 had\n"})
    with pytest.raises(InputError, match=r"SA1\.WRD:2: expected <first sample> <last sample> <word>, found '5723 had'"):
        list(timit.alignments(settings(root), root, ["FCJF0_SA1"]))
