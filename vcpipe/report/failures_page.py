"""The page of what went wrong: the worst pairs by each measure, to be read and heard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vcpipe.manifest import atomic_path
from vcpipe.measures import MEASURES, Measure
from vcpipe.report.demo_page import heard
from vcpipe.report.listen import pair_id
from vcpipe.report.media import FOLDER, NATURAL, media_name
from vcpipe.report.render import render_site
from vcpipe.report.values import badness, of_pair
from vcpipe.results import Result

WORST = 20
"""Pairs that are shown at once: the worst of all chosen rows, or of one."""
RANKED = tuple(measure for measure in MEASURES if measure.kind != "eer" and measure.better)
"""The measures that one pair has and of which one end is worse."""
BESIDE = ("wer", "wer_echo", "cos_target", "cos_source", "f0_corr", "duration_ratio", "mcd_db", "dnsmos_ovrl")
"""Those that are shown of every pair; the listening page has all."""


def write_failures_page(out: Path, results: Sequence[Result]) -> Path:
    """Writes `out`/failures.html, whose players play what the listening page put into `out`/media/.

    Args:
        out: folder of the site.
        results: the rows, as `vcpipe.results.load` reads them.
    """
    pairs = [
        _shown(number, result, line, verdict)
        for number, result in enumerate(results)
        for line, verdict in _worst(result)
    ]
    there = [i for i, _ in enumerate(RANKED) if any(pair["values"][i] is not None for pair in pairs)]
    html = render_site(
        "failures_page",
        here="failures",
        title="Failures",
        worst=WORST,
        measures=[{"index": i, "measure": RANKED[i]} for i in there],
        rows=[{"row": r.row, "label": r.system["label"], "kind": r.system["kind"]} for r in results],
        data={
            "measures": [
                {key: getattr(m, key) for key in ("label", "unit", "digits", "scale", "meaning")}
                | {"beside": m.name in BESIDE}
                for m in RANKED
            ],
            "rows": [
                {"row": r.row, "label": r.system["label"], "reference": r.system["kind"] == "reference"}
                for r in results
            ],
            "worst": WORST,
            "pairs": pairs,
        },
    )
    page = out / "failures.html"
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return page


def _worst(result: Result) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The trials of a row that are among its worst by some measure, in their order."""
    chosen: set[int] = set()
    for measure in RANKED:
        bad = [(_bad(measure, verdict), i) for i, verdict in enumerate(result.judged)]
        ranked = sorted((-value, i) for value, i in bad if value is not None)
        chosen.update(i for _, i in ranked[:WORST])
    for i in sorted(chosen):
        yield result.pairs[i], result.judged[i]


def _bad(measure: Measure, verdict: Mapping[str, Any]) -> float | None:
    value = of_pair(measure, verdict)
    return None if value is None else badness(measure, value)


def _shown(number: int, result: Result, line: Mapping[str, Any], verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What the page holds of a pair: of each measure its value and how bad it is."""
    said = line["text"] or verdict.get("source_hypothesis", "")
    sounds = {"source": (NATURAL, line["source_utt"], "flac"), "reference": (NATURAL, line["reference_utt"], "flac")}
    sounds["converted"] = (result.row, line["name"], "wav")
    return {
        "row": number,
        "id": pair_id(line["source_utt"], line["target_speaker"]),
        "name": line["name"],
        "from": line["source_speaker"],
        "to": line["target_speaker"],
        "said": said,
        "written": bool(line["text"]),
        "heard": [[word, right] for word, right in heard(said, verdict.get("hypothesis", ""))],
        "sounds": {
            kind: f"{FOLDER}/{media_name(row, name)}.{end}" for kind, (row, name, end) in sounds.items() if name
        },
        "values": [_rounded(of_pair(measure, verdict)) for measure in RANKED],
        "bad": [_rounded(_bad(measure, verdict)) for measure in RANKED],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{max(-1e9, min(value, 1e9)):.6g}")
