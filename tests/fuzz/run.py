"""What must hold whatever is in a corpus: no crash, no hang, what is good comes through, what is not has a reason."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.corpora.test_prepare import SHARDS, config, run
from tests.fuzz.recordings import Case, good, write
from vcpipe import audio
from vcpipe.guarded import Failure, Guarded
from vcpipe.manifest import Reject, Utterance, read_table, shard_names
from vcpipe.store import Shards

LIMIT_S = 10.0
MAX_S = 5.0


@dataclass
class Report:
    """Counts, and every breach of a promise in words."""

    verdicts: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[str] = field(default_factory=Counter)
    breaches: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")


def decoded_alone(cases: list[Case], root: Path) -> Report:
    """Each file through `audio.read` in a guarded worker: crashes, hangs and exceptions have a name here."""
    report = Report()

    def look(name: str) -> list[object]:
        begun = time.monotonic()
        try:
            wave, _ = audio.read(root / name, MAX_S)
            verdict = "good" if len(wave) and wave.dtype == np.float32 and np.isfinite(wave).all() else "BROKEN"
        except audio.BadAudio as bad:
            verdict = bad.reason if "\n" not in bad.detail and bad.detail else "BROKEN"
        return [verdict, time.monotonic() - begun]

    with Guarded(look, 1, LIMIT_S) as pool:
        for case, result in zip(cases, pool.map(case.path for case in cases), strict=True):
            if isinstance(result, Failure):
                report.breaches.append(f"{case.path!r} ({case.what}): {type(result).__name__}: {result.words}")
                continue
            verdict, seconds = result
            report.verdicts[verdict] += 1
            report.by_kind[f"{case.what}: {verdict}"] += 1
            report.slowest = max(report.slowest, (seconds, f"{case.path!r} ({case.what})"))
            if verdict not in {"good", *audio.REASONS}:
                report.breaches.append(f"{case.path!r} ({case.what}): no reason of REASONS: {verdict}")
    return report


def prepared(cases: list[Case], folder: Path) -> Report:
    """The whole corpus through the workflow's door, with the good recordings alone beside it."""
    plain = _corpus(good(), folder / "plain")[0]
    waves, rejects = _corpus(good() + cases, folder / "mixed")
    report = Report()
    for path, wave in plain.items():
        if path not in waves or not np.array_equal(wave, waves[path]):
            report.breaches.append(f"{path!r}: not the same beside bad recordings")
    for case in good() + cases:
        verdict = rejects.get(case.path, "good" if case.path in waves else "LOST")
        report.verdicts[verdict] += 1
        report.by_kind[f"{case.what}: {verdict}"] += 1
        if verdict not in {"good", *audio.REASONS}:
            report.breaches.append(f"{case.path!r} ({case.what}): {verdict}")
        elif case.expected is not None and verdict not in case.expected:
            report.breaches.append(f"{case.path!r} ({case.what}): {verdict}, expected {sorted(case.expected)}")
        if case.path in waves and case.path in rejects:
            report.breaches.append(f"{case.path!r} ({case.what}): kept and rejected")
    extra = set(waves) | set(rejects)
    for path in extra - {case.path for case in good() + cases}:
        report.breaches.append(f"{path!r}: in a table, not in the corpus")
    return report


def _corpus(cases: list[Case], folder: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Prepares a corpus: what came through and what did not, by path."""
    root, out = folder / "corpus", folder / "out"
    write(cases, root)
    checked = config(root, {"min_s": 0.3, "max_s": MAX_S}, max_reject_share=1.0)
    run(checked, out)
    with Shards(out, shard_names(SHARDS), None) as shards:
        for part in shards.parts:
            part.verify()
        waves = {u.path: shards.read(u.utt_id) for u in read_table(out / "manifest.csv", Utterance)}
    for path, wave in waves.items():
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 1, path
    return waves, {r.path: r.reason for r in read_table(out / "rejects.csv", Reject)}
