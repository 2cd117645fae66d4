"""The page of one row: what it is, how it learnt, on what, how long it took, and with whom it does well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vcpipe.manifest import atomic_path
from vcpipe.measures import BY_NAME, Measure, number, shown
from vcpipe.report import plots
from vcpipe.report.demo_page import Figure
from vcpipe.report.render import render_site
from vcpipe.report.sources import Corpus, Points, Timing
from vcpipe.report.values import interval, of_pairs
from vcpipe.results import Result
from vcpipe.settings import Slice

FIGURES = ("wer", "wer_echo", "cos_target", "nearer_to_target", "eer", "dnsmos_ovrl", "rtf")
"""The measures on top of the page; the echo stands in where there is no text."""
MATRIX = 48
"""Speakers up to whom pairs of them are laid out in a square."""
SAME_AXIS = 4.0
"""A training and a validation loss of one name share a picture unless one is more times the other."""
KINDS = {
    "system": "a trained system",
    "baseline": "a baseline that trains nothing",
    "reference": "a reference row: no conversion, but what the figures can be",
}


def write_system_page(
    out: Path,
    result: Result,
    made_by: Slice,
    run: Mapping[str, Any] | None,
    losses: Mapping[str, Mapping[str, Points]],
    note: str,
    corpora: Sequence[Corpus],
    timings: Sequence[Timing],
    sexes: Mapping[str, str],
) -> Path:
    """Writes `out`/systems/<row>.html.

    Args:
        out: folder of the site.
        result: the row.
        made_by: slice of the recordings that the trials are of.
        run: `config.json` of the run that made the row; None where there is none, or not that one any more.
        losses: of that run, from `sources.learning`.
        note: why there are no learning curves; '' where there are.
        corpora: all that have statistics; those are shown that the row was trained or judged on.
        timings: the jobs that made it.
        sexes: of speakers, where known.
    """
    html = render_site(
        "system_page",
        here="",
        root="../",
        title=result.system["label"],
        system=result.system,
        kind=KINDS[result.system["kind"]],
        figures=_figures(result),
        facts=_facts(result),
        run=run,
        curves=[picture for name, parts in losses.items() for picture in _curves(name, parts)],
        note=note,
        corpora=[_corpus(corpus, made_by, run) for corpus in corpora if _uses(corpus, made_by, run)],
        timings=_grouped(timings),
        jobs=timings,
        total_s=sum(job.seconds for job in timings),
        speakers=_speakers(result.judged, sexes),
        matrices=_matrices(result.judged),
        words=_words(result.judged),
        n=len(result.judged),
        row=quote(result.row, safe=""),
        digest=result.metrics["protocol"],
    )
    page = out / "systems" / f"{result.row}.html"
    with atomic_path(page) as tmp:
        tmp.write_text(html, encoding="utf-8")
    return page


def _figures(result: Result) -> list[Figure]:
    measures = result.metrics["measures"]
    names = [name for name in FIGURES if name in measures and not (name == "wer_echo" and "wer" in measures)]
    out = []
    for name in names:
        measure, found = BY_NAME[name], measures[name]
        ends = "" if found["low"] is None else f"{interval(measure, found['low'], found['high'])}. "
        out.append(Figure(measure.label, shown(measure, found["value"]), f"{ends}{measure.meaning}"))
    return out


def _facts(result: Result) -> list[tuple[str, str]]:
    """What the row is and what it costs, as label and value."""
    system = result.system
    size = [
        f"{system['parameters']:,} parameters" if system["parameters"] is not None else "",
        f"{system['model_mib']:.1f} MiB" if system["model_mib"] is not None else "",
    ]
    heard_s = result.reference_s
    facts = {
        "Kind": KINDS[system["kind"]],
        "System": system["system"],
        "Model": ", ".join(filter(None, size)),
        "Peak memory": f"{system['peak_mib']:,.0f} MiB" if system["peak_mib"] is not None else "",
        "Machine": f"{system['device']}, {system['threads']} threads" if system["device"] else "",
        "Conditioned on": system["speaker_encoder"] or "",
        "Reference": "none is heard" if heard_s is None else f"{heard_s:.1f} s of the target's speech on average",
        "Run": system["run"],
        "vcpipe": result.pairs[0]["vcpipe"],
    }
    return [(label, value) for label, value in facts.items() if value]


def _curves(name: str, parts: Mapping[str, Points]) -> list[dict[str, Any]]:
    """One picture of a loss, or one for each part where their values lie far apart."""
    middles = [sorted(value for _, value in points)[len(points) // 2] for points in parts.values()]
    together = min(middles) > 0 and max(middles) <= SAME_AXIS * min(middles)
    groups = [list(parts.items())] if together else [[part] for part in parts.items()]
    return [
        {"name": name, "parts": [part for part, _ in group], "picture": plots.curves(group, f"The loss {name}")}
        for group in groups
    ]


def _uses(corpus: Corpus, made_by: Slice, run: Mapping[str, Any] | None) -> list[str]:
    trained = run is not None and run["slice"].get("wav") == corpus.made_by
    judged = corpus.made_by == made_by
    return [word for word, there in (("trained", trained), ("judged", judged)) if there]


def _corpus(corpus: Corpus, made_by: Slice, run: Mapping[str, Any] | None) -> dict[str, Any]:
    total = corpus.total
    middle = {name: values["0.5"] for name, values in total["quantiles"].items()}
    hours = total["hours"]
    return {
        "name": corpus.name,
        "audio": corpus.copy,
        "href": f"../corpora/{quote(corpus.copy, safe='')}/{quote(corpus.name, safe='')}/index.html",
        "use": " and ".join(_uses(corpus, made_by, run)) + " on",
        "speech": f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min",
        "speakers": f"{total['speakers']:,}",
        "utterances": f"{total['utterances']:,}",
        "splits": ", ".join(f"{split['utterances']:,} {name}" for name, split in total["splits"].items()),
        "snr": f"{middle['snr_db']:.0f} dB" if "snr_db" in middle else "–",
        "f0": f"{middle['f0_median_hz']:.0f} Hz" if "f0_median_hz" in middle else "–",
    }


def _grouped(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """The jobs of one rule on one thing in a line."""
    groups: dict[tuple[str, str], list[Timing]] = {}
    for job in timings:
        groups.setdefault((job.rule, job.of), []).append(job)
    longest = max((sum(job.seconds for job in jobs) for jobs in groups.values()), default=0.0)
    out = []
    for (rule, of), jobs in groups.items():
        total = sum(job.seconds for job in jobs)
        peaks = [job.peak_mib for job in jobs if job.peak_mib is not None]
        out.append(
            {
                "rule": rule,
                "of": of,
                "jobs": len(jobs),
                "total": total,
                "share": 100 * total / longest if longest else 0.0,
                "longest": max(job.seconds for job in jobs),
                "peak": f"{max(peaks):,.0f}" if peaks else "–",
            }
        )
    return out


def _words(judged: Sequence[Mapping[str, Any]]) -> Measure:
    """How words are counted: against the text, or, where there is none, against the source."""
    return BY_NAME["wer" if any(line["words"] for line in judged) else "wer_echo"]


def _speakers(judged: Sequence[Mapping[str, Any]], sexes: Mapping[str, str]) -> list[dict[str, Any]]:
    """A line for every speaker: the figures of the pairs that they speak, and of those that become their voice."""
    ends = ("source_speaker", "target_speaker")
    out = []
    for name in sorted({line[end] for line in judged for end in ends}):
        cells = []
        for end in ends:
            mine = [line for line in judged if line[end] == name]
            cells.append(str(len(mine)))
            cells += [number(m, of_pairs(m, mine)) for m in (_words(judged), BY_NAME["cos_target"])]
        out.append({"name": name, "sex": sexes.get(name, ""), "cells": cells})
    return out


def _matrices(judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Squares of source by target speaker, of the words and of the likeness; none for very many speakers."""
    by_pair: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in judged:
        by_pair.setdefault((line["source_speaker"], line["target_speaker"]), []).append(line)
    sources, targets = (sorted({pair[end] for pair in by_pair}) for end in (0, 1))
    if max(len(sources), len(targets)) > MATRIX:
        return []
    out = []
    for measure in (_words(judged), BY_NAME["cos_target"]):
        values = {pair: of_pairs(measure, lines) for pair, lines in by_pair.items()}
        there = [value for value in values.values() if value is not None]
        low, high = min(there, default=0.0), max(there, default=0.0)
        rows = []
        for source in sources:
            cells = []
            for target in targets:
                value = values.get((source, target))
                heat = 0.0 if value is None or high == low else 100 * (value - low) / (high - low)
                about = f"{source} into {target}: {len(by_pair.get((source, target), []))} pairs"
                cells.append({"words": "" if value is None else number(measure, value), "heat": heat, "about": about})
            rows.append((source, cells))
        out.append({"measure": measure, "targets": targets, "rows": rows})
    return out
