"""Rows of results that no system is needed for: what the judges say of real speech, of no conversion, and of noise.

Each has one recording a trial, of the same trials and under the same names as every system's row:

- `recordings`, what cannot be beaten: a recording of the target speaker as it is. It is one that stands in the table
  as a source, since those are nobody's references, and is judged as a conversion of itself: against its own text, its
  own prosody and its own speaker. So `source_utt` is that recording and `source_speaker` the target.
- `source`, no conversion at all: the source as it is. Nothing is closer to its words and prosody, or further from the
  target.
- `noise`, nothing at all: white noise of the source's length and level.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vcpipe import __version__, audio
from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.evaluated import REVISIONS
from vcpipe.manifest import Utterance, atomic_path, by_speaker, write_lines
from vcpipe.store import Shards
from vcpipe.trials import Trial, reference_samples

log = logging.getLogger(__name__)

REVISION = REVISIONS["reference"]


@dataclass(frozen=True)
class Kind:
    """What people are told of a row: a short title and a sentence."""

    label: str
    about: str


KINDS = {
    "recordings": Kind("Recordings", "Natural recordings of the target speakers: what the judges say of real speech."),
    "source": Kind("Source, unchanged", "The source recordings as they are: all of the words, none of the target."),
    "noise": Kind("White noise", "Noise as long and as loud as the source: neither words nor a speaker."),
}


def write_reference_row(
    kind: str, folder: Path, utterances: list[Utterance], trials: list[Trial], waves: Shards
) -> None:
    """Writes `audio/*.wav`, `system.json` and at last `pairs.jsonl` of a row into its folder, whose name it bears.

    Args:
        kind: a key of `KINDS`.
        folder: of the row, such as results/demo/noise.
        utterances: of the corpus of the trials.
        trials: of `vcpipe.trials.read_trials`.
        waves: the corpus's audio shards, `(N, 1)` float32.

    Raises:
        InputError: for an unknown kind, or no trials.
    """
    if kind not in KINDS:
        raise InputError(f"--kind {kind}: expected one of {', '.join(KINDS)}; give one of them")
    if not trials:
        raise InputError(f"{folder}: expected at least one trial, found none; look at the table of trials")
    spoken = _own_recordings(trials, utterances) if kind == "recordings" else [t.source for t in trials]
    lines = []
    for trial, recording in zip(trials, spoken, strict=True):
        wave = waves.read(recording.utt_id)[:, 0]
        line = _line(kind, folder.name, trial, recording)
        audio.save(
            folder / line["converted"], noise_like(wave, trial) if kind == "noise" else wave, recording.sample_rate
        )
        lines.append(line)
    with atomic_path(folder / "system.json") as tmp:
        tmp.write_text(json.dumps(_system(kind, folder.name), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    audio.keep_only(folder / "audio", {Path(line["converted"]).name for line in lines})
    write_lines(folder / "pairs.jsonl", lines)
    log.info("%s: %d recordings", folder / "pairs.jsonl", len(lines))


def noise_like(wave: Wave, trial: Trial) -> Wave:
    """White noise `(N,)` as long as the recording `(N,)`, of its RMS; another for every trial, by its name and seed.

    It is uniform, which is as white as any other and stays within 1 for every level of speech.
    """
    digest = hashlib.blake2b(f"{trial.seed} {trial.name}".encode(), digest_size=8).digest()
    drawn = np.random.default_rng(int.from_bytes(digest, "big")).uniform(-1, 1, len(wave))
    level = np.sqrt(np.mean(np.square(wave, dtype=np.float64)) / np.mean(np.square(drawn)))
    return np.asarray(level * drawn, np.float32)


def _own_recordings(trials: list[Trial], utterances: list[Utterance]) -> list[Utterance]:
    """Of each trial a recording of its target, all of them equally often.

    They are the target's own sources in the table; of a target who is no source, the recordings that nobody hears as
    references; where all are heard, any.
    """
    pools = dict(by_speaker(utterances))
    sources = {t.source for t in trials}
    heard = {u for t in trials for u in t.references}
    choices = {
        target: [u for u in pools[target] if u in sources]
        or [u for u in pools[target] if u not in heard]
        or pools[target]
        for target in {t.target for t in trials}
    }
    taken: Counter[str] = Counter()
    out = []
    for trial in trials:
        theirs = choices[trial.target]
        out.append(theirs[taken[trial.target] % len(theirs)])
        taken[trial.target] += 1
    return out


def _line(kind: str, row: str, trial: Trial, recording: Utterance) -> dict[str, Any]:
    """What is written of a trial; `recording` is what its words and prosody are held against."""
    return {
        "name": trial.name,
        "row": row,
        "system": kind,
        "text": recording.text,
        "source_utt": recording.utt_id,
        "source_speaker": recording.speaker,
        "source_split": recording.split,
        "target_speaker": trial.target,
        "references": [u.utt_id for u in trial.references],
        "reference_utt": trial.references[0].utt_id,
        "reference_s": round(sum(reference_samples(trial)) / recording.sample_rate, 2),
        "seed": trial.seed,
        "converted": f"audio/{trial.name}.wav",
        "settings": {"kind": kind},
        "seconds": round(recording.n_samples / recording.sample_rate, 3),
        "rtf": 0.0,
        "vcpipe": __version__,
    }


def _system(kind: str, row: str) -> dict[str, Any]:
    return {
        "row": row,
        "system": kind,
        "label": KINDS[kind].label,
        "kind": "reference",
        "about": KINDS[kind].about,
        "parameters": None,
        "model_mib": None,
        "peak_mib": None,
        "device": "cpu",
        "threads": 1,
        "speaker_encoder": None,
        "models": {},
        "settings": {"kind": kind, "revision": REVISION},
        "run": "",
    }
