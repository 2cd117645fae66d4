"""When each word of a recording is said: the two formats in use, and finding the alignment of a recording.

Of every alignment that is read here the words cover the recording from 0 on without gap or overlap, pauses are words
whose text is empty, no two pauses follow one another, and the first and the last word is a pause, if of no length.

- LibriSpeech-Alignments: `<speaker>-<chapter>.alignment.txt`, one line an utterance, `<utt_id> "WORDS" "STOPS"`, both
  lists with commas, a pause as an empty word: `84-121123-0000 ",GO,,DO," "0.49,0.89,1.27,1.38,1.50"`.
- Praat's TextGrid, as the Montreal Forced Aligner (McAuliffe et al., Interspeech 2017) writes it: tier `words`.

A corpus with alignments has a third function, `alignments(settings, root, utt_ids)`, which yields the words of those
of the utterances that have any. Standard library only.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vcpipe.corpora.files import audio_files, decoded
from vcpipe.corpora.textgrid import NEAR_S, read_tiers
from vcpipe.errors import InputError
from vcpipe.manifest import Candidate, atomic_path

log = logging.getLogger(__name__)

SILENCES = {"", "sil", "sp", "<eps>", "<sil>", "<silence>", "[silence]"}
UNKNOWNS = {"<unk>", "<oov>", "[unk]", "spn"}


@dataclass(frozen=True)
class Word:
    """A word and where it is said, in seconds; of a silence the text is empty."""

    text: str
    start_s: float
    stop_s: float


class TextMismatch(InputError):
    """An alignment has other words than the transcript; such an utterance is left out and logged."""


def cover(words: Iterable[Word], stop_s: float = 0.0) -> list[Word]:
    """Words in order with the pauses before, between and after them as silences, up to `stop_s` at least.

    Adjacent silences become one. A word that begins before the one before it ends is cut to begin there.
    """
    out = [Word("", 0.0, 0.0)]
    for word in words:
        if word.start_s - out[-1].stop_s > NEAR_S:
            _pause(out, word.start_s)
        if word.text:
            out.append(Word(word.text, out[-1].stop_s, max(word.stop_s, out[-1].stop_s)))
        else:
            _pause(out, word.stop_s)
    _pause(out, stop_s)
    return out


def _pause(out: list[Word], stop_s: float) -> None:
    stop_s = max(stop_s, out[-1].stop_s)
    if out[-1].text:
        out.append(Word("", out[-1].stop_s, stop_s))
    else:
        out[-1] = replace(out[-1], stop_s=stop_s)


# the text format of LibriSpeech-Alignments


_LINE = re.compile(r'(\S+) "([^"\s]*)" "([^"\s]*)"(?:\s.*)?')


def read_librispeech_alignments(path: str | Path) -> dict[str, list[Word]]:
    """Words by utterance id. What follows the third field (some tools add the transcript) is passed over.

    Raises:
        InputError: naming the file and the line.
    """
    out: dict[str, list[Word]] = {}
    for number, line in enumerate(decoded(Path(path)).splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        match = _LINE.fullmatch(line.strip())
        if not match:
            raise InputError(f'{where}: expected `<utt_id> "A,B" "0.5,1.0"`, found {line[:60]!r}; mend or remove it')
        utt_id, labels, times = match[1], match[2].split(","), match[3].split(",")
        if len(labels) != len(times):
            raise InputError(
                f"{where}: {len(labels)} words but {len(times)} times for {utt_id}; mend or remove the line"
            )
        if utt_id in out:
            raise InputError(f"{where}: {utt_id} has a line already; leave one of them")
        stops = [_seconds(time, where) for time in times]
        starts = [0.0, *stops[:-1]]
        if any(stop < start for start, stop in zip(starts, stops, strict=True)):
            raise InputError(f"{where}: expected times that never fall, found {match[3][:60]}; mend or remove the line")
        out[utt_id] = cover(Word(*word) for word in zip(labels, starts, stops, strict=True))
    return out


def write_librispeech_alignments(path: str | Path, alignments: Mapping[str, Sequence[Word]]) -> None:
    """Writes utterances in the order given, words in upper case, times in seconds rounded to a microsecond.

    Raises:
        InputError: for a word with a space, a comma or a quote, which this format cannot hold.
    """
    lines = []
    for utt_id, words in alignments.items():
        whole = cover(words)
        for word in whole:
            if re.search(r'[\s,"]', word.text):
                raise InputError(
                    f"{path}: the word {word.text!r} of {utt_id} has a space, comma or quote; leave it out"
                )
        labels = ",".join(word.text.upper() for word in whole)
        lines.append(f'{utt_id} "{labels}" "{",".join(_decimal(word.stop_s) for word in whole)}"\n')
    with atomic_path(path) as tmp:
        tmp.write_text("".join(lines), encoding="utf-8")


def _decimal(seconds: float) -> str:
    whole, _, rest = f"{seconds:.6f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise InputError(f"{where}: expected a time in seconds, found {text!r}; mend or remove it")
    return value


# TextGrids


def read_textgrid(path: str | Path, text: str = "") -> list[Word]:
    """The words of a TextGrid, long or short, in UTF-8 or UTF-16.

    Args:
        text: the transcript, if there is one. Then the words are spelled as it spells them, less the punctuation, and
            each unknown one (`<unk>`) is the transcript's word in its place.

    Raises:
        TextMismatch: when there are more or fewer words than in the transcript. A word with hyphens counts as one or
            as its parts, as the aligner counted it.
        InputError: naming the file and the line of what is wrong, or the tiers when `words` is not one of them.
    """
    tiers = read_tiers(Path(path))
    named = [tier for tier in tiers if tier.name.casefold() in ("words", "word")]
    found = named or [tier for tier in tiers if tier.name.casefold().endswith(" - words")]  # <speaker> - words
    if len(found) != 1:
        raise InputError(
            f"{path}: expected one tier `words`, found {', '.join(tier.name for tier in tiers) or 'no tiers'}; "
            "align it again, or rename the tier with Praat"
        )
    words = [Word("" if i.label.casefold() in SILENCES else i.label, i.start_s, i.stop_s) for i in found[0].intervals]
    if text:
        spoken = [w for w in words if w.text]
        spelled = _spelled([w.text for w in spoken], text)
        if spelled is None:
            raise TextMismatch(f"{path}: its {len(spoken)} words are not those of the transcript: {text[:60]}")
        spelling = iter(spelled)
        words = [replace(w, text=next(spelling)) if w.text else w for w in words]
    return cover(words)


def _spelled(labels: list[str], text: str) -> list[str] | None:
    """The labels as the transcript spells them; None when they are not its words."""
    left = [word for word in (re.sub(r"^[^\w']+|[^\w']+$", "", token) for token in text.split()) if _bare(word)][::-1]
    out = []
    for label in labels:
        unknown = label.casefold() in UNKNOWNS
        if left and not unknown and _bare(label) != _bare(left[-1]):
            parts = [part for part in re.split(r"[-–—/]+", left[-1]) if _bare(part)]
            if _bare(parts[0]) == _bare(label):
                left[-1:] = parts[::-1]
        if not left:
            return None
        word = left.pop()
        out.append(word if unknown or _bare(word) == _bare(label) else label)
    return None if left else out


def _bare(word: str) -> str:
    return "".join(c for c in word.casefold() if c.isalnum())


# which alignment belongs to which recording


def files_below(folder: str | Path, suffix: str) -> list[Path]:
    """Files below a folder whose names end so (in lower case here, in any on disk), in a stable order."""
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: no such folder; set `alignments` of the corpus to where they lie, or leave it out")
    return list(audio_files(Path(folder), (suffix,)))


def textgrids(
    found: Sequence[Candidate], root: Path, folder: str, utt_ids: Collection[str]
) -> Iterator[tuple[str, list[Word]]]:
    """The words of those of the utterances that have a TextGrid; one that does not fit its text is left out and logged.

    Args:
        found: all that the corpus lists, so that a name that two recordings share is not taken for either.
        root: of the corpus.
        folder: where the TextGrids are, at the paths of the recordings or else anywhere below by the recording's or
            the utterance's name; empty: beside the recordings.
        utt_ids: which utterances.

    Raises:
        InputError: for a name that two TextGrids or two recordings share, and for a TextGrid that cannot be read.
    """
    first = {c.utt_id: c for c in reversed(found)}
    below: dict[str, list[Path]] = {}
    for path in files_below(folder, ".textgrid") if folder else []:
        below.setdefault(path.name[: -len(".textgrid")], []).append(path)
    shared = Counter(name for c in first.values() for name in _names(c))
    base = Path(folder) if folder else root
    for utt_id in utt_ids:
        c = first.get(utt_id)
        if c is None:
            continue
        names = _names(c)
        places = [(base / c.path).with_name(f"{Path(name).name}.TextGrid") for name in names]
        there = [path for path in places if path.is_file()] or [path for name in names for path in below.get(name, [])]
        if not there:
            continue
        if there[0] not in places and (len(there) > 1 or any(shared[name] > 1 for name in names if name in below)):
            raise InputError(
                f"{there[0]}: {utt_id} is not the only recording of this name, or it has several TextGrids; "
                f"move its own to {places[0]}"
            )
        try:
            yield utt_id, read_textgrid(there[0], c.text)
        except TextMismatch as error:
            log.warning("%s; %s goes without", error, utt_id)


def _names(c: Candidate) -> list[str]:
    """What an alignment of a recording may be called: as its file, or as the utterance."""
    return list(dict.fromkeys((Path(c.path).stem, c.utt_id)))
