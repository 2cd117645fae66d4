"""What lies beside made-up results: a run that trained, statistics of the corpus, and the workflow's benchmarks."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from tests.report.made_up import AUDIO_SLICE, COPY, CORPUS, SEXES
from vcpipe.manifest import Reject, write_table
from vcpipe.report import stats_page
from vcpipe.stats import F0_COLUMNS, by_speaker, in_all

CHECKSUM = "cdb732f6aaaf529db2bd19fd68e7990a"
RUN = "hifigan_prematched"


def run(results: Path, name: str = RUN, checksum: str = CHECKSUM, steps: int = 1600) -> Path:
    """A run folder of which `system.json` of a made-up row tells: its config and its losses."""
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    info = {
        "format": "vcpipe-run-1",
        "slice": {"stage": "train", "generator": {"arch": "vocos", "width": 224}, "wav": AUDIO_SLICE},
        "step": steps,
        "checksum": checksum,
        "version": "0.0",
        "commit": "80cee40960afd3768690a712b0694d068ac3c233",
    }
    (folder / "config.json").write_text(json.dumps(info), encoding="utf-8")
    rows = [["step", "name", "value"]]
    for step in range(50, steps + 1, 50):
        far = math.exp(-step / 500)
        wave = 0.02 * math.sin(step)
        values = {"train/loss": 18 + 60 * far + 30 * wave, "train/mel": 0.4 + far + wave, "train/lr": 0.002}
        if step % 200 == 0:
            values |= {
                "valid/loss": 0.47 + 0.6 * far,
                "valid/mel": 0.45 + 0.9 * far + 0.2 * wave,
                "valid/stft": 1.7 + far,
            }
        rows += [[str(step), key, f"{value:.9g}"] for key, value in values.items()]
    with open(folder / "metrics.csv", "w", newline="", encoding="utf-8") as f:
        csv.writer(f, lineterminator="\n").writerows(rows)
    return folder


def stats(results: Path, corpus: str = CORPUS) -> Path:
    """The tables and the page of the corpus's statistics, as `vcpipe stats` leaves them."""
    folder = results / "stats" / COPY / corpus
    folder.mkdir(parents=True)
    rows = [
        {
            "utt_id": f"{speaker}/{n}",
            "speaker": speaker,
            "split": "train" if n else "test",
            "seconds": 4.0 + 0.3 * n,
            "level_dbfs": -21.0 - n,
            "peak_dbfs": -3.0,
            "snr_db": 20.0 + n,
            "clipped_share": 0.0,
            "speech_share": 0.9,
            **dict(zip(F0_COLUMNS, (90.0, 120.0 + 10 * i, 250.0), strict=True)),
        }
        for i, speaker in enumerate(SEXES)
        for n in range(5)
    ]
    pooled = {speaker: [90.0, 120.0, 250.0] for speaker in SEXES}
    for name, table in {"utterances": rows, "speakers": by_speaker(rows, pooled)}.items():
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    total = {"corpus": corpus, "copy": COPY, **in_all(rows), "rejects": {}, "features": {"whisper_l2": 5 << 20}}
    (folder / "corpus.json").write_text(json.dumps(total), encoding="utf-8")
    write_table(folder / "rejects.csv", [], Reject)
    stats_page.write_page(folder, folder / "rejects.csv")
    return folder


def logs(folder: Path) -> Path:
    """Benchmarks of the rules that made the rows, as Snakemake writes them; returns `folder`/logs."""
    for job, seconds, peak in (
        *((f"prepare_audio/{COPY}/{CORPUS}/{shard}", 2.1 + i, "180.5") for i, shard in enumerate(("000", "001"))),
        *((f"extract/whisper_l2/{CORPUS}/{shard}", 12.4 + i, "420.82") for i, shard in enumerate(("000", "001"))),
        *((f"prematch/{CORPUS}/{shard}", 6.5 + i, "512.0") for i, shard in enumerate(("000", "001"))),
        ("train_hifigan", 600.0, "790.1"),
        ("train_hifigan_prematched", 584.17, "781.32"),
        ("render/knnvc", 31.5, "655.0"),
        ("render/linearvc", 28.2, "640.0"),
        ("judge/knnvc", 44.9, "903.4"),
        ("judge/recordings", 3.0, "NA"),
    ):
        file = folder / "logs" / f"{job}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\th:m:s\tmax_rss\tmax_vms\n{seconds}\t0:00:01\t{peak}\t900.1\n", encoding="utf-8")
    return folder / "logs"
