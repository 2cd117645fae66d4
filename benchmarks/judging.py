"""How long the judges take: each by itself, and a row of conversions judged whole, then once more from the cache.

    python benchmarks/judging.py --corpus FOLDER [--n 40] [--sources 8] [--seconds 5] [--threads 2]

`--corpus` is a folder with flac or wav recordings of speech, in which a speaker's recordings lie together. A conversion
is a recording of one speaker, played 4 % faster: speech that no judge has heard yet. Prints seconds for a conversion
and the ratio to its length, on one core, of each judge of a conversion; and for the row, on `--threads`, seconds
a recording and what 1,000 conversions of 200 sources would take.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import soxr
import torch

from vcpipe import audio
from vcpipe.evaluation.evaluate import judge_row
from vcpipe.evaluation.judge import RATE, load_judges
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_lines, write_table
from vcpipe.store import write_shard

FASTER = 1.04
TARGET_S, TARGET_N, TARGET_SOURCES = 900, 1000, 200
SETTINGS = {"enrolment": 5, "seed": 0, "resamples": 2000}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with flac or wav recordings of speech")
    parser.add_argument("--n", type=int, default=40, help="conversions")
    parser.add_argument("--sources", type=int, default=8, help="recordings that they are of")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long the recordings are")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--asr", default="whisper_tiny_en")
    parser.add_argument("--verifier", default="ge2e")
    parser.add_argument("--quality", nargs="*", default=["dnsmos"])
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    torch.set_num_threads(1)
    settings = {**SETTINGS, "asr": args.asr, "verifier": args.verifier, "quality": args.quality}
    speech = _speech(args.corpus, args.seconds, args.n + args.sources)
    sources, others = speech[: args.sources], speech[args.sources :]
    conversions = [soxr.resample(wave, RATE * FASTER, RATE) for _, wave in others]
    length_s = float(np.mean([len(wave) / RATE for wave in conversions]))
    print(f"{len(conversions)} conversions of {length_s:.2f} s, {len(sources)} sources; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        made_by = {"stage": "judge", "judge": settings, "wav": {"shards": 1}}
        _lay_out(Path(folder), made_by, sources, conversions)
        row = [_timed(made_by, Path(folder), args.threads) for _ in range(2)]
    _each(settings, sources, conversions[: max(4, args.n // 8)], length_s)
    # a source is recognised and verified, which is nearly all that a conversion costs
    n, n_all = len(conversions) + len(sources), TARGET_N + TARGET_SOURCES
    whole_s = row[0] / n * n_all
    print(f"row        {row[0]:8.1f} s on {args.threads} threads, {row[0] / n:.2f} s a recording")
    print(f"again      {row[1]:8.1f} s, all from the cache")
    print(f"{TARGET_N} conversions of {TARGET_SOURCES} sources: {whole_s / 60:.1f} min")
    print(f"ratio      {whole_s / TARGET_S:8.2f} of the {TARGET_S // 60} min that they may take")


def _speech(corpus: Path, seconds: float, count: int) -> list[tuple[Path, Any]]:
    """The recordings whose length is nearest to the one asked for."""
    paths = sorted(path for kind in ("flac", "wav") for path in corpus.rglob(f"*.{kind}"))
    waves = [(path, audio.load(path, RATE)) for path in paths]
    nearest = sorted(waves, key=lambda found: abs(len(found[1]) / RATE - seconds))[:count]
    if len(nearest) < count:
        raise SystemExit(f"{corpus}: expected {count} recordings, found {len(nearest)}; give --n and --sources")
    return nearest


def _lay_out(folder: Path, made_by: dict[str, Any], sources: list[tuple[Path, Any]], conversions: list[Any]) -> None:
    """A corpus of two speakers, who have a recording each beside the sources, and a row of conversions."""
    halves = [(f"s{i}", f"speaker{i % 2}", wave) for i, (_, wave) in enumerate(sources)]
    halves += [(f"own{i}", f"speaker{i}", sources[i][1][: 3 * RATE]) for i in range(2)]
    utterances = [Utterance(u, speaker, u, len(wave), RATE, "the same words for all") for u, speaker, wave in halves]
    write_table(folder / "manifest.csv", utterances, Utterance)
    rows = ((u, wave[:, None]) for u, _, wave in halves)
    write_shard(folder / "wav/000.h5", rows, made_by=made_by["wav"], grid=Grid(RATE, 1), dim=1, dtype="float32")
    lines = []
    for i, wave in enumerate(conversions):
        source = i * len(sources) // len(conversions)
        audio.save(folder / f"row/audio/{i}.wav", wave, RATE)
        line = {"name": str(i), "row": "row", "system": "none", "text": "the same words for all"}
        line |= {"source_utt": f"s{source}", "source_speaker": f"speaker{source % 2}"}
        line |= {"target_speaker": f"speaker{1 - source % 2}", "references": [], "reference_s": 0.0, "seed": 0}
        lines.append(line | {"converted": f"audio/{i}.wav", "rtf": 0.0})
    write_lines(folder / "row/pairs.jsonl", lines)
    system = {"row": "row", "system": "none", "models": {}, "settings": {}, "speaker_encoder": None}
    system |= {"peak_mib": None, "model_mib": None, "parameters": None}
    (folder / "row/system.json").write_text(json.dumps(system))


def _timed(made_by: dict[str, Any], folder: Path, threads: int) -> float:
    started = time.perf_counter()
    judge_row(made_by, folder / "row", folder / "manifest.csv", folder / "wav", folder / "cache", threads)
    return time.perf_counter() - started


def _each(settings: dict[str, Any], sources: list[tuple[Path, Any]], conversions: list[Any], length_s: float) -> None:
    """Every judge alone, in this process; the other recording of a pair has been analysed before, as in a row."""
    judges = load_judges(settings)
    for judge in judges.everyone:
        hear = judge.load()
        two = judge in (judges.prosody, judges.mcd)
        other = sources[0][1]
        waves = [(wave * np.float32(0.99), other) if two else (wave,) for wave in conversions]
        hear(*waves[0])
        started, cpu = time.perf_counter(), time.process_time()
        for given in waves[1:]:
            hear(*given)
        wall_s, cpu_s = (t / (len(waves) - 1) for t in (time.perf_counter() - started, time.process_time() - cpu))
        ratio = wall_s / length_s
        print(f"{judge.name:16s} {wall_s:6.3f} s a conversion ({cpu_s:.3f} of a core), {ratio:.3f} x real time")


if __name__ == "__main__":
    main()
