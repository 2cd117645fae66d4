"""The command line: one verb a stage, called by the rules; `convert` and `inspect` are for people.

A wrong input ends with one line and exit code 2; any other fault is a bug and shows its traceback.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vcpipe import catalog
from vcpipe.device import start_torch
from vcpipe.errors import InputError
from vcpipe.evaluation.cli import evaluate, overview, reference_row, trials
from vcpipe.exchange.cli import export, import_
from vcpipe.options import DeviceOption, PathOption, SliceOption, ThreadsOption

if TYPE_CHECKING:
    from vcpipe.settings import CorpusSettings

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(export)
app.command("import")(import_)
app.command()(trials)
app.command("reference-row")(reference_row)
app.command()(evaluate)
app.command()(overview)


def main() -> None:
    """Entry point of the `vcpipe` command."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for name in catalog.system_names():
        app.add_typer(catalog.system_cli(name).app, name=name)
    try:
        sys.exit(app(prog_name="vcpipe", standalone_mode=False))
    except InputError as error:
        _refuse(str(error))
    except typer.TyperException as error:
        _refuse_usage(error)
    except OSError as error:
        if error.filename is None:
            raise
        place = os.fsdecode(error.filename)
        _refuse(f"{place}: {error.strerror}; check the path, and that you may read and write there")


def _refuse(message: str) -> NoReturn:
    # a file's or a speaker's name in it may hold anything, also what steers a terminal
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in message)
    print(f"vcpipe: {shown}", file=sys.stderr)
    sys.exit(2)


def _refuse_usage(error: typer.TyperException) -> NoReturn:
    """An option that is missing, unknown or out of range; where nothing was asked for, the help is the answer."""
    message, ctx = error.format_message(), getattr(error, "ctx", None)
    if ctx is not None and message == ctx.get_help():
        print(message, file=sys.stderr)
        sys.exit(2)
    command = ctx.command_path if ctx is not None else "vcpipe"
    _refuse(f"{message.rstrip('.')}; `{command} --help` lists what can be given")


@app.command("make-corpus")
def make_corpus(made_by: SliceOption, root: PathOption, out: PathOption) -> None:
    """Makes a corpus that vcpipe builds itself (the demo corpus), and notes what made it."""
    from vcpipe.manifest import atomic_path
    from vcpipe.settings import check

    content = json.loads(made_by)
    values = {k: v for k, v in content.items() if k != "revision"}
    module = catalog.corpus(content["kind"], "corpus")
    settings: CorpusSettings = check(module.Settings, {**values, "root": str(root)}, "corpus")
    module.make(settings, root)
    with atomic_path(out) as tmp:
        tmp.write_text(made_by + "\n", encoding="utf-8")


@app.command()
def download(
    corpus: Annotated[
        str, typer.Argument(help="librispeech, mini_librispeech, libritts, libritts_r, ljspeech, vctk or cmu_arctic")
    ],
    to: Annotated[Path, typer.Option(help="folder that it is put in; what is there already is kept")] = Path("corpora"),
    subset: Annotated[list[str] | None, typer.Option(help="part of the corpus; can be given several times")] = None,
    sha256: Annotated[str, typer.Option(help="digest of the archive, needed where none is known")] = "",
    keep_archives: Annotated[bool, typer.Option(help="keep the archives after they are unpacked")] = False,
) -> None:
    """Fetches a corpus that anybody may have, checks it and unpacks it; of the others it says where to ask."""
    from vcpipe.corpora.download import download as download_corpus

    print(f"root: {download_corpus(corpus, subset or [], to, sha256=sha256, keep=keep_archives)}")


@app.command()
def prepare(
    made_by: SliceOption,
    root: PathOption,
    listed: PathOption,
    shard: PathOption,
    manifest: PathOption,
    rejects: PathOption,
    quality: PathOption,
    threads: ThreadsOption = 1,
) -> None:
    """Makes an audio shard of the recordings of a list, its manifest, and tables of rejects and of measurements."""
    from vcpipe.corpora.prepare import prepare_shard

    prepare_shard(json.loads(made_by), listed, root, shard, manifest, rejects, quality, threads)


@app.command()
def gather(
    corpus: Annotated[Path, typer.Option(help="folder of the corpus: splits/ and lists/ lie in it")],
    audio: Annotated[Path, typer.Option(help="folder of the copy: manifests/ and rejects/ lie in it")],
    shards: Annotated[int, typer.Option()],
    max_reject_share: Annotated[float, typer.Option()],
) -> None:
    """Joins the tables of a corpus's shards; fails when too much was rejected."""
    from vcpipe.corpora import prepare

    prepare.gather(corpus, audio, shards, max_reject_share)


@app.command()
def words(
    corpus: Annotated[str, typer.Option(help="the settings of the corpus, as JSON")],
    listed: PathOption,
    out: PathOption,
) -> None:
    """Writes when each word of the recordings of a list is said, for corpora that know it."""
    from vcpipe.corpora.words import write_words

    write_words(_corpus(corpus), listed, out)


def _corpus(text: str) -> CorpusSettings:
    from vcpipe.settings import check

    values = json.loads(text)
    settings: CorpusSettings = check(catalog.corpus(values["kind"], "corpus").Settings, values, "corpus")
    return settings


@app.command()
def speakers(
    corpus: Annotated[str, typer.Option(help="the settings of the corpus, as JSON")],
    out: PathOption,
) -> None:
    """Writes who of a corpus's speakers is a woman and who a man, for corpora that say it."""
    from vcpipe.corpora.speakers import write_sexes

    write_sexes(_corpus(corpus), out)


@app.command()
def extract(
    made_by: SliceOption, audio: PathOption, out: PathOption, device: DeviceOption = "auto", threads: ThreadsOption = 0
) -> None:
    """Makes a feature shard of an audio shard."""
    from vcpipe.config import feature_settings

    content = json.loads(made_by)
    chosen = start_torch(device, threads) if feature_settings(content["feature"]).torch else None
    from vcpipe.features.extract import extract_shard

    extract_shard(content, audio, out, chosen, threads)


@app.command()
def derive(
    made_by: SliceOption,
    reads: Annotated[list[Path], typer.Argument(help="the shard of each feature that it is made of, in order")],
    manifest: PathOption,
    out: PathOption,
    model: Annotated[Path | None, typer.Option(help="file that `vcpipe fit` made")] = None,
) -> None:
    """Makes the shard of a feature that is made of other features."""
    from vcpipe.features.derive import derive_shard

    derive_shard(json.loads(made_by), reads, manifest, out, model)


@app.command()
def fit(
    made_by: SliceOption,
    reads: Annotated[list[Path], typer.Argument(help="shards of the feature that it is made of")],
    manifest: PathOption,
    out: PathOption,
) -> None:
    """Fits what a derived feature needs, such as the centres of discrete units."""
    from vcpipe.features.derive import fit_feature

    fit_feature(json.loads(made_by), reads, manifest, out)


@app.command()
def pack(
    made_by: SliceOption,
    manifest: PathOption,
    columns: Annotated[str, typer.Option(help="of each column the shards of each variant, as JSON")],
    out: Annotated[Path, typer.Option(help="index.json of the packs; the tars lie beside it")],
) -> None:
    """Packs columns of shards as tars for a trainer that streams them."""
    from vcpipe.packs.stage import pack_shards

    pack_shards(json.loads(made_by), manifest, json.loads(columns), out)


@app.command()
def stats(
    audio: Annotated[Path, typer.Option(help="folder of a copy of a corpus: manifest.csv, rejects.csv, quality/")],
    shards: Annotated[int, typer.Option(help="of the corpus")],
    out: Annotated[Path, typer.Option(help="folder for index.html and the tables")],
    f0: Annotated[Path | None, typer.Option(help="folder of the shards of an f0 feature; none: no F0 columns")] = None,
    made_by: Annotated[str, typer.Option("--slice", help="what the f0 shards were made under")] = "null",
    results: Annotated[Path, typer.Option(help="folder of all results")] = Path("results"),
) -> None:
    """Measures a corpus: tables of utterances and speakers, and a page of plots."""
    from vcpipe.report.stats_page import write_page
    from vcpipe.stats import write_stats

    write_stats(audio, shards, f0, json.loads(made_by), results, out)
    write_page(out, audio / "rejects.csv")


@app.command()
def du(
    config: Annotated[
        list[Path] | None, typer.Option(help="config files, the later laid over the earlier; config.yaml unless given")
    ] = None,
    results: Annotated[Path, typer.Option(help="folder of all results")] = Path("results"),
) -> None:
    """Forecasts how much room every copy and feature of every corpus will take, beside what lies there now."""
    from vcpipe import packing
    from vcpipe.config import load
    from vcpipe.forecast import table
    from vcpipe.sections import read

    checked = load(read(config or [Path("config.yaml")]))
    packing.check(checked)
    print(table(checked, results))


@app.command()
def report(
    made_by: SliceOption,
    rows: Annotated[list[Path], typer.Argument(help="folders of judged rows")],
    overview: Annotated[Path, typer.Option(help="overview.json of these rows")],
    audio: PathOption,
    speakers: Annotated[Path, typer.Option(help="speakers.json of the corpus")],
    results: Annotated[Path, typer.Option(help="folder of all results")] = Path("results"),
    logs: Annotated[Path, typer.Option(help="folder of the benchmarks")] = Path("logs"),
    out: Annotated[Path, typer.Option(help="folder of the site")] = Path("results/report"),
) -> None:
    """Writes the report: one static site with the table, the systems, the recordings and the failures."""
    from vcpipe.corpora.speakers import read_sexes
    from vcpipe.report.site import write_site

    write_site(out, rows, overview, audio, json.loads(made_by), results, logs, read_sexes(speakers))


@app.command("demo-page")
def demo_page(
    made_by: SliceOption,
    row: Annotated[Path, typer.Option(help="folder of a judged row")],
    audio: PathOption,
) -> None:
    """Writes the demo page of a system."""
    from vcpipe.report.demo import write_demo

    write_demo(row, audio, json.loads(made_by))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def convert(ctx: typer.Context, system: Annotated[str, typer.Option(help="whose converter")] = "knnvc") -> int | None:
    """Converts recordings: `vcpipe convert --system knnvc --help` lists a system's own options."""
    names = catalog.system_names()
    if system not in names:
        raise InputError(f"--system {system}: no such system; {catalog.nearest(system, names)}")
    command = typer.main.get_group(catalog.system_cli(system).app).commands["convert"]
    exit_code: int | None = command.main(ctx.args, prog_name=f"vcpipe convert --system {system}", standalone_mode=False)
    return exit_code


@app.command()
def inspect(path: Path, verify: Annotated[bool, typer.Option(help="check every value's checksum")] = False) -> None:
    """Prints what a shard, run folder, table or JSON-lines file holds."""
    from vcpipe.inspection import describe

    print(describe(path, verify))


@app.command("demo-summary")
def demo_summary(results: Path = Path("results")) -> None:
    """Prints where the demo page, the run folder and the metrics are, and the figures."""
    from vcpipe.report.demo import summary

    print(summary(results))
