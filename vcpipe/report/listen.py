"""The listening page: what was said, whose voice it should be, and what every row made of it, side by side.

The page is one file with its data inside; cards are made from it in the browser, a few at a time, so that a thousand
pairs open as quickly as ten.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.measures import MEASURES, Measure
from vcpipe.report import media, pictures
from vcpipe.report.demo_page import heard
from vcpipe.report.media import NATURAL, media_name
from vcpipe.report.render import HERE, render_site
from vcpipe.report.values import of_pair
from vcpipe.results import Result, digest

PAGE = "listen.html"
SHOWN = tuple(measure for measure in MEASURES if measure.kind != "eer")
"""What one trial has a value of; an EER needs many."""
SCRIPTS = ("listen_player", "listen_blind", "listen_score")


def pair_id(source_utt: str, target_speaker: str) -> str:
    """The anchor of a pair on the page: `listen.html#<pair_id>`. ASCII, and another for every pair.

    As people would write it, where that is plain and can be read in one way only; else with a digest behind a tilde.
    """
    plain = f"{source_utt}-as-{target_speaker}"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)
    if slug == plain and len(re.findall("(?=-as-)", plain)) == 1:
        return slug
    return f"{slug}~{digest([source_utt, target_speaker])[:16]}"


def write_listen(
    out: Path,
    rows: Sequence[Result],
    waves: Callable[[str], Wave],
    rate: int,
    sexes: Mapping[str, str],
    title: str = "Listen",
) -> dict[str, int]:
    """Writes `out/listen.html` and `out/media/`, the page last. What is in `media/` and right is left; the rest goes.

    Args:
        out: folder of the site.
        rows: in the order of the page; all their trials are on it, a card for each pair of source and target.
        waves: from an utterance id to its recording, `(N,)` float32 mono in [-1, 1] at `rate`.
        rate: samples per second.
        sexes: of speakers, where known: `f` or `m`.
        title: heading of the page.

    Returns:
        How much there is: `pairs`, `recordings`, `written` (recordings of which a file was missing), `removed` (files),
        `bytes` of media.

    Raises:
        InputError: for no rows, or a recording that is not there.
    """
    if not rows:
        raise InputError("listening page: expected at least one row to show, found none; judge a row first")
    folder = out / media.FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    page = out / PAGE
    page.unlink(missing_ok=True)  # an old page must not show new recordings
    written = 0
    files: dict[str, str] = {}  # stem -> ending of the sound
    sounds: dict[str, list[Any]] = {}
    pairs: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows):
        for line, verdict in zip(row.pairs, row.judged, strict=True):
            stem = media_name(row.row, line["name"])
            seconds, new = media.converted(folder, stem, row.folder / line["converted"])
            written += new
            files[stem] = ".wav"
            pair = pairs.setdefault(pair_id(line["source_utt"], line["target_speaker"]), _pair(line, verdict))
            reference = line["reference_utt"]
            if reference and reference not in pair["references"]:
                pair["references"].append(reference)
            pair["outputs"].append([number, stem, round(seconds, 3), *_verdict(verdict)])
    natural = sorted({utt for pair in pairs.values() for utt in (pair["utt"], *pair["references"])})
    for utt in natural:
        stem = media_name(NATURAL, utt)
        seconds, new = media.natural(folder, stem, waves(utt), rate)
        written += new
        files[stem] = ".flac"
        sounds[utt] = [stem, round(seconds, 3)]
    removed = media.sweep(folder, {name for stem, end in files.items() for name in (stem + end, stem + ".png")})
    data = {
        "systems": [_system(row) for row in rows],
        "measures": [_measure(measure) for measure in SHOWN],
        "sexes": {who: _sex(sexes[who]) for who in sorted(_speakers(pairs)) if _sex(sexes.get(who, ""))},
        "sounds": sounds,
        "pairs": [{"id": name, **pair} for name, pair in pairs.items()],
        "ticks": {
            "hz": [[f"{hz / 1000:g}", round(pictures.height_of(hz), 4)] for hz in pictures.TICKS_HZ],
            "pitch": [[str(hz), round(pictures.pitch_height_of(hz), 4)] for hz in pictures.PITCH_TICKS_HZ],
        },
    }
    html = render_site(
        "listen",
        "listen",
        title=title,
        data=_in_a_script(data),
        scripts=[(HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS],
        n_pairs=len(pairs),
        systems=data["systems"],
    )
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return {
        "pairs": len(pairs),
        "recordings": len(files),
        "written": written,
        "removed": removed,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def _pair(line: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What all rows of a pair share. Where nobody wrote down what is said, it is what was heard in the source."""
    return {
        "utt": line["source_utt"],
        "from": line["source_speaker"],
        "to": line["target_speaker"],
        "text": line["text"],
        "echo": "" if line["text"] else verdict.get("source_hypothesis", ""),
        "source_errors": verdict.get("source_word_errors") if line["text"] else None,
        "references": [],
        "outputs": [],
    }


def _verdict(verdict: Mapping[str, Any]) -> list[Any]:
    """What was heard, the numbers of its words that are wrong, errors and words, and the value of every measure."""
    errors, words = ("word_errors", "words") if verdict["text"] else ("echo_word_errors", "echo_words")
    said = verdict["text"] or verdict.get("source_hypothesis", "")
    hypothesis = verdict.get("hypothesis", "")
    wrong = [i for i, (_, right) in enumerate(heard(said, hypothesis)) if not right]
    values = [_value(measure, verdict) for measure in SHOWN]
    return [hypothesis, wrong, [verdict.get(errors, 0), verdict.get(words, 0)], values]


def _value(measure: Measure, verdict: Mapping[str, Any]) -> float | None:
    """A measure of one trial on the scale that people see; None where it has no value."""
    value = of_pair(measure, verdict)
    return None if value is None else round(value * measure.scale, measure.digits + 1)


def _system(row: Result) -> dict[str, Any]:
    about = {key: row.system[key] for key in ("row", "label", "kind", "about")}
    return {**about, "protocol": digest(row.protocol)}


def _measure(measure: Measure) -> dict[str, Any]:
    return {key: getattr(measure, key) for key in ("name", "label", "unit", "better", "digits", "meaning")}


def _speakers(pairs: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {pair[end] for pair in pairs.values() for end in ("from", "to")}


def _sex(word: str) -> str:
    return word[:1].lower() if word[:1].lower() in ("f", "m") else ""


def _in_a_script(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside of a script element, whatever its texts say."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
