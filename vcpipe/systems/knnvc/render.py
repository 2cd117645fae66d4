"""A list of trials to converted recordings, with one JSON line each."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import torch

from vcpipe import __version__, audio
from vcpipe.manifest import Utterance, read_table, shard_names, write_lines
from vcpipe.settings import Slice, check
from vcpipe.store import Shards
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.converter import Converter, Frames
from vcpipe.trials import Trial, draw_trials, read_trials

log = logging.getLogger(__name__)


def render(
    made_by: Slice,
    run: Path,
    manifest: Path,
    audio_folder: Path,
    match_folder: Path,
    synthesis_folder: Path,
    trials: Path | None,
    out: Path,
    device: torch.device,
) -> None:
    """Converts every trial; writes `<out's folder>/audio/*.wav` and, when all are done, `out` as JSON lines.

    The frames of sources and references come from the feature shards, which the slice ties to the run's extractors.
    """
    utterances = read_table(manifest, Utterance)
    demo = made_by["demo"]
    chosen = read_trials(trials, utterances) if trials else draw_trials(utterances, demo["pairs"], demo["seed"])
    settings: ConvertSettings = check(ConvertSettings, made_by["convert"], "knnvc.convert")
    converter = Converter.load(run, device)
    names = shard_names(made_by["wav"]["shards"])
    lines = []
    with (
        Shards(audio_folder, names, made_by["wav"]) as waves,
        Shards(match_folder, names, made_by["match"]) as match,
        Shards(synthesis_folder, names, made_by["synthesis"]) as synthesis,
    ):
        pools: dict[tuple[Utterance, ...], Frames] = {}
        for trial in chosen:
            if trial.references not in pools:
                pools[trial.references] = _frames([u.utt_id for u in trial.references], match, synthesis)
            started = time.monotonic()
            source = _frames([trial.source.utt_id], match, synthesis)
            converted = converter.convert(
                source, pools[trial.references], settings.topk, settings.alpha, settings.loudness_lufs
            )
            elapsed_s = time.monotonic() - started
            lines.append(_line(trial, converted, waves, converter, settings, elapsed_s, out.parent))
    write_lines(out, lines)
    log.info("%s: %d conversions", out, len(lines))


def _frames(utt_ids: list[str], match: Shards, synthesis: Shards) -> Frames:
    found = torch.cat([torch.from_numpy(match.read(utt_id)) for utt_id in utt_ids])
    same = match.folder == synthesis.folder
    return Frames(found, found if same else torch.cat([torch.from_numpy(synthesis.read(u)) for u in utt_ids]))


def _line(
    trial: Trial,
    converted: audio.Wave,
    waves: Shards,
    converter: Converter,
    settings: ConvertSettings,
    elapsed_s: float,
    folder: Path,
) -> dict[str, object]:
    rate = converter.grid.rate
    name = f"{trial.source.utt_id}-as-{trial.target}".replace("/", "_")
    reference = trial.references[0]
    files = {
        "source": waves.read(trial.source.utt_id)[:, 0],
        "reference": waves.read(reference.utt_id)[:, 0],
        "converted": converted,
    }
    for kind, wave in files.items():
        audio.save(folder / "audio" / f"{name}-{kind}.wav", wave, rate)
    return {
        "name": name,
        "system": "knnvc",
        "text": trial.source.text,
        "source_utt": trial.source.utt_id,
        "source_speaker": trial.source.speaker,
        "source_split": trial.source.split,
        "target_speaker": trial.target,
        "reference_utt": reference.utt_id,
        "references": [u.utt_id for u in trial.references],
        "reference_s": round(sum(u.n_samples for u in trial.references) / rate, 2),
        **{kind: f"audio/{name}-{kind}.wav" for kind in files},
        "settings": settings.model_dump(mode="json"),
        "seconds": round(len(converted) / rate, 3),
        "rtf": round(elapsed_s / max(len(converted) / rate, 1e-9), 4),
        "vcpipe": __version__,
    }
