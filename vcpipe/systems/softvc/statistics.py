"""Pitch and loudness of voices as an artifact, and the contours of one voice brought to another's.

Training and conversion read the same file: how high, how lively and how loud somebody speaks is found once, of the
recordings that are trained on, and stands in no source and no config.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.f0.contour import speaker_statistics
from vcpipe.manifest import Utterance, atomic_path, by_speaker, read_table, shard_names
from vcpipe.settings import Slice, canonical
from vcpipe.store import Shards, difference

log = logging.getLogger(__name__)

FORMAT = "vcpipe-voices-1"
HEARD_DB = 30.0
"""Below a voice's loudest frames: what is softer says nothing of how loud somebody speaks. Pauses of 2 s more in every
recording of LJSpeech and LibriSpeech move the mean by 0.3 dB; were it 60, pauses would count, and move it by 4.4."""
LOUDEST = 99.9
"""Percentile that stands for the loudest frames: a click is not a voice."""
MOST_SPREAD = 2.0
"""By what factor the spread of a contour grows or shrinks at the most."""
LEAST_SPREAD = 1e-3
"""In ln Hz and in dB: a voice that moves less says nothing of how much another should."""
LOUDNESS_SPREADS = 2.0
"""Around the mean: as far a loudness moves more or less when its spread does; beyond, as it did."""
MOST_FRAMES = 1 << 24
"""Of all voices together, 47 hours: of a larger corpus every second, third ... frame is looked at."""

LEAST = {"frames": 1, "voiced_share": 0, "p05_hz": 1, "p95_hz": 1, "std_log_f0": 0, "energy_std_db": 0}
"""What the file of no voice falls below."""

Register = Literal["match", "octave", "keep"]
Floats = NDArray[np.floating]
Frames = tuple[Floats, Floats]
"""Of one recording: `(T, 2)` F0 in Hz (0 where unvoiced) and voiced, and `(T, 1)` its RMS in dB."""


@dataclass(frozen=True)
class Voice:
    """How a voice speaks: ln Hz and Hz over its voiced frames, dB over the frames that are heard."""

    median_log_f0: float
    mean_log_f0: float
    std_log_f0: float
    p05_hz: float
    p95_hz: float
    voiced_share: float
    frames: int
    energy_mean_db: float
    energy_std_db: float


@dataclass(frozen=True)
class Statistics:
    """The voices of a corpus by name, all of them together, and the slice that they were found under."""

    slice: Slice
    speakers: dict[str, Voice]
    all: Voice


def of_frames(pairs: Iterable[Frames]) -> Voice:
    """How the voice of some recordings speaks.

    Raises:
        InputError: when no frame is voiced, or F0 and loudness are not of the same frames.
    """
    given = list(pairs)
    for f0, energy in given:
        if f0.ndim != 2 or f0.shape[1:] != (2,) or energy.shape != (len(f0), 1):
            raise InputError(
                f"voice: expected F0 (T, 2) and loudness (T, 1) of as many frames, found {f0.shape} and "
                f"{energy.shape}; name an f0 and an energy of one hop"
            )
    pitch = speaker_statistics([(f0[:, 0], f0[:, 1]) for f0, _ in given])
    level = np.concatenate([energy[:, 0] for _, energy in given]).astype(np.float64)
    heard = level[level > np.percentile(level, LOUDEST) - HEARD_DB]
    frames = int(pitch.pop("frames"))
    return Voice(**pitch, frames=frames, energy_mean_db=float(heard.mean()), energy_std_db=float(heard.std()))


def write_statistics(made_by: Slice, manifest: Path, f0: Path, energy: Path, out: Path) -> None:
    """Finds how each voice of a corpus speaks, and all together, by the utterances that are trained on.

    A speaker without a voiced frame among these is left out.

    Args:
        made_by: slice with, under `f0` and `energy`, those of the feature shards.
        manifest: of the corpus.
        f0: folder of the shards of a feature of kind f0.
        energy: folder of those of a feature of kind energy in dB, on the same grid.
        out: the JSON file.

    Raises:
        InputError: when no speaker has a voiced frame, or the shards do not go together.
    """
    rows = [u for u in read_table(manifest, Utterance) if u.split == "train"]
    names = shard_names(made_by["f0"]["reads"]["shards"])
    speakers: dict[str, Voice] = {}
    together: list[Frames] = []
    with Shards(f0, names, made_by["f0"]) as pitches, Shards(energy, names, made_by["energy"]) as levels:
        first, *others = [*pitches.parts, *levels.parts]
        if other := next((part for part in others if part.grid != first.grid), None):
            raise InputError(
                f"{other.path}: grid {other.grid}, expected {first.grid} as in {first.path}; give f0 and energy the "
                "same rate and hop"
            )
        step = 1 + sum(len(part.values) for part in pitches.parts) // MOST_FRAMES
        for speaker, members in by_speaker(rows):
            pairs = [(pitches.read(u.utt_id), levels.read(u.utt_id)) for u in members]
            if not any(contour[:, 1].any() for contour, _ in pairs):
                log.warning("speaker %s: no voiced frame in %d utterances; left out", speaker, len(pairs))
                continue
            speakers[speaker] = of_frames(pairs)
            together += [(contour[::step].copy(), level[::step].copy()) for contour, level in pairs]
    if not speakers:
        raise InputError(
            f"{manifest}: expected a voiced frame in an utterance of split train, found none in {len(rows)}; lower "
            "floor_hz or the threshold of the f0, or give the corpus another split (corpora: splits)"
        )
    write(out, Statistics(made_by, speakers, of_frames(together)))
    log.info("%s: %d voices", out, len(speakers))


def write(path: str | Path, statistics: Statistics) -> None:
    """Writes voices as JSON, whole or not at all."""
    value = {"format": FORMAT, **asdict(statistics)}
    with atomic_path(path) as tmp:
        tmp.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read(path: str | Path, expect: Slice | None = None) -> Statistics:
    """Reads what `write` wrote.

    Args:
        path: of the file.
        expect: the slice that the reader's config asks for; None takes any.

    Raises:
        InputError: when the file is missing, damaged, of another format, or made under another slice; it names the key.
    """
    path = Path(path)
    again = f"make it again: `snakemake --cores all --force {path}`"
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `snakemake --cores all {path}`")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found something cut off or damaged ({error}); {again}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = repr(value.get("format")) if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{path}: key 'format': expected {FORMAT}, found {found}; {again}")
    for key in ("slice", "speakers"):
        if not isinstance(value.get(key), dict):
            raise InputError(f"{path}: key '{key}': expected keys with values, found {value.get(key)!r}; {again}")
    if expect is not None and canonical(expect) != canonical(value["slice"]):
        raise InputError(f"{path}: made under other settings: {difference(value['slice'], expect)}; {again}")
    try:
        speakers = {name: _voice(voice, f"speakers.{name}") for name, voice in value["speakers"].items()}
        return Statistics(value["slice"], speakers, _voice(value.get("all"), "all"))
    except ValueError as error:
        raise InputError(f"{path}: {error}; {again}") from None


def _voice(value: object, where: str) -> Voice:
    """One voice of the file, or a ValueError that names its key."""
    names = [field.name for field in fields(Voice)]
    if not isinstance(value, Mapping) or sorted(value) != sorted(names):
        found = ", ".join(map(str, value)) if isinstance(value, Mapping) else repr(value)
        raise ValueError(f"key '{where}': expected the keys {', '.join(names)}, found {found}")
    for name, number in value.items():
        kinds = (int,) if name == "frames" else (int, float)
        if type(number) not in kinds or not math.isfinite(number) or number < LEAST.get(name, -math.inf):
            raise ValueError(f"key '{where}.{name}': expected a number as of a voice, found {number!r}")
    return Voice(**value)


def to_voice(
    f0: Floats,
    energy: Floats,
    own: Voice,
    target: Voice,
    *,
    register: Register = "match",
    spread: float = 1.0,
    transpose: float = 0.0,
    dynamics: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The pitch `(T, 2)` and the loudness `(T, 1)` of one voice as another would speak them, float32.

    A contour's spread grows or shrinks by a factor of `MOST_SPREAD` at the most. Of a pitch it does so between the
    voice's own 5th and 95th percentile; beyond, where octave errors are, it moves no further than it did.

    Args:
        f0: Hz (0 where unvoiced, which it stays) and voiced.
        energy: RMS in dB.
        own: the voice that they are of.
        target: the voice to take.
        register: `match` moves the median to the target's; `octave` by as many whole octaves as bring it closest, so
            that a melody keeps its key; `keep` leaves it.
        spread: of the way, in ratios, to the target's spread of ln Hz; of `match` alone, others keep the intervals.
        transpose: semitones on top.
        dynamics: whether the loudness is brought to the target's mean and spread.
    """
    between = target.median_log_f0 - own.median_log_f0
    move = {"match": between, "octave": math.log(2) * round(between / math.log(2)), "keep": 0.0}[register]
    growth = _growth(own.std_log_f0, target.std_log_f0) ** spread if register == "match" else 1.0
    pitch = np.array(f0, np.float32)
    voiced = pitch[:, 0] > 0
    ln_hz = np.log(pitch[voiced, 0].astype(np.float64))
    ln_hz = _wider(ln_hz, own.median_log_f0, math.log(own.p05_hz), math.log(own.p95_hz), growth)
    pitch[voiced, 0] = np.exp(ln_hz + move + transpose * math.log(2) / 12)
    level = np.array(energy, np.float32)
    if dynamics:
        mean, reach = own.energy_mean_db, LOUDNESS_SPREADS * own.energy_std_db
        growth = _growth(own.energy_std_db, target.energy_std_db)
        wider = _wider(level.astype(np.float64), mean, mean - reach, mean + reach, growth)
        level = (wider + target.energy_mean_db - mean).astype(np.float32)
    return pitch, level


def _growth(own: float, target: float) -> float:
    """By what a spread grows on the way to another."""
    if min(own, target) < LEAST_SPREAD:
        return 1.0
    return min(max(target / own, 1 / MOST_SPREAD), MOST_SPREAD)


def _wider(values: NDArray[np.float64], middle: float, low: float, high: float, growth: float) -> NDArray[np.float64]:
    """Between `low` and `high` further from the middle by a factor; beyond, by as much as there."""
    return values + (growth - 1) * (values.clip(low, high) - middle)
