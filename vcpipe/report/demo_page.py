"""The demo page: what was said, whose voice it should be, and what came out, side by side, in one folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vcpipe import audio
from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.report import pictures
from vcpipe.report.render import render

KINDS = ("source", "reference", "converted")


@dataclass(frozen=True)
class Pair:
    """One conversion to show.

    Args:
        name: unique on the page; becomes its anchor and the names of its files.
        text: what the source says, '' where nobody wrote it down.
        source_speaker: who speaks in the source.
        target_speaker: whose voice the conversion should have.
        source: `(N,)` float32 mono in [-1, 1] and its samples per second.
        reference: a recording of the target speaker, alike.
        converted: what came out, alike.
        numbers: what was measured. `hypothesis` (str), `word_errors`, `words`, `source_word_errors`, the same for
            `char`, `cos_target`, `cos_source` and `nearer_to_target` (bool) have their own places; any other number
            is listed by its name.
    """

    name: str
    text: str
    source_speaker: str
    target_speaker: str
    source: tuple[Wave, int]
    reference: tuple[Wave, int]
    converted: tuple[Wave, int]
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """A number of the summary in words: what it is, what it came to, and what that means."""

    label: str
    value: str
    meaning: str


def write_page(
    out_dir: str | Path,
    pairs: Sequence[Pair],
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    how: Sequence[str],
    title: str = "Voice conversion demo",
) -> Path:
    """Writes `out_dir/index.html` with its `audio/*.wav` and `pictures/*.png`; the page last, when all is there.

    A recording that already lies in `audio/` with the same sound is left as it is.

    Args:
        out_dir: folder, made if need be.
        pairs: what to show, in this order.
        summary: numbers over all pairs; `figures` says which have their own words.
        settings: nested mapping, shown as it is.
        how: how it was made, a paragraph each; one that starts with `$ ` is shown as a command.
        title: heading of the page.

    Raises:
        InputError: for no pairs, two pairs of one name, or a recording that cannot be shown.
    """
    out = Path(out_dir)
    _check(pairs)
    page = out / "index.html"
    page.unlink(missing_ok=True)  # an old page must not show new recordings
    for folder in ("audio", "pictures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    html = render(
        "demo_page",
        title=title,
        pairs=[_show(pair, out) for pair in pairs],
        figures=figures(summary),
        settings=settings,
        how=[_paragraph(line) for line in how],
        speakers={
            "from": sorted({pair.source_speaker for pair in pairs}),
            "to": sorted({pair.target_speaker for pair in pairs}),
        },
        ticks=[(f"{hz / 1000:g}", pictures.height_of(hz)) for hz in pictures.TICKS_HZ],
    )
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return page


def figures(summary: Mapping[str, Any]) -> list[Figure]:
    """The numbers of a summary in plain words: those that are there, and not None.

    Known are `wer` and `source_wer` (fractions of all words), `nearer_to_target` (fraction of the pairs),
    `cos_target` and `cos_source` (means), `rtf` (seconds of work a second of speech), `reference_s`, `n`.
    """
    has = {key: value for key, value in summary.items() if value is not None}
    shown = []
    if "wer" in has:
        also = f" In the original recordings: {_percent(has['source_wer'])}." if "source_wer" in has else ""
        meaning = f"by a speech recogniser that listens to the conversions.{also}"
        shown.append(Figure("Words misheard", _percent(has["wer"]), meaning))
    if "nearer_to_target" in has:
        meaning = "of the conversions sound, to a speaker verifier, more like the target than like the source speaker."
        shown.append(Figure("Right voice", _percent(has["nearer_to_target"], digits=0), meaning))
    if "cos_target" in has:
        also = f", and {has['cos_source']:.2f} to the source voice" if "cos_source" in has else ""
        meaning = f"to the target voice on average{also}. 1 is the same voice to the verifier."
        shown.append(Figure("Similarity", f"{has['cos_target']:.2f}", meaning))
    if "rtf" in has:
        meaning = "of work for each second of speech, on one machine. Below 1 s is faster than speaking."
        shown.append(Figure("Time taken", f"{has['rtf']:.2f} s", meaning))
    if "reference_s" in has:
        meaning = "of the target's speech were given to imitate, on average."
        shown.append(Figure("Reference", f"{has['reference_s']:.0f} s", meaning))
    if "n" in has:
        shown.append(Figure("Conversions", f"{has['n']}", "were made and judged."))
    return shown


def heard(text: str, hypothesis: str) -> list[tuple[str, bool]]:
    """The words of what was heard, each with whether it stands in the text there; case and punctuation don't count."""
    said, got = text.split(), hypothesis.split()
    matcher = difflib.SequenceMatcher(None, [_bare(word) for word in said], [_bare(word) for word in got], False)
    right = {block.b + i for block in matcher.get_matching_blocks() for i in range(block.size)}
    return [(word, not text or i in right) for i, word in enumerate(got)]


def _check(pairs: Sequence[Pair]) -> None:
    if not pairs:
        raise InputError("demo page: expected at least one pair to show, found none; check the list of trials")
    seen: dict[str, str] = {}
    for pair in pairs:
        slug = _slug(pair.name)
        if slug in seen:
            raise InputError(f"demo page: pairs '{seen[slug]}' and '{pair.name}' have one file name; rename one")
        seen[slug] = pair.name
        for kind in KINDS:
            wave, rate = getattr(pair, kind)
            if wave.ndim != 1 or not len(wave) or rate <= 0 or not np.isfinite(wave).all():
                flaw = "" if np.isfinite(wave).all() else " with NaN or infinity"
                raise InputError(
                    f"demo page: {kind} of pair '{pair.name}': expected (samples,) of finite numbers, "
                    f"found shape {wave.shape} at {rate} Hz{flaw}; make it again"
                )


def _show(pair: Pair, out: Path) -> dict[str, Any]:
    """Writes the recordings and pictures of a pair; returns what the template shows of it."""
    slug = _slug(pair.name)
    seconds = {kind: len(wave) / rate for kind, (wave, rate) in ((kind, getattr(pair, kind)) for kind in KINDS)}
    longest = max(seconds.values())
    media = []
    for kind in KINDS:
        wave, rate = getattr(pair, kind)
        sound, picture = f"audio/{slug}-{kind}.wav", f"pictures/{slug}-{kind}.png"
        if not _lies_there(out / sound, wave, rate):
            audio.save(out / sound, wave, rate)
        pictures.spectrogram(wave, rate, longest, out / picture)
        media.append({"kind": kind, "audio": sound, "picture": picture, "seconds": seconds[kind]})
    numbers = {key: value for key, value in pair.numbers.items() if value is not None}
    return {
        "slug": slug,
        "pair": pair,
        "media": media,
        "longest": longest,
        "numbers": numbers,
        "heard": heard(pair.text, str(numbers.get("hypothesis", ""))),
        "others": [_other(key, value) for key, value in numbers.items() if key not in _PLACED],
        "error_rate": numbers.get("word_errors", 0) / max(numbers.get("words", 0), 1),
    }


_PLACED = {
    *("hypothesis", "source_hypothesis", "word_errors", "words", "source_word_errors"),
    *("char_errors", "chars", "source_char_errors"),
    *("cos_target", "cos_source", "nearer_to_target"),
}


def _lies_there(path: Path, wave: Wave, rate: int) -> bool:
    """Whether a file already holds this recording, to the precision of 16 bits."""
    import soundfile

    try:
        there, there_rate = soundfile.read(path, dtype="float32")
    except soundfile.SoundFileError:
        return False
    return there_rate == rate and there.shape == wave.shape and float(np.abs(there - wave).max()) < 2**-14


def _paragraph(line: str) -> dict[str, Any]:
    return {"command": line.startswith("$ "), "text": line.removeprefix("$ ")}


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "pair"


def _bare(word: str) -> str:
    return re.sub(r"[^\w']+", "", word).lower()


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _other(key: str, value: Any) -> tuple[str, str]:
    """A number without a place of its own as label and value; a key that ends in `_s` is in seconds."""
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    if key == "rtf":
        return "Work per second", f"{text} s"
    label = key.removesuffix("_s").replace("_", " ").capitalize()
    return label, f"{text} s" if key.endswith("_s") else text
