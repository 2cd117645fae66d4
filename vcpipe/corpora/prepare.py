"""From recordings to audio shards, manifests, and a table of what was thrown away and why."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vcpipe import audio
from vcpipe.config import AudioSettings, Slice, check
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Candidate, Reject, Split, Utterance, read_table, shard_names, write_table
from vcpipe.store import write_shard

log = logging.getLogger(__name__)


def prepare_shard(made_by: Slice, listed: Path, root: Path, shard: Path, manifest: Path, rejects: Path) -> None:
    """Decodes the recordings of one list into one audio shard (`(N, 1)` float32 rows, grid of hop 1).

    A recording that cannot be used goes into `rejects` with its reason and does not stop the rest.
    """
    values = {k: v for k, v in made_by["audio"].items() if k != "revision"}
    settings: AudioSettings = check(AudioSettings, values, "audio")
    good: list[Utterance] = []
    bad: list[Reject] = []

    def rows() -> Iterator[tuple[str, NDArray[Any]]]:
        for c in read_table(listed, Candidate):
            try:
                wave = audio.prepare(root / c.path, settings)
            except audio.BadAudio as verdict:
                bad.append(Reject(c.utt_id, c.path, verdict.reason, verdict.detail))
                continue
            good.append(Utterance(c.utt_id, c.speaker, c.path, len(wave), settings.rate, c.text, c.language, c.group))
            yield c.utt_id, wave[:, None]

    write_shard(shard, rows(), made_by=made_by, grid=Grid(settings.rate, 1), dim=1, dtype="float32")
    write_table(manifest, good, Utterance)
    write_table(rejects, bad, Reject)
    seconds = sum(u.n_samples for u in good) / settings.rate
    log.info("%s: %d recordings, %.1f s; %d rejected", shard, len(good), seconds, len(bad))


def gather(folder: Path, n_shards: int, max_reject_share: float) -> None:
    """Joins the tables of the shards into `folder`/manifest.csv and `folder`/rejects.csv.

    Args:
        folder: of the corpus, with `manifests/`, `splits/` and `rejects/` of each shard and `lists/rejects.csv`.

    Raises:
        InputError: when nothing is left, or more was rejected than the config allows; the rejects are written all
            the same, beside where the table would stand.
    """
    names = [f"{shard}.csv" for shard in shard_names(n_shards)]
    split_of = {row.utt_id: row.split for name in names for row in read_table(folder / "splits" / name, Split)}
    good = [
        replace(u, split=split_of[u.utt_id])
        for name in names
        for u in read_table(folder / "manifests" / name, Utterance)
    ]
    bad = [row for name in names for row in read_table(folder / "rejects" / name, Reject)]
    bad += read_table(folder / "lists" / "rejects.csv", Reject)
    why = ", ".join(f"{count} {reason}" for reason, count in Counter(r.reason for r in bad).most_common()) or "none"
    share = len(bad) / max(len(good) + len(bad), 1)
    failed = folder / "rejects-of-failed-run.csv"
    if not good or share > max_reject_share:
        write_table(failed, bad, Reject)
        limit = "none is left" if not good else f"max_reject_share allows {max_reject_share:.1%}"
        raise InputError(
            f"{len(bad)} of {len(good) + len(bad)} recordings ({share:.1%}) cannot be used ({why}), {limit}; "
            f"see {failed}, mend the corpus or raise max_reject_share"
        )
    failed.unlink(missing_ok=True)
    write_table(folder / "rejects.csv", bad, Reject)
    write_table(folder / "manifest.csv", sorted(good, key=lambda u: u.utt_id), Utterance)
    log.info("%s: %d utterances; rejected: %s", folder / "manifest.csv", len(good), why)
