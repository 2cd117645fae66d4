"""`vcpipe softvc …`: the stages of Soft-VC, and its conversion for people."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from vcpipe import __version__
from vcpipe.converted import check_out, note
from vcpipe.converted import target as target_of
from vcpipe.device import start_torch
from vcpipe.errors import InputError
from vcpipe.options import DeviceOption, PathOption, SliceOption, ThreadsOption
from vcpipe.training.lock import training_lock

MachineOption = Annotated[str, typer.Option(help="keys of the training that change none of the numbers, as JSON")]

app = typer.Typer(help="Soft-VC, with pitch and dynamics", no_args_is_help=True, rich_markup_mode=None)


@app.command("statistics")
def write_voices(
    made_by: SliceOption, manifest: PathOption, f0: PathOption, energy: PathOption, out: PathOption
) -> None:
    """Finds how high, how lively and how loud each speaker of a corpus speaks."""
    from vcpipe.systems.softvc.statistics import write_statistics

    write_statistics(json.loads(made_by), manifest, f0, energy, out)


@app.command("train")
def train(
    made_by: SliceOption,
    data: Annotated[list[str], typer.Option(help="where the shards of a corpus lie, as JSON; once for each")],
    state: PathOption,
    out: PathOption,
    units: Annotated[Path | None, typer.Option(help="model of the units, where they were made by one")] = None,
    base: Annotated[Path | None, typer.Option(help="run folder to go on from, where the slice says so")] = None,
    pits: Annotated[Path | None, typer.Option(help="run folder of the classifier of pitch; literal alone")] = None,
    dyns: Annotated[Path | None, typer.Option(help="run folder of the classifier of dynamics; literal alone")] = None,
    machine: MachineOption = "{}",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Trains the acoustic model; under torchrun on several devices."""
    with training_lock(state, out):
        chosen = start_torch(device, threads)
        from vcpipe.systems.softvc.train import train_acoustic

        places: list[dict[str, Any]] = [json.loads(text) for text in data]
        given = {role: run for role, run in (("pits", pits), ("dyns", dyns)) if run is not None}
        train_acoustic(json.loads(made_by), places, state, out, chosen, json.loads(machine), units, base, given)


@app.command("train-classifier")
def train_classifier(
    made_by: SliceOption,
    manifest: PathOption,
    audio: PathOption,
    labels: Annotated[Path, typer.Option(help="folder of the shards of f0, or of loudness in dB")],
    state: PathOption,
    out: PathOption,
    machine: MachineOption = "{}",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Trains an encoder to tell classes of pitch, or of dynamics, apart; under torchrun on several devices."""
    with training_lock(state, out):
        chosen = start_torch(device, threads)
        from vcpipe.systems.softvc import classifier_train as stage

        stage.train_classifier(json.loads(made_by), manifest, audio, labels, state, out, chosen, json.loads(machine))


@app.command()
def embed(
    made_by: SliceOption,
    units: PathOption,
    audio: PathOption,
    pits: PathOption,
    dyns: PathOption,
    out: PathOption,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Writes units with what the classifiers of pitch and dynamics hear beside them."""
    chosen = start_torch(device, threads)
    from vcpipe.systems.softvc.embed import embed_shard

    embed_shard(json.loads(made_by), units, audio, pits, dyns, out, chosen)


@app.command()
def coverage(
    made_by: SliceOption,
    target: Annotated[Path, typer.Option(help="folder of the units of the voice's corpus")],
    target_manifest: PathOption,
    reference: Annotated[Path, typer.Option(help="folder of the units of the corpus that it is held against")],
    reference_manifest: PathOption,
    out: PathOption,
    model: Annotated[Path | None, typer.Option(help="model of the units, where they are soft")] = None,
) -> None:
    """Counts which units of a corpus a voice was never heard to speak."""
    from vcpipe.systems.softvc.coverage import Side, check_coverage, words

    sides = (Side(target_manifest, target), Side(reference_manifest, reference))
    found = check_coverage(json.loads(made_by), *sides, model, out)
    sys.stdout.write(f"{out}: {words(found)}\n")


@app.command("train-vocoder")
def train_vocoder(
    made_by: SliceOption,
    manifest: PathOption,
    audio: PathOption,
    mels: Annotated[list[Path], typer.Argument(help="folder of each variant of the mels, in the slice's order")],
    state: PathOption,
    out: PathOption,
    machine: MachineOption = "{}",
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Trains the vocoder; under torchrun on several devices."""
    with training_lock(state, out):
        chosen = start_torch(device, threads)
        from vcpipe.vocoders.train import train_vocoder

        train_vocoder(json.loads(made_by), manifest, audio, mels, state, out, chosen, json.loads(machine))


@app.command()
def render(
    made_by: SliceOption,
    vocoder: PathOption,
    manifest: PathOption,
    mel: PathOption,
    trials: Annotated[Path, typer.Option(help="table of who is converted to whom")],
    out: PathOption,
    run: Annotated[Path | None, typer.Option(help="run folder of the acoustic model; not of a resynthesis")] = None,
    units: Annotated[Path | None, typer.Option(help="folder of the shards; not of a resynthesis")] = None,
    f0: Annotated[Path | None, typer.Option(help="of a resynthesis where the vocoder reads a pitch")] = None,
    energy: Annotated[Path | None, typer.Option(help="folder of the shards; not of a resynthesis")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Converts a list of trials."""
    chosen = start_torch(device, threads)
    from vcpipe.systems.softvc import render as stage

    given = {"units": units, "mel": mel, "f0": f0, "energy": energy}
    folders = {name: folder for name, folder in given.items() if folder is not None}
    stage.render(json.loads(made_by), run, vocoder, manifest, folders, trials, out, chosen, threads)


@app.command()
def convert(
    run: Annotated[Path, typer.Option(help="folder that train_pitdyn or train_soft_acoustic made")],
    vocoder: Annotated[Path, typer.Option(help="folder that train_soft_vocoder made")],
    source: Annotated[list[Path], typer.Option(help="recording, or a folder of them; may be given again")],
    voice: Annotated[str, typer.Option(help="one of those that the run speaks with")],
    out: Annotated[Path, typer.Option(help="folder for the converted recordings and their JSON lines")],
    pitch_range: Annotated[
        str, typer.Option("--range", help="of the pitch: match the voice's, octave or keep")
    ] = "match",
    spread: Annotated[float, typer.Option(min=0, max=1, help="how far its spread follows the voice's")] = 1.0,
    transpose: Annotated[float, typer.Option(min=-24, max=24, help="semitones on top")] = 0.0,
    dynamics: Annotated[bool, typer.Option(help="bring the loudness to the voice's mean and spread")] = True,
    loudness: Annotated[float, typer.Option(help="LUFS of the output; 0 leaves it as it is")] = -16.0,
    draft: Annotated[bool, typer.Option(help="by Griffin and Lim, without the vocoder: an ear for the mel")] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Speaks each source with a voice that the model has learned."""
    from vcpipe.corpora.files import recordings

    sources = recordings(source, "--source")
    check_out(out, source, sources)
    if not math.isfinite(loudness):
        raise InputError(f"--loudness {loudness}: expected a finite number; give another")
    chosen = start_torch(device, threads)
    from vcpipe import audio as sound
    from vcpipe.settings import check
    from vcpipe.systems.softvc.config import ConvertSettings
    from vcpipe.systems.softvc.converter import Converter

    converter = Converter.load(run, vocoder, chosen)
    given = {"range": pitch_range, "spread": spread, "transpose": transpose, "dynamics": dynamics}
    settings = check(ConvertSettings, {**given, "loudness_lufs": loudness or None}, "convert")
    converter.check(settings)
    converter.voice(voice)
    for path in sources:
        started = time.monotonic()
        mel, told = converter.mel(converter.frames(path), voice, settings)
        if draft:
            wave = converter.ear.draft(mel).numpy()
            wave = wave if settings.loudness_lufs is None else sound.to_loudness(wave, converter.grid.rate, loudness)
        else:
            wave = converter.vocoder.speak(mel, settings.loudness_lufs, told)
        elapsed_s = time.monotonic() - started
        target = target_of(out, path)
        sound.save(target, wave, converter.grid.rate)
        seconds = len(wave) / converter.grid.rate
        line = {
            "source": str(path),
            "converted": str(target),
            "voice": voice,
            "seconds": round(seconds, 3),
            "rtf": round(elapsed_s / max(seconds, 1e-9), 4),
            "run": str(run),
            "vocoder": str(vocoder),
            "draft": draft,
            "settings": settings.model_dump(mode="json"),
            "models": converter.models,
            "vcpipe": __version__,
        }
        text = json.dumps(line, sort_keys=True)
        note(out / "converted.jsonl", target.name, text)
        sys.stdout.write(text + "\n")
