"""The commands of the evaluation: who is converted to whom, what that is compared with, the verdicts, and the table."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vcpipe.device import start_torch
from vcpipe.errors import InputError
from vcpipe.options import PathOption, SliceOption, ThreadsOption

Manifest = Annotated[Path, typer.Option(help="manifest.csv of the copy of the corpus")]


def trials(
    manifest: Manifest,
    out: Annotated[Path, typer.Option(help="table to write, such as data_splits/trials/<corpus>.csv")],
    protocol: Annotated[
        Literal["paper", "small", "unseen", "held-out"],
        typer.Option(
            help="paper: 40 speakers, 5 sources each, to the 39 others; small: 10, 3, 3; unseen: all speakers whom a "
            "training did not hear, 5, to all others; held-out: --pairs conversions of held-out utterances, in turn"
        ),
    ] = "held-out",
    speakers: Annotated[int | None, typer.Option(min=0, help="how many; 0: all")] = None,
    sources: Annotated[int | None, typer.Option(min=1, help="of each speaker")] = None,
    targets: Annotated[int | None, typer.Option(min=0, help="of each source; 0: all others")] = None,
    split: Annotated[str | None, typer.Option(help="of the sources; empty: any")] = None,
    min_s: Annotated[float | None, typer.Option(min=0, help="shortest source")] = None,
    max_s: Annotated[float | None, typer.Option(min=0, help="longest source")] = None,
    min_reference_s: Annotated[float | None, typer.Option(min=0, help="speech of a target beside its sources")] = None,
    reference_s: Annotated[float | None, typer.Option(min=0, help="how much of it is heard; 0: all")] = None,
    unseen_in: Annotated[
        Path | None, typer.Option(help="manifest.csv of a training: none of the speakers it heard is a target")
    ] = None,
    seen_sources: Annotated[
        bool, typer.Option(help="with --unseen-in: the sources are of the speakers it heard")
    ] = False,
    sexes: Annotated[Path | None, typer.Option(help="speakers.json of the corpus: as many women as men")] = None,
    pairs: Annotated[int | None, typer.Option(min=1, help="of the protocol held-out; 32 unless given")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draws who is converted to whom: a table that stays, so that systems can be compared."""
    from vcpipe.corpora.speakers import read_sexes
    from vcpipe.evaluation import drawing
    from vcpipe.manifest import Utterance, read_table
    from vcpipe.trials import write_trials

    utterances = read_table(manifest, Utterance)
    asked: dict[str, Any] = {
        "speakers": speakers,
        "sources": sources,
        "targets": targets,
        "split": split,
        "min_s": min_s,
        "max_s": max_s,
        "min_reference_s": min_reference_s,
        "reference_s": reference_s,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if protocol == "held-out":
        unread = [*given, *(name for name, value in (("unseen_in", unseen_in), ("sexes", sexes)) if value)]
        if unread:
            raise InputError(
                f"--{unread[0].replace('_', '-')}: the protocol held-out does not read it; leave it out, or give "
                "another --protocol"
            )
        write_trials(out, drawing.draw_demo_trials(utterances, pairs or 32, seed))
        return
    if pairs is not None:
        raise InputError(f"--pairs: the protocol {protocol} does not read it; give --speakers, --sources and --targets")
    chosen = replace(drawing.PROTOCOLS[protocol], seed=seed, **given)
    if protocol == "unseen" and unseen_in is None:
        raise InputError(
            "--protocol unseen: expected the manifest.csv of a training that did not hear them; give --unseen-in"
        )
    seen = drawing.trained_speakers(read_table(unseen_in, Utterance)) if unseen_in else None
    known = read_sexes(sexes) if sexes else None
    write_trials(out, drawing.draw_trials(utterances, chosen, seen, seen_sources, known))


def reference_row(
    made_by: SliceOption, manifest: Manifest, audio: PathOption, trials: PathOption, out: PathOption
) -> None:
    """Makes a row that no system is needed for: natural recordings, the sources unchanged, or noise."""
    from vcpipe.evaluation.references import write_reference_row
    from vcpipe.manifest import Utterance, read_table, shard_names
    from vcpipe.store import Shards
    from vcpipe.trials import read_trials

    content = json.loads(made_by)
    utterances = read_table(manifest, Utterance)
    with Shards(audio, shard_names(content["wav"]["shards"]), content["wav"]) as waves:
        write_reference_row(content["kind"], out.parent, utterances, read_trials(trials, utterances), waves)


def evaluate(
    made_by: SliceOption,
    row: Annotated[Path, typer.Option(help="folder of a row, with pairs.jsonl, system.json and its recordings")],
    manifest: Manifest,
    audio: PathOption,
    cache: Annotated[Path, typer.Option(help="folder of what was judged before, of any row")],
    threads: ThreadsOption = 0,
) -> None:
    """Judges the conversions of a row: words, voice, prosody, spectrum, quality."""
    start_torch("cpu", 1)
    from vcpipe.evaluation.evaluate import judge_row

    judge_row(json.loads(made_by), row, manifest, audio, cache, threads or len(os.sched_getaffinity(0)))


def overview(
    rows: Annotated[list[Path], typer.Argument(help="folders of judged rows")],
    out: Annotated[Path, typer.Option(help="folder of overview.json and overview.csv")] = Path("results/evaluation"),
) -> None:
    """Puts rows side by side, with intervals and paired tests, and prints the table."""
    from vcpipe.evaluation.overview import table, write_overview

    write_overview(rows, out)
    print(table(out))
