"""What a corpus is made of, in numbers: per utterance, per speaker, and in all."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.manifest import Measured, Reject, Utterance, atomic_path, read_table, shard_names
from vcpipe.settings import Slice
from vcpipe.store import Shards

Row = dict[str, Any]

MEASURES = {
    "seconds": "length in seconds",
    "level_dbfs": "RMS level of the whole recording in dBFS",
    "snr_db": "estimated ratio of speech to noise in dB",
    "clipped_share": "share of samples on flattened peaks",
    "speech_share": "share of the time with speech",
    "f0_median_hz": "median F0 of the voiced frames in Hz",
}
"""What is summed up over a corpus, and what it means."""

F0_COLUMNS = ("f0_p5_hz", "f0_median_hz", "f0_p95_hz")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def write_stats(audio: Path, n_shards: int, f0: Path | None, f0_slice: Slice | None, results: Path, out: Path) -> None:
    """Writes `out`/utterances.csv, speakers.csv, corpus.csv and corpus.json, each whole or not at all.

    Args:
        audio: folder of a copy of a corpus: manifest.csv, rejects.csv, `quality/` of each shard.
        n_shards: of the corpus.
        f0: folder of the shards of a feature of kind f0; None leaves its columns out.
        f0_slice: what those shards were made under.
        results: where `features/<name>/<corpus>` lie, whose sizes are given.
        out: folder, made if need be.
    """
    names = shard_names(n_shards)
    measured = {m.utt_id: m for name in names for m in read_table(audio / "quality" / f"{name}.csv", Measured)}
    manifest = read_table(audio / "manifest.csv", Utterance)
    if missing := next((u.utt_id for u in manifest if u.utt_id not in measured), None):
        raise InputError(
            f"{audio / 'quality'}: utterance {missing} of the manifest was never measured; make the tables again: "
            f"`snakemake --cores all --forcerun prepare_audio {audio / 'manifest.csv'}`"
        )
    if f0 is None:
        rows = [_utterance(u, measured[u.utt_id], None) for u in manifest]
        pooled: dict[str, list[float]] | None = None
    else:
        with Shards(f0, names, f0_slice) as shards:
            rows, pooled = _with_f0(manifest, measured, shards)
    speakers = by_speaker(rows, pooled)
    rejects = read_table(audio / "rejects.csv", Reject)
    _write_csv(out / "utterances.csv", rows)
    _write_csv(out / "speakers.csv", speakers)
    total = {
        "corpus": audio.name,
        "copy": audio.parent.name,
        **in_all(rows),
        "rejects": dict(Counter(r.reason for r in rejects).most_common()),
        "features": sizes(results / "features", audio.name),
    }
    _write_csv(out / "corpus.csv", [{"figure": name, "value": value} for name, value in _flat(total)])
    with atomic_path(out / "corpus.json") as tmp:
        tmp.write_text(json.dumps(total, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def by_speaker(rows: Iterable[Row], pooled: Mapping[str, Sequence[float]] | None = None) -> list[Row]:
    """One row a speaker: sums of what adds up, medians of the rest.

    Args:
        rows: of utterances.
        pooled: for each speaker the quantiles of F0 over all voiced frames, in the order of `F0_COLUMNS`; a speaker
            without is never voiced. None leaves these columns out.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["speaker"], []).append(row)
    out = []
    for speaker, members in sorted(groups.items()):
        seconds = [m["seconds"] for m in members]
        row = {
            "speaker": speaker,
            "utterances": len(members),
            "minutes": round(sum(seconds) / 60, 3),
            "seconds_median": round(float(np.median(seconds)), 3),
            "clipped_share": _mean(members, "clipped_share", seconds),
            "speech_share": _mean(members, "speech_share", seconds),
            "level_dbfs": _median(members, "level_dbfs"),
            "snr_db": _median(members, "snr_db"),
        }
        if pooled is not None:
            row |= _f0_columns(pooled.get(speaker, ()))
        out.append(row)
    return out


def in_all(rows: Sequence[Row]) -> dict[str, Any]:
    """Totals, by split too, and the quantiles of every measure."""
    split_seconds: Counter[str] = Counter()
    for row in rows:
        split_seconds[row["split"]] += row["seconds"]
    return {
        "utterances": len(rows),
        "speakers": len({row["speaker"] for row in rows}),
        "hours": round(sum(split_seconds.values()) / 3600, 4),
        "splits": {
            split: {"utterances": sum(r["split"] == split for r in rows), "hours": round(seconds / 3600, 4)}
            for split, seconds in sorted(split_seconds.items())
        },
        "quantiles": {
            name: dict(zip(map(str, QUANTILES), _quantiles(values), strict=True))
            for name in MEASURES
            if (values := [row[name] for row in rows if row.get(name, "") != ""])
        },
    }


def sizes(features: Path, corpus: str) -> dict[str, int]:
    """Bytes on disk of every feature of a corpus, by name."""
    folders = sorted(features.glob(f"*/{corpus}")) if features.is_dir() else []
    return {folder.parent.name: sum(file.stat().st_size for file in folder.glob("*.h5")) for folder in folders}


def _flat(total: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """A nested mapping as rows: `rejects.too_short`, 3."""
    for name, value in total.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _utterance(u: Utterance, m: Measured, f0_hz: Sequence[float] | None) -> Row:
    row: Row = {"utt_id": u.utt_id, "speaker": u.speaker, "split": u.split, "seconds": u.n_samples / u.sample_rate}
    row |= {name: getattr(m, name) for name in ("level_dbfs", "peak_dbfs", "snr_db", "clipped_share", "speech_share")}
    if f0_hz is not None:
        row |= _f0_columns(f0_hz)
    return row


def _f0_columns(f0_hz: Sequence[float]) -> Row:
    """The columns of F0; empty where nothing is voiced."""
    return dict(zip(F0_COLUMNS, f0_hz, strict=True)) if f0_hz else dict.fromkeys(F0_COLUMNS, "")


def _with_f0(
    manifest: Sequence[Utterance], measured: Mapping[str, Measured], shards: Shards
) -> tuple[list[Row], dict[str, list[float]]]:
    """The rows of all utterances, and the quantiles of every speaker's voiced frames, one speaker in memory."""
    rows: dict[str, Row] = {}
    pooled: dict[str, list[float]] = {}
    groups: dict[str, list[Utterance]] = {}
    for u in manifest:
        groups.setdefault(u.speaker, []).append(u)
    for speaker, members in groups.items():
        voiced: list[NDArray[np.float32]] = []
        for u in members:
            f0_hz, flag = shards.read(u.utt_id).T
            voiced.append(f0_hz[flag > 0.5])
            rows[u.utt_id] = _utterance(u, measured[u.utt_id], _f0_quantiles(voiced[-1]))
        pooled[speaker] = _f0_quantiles(np.concatenate(voiced))
    return [rows[u.utt_id] for u in manifest], {speaker: found for speaker, found in pooled.items() if found}


def _f0_quantiles(f0_hz: NDArray[np.float32]) -> list[float]:
    return [round(float(q), 1) for q in np.quantile(f0_hz, (0.05, 0.5, 0.95))] if len(f0_hz) else []


def _quantiles(values: Sequence[float]) -> list[float]:
    return [round(float(q), 4) for q in np.quantile(values, QUANTILES)]


def _median(rows: Iterable[Row], name: str) -> float:
    return round(float(np.median([row[name] for row in rows])), 2)


def _mean(rows: Iterable[Row], name: str, weights: Sequence[float]) -> float:
    return round(float(np.average([row[name] for row in rows], weights=weights)), 5)


def _write_csv(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path) as tmp:
        tmp.write_text(text.getvalue(), encoding="utf-8", newline="")
