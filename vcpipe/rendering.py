"""A row of the evaluation as a system leaves it: converted recordings, a JSON line each, and what made them."""

from __future__ import annotations

import json
import logging
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vcpipe import __version__, audio
from vcpipe.manifest import atomic_path, write_lines
from vcpipe.settings import Slice
from vcpipe.trials import Trial, reference_samples

log = logging.getLogger(__name__)

Conversion = Callable[[Trial], audio.Wave]


def write_row(
    out: Path,
    trials: Sequence[Trial],
    convert: Conversion,
    rate: int,
    *,
    system: str,
    settings: Slice,
    about: Mapping[str, Any],
) -> None:
    """Converts every trial; writes `audio/*.wav`, `system.json` and, when all are done, `out` as JSON lines.

    Trials are taken target by target, so that what is known of a voice is read once; the lines are in their order.

    Args:
        out: `pairs.jsonl` of a folder that is named after the row.
        trials: of one name each.
        convert: a trial to `(N,)` float32 at `rate`.
        rate: samples per second.
        system: whose row it is.
        settings: what the conversions went by.
        about: what of the row, and of what made it, stands in `system.json` beside names and costs.
    """
    folder, lines = out.parent, {}
    for trial in sorted(trials, key=_voices_of):
        started = time.monotonic()
        converted = convert(trial)
        elapsed_s = time.monotonic() - started
        line = _line(folder.name, system, trial, len(converted) / rate, settings, elapsed_s)
        audio.save(folder / line["converted"], converted, rate)
        lines[trial.name] = line
    peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    known = {"row": folder.name, "system": system, "peak_mib": peak_mib, "settings": settings, **about}
    with atomic_path(folder / "system.json") as tmp:
        tmp.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    audio.keep_only(folder / "audio", {f"{trial.name}.wav" for trial in trials})
    write_lines(out, [lines[trial.name] for trial in trials])
    log.info("%s: %d conversions", out, len(lines))


def sizes(parts: Sequence[torch.nn.Module]) -> dict[str, float]:
    """How large trained networks are: `parameters`, and `model_mib` of them."""
    found = [p for part in parts for p in part.parameters()]
    return {
        "parameters": sum(p.numel() for p in found),
        "model_mib": round(sum(p.numel() * p.element_size() for p in found) / 2**20, 2),
    }


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """What tells one trained model from another, from a run's `config.json`; the commit where it is known."""
    known = {"revision": info["slice"]["revision"], "step": info["step"], "checksum": info["checksum"]}
    return {**known, "commit": info["commit"]} if info.get("commit") else known


def _voices_of(trial: Trial) -> tuple[str, list[str], str]:
    """Target, references, and the speaker of the source."""
    return trial.target, [u.utt_id for u in trial.references], trial.source.speaker


def _line(row: str, system: str, trial: Trial, seconds: float, settings: Slice, elapsed_s: float) -> dict[str, Any]:
    return {
        "name": trial.name,
        "row": row,
        "system": system,
        "text": trial.source.text,
        "source_utt": trial.source.utt_id,
        "source_speaker": trial.source.speaker,
        "source_split": trial.source.split,
        "target_speaker": trial.target,
        "references": [u.utt_id for u in trial.references],
        "reference_utt": trial.references[0].utt_id,
        "reference_s": round(sum(reference_samples(trial)) / trial.source.sample_rate, 2),
        "seed": trial.seed,
        "converted": f"audio/{trial.name}.wav",
        "settings": settings,
        "seconds": round(seconds, 3),
        "rtf": round(elapsed_s / max(seconds, 1e-9), 4),
        "vcpipe": __version__,
    }
