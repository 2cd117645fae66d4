"""All rows in one table, and which differences between them stand.

Only what was judged alike stands in one table. Every row: the same judges, normaliser, size of an enrolment and
intervals, that is everything in `protocol.json` but what is a row's own (`OWN`). Every row but the reference rows: the
same source recordings to the same target speakers, enrolled from the same recordings. What a row heard of the target
(references, their seconds, the seed) is its own and stands beside its figures; reference rows have trials of their own
kind, such as a speaker to himself. Versions of packages may differ, since each judge's identity has its own: those that
do are listed, all of them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from vcpipe.errors import InputError
from vcpipe.evaluation.intervals import compare, holm
from vcpipe.manifest import atomic_path
from vcpipe.measures import BY_NAME, MEASURES, Measure, merit, number
from vcpipe.results import KINDS, Result, digest, load
from vcpipe.settings import canonical

OWN = ("format", "row", "system", "trials", "enrolment", "versions", "slice")
MAIN = ("wer", "cer", "eer", "cos_target", "dnsmos_ovrl")
"""Measures whose intervals people see in the terminal."""
COSTS = {"parameters": "parameters", "model_mib": "model MiB", "peak_mib": "peak MiB"}
WIDTH = 120
ALPHA = 0.05


def write_overview(folders: Sequence[Path], out: Path) -> None:
    """Writes `out/overview.json` and `out/overview.csv` of rows, each in the folder of one; those of reference last.

    Raises:
        InputError: when a row cannot be read with its protocol (`vcpipe.results.load`), when one comes twice, or when
            the rows were not judged alike.
    """
    if not folders:
        raise InputError(
            f"overview: expected folders of judged rows, found none; name them: `vcpipe overview ROW... --out {out}`"
        )
    results = sorted(map(load, folders), key=lambda result: KINDS.index(result.system["kind"]))
    for a, b in combinations(results, 2):
        if a.row == b.row:
            raise InputError(f"{b.folder}: expected a row once, '{a.row}' is {a.folder} too; leave one out")
    shared = _shared(results)
    rows = [_row(result) for result in results]
    content = {"rows": rows, "comparisons": _comparisons(results), "protocol": shared}
    with atomic_path(out / "overview.json") as tmp:
        tmp.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    with atomic_path(out / "overview.csv") as tmp:
        tmp.write_text(_csv(rows), encoding="utf-8", newline="")


def table(out: Path) -> str:
    """What `out/overview.json` holds, for a terminal: figures, and which differences stand."""
    path = out / "overview.json"
    if not path.is_file():
        raise InputError(f"{path}: no such overview; make it with `vcpipe overview ROW... --out {out}`")
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = content["rows"]
    columns = [["", *(row["label"] for row in rows)]]
    columns += [_column(BY_NAME[name], rows, intervals=True) for name in MAIN]
    columns += [_column(measure, rows, intervals=False) for measure in MEASURES if measure.name not in MAIN]
    columns += [[label, *(_cost(row["costs"][name]) for row in rows)] for name, label in COSTS.items()]
    columns += [["trials", *(str(row["n"]) for row in rows)]]
    columns += [["heard s", *(_cost(row["reference_s"]) for row in rows)]]
    shown = [column for column in columns if any(cell != number(MEASURES[0], None) for cell in column[1:])]
    notes = [
        "↓ less is better, ↑ more; * the best, reference rows aside; [95 % interval, bootstrap over speakers]",
        *_verdicts(content),
    ]
    return "\n\n".join([*_blocks(shown, sum(row["kind"] != "reference" for row in rows)), "\n".join(notes)])


def _row(result: Result) -> dict[str, Any]:
    said = {key: result.system[key] for key in ("row", "label", "kind", "about", "system")}
    return {
        **said,
        "n": len(result.judged),
        "reference_s": result.reference_s,
        "measures": result.metrics["measures"],
        "costs": result.metrics["costs"],
        "protocol": result.metrics["protocol"],
    }


def _comparisons(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Of all pairs of rows but reference rows, on their common trials; p is corrected among those of a measure."""
    lines = []
    for a, b in combinations([r for r in results if r.system["kind"] != "reference"], 2):
        settings = a.protocol["intervals"]
        found = compare(a.judged, b.judged, a.metrics["genuine"], settings["seed"], settings["resamples"])
        lines += [
            {"a": a.row, "b": b.row, "measure": name, **values}
            for name, values in found.items()
            if values["p"] is not None
        ]
    for measure in MEASURES:
        of_measure = [line for line in lines if line["measure"] == measure.name]
        for line, corrected in zip(of_measure, holm([line["p"] for line in of_measure]), strict=True):
            line["p_holm"] = corrected
    return lines


def _shared(results: Sequence[Result]) -> dict[str, Any]:
    """What all rows have in common, or a refusal."""
    first = results[0]
    for other in results[1:]:
        for key in sorted((first.protocol.keys() | other.protocol.keys()) - set(OWN)):
            _same(key, first, other, first.protocol.get(key), other.protocol.get(key))
        _same("enrolment.count", first, other, *(r.protocol["enrolment"]["count"] for r in (first, other)))
    ours = [result for result in results if result.system["kind"] != "reference"]
    for other in ours[1:]:
        _same_trials(ours[0], other)
        _same("enrolment", ours[0], other, ours[0].protocol["enrolment"], other.protocol["enrolment"])
    leader = (ours or results)[0].protocol
    shared = {key: value for key, value in leader.items() if key not in OWN}
    versions = {package for result in results for package in result.protocol["versions"]}
    return {
        "format": leader["format"],
        **shared,
        "enrolment": leader["enrolment"],
        "trials": {"n": leader["trials"]["n"], "digest": digest(_asked(leader))},
        "versions": {
            package: ", ".join(sorted({str(r.protocol["versions"].get(package, "none")) for r in results}))
            for package in sorted(versions)
        },
    }


def _asked(protocol: Mapping[str, Any]) -> list[list[str]]:
    """Who is converted to whom: source recordings and target speakers, in order."""
    return sorted([trial[0], trial[1]] for trial in protocol["trials"]["list"])


def _same_trials(a: Result, b: Result) -> None:
    ours, theirs = _asked(a.protocol), _asked(b.protocol)
    if ours != theirs:
        only = [trial for trial in theirs if trial not in ours] or [trial for trial in ours if trial not in theirs]
        example = f", such as {only[0][0]} to {only[0][1]}" if only else ""
        raise InputError(
            f"{b.folder}: expected the trials of {a.folder} ({len(ours)}), found {len(theirs)} that are not the same"
            f"{example}; figures of other trials belong in a table of their own: convert the same list, or leave it out"
        )


def _same(key: str, a: Result, b: Result, ours: Any, theirs: Any) -> None:
    if ours != theirs:
        path, ours, theirs = _where(key, ours, theirs)
        raise InputError(
            f"{b.folder / 'protocol.json'}: key '{path}': expected {_short(ours)} as {a.folder} has it, found "
            f"{_short(theirs)}; rows that were not judged alike cannot stand in one table: judge them all again, "
            "`snakemake --cores all --forcerun judge -- evaluate`, or leave it out"
        )


def _where(path: str, a: Any, b: Any) -> tuple[str, Any, Any]:
    """The innermost key in which two values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                return _where(f"{path}.{key}", a.get(key), b.get(key))
    return path, a, b


def _short(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a row; figures as in `metrics.json`, rates and shares as fractions, empty where there is none."""
    head = ["row", "label", "kind", "system", "n", "reference_s"]
    names = [f"{measure.name}{end}" for measure in MEASURES for end in ("", "_low", "_high", "_n")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*head, *names, *COSTS])
    for row in rows:
        found = [row["measures"].get(measure.name, {}) for measure in MEASURES]
        values = [measured.get(key) for measured in found for key in ("value", "low", "high", "n")]
        writer.writerow([*(row[key] for key in head), *values, *(row["costs"][name] for name in COSTS)])
    return out.getvalue()


def _column(measure: Measure, rows: Sequence[Mapping[str, Any]], intervals: bool) -> list[str]:
    arrow = {"lower": " ↓", "higher": " ↑", "one": " →1", "": ""}[measure.better]
    unit = f" {measure.unit}" if measure.unit else ""
    best = _best(measure, rows)
    cells = []
    for row in rows:
        found = row["measures"].get(measure.name, {})
        cell = number(measure, found.get("value")) + ("*" if row["row"] in best else "")
        if intervals and found.get("low") is not None:
            cell += f" [{number(measure, found['low'])}, {number(measure, found['high'])}]"
        cells.append(cell)
    return [f"{measure.label}{unit}{arrow}", *cells]


def _best(measure: Measure, rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """The rows, reference rows aside, that nobody surpasses; none where all are alike."""
    merits = {
        row["row"]: merit(measure, row["measures"][measure.name]["value"])
        for row in rows
        if row["kind"] != "reference" and measure.name in row["measures"]
    }
    known = {row: value for row, value in merits.items() if value is not None}
    if len(set(known.values())) < 2:
        return set()
    return {row for row, value in known.items() if value == max(known.values())}


def _cost(value: float | None) -> str:
    return number(MEASURES[0], None) if value is None else f"{value:,.0f}"


def _blocks(columns: Sequence[Sequence[str]], n_systems: int) -> list[str]:
    """Columns side by side as far as they fit, each block with the first column; a line parts the reference rows."""
    widths = [max(map(len, column)) for column in columns]
    groups: list[list[int]] = []
    for i in range(1, len(columns)):
        if not groups or widths[0] + sum(2 + widths[k] for k in [*groups[-1], i]) > WIDTH:
            groups.append([])
        groups[-1].append(i)
    blocks = []
    for group in groups:
        lines = [
            "  ".join([columns[0][line].ljust(widths[0]), *(columns[k][line].rjust(widths[k]) for k in group)])
            for line in range(len(columns[0]))
        ]
        if 0 < n_systems < len(lines) - 1:
            lines.insert(1 + n_systems, "-" * len(lines[0]))
        blocks.append("\n".join(line.rstrip() for line in lines))
    return blocks


def _verdicts(content: Mapping[str, Any]) -> list[str]:
    """Of each main measure the rows that the best one is clearly better than, and those that it is not."""
    labels = {row["row"]: row["label"] for row in content["rows"]}
    lines = []
    for measure in (BY_NAME[name] for name in MAIN):
        for best in sorted(_best(measure, content["rows"])):
            others: dict[bool, list[str]] = {True: [], False: []}
            for c in content["comparisons"]:
                if c["measure"] == measure.name and best in (c["a"], c["b"]):
                    others[c["p_holm"] < ALPHA].append(labels[c["b"] if c["a"] == best else c["a"]])
            said = [
                ("" if clear else "not ") + f"clearly better than {', '.join(o)}" for clear, o in others.items() if o
            ]
            if said:
                lines.append(f"{measure.label}: {labels[best]} is {'; '.join(said)}")
    return [f"Paired tests, clear is p < {ALPHA} after Holm's correction:", *lines] if lines else []
