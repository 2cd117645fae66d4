"""From recordings to audio shards, manifests, what was measured, and a table of what was thrown away and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vcpipe.audio import GATES
from vcpipe.audio_settings import AudioSettings
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import (
    Candidate,
    Measured,
    Reject,
    Split,
    Utterance,
    read_table,
    shard_names,
    write_table,
)
from vcpipe.recordings.process import Refusal
from vcpipe.recordings.workers import processed
from vcpipe.settings import Slice, check
from vcpipe.store import write_shard

log = logging.getLogger(__name__)


def prepare_shard(
    made_by: Slice,
    listed: Path,
    root: Path,
    shard: Path,
    manifest: Path,
    rejects: Path,
    quality: Path,
    threads: int = 1,
) -> None:
    """Makes one audio shard (`(N, 1)` float32 rows, grid of hop 1) of the recordings of one list.

    A recording that cannot be used goes into `rejects` with its reason and does not stop the rest, whatever it does
    to its decoder; a long one may become several utterances.

    Args:
        made_by: slice of the copy of the corpus.
        listed: table of `Candidate`, whose paths are below `root`.
        root: of the corpus.
        shard, manifest, rejects, quality: what is written.
        threads: processes that share the recordings.
    """
    values = {k: v for k, v in made_by["audio"].items() if k != "revision"}
    settings: AudioSettings = check(AudioSettings, values, "audio")
    good: list[Utterance] = []
    bad: list[Reject] = []
    measured: list[Measured] = []

    def rows() -> Iterator[tuple[str, NDArray[Any]]]:
        candidates = read_table(listed, Candidate)
        for c, parts in zip(candidates, processed(candidates, root, settings, threads), strict=True):
            for found in parts:
                if isinstance(found, Refusal):
                    bad.append(Reject(found.utt_id, c.path, found.reason, found.detail))
                    continue
                good.append(
                    Utterance(
                        utt_id=found.utt_id,
                        speaker=c.speaker,
                        path=c.path,
                        n_samples=len(found.wave),
                        sample_rate=settings.rate,
                        text=c.text if len(parts) == 1 else "",
                        language=c.language,
                        group=c.group,
                        recording=c.utt_id,
                        start_s=found.start_s,
                        stop_s=found.stop_s,
                    )
                )
                measured.append(Measured(found.utt_id, **{k: round(v, 5) for k, v in asdict(found.quality).items()}))
                yield found.utt_id, found.wave[:, None]

    write_shard(shard, rows(), made_by=made_by, grid=Grid(settings.rate, 1), dim=1, dtype="float32")
    write_table(manifest, good, Utterance)
    write_table(rejects, bad, Reject)
    write_table(quality, measured, Measured)
    seconds = sum(u.n_samples for u in good) / settings.rate
    log.info("%s: %d utterances, %.1f s; %d rejected", shard, len(good), seconds, len(bad))


def gather(corpus: Path, audio: Path, n_shards: int, max_reject_share: float) -> None:
    """Joins the tables of the shards into `audio`/manifest.csv and `audio`/rejects.csv.

    Args:
        corpus: folder of the corpus, with `splits/` of each shard and `lists/rejects.csv`.
        audio: folder of the copy, with `manifests/` and `rejects/` of each shard.
        n_shards: of the corpus.
        max_reject_share: of the recordings that cannot be used. What a gate, min_s or max_s removed was asked for and
            does not count, nor does a part of a recording that was too short when it was sliced.

    Raises:
        InputError: when nothing is left, or more was rejected than the config allows; the rejects are written all
            the same, beside where the table would stand.
    """
    names = [f"{shard}.csv" for shard in shard_names(n_shards)]
    split_of = {row.utt_id: row.split for name in names for row in read_table(corpus / "splits" / name, Split)}
    good = [
        replace(u, split=split_of[u.recording])
        for name in names
        for u in read_table(audio / "manifests" / name, Utterance)
    ]
    bad = [row for name in names for row in read_table(audio / "rejects" / name, Reject)]
    duplicates = read_table(corpus / "lists" / "rejects.csv", Reject)
    bad += duplicates
    why = ", ".join(f"{count} {reason}" for reason, count in Counter(r.reason for r in bad).most_common()) or "none"
    unusable = sum(row.utt_id in split_of and row.reason not in GATES for row in bad)
    found = len(split_of) + len(duplicates)
    share = unusable / max(found, 1)
    failed = audio / "rejects-of-failed-run.csv"
    if not good or share > max_reject_share:
        write_table(failed, bad, Reject)
        if not good:
            limit, remedy = "none is left", "mend the corpus or loosen what removed them (gates, min_s, max_s)"
        else:
            limit, remedy = f"max_reject_share allows {max_reject_share:.1%}", "mend it or raise max_reject_share"
        raise InputError(
            f"{audio}: {unusable} of {found} recordings ({share:.1%}) cannot be used ({why}), {limit}; "
            f"see {failed}, {remedy}"
        )
    failed.unlink(missing_ok=True)
    write_table(audio / "rejects.csv", bad, Reject)
    write_table(audio / "manifest.csv", sorted(good, key=lambda u: u.utt_id), Utterance)
    log.info("%s: %d utterances; rejected: %s", audio / "manifest.csv", len(good), why)
