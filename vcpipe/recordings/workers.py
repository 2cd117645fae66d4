"""Recordings, processed in child processes: a file that crashes or hangs its decoder is one reject, not a lost job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe import audio
from vcpipe.audio_settings import AudioSettings
from vcpipe.errors import InputError
from vcpipe.guarded import Failure, Guarded, Raised, TimedOut
from vcpipe.manifest import Candidate
from vcpipe.recordings.process import Piece, Refusal, process
from vcpipe.recordings.quality import Quality


def processed(
    candidates: Sequence[Candidate], root: Path, settings: AudioSettings, workers: int
) -> Iterator[list[Piece | Refusal]]:
    """What becomes of each recording, in their order; see `vcpipe.recordings.process.process`.

    The limit of `audio.limit_s` guards the decoder; what follows it has that of `vcpipe.recordings.process.limit_s`.

    Raises:
        InputError: for what no recording is to blame for: a package that is missing, or work on what was decoded that
            does not come to an end.
        RuntimeError: for a fault of our own code, with its traceback.
    """

    def work(item: list[str]) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
        path, utt_id = item
        return _packed(process(path, settings, utt_id))

    items = [[str(root / c.path), c.utt_id] for c in candidates]
    with Guarded(work, min(max(workers, 1), len(items)) or 1, lambda item: audio.limit_s(item[0])) as pool:
        for candidate, found in zip(candidates, pool.map(items), strict=True):
            if isinstance(found, Raised):
                raise found.error(str(root / candidate.path))
            if isinstance(found, TimedOut) and found.later:
                raise InputError(
                    f"{root / candidate.path}: expected an end of the work on it once decoded, found "
                    f"{found.words}; run it again with fewer --cores, or take the recording out of the corpus"
                )
            if isinstance(found, TimedOut):
                yield [Refusal(candidate.utt_id, "timed_out", found.words)]
            elif isinstance(found, Failure):
                yield [Refusal(candidate.utt_id, "crashed", f"its decoder ended: {found.words}")]
            else:
                facts, samples = found
                yield _unpacked(facts, samples)


def _packed(parts: list[Piece | Refusal]) -> tuple[list[dict[str, Any]], NDArray[np.float32]]:
    """Parts as what JSON holds, and one array of all their samples."""
    facts, waves = [], [np.zeros(0, np.float32)]
    for part in parts:
        if isinstance(part, Refusal):
            facts.append(asdict(part))
        else:
            waves.append(part.wave)
            kept = {name: getattr(part, name) for name in ("utt_id", "start_s", "stop_s", "forced")}
            facts.append({**kept, "n": len(part.wave), "quality": asdict(part.quality)})
    return facts, np.concatenate(waves)


def _unpacked(facts: list[dict[str, Any]], samples: NDArray[np.float32]) -> list[Piece | Refusal]:
    parts: list[Piece | Refusal] = []
    at = 0
    for fact in facts:
        if "reason" in fact:
            parts.append(Refusal(**fact))
            continue
        n, quality = fact.pop("n"), Quality(**fact.pop("quality"))
        parts.append(Piece(wave=samples[at : at + n], quality=quality, **fact))
        at += n
    return parts
