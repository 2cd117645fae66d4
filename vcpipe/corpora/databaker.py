"""DataBaker BZNSYP (Chinese Standard Mandarin Speech Corpus): one woman, 10,000 read sentences, 48 kHz WAV.

DataBaker (Beijing) Technology, 2018 (year from memory). For non-commercial use only.

Official tree: `<root>/Wave/000001.wav … 010000.wav`, and the texts in `<root>/ProsodyLabeling/000001-010000.txt`, two
lines an utterance:

    000001<TAB>卡尔普#2陪外孙#1玩滑梯#4。
    <TAB>ka2 er2 pu3 pei2 wai4 sun1 wan2 hua2 ti1

The marks `#1` to `#4` are breaks of rising strength and are taken out of the text. `PhoneLabeling` is not read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate
from vcpipe.settings import CorpusSettings

NAME = re.compile(r"\d{6}")
FIRST = re.compile(r"(\d{6})\s+(\S.*)")
BREAK = re.compile(r"#[1-4]")


class Settings(CorpusSettings):
    """`corpora.<name>` with `kind: databaker`."""

    REVISION: ClassVar[int] = 1

    kind: Literal["databaker"]
    root: str
    text: Literal["characters", "pinyin"] = Field("characters", description="which of the two lines of each utterance")


def scan(settings: Settings, root: Path) -> list[Candidate]:
    """Lists the recordings; the one speaker is `databaker`."""
    if not (root / "Wave").is_dir():
        found = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
        raise InputError(
            f"{root}: expected the folders Wave and ProsodyLabeling in it, found {', '.join(found) or 'none'}; set "
            "`root` to the folder BZNSYP"
        )
    texts = _texts(root / "ProsodyLabeling" / "000001-010000.txt", settings.text == "pinyin")
    out = []
    for path in audio_files(root / "Wave", (".wav",)):
        if not NAME.fullmatch(path.stem):
            raise InputError(f"{path}: expected a name like 000001.wav, found {path.name}; move it away")
        out.append(
            Candidate(
                utt_id=path.stem,
                speaker="databaker",
                path=path.relative_to(root).as_posix(),
                text=texts.get(path.stem, ""),
                language="zh",
            )
        )
    return out


def sexes(settings: Settings) -> dict[str, str]:
    """The one speaker is a woman."""
    return {"databaker": "F"}


def _texts(path: Path, pinyin: bool) -> dict[str, str]:
    """The sentences, or their pinyin, by utterance."""
    texts: dict[str, str] = {}
    utt_id = ""
    for n, line in enumerate(decoded(path).splitlines(), 1):
        if not line.strip():
            continue
        match = FIRST.fullmatch(line.strip())
        if match and not utt_id:
            utt_id = match[1]
            texts[utt_id] = " ".join(BREAK.sub("", match[2]).split())
        elif utt_id and not match:
            if pinyin:
                texts[utt_id] = " ".join(line.split())
            utt_id = ""
        else:
            expected = f"the pinyin of {utt_id}" if utt_id else "a line like `000001 卡尔普#2陪外孙#1玩滑梯#4。`"
            raise InputError(f"{path}:{n}: expected {expected}, found '{line.strip()}'; correct it")
    return texts
