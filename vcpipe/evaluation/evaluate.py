"""From rendered pairs to a table of what the judges found."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vcpipe import audio
from vcpipe.evaluation.asr import load_asr
from vcpipe.evaluation.judge import Trial, judge
from vcpipe.evaluation.speaker import Embedding, Verifier, centroid, load_verifier
from vcpipe.manifest import Utterance, atomic_path, read_lines, read_table, shard_names, write_lines
from vcpipe.settings import Slice
from vcpipe.store import Shards

log = logging.getLogger(__name__)

RATE = 16000


def evaluate_pairs(made_by: Slice, pairs: Path, manifest: Path, shards: Path, metrics: Path, rows: Path) -> None:
    """Judges every line of `pairs`; writes one JSON line a pair to `rows` and the summary to `metrics`.

    Args:
        made_by: slice with the names of the judges and the slice of the audio shards.
        pairs: JSON lines that a system's render stage wrote; recordings stand relative to its folder.
        shards: folder of the corpus's audio shards, from which speakers are enrolled.
    """
    lines = read_lines(pairs)
    settings = made_by["judge"]
    verifier = load_verifier(settings["verifier"], torch.device("cpu"))
    with Shards(shards, shard_names(made_by["wav"]["shards"]), made_by["wav"]) as waves:
        enrolled = Enrolment(read_table(manifest, Utterance), waves, verifier, settings["enrolment"])
        trials = [_trial(line, pairs.parent, enrolled) for line in lines]
        found, summary = judge(trials, load_asr(settings["asr"]), verifier)
    figures: dict[str, Any] = {
        **asdict(summary),
        "rtf": sum(line["rtf"] * line["seconds"] for line in lines) / max(sum(line["seconds"] for line in lines), 1e-9),
        "reference_s": sum(line["reference_s"] for line in lines) / len(lines),
        "judge": settings,
    }
    write_lines(rows, map(asdict, found))
    with atomic_path(metrics) as tmp:
        tmp.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    log.info(
        "%s: %d pairs, WER %s, nearer to the target %.1f %%",
        metrics,
        summary.n,
        summary.wer,
        100 * summary.nearer_to_target,
    )


class Enrolment:
    """Centroids of speakers, from a few of their recordings, each embedded once."""

    def __init__(self, utterances: list[Utterance], waves: Shards, verifier: Verifier, count: int):
        self.utterances, self.waves, self.verifier, self.count = utterances, waves, verifier, count
        self.embeddings: dict[str, Embedding] = {}

    def __call__(self, speaker: str, without: str) -> Embedding:
        """The centroid of a speaker's first recordings, training ones first, `without` one utterance.

        A speaker with no other recording is enrolled from that one.
        """
        everything = [u for u in self.utterances if u.speaker == speaker]
        theirs = [u for u in everything if u.utt_id != without] or everything
        theirs.sort(key=lambda u: (u.split != "train", u.utt_id))
        return centroid([self._embed(u.utt_id) for u in theirs[: self.count]])

    def _embed(self, utt_id: str) -> Embedding:
        if utt_id not in self.embeddings:
            self.embeddings[utt_id] = self.verifier(self.waves.read(utt_id)[:, 0])
        return self.embeddings[utt_id]


def _trial(line: dict[str, Any], folder: Path, enrolled: Enrolment) -> Trial:
    return Trial(
        name=line["name"],
        text=line["text"],
        source=audio.load(folder / line["source"], RATE),
        converted=audio.load(folder / line["converted"], RATE),
        source_speaker=enrolled(line["source_speaker"], line["source_utt"]),
        target_speaker=enrolled(line["target_speaker"], ""),
    )
