"""From a system's judged row to its demo page, and the few lines that a person reads at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vcpipe import audio
from vcpipe.errors import InputError
from vcpipe.manifest import shard_names
from vcpipe.report.demo_page import Pair, figures, write_page
from vcpipe.results import Result, load
from vcpipe.settings import Slice
from vcpipe.store import Shards

RATE = 16000


def write_demo(folder: Path, shards: Path, made_by: Slice) -> None:
    """Writes `folder`/index.html of a row that was rendered and judged.

    Args:
        folder: of the row, such as results/demo/knnvc.
        shards: folder of the audio shards with its sources and references.
        made_by: their slice.
    """
    row = load(folder)
    held_out = all(line["source_split"] != "train" for line in row.pairs)
    known = "one of the voices that it learned in training"
    if row.reference_s is not None:
        known = f"the voice of one other speaker, from whom it heard {row.reference_s:.0f} seconds on average"
    how = [
        f"Every source was converted by {row.system['label']} into {known}. "
        f"{'No' if held_out else 'Some'} source was among the recordings of the training.",
        "The words were judged by a speech recogniser, the voice by a speaker verifier; it took no part in the making.",
        "$ snakemake --cores all demo",
    ]
    judges = {name: row.protocol[name]["name"] for name in ("asr", "verifier")}
    settings = {"conversion": row.system["settings"], "judges": judges, "vcpipe": row.pairs[0]["vcpipe"]}
    with Shards(shards, shard_names(made_by["shards"]), made_by) as waves:
        pairs = [_pair(row, i, waves) for i in range(len(row.pairs))]
    write_page(folder, pairs, _summary(row), settings, how, f"Voice conversion by {row.system['label']}")


def summary(results: Path) -> str:
    """Where the page, the run folder and the metrics of each demo are, and its figures, in a few lines."""
    pages = sorted(results.glob("demo/*/index.html"))
    if not pages:
        raise InputError(f"{results}: no demo page there; make it with `snakemake --cores all demo`")
    out = []
    for page in pages:
        out.append(f"demo of {page.parent.name}")
        found = figures(_summary(load(page.parent)))
        out += [f"  {figure.label.lower():<16} {figure.value:>8}  {figure.meaning}" for figure in found]
        out.append(f"  page     {page}")
        out.append(f"  metrics  {page.parent / 'metrics.json'}")
    out += [f"  run      {folder.parent}" for folder in sorted(results.glob("runs/*/config.json"))]
    return "\n".join(out)


def _summary(row: Result) -> Mapping[str, Any]:
    """The figures of a row that the page puts into words."""
    values = {name: measure["value"] for name, measure in row.metrics["measures"].items()}
    n_words = sum(line["words"] for line in row.judged)
    if n_words:
        values["source_wer"] = sum(line["source_word_errors"] for line in row.judged) / n_words
    return {**values, "reference_s": row.reference_s, "n": len(row.judged)}


def _pair(row: Result, number: int, waves: Shards) -> Pair:
    line, verdict = row.pairs[number], row.judged[number]
    named = ("name", "text", "source_utt", "source_speaker", "target_speaker")
    return Pair(
        name=line["name"],
        text=line["text"],
        source_speaker=line["source_speaker"],
        target_speaker=line["target_speaker"],
        numbers={key: value for key, value in verdict.items() if key not in named and not key.startswith("echo_")},
        source=(waves.read(line["source_utt"])[:, 0], RATE),
        reference=(waves.read(line["reference_utt"])[:, 0], RATE),
        converted=(audio.load(row.folder / line["converted"], RATE), RATE),
    )
