"""The page of a corpus: how much of it there is, how it sounds, who speaks, and what was thrown away."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vcpipe.audio import REASONS
from vcpipe.forecast import human
from vcpipe.manifest import Reject, atomic_path, read_table
from vcpipe.report.demo_page import Figure
from vcpipe.report.plots import histogram, ranges
from vcpipe.report.render import render
from vcpipe.stats import MEASURES

SPEAKERS = 500
"""Speakers that the page lists; the table beside it has all."""
EXAMPLES = 200
"""Rejects that the page lists."""
RANGES = 40
"""Speakers whose F0 range is drawn."""

CAPTIONS = {
    "seconds": ("Length", "s"),
    "level_dbfs": ("Level", "dBFS"),
    "snr_db": ("Signal to noise", "dB"),
    "clipped_share": ("Clipping", "% of samples"),
    "speech_share": ("Speech", "% of the time"),
    "f0_median_hz": ("Pitch of utterances", "Hz"),
}

HEADINGS = {
    "speaker": "Speaker",
    "utterances": "Utterances",
    "minutes": "Minutes",
    "seconds_median": "Median s",
    "level_dbfs": "Level dBFS",
    "snr_db": "SNR dB",
    "clipped_share": "Clipped %",
    "speech_share": "Speech %",
    "f0_p5_hz": "F0 5 % Hz",
    "f0_median_hz": "F0 median Hz",
    "f0_p95_hz": "F0 95 % Hz",
}


def write_page(folder: Path, rejects: Path) -> Path:
    """Writes `folder`/index.html from what `vcpipe.stats.write_stats` left there.

    Args:
        folder: with corpus.json, speakers.csv and utterances.csv.
        rejects: table of what was thrown away.
    """
    total = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
    utterances, speakers = _read(folder / "utterances.csv"), _read(folder / "speakers.csv")
    bad = read_table(rejects, Reject)
    headings = {key: words for key, words in HEADINGS.items() if speakers and key in speakers[0]}
    html = render(
        "stats_page",
        title=f"{total['corpus']}: what is in it",
        corpus=total["corpus"],
        copy=total["copy"],
        figures=_figures(total),
        plots=_plots(utterances, speakers),
        n_speakers=len(speakers),
        headings=list(headings.values()),
        speakers=[[(row[key], _shown(key, row[key])) for key in headings] for row in speakers[:SPEAKERS]],
        rejects=[(reason, count, REASONS.get(reason, "")) for reason, count in total["rejects"].items()],
        n_rejects=len(bad),
        examples=bad[:EXAMPLES],
        features=[
            (name, human(size), human(size / total["hours"]) if total["hours"] else "")
            for name, size in total["features"].items()
        ],
    )
    page = folder / "index.html"
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return page


def _figures(total: Mapping[str, Any]) -> list[Figure]:
    middle = {name: values["0.5"] for name, values in total["quantiles"].items()}
    hours = total["hours"]
    splits = ", ".join(f"{s['utterances']} {name}" for name, s in total["splits"].items())
    thrown = sum(total["rejects"].values())
    found = total["utterances"] + thrown
    out = [
        Figure("Speech", f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min", "in all utterances together."),
        Figure("Utterances", f"{total['utterances']:,}", f"of {total['speakers']:,} speakers: {splits}."),
        Figure("Thrown away", f"{100 * thrown / max(found, 1):.1f} %", f"{thrown:,} of {found:,} recordings."),
    ]
    if "snr_db" in middle:
        low = total["quantiles"]["snr_db"]["0.05"]
        out.append(
            Figure("Signal to noise", f"{middle['snr_db']:.0f} dB", f"in the median; 5 % have below {low:.0f} dB.")
        )
    if "level_dbfs" in middle:
        out.append(Figure("Level", f"{middle['level_dbfs']:.0f} dBFS", "RMS of the recordings, in the median."))
    if "f0_median_hz" in middle:
        spread = total["quantiles"]["f0_median_hz"]
        words = f"median F0; nine in ten utterances lie between {spread['0.05']:.0f} and {spread['0.95']:.0f} Hz."
        out.append(Figure("Pitch", f"{middle['f0_median_hz']:.0f} Hz", words))
    return out


def _plots(utterances: Sequence[dict[str, str]], speakers: Sequence[dict[str, str]]) -> list[tuple[str, str, str]]:
    out = []
    for name, (caption, unit) in CAPTIONS.items():
        values = [float(row[name]) for row in utterances if row.get(name, "") != ""]
        if values:
            scale = 100 if unit.startswith("%") else 1
            picture = histogram([scale * value for value in values], caption.lower(), unit)
            out.append((caption, f"{MEASURES[name]}; a count of utterances, the line is the median", picture))
    rows = [
        (r["speaker"], float(r["f0_p5_hz"]), float(r["f0_median_hz"]), float(r["f0_p95_hz"]))
        for r in speakers
        if r.get("f0_median_hz", "") != ""
    ]
    if rows:
        chosen = sorted(rows, key=lambda row: row[2])[:: max(1, -(-len(rows) // RANGES))]
        words = "from the 5th to the 95th percentile of voiced frames, the dot is the median"
        out.append(("Pitch of speakers", words, ranges(chosen, "F0 range", "Hz")))
    return out


def _shown(key: str, value: str) -> str:
    if key == "speaker" or value == "":
        return value
    number = float(value)
    if key.endswith("_share"):
        return f"{100 * number:.2f}"
    if key == "utterances":
        return value
    return f"{number:.0f}" if key.startswith("f0_") else f"{number:.1f}"


def _read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))
