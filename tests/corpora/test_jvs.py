from pathlib import Path

import pytest

from tests.corpora.miniature import touch, write
from vcpipe.corpora import jvs
from vcpipe.errors import InputError


def miniature(root: Path) -> Path:
    """Two speakers; one has all styles, a line without a recording and a recording without a line."""
    touch(
        root,
        "jvs001/parallel100/wav24kHz16bit/VOICEACTRESS100_001.wav",
        "jvs001/parallel100/wav24kHz16bit/VOICEACTRESS100_002.wav",
        "jvs001/whisper10/wav24kHz16bit/VOICEACTRESS100_001.wav",
        "jvs001/falset10/wav24kHz16bit/VOICEACTRESS100_001.wav",
        "jvs001/nonpara30/wav24kHz16bit/BASIC5000_0025.wav",
        "jvs001/parallel100/lab/mon/VOICEACTRESS100_001.lab",
        "jvs100/parallel100/wav24kHz16bit/VOICEACTRESS100_001.wav",
    )
    same = "VOICEACTRESS100_001:また、東寺のように、 五大明王: と呼ばれる。\r\nVOICEACTRESS100_099:ない。\r\n"
    return write(
        root,
        {
            **{f"jvs001/{style}/transcripts_utf8.txt": same for style in ("parallel100", "whisper10", "falset10")},
            "jvs001/nonpara30/transcripts_utf8.txt": "BASIC5000_0025:水をマレーシアから買う。\n\n",
            "jvs100/parallel100/transcripts_utf8.txt": same,
            "gender_f0range.txt": "speaker Male_or_Female minf0[Hz] maxf0[Hz]\n",
        },
    )


def scan(root: Path, *styles: str) -> dict[str, object]:
    values = {"kind": "jvs", "root": str(root), **({"styles": styles} if styles else {})}
    return {c.utt_id: c for c in jvs.scan(jvs.Settings.model_validate(values), root)}


def test_the_official_tree_is_listed(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path))
    assert list(found) == [
        "jvs001-parallel100-VOICEACTRESS100_001",
        "jvs001-parallel100-VOICEACTRESS100_002",
        "jvs100-parallel100-VOICEACTRESS100_001",
        "jvs001-nonpara30-BASIC5000_0025",
    ]
    first = found["jvs001-parallel100-VOICEACTRESS100_001"]
    assert (first.speaker, first.language, first.group) == ("jvs001", "ja", "jvs001-parallel100")
    assert first.text == "また、東寺のように、 五大明王: と呼ばれる。"
    assert (tmp_path / first.path).is_file()
    assert found["jvs001-parallel100-VOICEACTRESS100_002"].text == ""


def test_styles_are_chosen_and_do_not_collide(tmp_path: Path) -> None:
    found = scan(miniature(tmp_path), "whisper10", "falset10", "whisper10")
    assert list(found) == ["jvs001-whisper10-VOICEACTRESS100_001", "jvs001-falset10-VOICEACTRESS100_001"]


def test_a_tree_that_is_not_jvs_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "jvs_ver1/jvs001/parallel100/wav24kHz16bit/a.wav")
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="expected folders jvs001 to jvs100 in it, found none; set `root`"):
            scan(root)
    with pytest.raises(InputError, match="whisper10: expected a folder wav24kHz16bit.*set `styles`"):
        scan(tmp_path / "jvs_ver1", "whisper10")


def test_bad_transcripts_are_named_with_the_line(tmp_path: Path) -> None:
    path = miniature(tmp_path) / "jvs001/parallel100/transcripts_utf8.txt"
    path.write_text("VOICEACTRESS100_001:a\nVOICEACTRESS100_002 b\n")
    with pytest.raises(InputError, match=r"transcripts_utf8\.txt:2: expected a line like"):
        scan(tmp_path)
    path.write_bytes("VOICEACTRESS100_001:また".encode("cp932"))
    with pytest.raises(InputError, match=r"transcripts_utf8\.txt:1: expected UTF-8"):
        scan(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"transcripts_utf8\.txt: the file cannot be read"):
        scan(tmp_path)
