import unicodedata
from pathlib import Path

import pytest

from tests.corpora.miniature import touch
from vcpipe.corpora import utau
from vcpipe.errors import InputError

OTO = (
    "か.wav=か,6,52,69,8,2\r\n_ああいうえ.wav=a う,1200,100,-300,80,40\r\n_ああいうえ.wav=- あ,100,1,1,1,1\r\n"
    "_ああいうえ.wav=a い,700.5,,,,\r\n\r\nが.wav=,3,1,1,1,1\r\nない.wav=ない,1,1,1,1,1\r\n"
)


def bank(
    root: Path, encoding: str = "cp932", oto: str = OTO, character: str = "name=重音テト\r\nimage=a.bmp\r\nauthor=x\r\n"
) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "oto.ini").write_bytes(oto.encode(encoding))
    (root / "character.txt").write_bytes(character.encode(encoding))
    touch(
        root,
        "か.wav",
        "_ああいうえ.wav",
        "が.wav",
        "息1.wav",
        "か_wav.frq",
        "か.mrq",
        "か.wav.llsm",
        "readme.txt",
        "prefix.map",
    )
    return root


def scan(root: Path, **values: str) -> dict[str, utau.Candidate]:
    settings = utau.Settings.model_validate({"kind": "utau", "root": str(root), **values})
    return {c.utt_id: c for c in utau.scan(settings, root)}


@pytest.mark.parametrize("encoding", ["cp932", "utf-8", "utf-8-sig"])
def test_a_bank_is_listed_with_the_sounds_in_time(tmp_path: Path, encoding: str) -> None:
    found = scan(bank(tmp_path, encoding))
    assert {c.utt_id: c.text for c in found.values()} == {
        "か": "か",
        "_ああいうえ": "あ い う",
        "が": "が",
        "息1": "息1",
    }
    assert {(c.speaker, c.language, c.group) for c in found.values()} == {("重音テト", "ja", ".")}


def test_the_text_may_be_the_name_and_the_speaker_given(tmp_path: Path) -> None:
    found = scan(bank(tmp_path), text="file", speaker="Teto", language="en")
    assert found["_ああいうえ"].text == "ああいうえ"
    assert {(c.speaker, c.language) for c in found.values()} == {("Teto", "en")}


@pytest.mark.parametrize("western", ["cp437", "cp850", "cp1252", "latin-1"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_spoilt_names_are_repaired_for_the_text_only(tmp_path: Path, western: str, form: str) -> None:
    oto = "か.wav=か,6\r\nさ.wav=さ,6\r\n"
    (tmp_path / "oto.ini").write_bytes(oto.encode("cp932"))
    spoilt = {}
    for kana in ("か", "さ", "た"):
        name = unicodedata.normalize(form, kana.encode("cp932").decode(western))
        spoilt[kana] = f"{name}.wav"
        (tmp_path / f"{name}.wav").touch()
    found = scan(tmp_path)
    assert {c.utt_id: (c.text, c.path) for c in found.values()} == {k: (k, path) for k, path in spoilt.items()}


def test_apart_written_kana_are_one(tmp_path: Path) -> None:
    (tmp_path / "oto.ini").write_bytes("が.wav=が強,6\nガ.WAV=ガ,1\n".encode("cp932"))
    for kana in ("が.wav", "ガ.wav"):
        (tmp_path / unicodedata.normalize("NFD", kana)).touch()
    assert {c.utt_id: c.text for c in scan(tmp_path).values()} == {"が": "が強", "ガ": "ガ"}


def test_folders_are_pitches_of_the_one_voice_unless_they_have_their_own_name(tmp_path: Path) -> None:
    bank(tmp_path)
    (tmp_path / "C4").mkdir()
    (tmp_path / "C4" / "oto.ini").write_text("か.wav=か_C4,6\n", encoding="utf-8")
    touch(tmp_path, "C4/か.wav")
    bank(tmp_path / "other", character="image=a.bmp\r\n")
    found = scan(tmp_path)
    assert (found["C4/か"].speaker, found["C4/か"].text, found["C4/か"].group) == ("重音テト", "か_C4", "C4")
    assert found["か"].speaker == "重音テト" and found["other/か"].speaker == "other"


def test_without_character_txt_the_folder_names_the_speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = bank(tmp_path / "唄音ウタ")
    (root / "character.txt").unlink()
    assert {c.speaker for c in scan(root).values()} == {"唄音ウタ"}
    monkeypatch.chdir(root)
    assert {c.speaker for c in scan(Path()).values()} == {"唄音ウタ"}


def test_several_aliases_of_one_place_count_once(tmp_path: Path) -> None:
    (tmp_path / "oto.ini").write_text("ka.wav=か,6,1\nka.wav=ka,6,1\nka.wav=カ,6.2,1\nka.wav=R,90\n", encoding="utf-8")
    touch(tmp_path, "ka.wav")
    assert scan(tmp_path)["ka"].text == "か"


@pytest.mark.parametrize("line", ["junk", "=か,1", "か.wav=か,x,1", "か.wav=か,nan", "か.wav=か,inf,1"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"oto\.ini:2: expected a line like あ\.wav=あ,6") as error:
        scan(bank(tmp_path, oto=f"か.wav=か\r\n{line}\r\n"))
    assert "\n" not in str(error.value)


def test_an_encoding_can_be_forced(tmp_path: Path) -> None:
    bank(tmp_path)
    with pytest.raises(InputError, match=r"oto\.ini: expected utf-8, found other bytes; set `encoding`"):
        scan(tmp_path, encoding="utf-8")
    assert scan(tmp_path, encoding="cp932")["か"].speaker == "重音テト"
    (tmp_path / "oto.ini").write_bytes(b"\x82\n")
    with pytest.raises(InputError, match="expected UTF-8 or Shift-JIS"):
        scan(tmp_path)


def test_a_folder_that_is_no_voice_bank_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(InputError, match="expected an oto.ini that names recordings.*or `kind: folder`"):
        scan(tmp_path)
    with pytest.raises(InputError, match="no such folder; set `root`"):
        scan(tmp_path / "nowhere")
