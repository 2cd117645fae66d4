"""The front page of the report: every figure of every row with its interval, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path
from vcpipe.measures import BY_NAME, MEASURES, Measure, merit, number
from vcpipe.report import plots
from vcpipe.report.render import render_site
from vcpipe.report.values import interval, minus
from vcpipe.results import Result

Row = Mapping[str, Any]

GROUPS = {
    "words": "Words",
    "voice": "Voice",
    "prosody": "Prosody",
    "spectrum": "Spectrum",
    "quality": "Quality",
    "cost": "Cost",
}
PLOTTED = ("wer", "cos_target", "eer", "f0_corr", "mcd_db", "dnsmos_ovrl")
"""The measures that are drawn."""


def _cost(name: str, label: str, unit: str, better: Literal["lower", ""], digits: int, meaning: str) -> Measure:
    return Measure(name, label, unit, better, digits, meaning, "cost", "mean", (name,))


COSTS = (
    _cost("peak_mib", "memory", "MiB", "lower", 0, "The most memory that the conversion of all trials took."),
    _cost("model_mib", "model", "MiB", "lower", 1, "Size of the trained vocoder; encoders are not counted."),
    Measure(
        "parameters",
        "weights",
        "M",
        "",
        2,
        "Parameters of the trained vocoder, in millions.",
        "cost",
        "mean",
        ("parameters",),
        scale=1e-6,
    ),
)
"""Columns with one figure for a row and no interval."""


def write_overview_page(out: Path, results: Sequence[Result], overview: Mapping[str, Any]) -> Path:
    """Writes `out`/index.html.

    Args:
        out: folder of the site.
        results: the rows, as `vcpipe.results.load` reads them.
        overview: content of overview.json.

    Raises:
        InputError: when the overview is not that of these rows.
    """
    check(results, overview)
    rows = overview["rows"]
    columns = [m for m in (*MEASURES, *COSTS) if any(_found(row, m) for row in rows)]
    labels = {row["row"]: row["label"] for row in rows}
    comparisons = [_comparison(line, labels, _reach(overview, line["measure"])) for line in overview["comparisons"]]
    named = {line["a"] for line in comparisons} | {line["b"] for line in comparisons}
    measured = {line["measure"] for line in comparisons}
    html = render_site(
        "overview_page",
        here="overview",
        title="Voice conversion, judged",
        lead=_lead(rows),
        groups=[
            {"name": name, "label": label, "columns": [m for m in columns if m.group == name]}
            for name, label in GROUPS.items()
            if any(m.group == name for m in columns)
        ],
        n_columns=len(columns),
        parts=_parts(rows, columns),
        plots=[_plot(measure, rows) for measure in map(BY_NAME.__getitem__, PLOTTED) if measure in columns],
        comparisons=comparisons,
        compared=[(m.name, m.label) for m in MEASURES if m.name in measured],
        compared_rows=[row for row in rows if row["row"] in named],
        protocol=_without_lists(overview["protocol"]),
        digests=[
            {"label": r.system["label"], "digest": r.metrics["protocol"], "file": quote(r.row, safe="")}
            for r in results
        ],
    )
    page = out / "index.html"
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return page


def check(results: Sequence[Result], overview: Mapping[str, Any]) -> None:
    """Refuses an overview of other rows, or of figures or protocols that have changed since."""
    again = "make it again: `snakemake --cores all evaluate`"
    given, listed = {r.row: r for r in results}, {row["row"]: row for row in overview["rows"]}
    if not given or given.keys() != listed.keys():
        raise InputError(
            f"overview.json: expected the rows {', '.join(sorted(given)) or '(none was given)'}, "
            f"found {', '.join(sorted(listed)) or 'none'}; {again}"
        )
    for name, row in listed.items():
        metrics = given[name].metrics
        if row["measures"] != metrics["measures"]:
            raise InputError(f"overview.json: the figures of row {name} are not those of its metrics.json; {again}")
        if row.get("protocol") != metrics["protocol"]:
            raise InputError(
                f"overview.json: row {name}: expected the protocol of its metrics.json ({metrics['protocol'][:12]}), "
                f"found {str(row.get('protocol'))[:12]}; {again}"
            )


def row_file(row: str) -> str:
    """The page of a row, as a link from the folder `systems/`."""
    return quote(row, safe="") + ".html"


def _lead(rows: Sequence[Row]) -> str:
    counts = sorted({row["n"] for row in rows})
    of = f"{counts[0]:,} conversions" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} conversions"
    kinds = [row["kind"] for row in rows]
    words = [_count(kinds.count("system"), "system"), _count(kinds.count("baseline"), "baseline")]
    references = _count(kinds.count("reference"), "reference row")
    return f"{' and '.join(filter(None, words)) or 'No system'}, {of} each, all judged alike" + (
        f", beside {references} that say what the figures can be." if references else "."
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n > 1 else ''}" if n else ""


def _found(row: Row, measure: Measure) -> dict[str, float] | None:
    """The figure of a row, with an interval where there is one."""
    if measure in COSTS:
        value = row["costs"].get(measure.name)
        return None if value is None else {"value": float(value)}
    found: dict[str, float] | None = row["measures"].get(measure.name)
    return found


def _parts(rows: Sequence[Row], columns: Sequence[Measure]) -> list[dict[str, Any]]:
    """The bodies of the table: what converts, and below it the reference rows."""
    ours = [row for row in rows if row["kind"] != "reference"]
    others = [row for row in rows if row["kind"] == "reference"]
    best = {measure.name: _best(ours, measure) for measure in columns}
    parts = [
        {"title": "", "rows": [_row(row, columns, best) for row in ours]},
        {"title": "Reference rows, for orientation", "rows": [_row(row, columns, {}) for row in others]},
    ]
    return [part for part in parts if part["rows"]]


def _best(rows: Sequence[Row], measure: Measure) -> float | None:
    """The merit of the best of several rows; of one, nothing is the best."""
    found = [merit(measure, f["value"]) for row in rows if (f := _found(row, measure))]
    there = [m for m in found if m is not None]
    return max(there) if len(there) > 1 else None


def _row(row: Row, columns: Sequence[Measure], best: Mapping[str, float | None]) -> dict[str, Any]:
    cells, group = [], ""
    for measure in columns:
        found = _found(row, measure)
        good = None if found is None else merit(measure, found["value"])
        is_best = good is not None and good == best.get(measure.name)
        cells.append(
            {
                "group": measure.group,
                "merit": "" if found is None else found["value"] if good is None else good,
                "words": minus(number(measure, found["value"] if found else None)),
                "interval": _whiskers(measure, found or {}),
                "classes": " ".join(
                    filter(None, ("first" if measure.group != group else "", "best" if is_best else ""))
                ),
            }
        )
        group = measure.group
    return {
        "label": row["label"],
        "file": row_file(row["row"]),
        "about": row["about"],
        "note": f"{'' if row['kind'] == 'reference' else row['kind'] + ', '}{row['n']:,} pairs",
        "cells": cells,
    }


def _plot(measure: Measure, rows: Sequence[Row]) -> dict[str, Any]:
    """The rows that have a measure, the best on top and the reference rows below."""
    there = [(row, found) for row in rows if (found := _found(row, measure))]
    there.sort(key=lambda pair: (pair[0]["kind"] == "reference", -(merit(measure, pair[1]["value"]) or 0.0)))
    lines = [(row["label"], *(measure.scale * end for end in _ends(found)), row["kind"]) for row, found in there]
    return {
        "label": measure.label,
        "unit": measure.unit,
        "better": measure.better,
        "meaning": measure.meaning,
        "picture": plots.intervals(lines, measure.label, measure.unit),
    }


def _whiskers(measure: Measure, found: Mapping[str, Any]) -> str:
    """The interval in words; empty for costs, and where none can be given."""
    return "" if found.get("low") is None else interval(measure, found["low"], found["high"])


def _ends(found: Mapping[str, Any]) -> tuple[float, float, float]:
    """Low, value and high; where no interval can be given, as of one speaker, it is drawn without width."""
    value = found["value"]
    return (value, value, value) if found["low"] is None else (found["low"], value, found["high"])


def _reach(overview: Mapping[str, Any], measure: str) -> float:
    """How far from zero the intervals of a measure go, so that its pictures share one axis."""
    ends = [abs(line[end]) for line in overview["comparisons"] if line["measure"] == measure for end in ("low", "high")]
    return max(ends) or 1.0


def _comparison(line: Mapping[str, Any], labels: Mapping[str, str], reach: float) -> dict[str, Any]:
    measure = BY_NAME[line["measure"]]
    told = line["p_holm"] < 0.05
    return {
        "a": line["a"],
        "b": line["b"],
        "a_label": labels[line["a"]],
        "b_label": labels[line["b"]],
        "measure": measure.name,
        "label": measure.label,
        "difference": _difference(measure, line["difference"]),
        "interval": interval(measure, line["low"], line["high"]),
        "picture": plots.difference(line["low"], line["difference"], line["high"], reach),
        "p": _probability(line["p"]),
        "p_holm": _probability(line["p_holm"]),
        "n": f"{line['n']:,}",
        "told": told,
        "reading": _reading(measure, line["difference"]) if told else "no difference shown",
    }


def _reading(measure: Measure, value: float) -> str:
    if measure.better not in ("lower", "higher"):
        return "they differ"
    return "first is better" if (value > 0) == (measure.better == "higher") else "second is better"


def _difference(measure: Measure, value: float) -> str:
    """With its sign; of percentages, in points."""
    unit = "points" if measure.unit == "%" else measure.unit
    return f"{'+' if value > 0 else ''}{minus(number(measure, value))} {unit}".rstrip()


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _without_lists(value: Mapping[str, Any]) -> dict[str, Any]:
    """A protocol for people: lists of lists, such as that of the trials, stand in the files beside the page."""
    return {
        key: _without_lists(item) if isinstance(item, Mapping) else item
        for key, item in value.items()
        if not (isinstance(item, list) and any(isinstance(part, list | dict) for part in item))
    }
