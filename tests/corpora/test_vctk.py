from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora.miniature import HELLO, textgrid, touch, write
from vcpipe.corpora import vctk
from vcpipe.errors import InputError

OLD = "ID  AGE  GENDER  ACCENTS  REGION \n225  23  F    English    Southern  England\n"
NEW = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \np280  25  F  Unknown  France (mic2 files unavailable)\n"


def version_080(root: Path) -> Path:
    """One microphone; p315 has no texts, and one recording of p376 is in a raw format."""
    touch(root, "wav48/p225/p225_001.wav", "wav48/p315/p315_002.wav", "wav48/p376/p376_295.raw")
    return write(root, {"speaker-info.txt": OLD, "txt/p225/p225_001.txt": "Please call Stella.\n"})


def version_092(root: Path) -> Path:
    """Two microphones; p280 and p315 have only the first, and of p225_002 the first is missing."""
    folder = "wav48_silence_trimmed"
    touch(
        root,
        *(f"{folder}/p225/p225_00{n}_mic{m}.flac" for n, m in [(1, 1), (1, 2), (2, 2)]),
        f"{folder}/p280/p280_001_mic1.flac",
        f"{folder}/p315/p315_001_mic1.flac",
        *(f"{folder}/s5/s5_001_mic{m}.flac" for m in (1, 2)),
    )
    texts = {f"txt/{s}/{s}_001.txt": "Hello, world.\n" for s in ("p225", "p280", "s5")}
    return write(root, {f"{folder}/log.txt": "", "speaker-info.txt": NEW, **texts})


def settings(root: Path, **keys: object) -> vctk.Settings:
    return vctk.Settings.model_validate({"kind": "vctk", "root": str(root), **keys})


def listed(root: Path, **keys: object) -> list[tuple[str, str, str, str]]:
    return [(c.utt_id, c.speaker, c.path, c.text) for c in vctk.scan(settings(root, **keys), root)]


def test_the_old_version_is_listed_with_speakers_and_texts(tmp_path: Path) -> None:
    assert listed(version_080(tmp_path)) == [
        ("p225_001", "p225", "wav48/p225/p225_001.wav", "Please call Stella."),
        ("p315_002", "p315", "wav48/p315/p315_002.wav", ""),
    ]


@pytest.mark.parametrize(("microphone", "taken"), [("mic1", [1, 2, 1, 1, 1]), ("mic2", [2, 2, 1, 1, 2])])
def test_two_microphones_are_one_utterance(tmp_path: Path, microphone: str, taken: list[int]) -> None:
    names = ["p225_001", "p225_002", "p280_001", "p315_001", "s5_001"]
    assert listed(version_092(tmp_path), microphone=microphone) == [
        (
            name,
            name.partition("_")[0],
            f"wav48_silence_trimmed/{name.partition('_')[0]}/{name}_mic{m}.flac",
            "" if name in ("p225_002", "p315_001") else "Hello, world.",
        )
        for name, m in zip(names, taken, strict=True)
    ]


def test_a_folder_of_no_version_or_of_both_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected one of wav48 \(0\.80\), wav48_silence_trimmed.*found neither"):
        listed(touch(tmp_path, "wav16/p225/p225_001.wav"))
    with pytest.raises(InputError, match="found wav48 and wav48_silence_trimmed"):
        listed(version_092(version_080(tmp_path)))


def test_a_foreign_name_is_named(tmp_path: Path) -> None:
    root = touch(version_092(tmp_path), "wav48_silence_trimmed/p225/p225_003.flac")
    with pytest.raises(InputError, match=r"p225_003\.flac: expected a name like p225_001_mic1\.flac"):
        listed(root)


@pytest.mark.parametrize("name", ["p225_001.TextGrid", "p225_001_mic1.TextGrid"])
@pytest.mark.parametrize("beside", [False, True])
def test_an_alignment_is_called_as_the_utterance_or_the_file(tmp_path: Path, name: str, beside: bool) -> None:
    root = version_092(tmp_path / "corpus")
    folder = root / "wav48_silence_trimmed" / "p225" if beside else tmp_path / "mfa"
    write(folder, {name: textgrid(HELLO)})
    given = settings(root, alignments="" if beside else str(tmp_path / "mfa"))
    found = dict(vctk.alignments(given, root, ["p225_001", "s5_001"]))
    assert {k: [w.text for w in v] for k, v in found.items()} == {"p225_001": ["", "Hello", "world", ""]}
