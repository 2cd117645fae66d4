"""The report: one static site of all rows, that needs no network and can be opened from a disk or put on any server."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path, shard_names
from vcpipe.report import sources
from vcpipe.report.failures_page import write_failures_page
from vcpipe.report.listen import write_listen
from vcpipe.report.overview_page import check, write_overview_page
from vcpipe.report.system_page import write_system_page
from vcpipe.results import Result, load
from vcpipe.settings import Slice
from vcpipe.store import Shards

RATE = 16000
STATS_FILES = ("speakers.csv", "utterances.csv", "index.html")
"""What is taken over of the statistics of a corpus."""


def write_site(
    out: Path,
    rows: Sequence[Path],
    overview: Path,
    audio: Path,
    made_by: Slice,
    results: Path,
    logs: Path,
    sexes: Mapping[str, str],
) -> Path:
    """Writes the site; returns its front page.

    All that is shown is read and checked before the pages of an earlier report are removed, and index.html is written
    last: a report that was interrupted has no front page, and none of its pages shows what is no longer there.

    Args:
        out: folder of the site, made if need be.
        rows: folders of the judged rows, in the order of the pages.
        overview: overview.json of these very rows.
        audio: folder of the audio shards that hold the sources and references, at 16 kHz.
        made_by: slice of these shards.
        results: folder with `runs/<name>`, `stats/<copy>/<corpus>` and `audio/<copy>/<corpus>`, where there are any.
        logs: folder with the benchmarks of the workflow; may be missing.
        sexes: of speakers, where known: `f` or `m`.

    Raises:
        InputError: for a row without its protocol, or an overview that is not that of the rows.
    """
    loaded = [_named(load(folder)) for folder in rows]
    table = _overview(overview)
    check(loaded, table)
    corpora, timings = sources.corpora(results), sources.timings(logs)
    runs = [_run(result, results) for result in loaded]
    names = [r.row for r in loaded] + [folder.parent.name for folder in sorted(results.glob("runs/*/config.json"))]

    with Shards(audio, shard_names(made_by["shards"]), made_by) as shards:
        for folder in ("systems", "data", "corpora"):
            shutil.rmtree(out / folder, ignore_errors=True)
        for page in ("index.html", "listen.html", "failures.html"):
            (out / page).unlink(missing_ok=True)

        def wave(utt_id: str) -> Wave:
            return np.asarray(shards.read(utt_id)[:, 0], np.float32)

        write_listen(out, loaded, wave, RATE, sexes)
    write_failures_page(out, loaded)
    for corpus in corpora:
        _copy(out / "corpora" / corpus.copy / corpus.name, [corpus.folder / name for name in STATS_FILES])
    for result, (info, losses, note) in zip(loaded, runs, strict=True):
        for name in ("protocol.json", "metrics.json", "judged.jsonl"):
            _copy(out / "data", [result.folder / name], f"{result.row}.")
        mine = [result.row, Path(result.system["run"]).name]
        jobs = sources.concerning(timings, mine, names)
        write_system_page(out, result, made_by, info, losses, note, corpora, jobs, sexes)
    _copy(out / "data", [overview])
    return write_overview_page(out, loaded, table)


def _named(result: Result) -> Result:
    """A row whose name can be that of a file: the folder's own."""
    if result.row != result.folder.name:
        raise InputError(
            f"{result.folder / 'system.json'}: expected the row {result.folder.name}, as its folder is called, found "
            f"{result.row}; make its conversions again"
        )
    return result


def _overview(path: Path) -> dict[str, Any]:
    again = "make it with `snakemake --cores all evaluate`"
    if not path.is_file():
        raise InputError(f"{path}: expected the table of all rows, found nothing; {again}")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {key: table[key] for key in ("rows", "comparisons", "protocol")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); {again}") from None


def _run(result: Result, results: Path) -> tuple[dict[str, Any] | None, dict[str, dict[str, sources.Points]], str]:
    """The config of the run that made a row, its losses, and a word where there are none to show.

    A run of that name whose weights are others than those of the conversions is not shown as theirs.
    """
    if not result.system["run"]:
        return None, {}, "Nothing was trained for it."
    folder = results / "runs" / Path(result.system["run"]).name
    if not (folder / "config.json").is_file():
        return None, {}, f"Its run folder {folder.name} is not there any more."
    from vcpipe.training.runs import read_info

    info = read_info(folder)
    if not _names(result.system["models"], info["checksum"]):
        return None, {}, f"The run {folder.name} was trained again since: its curves are not those of this row."
    losses = sources.learning(folder) if (folder / "metrics.csv").is_file() else {}
    return info, losses, "" if losses else f"The run {folder.name} wrote no losses."


def _names(models: Any, checksum: str) -> bool:
    """Whether a checksum stands among what a row was made with, however deep: a model's entry may have keys itself."""
    if isinstance(models, Mapping):
        return any(_names(part, checksum) for part in models.values())
    return bool(models == checksum)


def _copy(folder: Path, files: Sequence[Path], prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        with atomic_path(folder / f"{prefix}{file.name}") as tmp:
            shutil.copyfile(file, tmp)
