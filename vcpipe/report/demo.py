"""From a system's judged pairs to its demo page, and the few lines that a person reads at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vcpipe import audio
from vcpipe.errors import InputError
from vcpipe.manifest import read_lines
from vcpipe.report.demo_page import Pair, figures, write_page

RATE = 16000


def write_demo(folder: Path) -> None:
    """Writes `folder`/index.html from `pairs.jsonl` (a system's), `judged.jsonl` and `metrics.json` (the judge's)."""
    lines, judged = read_lines(folder / "pairs.jsonl"), read_lines(folder / "judged.jsonl")
    verdicts = {row["name"]: row for row in judged}
    if missing := [line["name"] for line in lines if line["name"] not in verdicts]:
        raise InputError(f"{folder / 'judged.jsonl'}: {missing[0]} was never judged; run `snakemake --cores all demo`")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    system = lines[0]["system"]
    held_out = all(line["source_split"] != "train" for line in lines)
    how = [
        f"Every source was converted by {system} into the voice of one other speaker, from whom it heard "
        f"{metrics['reference_s']:.0f} seconds on average. "
        f"{'No' if held_out else 'Some'} source was among the recordings of the training.",
        "The words were judged by a speech recogniser, the voice by a speaker verifier; it took no part in the making.",
        "$ snakemake --cores all demo",
    ]
    settings = {"conversion": lines[0]["settings"], "judges": metrics["judge"], "vcpipe": lines[0]["vcpipe"]}
    write_page(folder, [_pair(line, verdicts[line["name"]], folder) for line in lines], metrics, settings, how)


def summary(results: Path) -> str:
    """Where the page, the run folder and the metrics of each demo are, and its figures, in a few lines."""
    pages = sorted(results.glob("demo/*/index.html"))
    if not pages:
        raise InputError(f"{results}: no demo page there; make it with `snakemake --cores all demo`")
    out = []
    for page in pages:
        metrics = json.loads((page.parent / "metrics.json").read_text(encoding="utf-8"))
        out.append(f"demo of {page.parent.name}")
        out += [f"  {figure.label.lower():<16} {figure.value:>8}  {figure.meaning}" for figure in figures(metrics)]
        out.append(f"  page     {page}")
        out.append(f"  metrics  {page.parent / 'metrics.json'}")
    out += [f"  run      {folder.parent}" for folder in sorted(results.glob("runs/*/config.json"))]
    return "\n".join(out)


def _pair(line: dict[str, Any], verdict: dict[str, Any], folder: Path) -> Pair:
    waves = {kind: (audio.load(folder / line[kind], RATE), RATE) for kind in ("source", "reference", "converted")}
    numbers = {key: value for key, value in verdict.items() if key not in ("name", "text")}
    return Pair(
        name=line["name"],
        text=line["text"],
        source_speaker=line["source_speaker"],
        target_speaker=line["target_speaker"],
        numbers={**numbers, "rtf": line["rtf"], "reference_s": line["reference_s"]},
        **waves,
    )
