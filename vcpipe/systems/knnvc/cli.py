"""`vcpipe knnvc …`: the stages of kNN-VC, and its conversion for people."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from vcpipe import __version__
from vcpipe.converted import check_out, note
from vcpipe.converted import target as target_of
from vcpipe.device import start_torch
from vcpipe.errors import InputError
from vcpipe.options import DeviceOption, PathOption, SliceOption, ThreadsOption
from vcpipe.settings import Slice
from vcpipe.systems.knnvc.config import STREAMS
from vcpipe.training.lock import training_lock

StreamOption = Annotated[Path | None, typer.Option(help="where the slice has such a stream")]

app = typer.Typer(help="kNN-VC", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def prematch(
    made_by: SliceOption,
    match: PathOption,
    synthesis: PathOption,
    manifest: PathOption,
    splits: PathOption,
    out: PathOption,
    content: StreamOption = None,
    pitch: StreamOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Pre-matches a feature shard."""
    wanted: Slice = json.loads(made_by)
    streams = _streams(wanted, content, pitch)
    chosen = start_torch(device, threads)
    from vcpipe.systems.knnvc.prematch import prematch_shard

    prematch_shard(wanted, match, synthesis, manifest, splits, out, chosen, streams)


@app.command()
def unmatched(
    made_by: SliceOption,
    synthesis: PathOption,
    out: PathOption,
    content: StreamOption = None,
    pitch: StreamOption = None,
) -> None:
    """Puts an utterance's own frames beside its streams, for a vocoder that hears these."""
    wanted: Slice = json.loads(made_by)
    streams = _streams(wanted, content, pitch)
    from vcpipe.systems.knnvc.prematch import unmatched_shard

    unmatched_shard(wanted, synthesis, out, streams)


def _streams(made_by: Slice, content: Path | None, pitch: Path | None) -> dict[str, Path]:
    """The paths that were given, which must be those of the slice's streams."""
    given = {name: path for name, path in zip(STREAMS, (content, pitch), strict=True) if path is not None}
    if set(given) != set(made_by.get("streams", {})):
        expected = " and ".join(f"--{name}" for name in made_by.get("streams", {})) or "neither --content nor --pitch"
        found = " and ".join(f"--{name}" for name in given) or "neither"
        raise InputError(f"--slice: its streams ask for {expected}, found {found}; give what it asks for")
    return given


@app.command()
def train(
    made_by: SliceOption,
    manifest: PathOption,
    audio: PathOption,
    units: Annotated[list[Path], typer.Argument(help="folder of each variant of the units, in the slice's order")],
    state: PathOption,
    out: PathOption,
    machine: Annotated[str, typer.Option(help="keys of the training that change none of the numbers, as JSON")] = "{}",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Trains the vocoder; under torchrun on several devices."""
    with training_lock(state, out):
        chosen = start_torch(device, threads)
        from vcpipe.vocoders.train import train_vocoder

        train_vocoder(json.loads(made_by), manifest, audio, units, state, out, chosen, json.loads(machine))


@app.command()
def render(
    made_by: SliceOption,
    run: PathOption,
    manifest: PathOption,
    audio: PathOption,
    match: PathOption,
    synthesis: PathOption,
    trials: Annotated[Path, typer.Option(help="table of who is converted to whom")],
    out: PathOption,
    content: StreamOption = None,
    pitch: StreamOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Converts a list of trials."""
    wanted: Slice = json.loads(made_by)
    streams = _streams(wanted, content, pitch)
    chosen = start_torch(device, threads)
    from vcpipe.systems.knnvc import render as stage

    stage.render(wanted, run, manifest, audio, match, synthesis, trials, out, chosen, threads, streams)


@app.command()
def convert(
    run: Annotated[Path, typer.Option(help="folder that train_hifigan_prematched or train_hifigan made")],
    source: Annotated[list[Path], typer.Option(help="recording, or a folder of them; may be given again")],
    reference: Annotated[list[Path], typer.Option(help="recording of the target, or a folder; may be given again")],
    out: Annotated[Path, typer.Option(help="folder for the converted recordings and their JSON lines")],
    topk: Annotated[int, typer.Option(min=1, help="nearest frames that are averaged")] = 4,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="share of the source's own frames; 0: all target")] = 0.0,
    loudness: Annotated[float, typer.Option(help="LUFS of the output; 0 leaves it as it is")] = -16.0,
    trim: Annotated[bool, typer.Option(help="cut silence around the speech of each reference")] = True,
    target_duration: Annotated[float, typer.Option(min=0, help="seconds of the output; 0: as the source")] = 0.0,
    transpose: Annotated[float, typer.Option(min=-24, max=24, help="semitones, if the vocoder hears F0")] = 0.0,
    match_spectrum: Annotated[bool, typer.Option(help="filter towards the references' long-term spectrum")] = False,
    spread: Annotated[
        float, typer.Option(min=0, max=1, help="and the spread of pitch and spectrum towards theirs")
    ] = 0.0,
    own_content: Annotated[
        float, typer.Option(min=0, max=1, help="the source's share in its content; the rest: neighbours'")
    ] = 1.0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Speaks each source in the voice of the references."""
    from vcpipe.corpora.files import recordings

    sources, references = recordings(source, "--source"), recordings(reference, "--reference")
    check_out(out, [*source, *reference], sources, references)
    for option, value in (("--loudness", loudness), ("--target-duration", target_duration)):
        if not math.isfinite(value):
            raise InputError(f"{option} {value}: expected a finite number; give another")
    chosen = start_torch(device, threads)
    from vcpipe import audio as sound
    from vcpipe.systems.knnvc.applied import applied
    from vcpipe.systems.knnvc.config import STREAMS, ConvertSettings
    from vcpipe.systems.knnvc.converter import Converter

    converter = Converter.load(run, chosen)
    settings = ConvertSettings(
        topk=topk,
        alpha=alpha,
        loudness_lufs=loudness or None,
        transpose=transpose,
        match_spectrum=match_spectrum,
        spread=spread,
        own_content=own_content,
        trim_references=trim,
    )
    converter.check(settings)
    applies = applied(settings, [name for name in STREAMS if name in converter.revisions()])
    pool = converter.pool(references, trim)
    for path in sources:
        started = time.monotonic()
        frames = converter.frames(path)
        wave = converter.convert(frames, pool, settings, target_duration or None)
        elapsed_s = time.monotonic() - started
        target = target_of(out, path)
        sound.save(target, wave, converter.grid.rate)
        seconds = len(wave) / converter.grid.rate
        line = {
            "source": str(path),
            "converted": str(target),
            "references": [str(p) for p in references],
            "reference_s": round(len(pool) / float(converter.grid.fps), 2),
            "seconds": round(seconds, 3),
            "rtf": round(elapsed_s / max(seconds, 1e-9), 4),
            "run": str(run),
            "settings": {**applies, "trim_references": trim, "target_duration_s": target_duration or None},
            "features": converter.revisions(),
            "vocoder": converter.identity,
            "vcpipe": __version__,
        }
        text = json.dumps(line, sort_keys=True)
        note(out / "converted.jsonl", target.name, text)
        sys.stdout.write(text + "\n")
