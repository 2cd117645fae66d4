"""Who is a woman and who a man, as each corpus says it; and the file that is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.corpora import test_m4singer, test_multisinger, test_timit, test_voxceleb1
from tests.corpora.miniature import touch, write
from vcpipe import catalog
from vcpipe.corpora.speakers import read_sexes, write_sexes
from vcpipe.errors import InputError

READERS = (
    "; reader_id: the ID of the reader\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
    "14   | F | train-clean-360  | 25.03 | Kristin LeMoine\n17|M|train-clean-360|25.04| Gord | Mackenzie \n"
    "60   | ? | train-clean-100  | 20.18 | nobody knows\n"
)
TSV = "READER\tGENDER\tSUBSET NAME\n14\tF\ttrain-clean-360\tKristin LeMoine\n17\tM\ttrain-clean-360\tGord Mackenzie\n"
BOTH = {"14": "F", "17": "M"}
OLD_VCTK = (
    "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n226  22  M    English    Surrey\n"
)
NEW_VCTK = "ID  AGE  GENDER  ACCENTS  REGION \np280  25  F  Unknown  France (mic2 files unavailable)\ns5  24  F  X\n\n"
JVS = "speaker Male_or_Female minf0[Hz] maxf0[Hz]\njvs001 M 70 500\njvs002 F 140 500\njvs003\n"
VOX2 = (
    "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000001 ,m ,dev \nid00013 ,n000002 ,f ,test \nid1 ,n3 , ,dev \n"
)


def sexes(kind: str, root: Path, **keys: object) -> dict[str, str]:
    module: Any = catalog.corpus(kind, "corpora")
    found: dict[str, str] = module.sexes(module.Settings.model_validate({"kind": kind, "root": str(root), **keys}))
    return found


@pytest.mark.parametrize(
    ("kind", "name", "text", "expected"),
    [
        ("librispeech", "SPEAKERS.TXT", READERS, BOTH),
        ("libritts", "SPEAKERS.txt", READERS, BOTH),
        ("libritts", "speakers.tsv", TSV, BOTH),
        ("vctk", "speaker-info.txt", OLD_VCTK, {"p225": "F", "p226": "M"}),
        ("vctk", "speaker-info.txt", NEW_VCTK, {"p280": "F", "s5": "F"}),
        ("jvs", "gender_f0range.txt", JVS, {"jvs001": "M", "jvs002": "F"}),
        ("voxceleb1", "vox1_meta.csv", test_voxceleb1.TABLE, {"id10001": "M", "id10002": "M", "id10270": "F"}),
        ("voxceleb2", "vox2_meta.csv", VOX2, {"id00012": "M", "id00013": "F"}),
    ],
)
def test_the_table_of_the_corpus_is_read(
    tmp_path: Path, kind: str, name: str, text: str, expected: dict[str, str]
) -> None:
    assert sexes(kind, tmp_path) == {}
    found = sexes(kind, write(tmp_path, {name: text}))
    assert found == {**expected, **({"id10003": "M"} if kind == "voxceleb1" else {})}


def test_names_and_folders_say_it_too(tmp_path: Path) -> None:
    assert sexes("timit", test_timit.miniature(tmp_path / "timit", lower=True)) == {"FCJF0": "F", "MDAB0": "M"}
    assert sexes("multisinger", test_multisinger.miniature(tmp_path / "songs")) == {"M0": "M", "W0": "F", "W46": "F"}
    root = test_m4singer.miniature(tmp_path / "m4")
    assert sexes("m4singer", touch(root, "Soprano-1#x/0000.wav", "Choir#x/0000.wav")) == {
        "Alto-1": "F",
        "Soprano-1": "F",
        "Tenor-2": "M",
    }


def test_of_known_speakers_it_is_known(tmp_path: Path) -> None:
    assert sexes("ljspeech", tmp_path) == {"LJ": "F"} and sexes("databaker", tmp_path) == {"databaker": "F"}
    arctic = sexes("cmu_arctic", tmp_path)
    assert len(arctic) == 18 and (arctic["bdl"], arctic["slt"], arctic["fem"]) == ("M", "F", "M")
    assert "".join(sexes("demo", tmp_path).values()) == "FMFMFMFM"


@pytest.mark.parametrize("kind", sorted(catalog.CORPORA.keys() - {"together"}))  # which is what its parts are
def test_every_kind_can_be_asked_and_what_is_written_is_read_back(tmp_path: Path, kind: str) -> None:
    if kind in ("m4singer", "multisinger", "timit"):  # whose recordings are what says it
        root = {"m4singer": test_m4singer, "multisinger": test_multisinger, "timit": test_timit}[kind].miniature(
            tmp_path
        )
    else:
        root = tmp_path
    module: Any = catalog.corpus(kind, "corpora")
    settings = module.Settings.model_validate({"kind": kind, "root": str(root)})
    write_sexes(settings, tmp_path / "out" / "speakers.json")
    about = json.loads((tmp_path / "out" / "speakers.json").read_text())
    assert read_sexes(tmp_path / "out" / "speakers.json") == {s: known["sex"] for s, known in about.items()}
    assert bool(about) == (kind in ("cmu_arctic", "databaker", "demo", "ljspeech", "m4singer", "multisinger", "timit"))


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {}}', '{"a": "F"}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="no such file; make it with"):
        read_sexes(tmp_path / "speakers.json")
    (tmp_path / "speakers.json").write_text(content)
    with pytest.raises(InputError, match="expected speakers as"):
        read_sexes(tmp_path / "speakers.json")


def test_the_real_table_has_its_readers(real_data: Path) -> None:
    found = sexes("librispeech", real_data / "corpora" / "LibriSpeech")
    assert len(found) == 2484 and [found[s] for s in ("533", "1688", "1998", "2033", "2414", "3080")] == list("FMFMMF")
