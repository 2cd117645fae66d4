"""Pre-matching: what the vocoder will hear at conversion, made from the speaker's own other utterances.

Every frame of an utterance becomes the mean of its nearest frames among the speaker's other utterances, so that the
vocoder learns from matched frames with a known recording as the target. Source: arXiv 2305.18975, section 3.3.
Streams that the vocoder hears beside them are the utterance's own, as they are the source's at conversion.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.manifest import Split, Utterance, by_speaker, read_table
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard
from vcpipe.systems.knnvc.frames import assemble, less_voice, voice_of
from vcpipe.systems.knnvc.match import match

Rows = Iterator[tuple[str, NDArray[Any]]]

log = logging.getLogger(__name__)


def prematch_shard(
    made_by: Slice,
    features: Path,
    synthesis: Path,
    manifest: Path,
    splits: Path,
    out: Path,
    device: torch.device,
    streams: Mapping[str, Path] | None = None,
) -> None:
    """Pre-matches every utterance of a shard, speaker by speaker.

    Args:
        made_by: slice with the settings and, under `match`, `synthesis` and `streams`, those of the feature shards.
        features: shard whose frames are compared.
        synthesis: shard whose frames are averaged (the same file when the features are the same).
        manifest: utterances of the shard.
        splits: split of each: the pool is the speaker's training utterances, or, for a speaker without any,
            those of the utterance's own split.
        streams: shards of `content` and `pitch`, where the vocoder hears these.
    """
    of_recording = {row.utt_id: row.split for row in read_table(splits, Split)}
    utterances = read_table(manifest, Utterance)
    split_of = {u.utt_id: of_recording[u.recording] for u in utterances}
    started = time.monotonic()
    with ExitStack() as stack:
        a = stack.enter_context(Shard(features, made_by["match"]))
        b = stack.enter_context(Shard(synthesis, made_by["synthesis"]))
        beside = _open(stack, made_by, streams or {}, b)
        if a.grid != b.grid:
            raise InputError(
                f"{synthesis}: grid {b.grid}, expected {a.grid} as in {features}; match and synthesis differ"
            )
        settings = made_by["settings"]
        pools = _pools(utterances, settings["pool"])
        rows = (row for members in pools for row in _matched(members, split_of, a, b, settings, device))
        count = _write(out, _assembled(rows, beside), made_by, b, beside)
    log.info("%s: %d of %d utterances in %.1f s", out, count, len(utterances), time.monotonic() - started)


def unmatched_shard(made_by: Slice, synthesis: Path, out: Path, streams: Mapping[str, Path]) -> None:
    """Every utterance of a shard with the columns of its pre-matched ones, its own frames in place of matched ones.

    Args:
        made_by: slice with, under `synthesis` and `streams`, those of the feature shards.
        synthesis: shard of the frames that are vocoded.
        streams: shards of `content` and `pitch`, as many of them as the slice has.
    """
    with ExitStack() as stack:
        shard = stack.enter_context(Shard(synthesis, made_by["synthesis"]))
        beside = _open(stack, made_by, streams, shard)
        count = _write(out, _assembled(iter(shard), beside), made_by, shard, beside)
    log.info("%s: %d utterances", out, count)


def _open(stack: ExitStack, made_by: Slice, streams: Mapping[str, Path], like: Shard) -> dict[str, Shard]:
    """The shards of the streams, on the grid of the frames that are vocoded."""
    shards = {}
    for name, path in streams.items():
        shards[name] = stack.enter_context(Shard(path, made_by["streams"][name]))
        if shards[name].grid != like.grid:
            raise InputError(
                f"{path}: grid {shards[name].grid}, expected {like.grid} as in {like.path}; {name} and synthesis differ"
            )
    return shards


def _assembled(rows: Rows, streams: Mapping[str, Shard]) -> Rows:
    """Frames `(T, E)` with the utterance's own streams beside them, see `assemble`."""
    for utt_id, frames in rows:
        if streams:
            beside = {}
            for name, shard in streams.items():
                _check_length(shard, utt_id, len(frames), "the frames that are vocoded")
                beside[name] = torch.from_numpy(shard.read(utt_id))
            frames = assemble(torch.from_numpy(frames), beside.get("content"), beside.get("pitch")).numpy()
        yield utt_id, frames


def _write(out: Path, rows: Rows, made_by: Slice, synthesis: Shard, streams: Mapping[str, Shard]) -> int:
    dim = synthesis.dim + sum(shard.dim for shard in streams.values())
    return write_shard(out, rows, made_by=made_by, grid=synthesis.grid, dim=dim, dtype="float16")


def _check_length(shard: Shard, utt_id: str, length: int, like: str) -> None:
    if shard.length(utt_id) != length:
        raise InputError(
            f"{shard.path}: {utt_id} has {shard.length(utt_id)} frames, expected {length} as in {like}; make both "
            "again with snakemake"
        )


def _pools(utterances: list[Utterance], kind: str) -> Iterator[list[Utterance]]:
    """The utterances that may be matched against one another: of a speaker, or of a speaker's recording session."""
    for _, rows in by_speaker(utterances):
        groups: dict[str, list[Utterance]] = {}
        for u in rows:
            groups.setdefault(u.group if kind == "group" else "", []).append(u)
        yield from groups.values()


def _matched(
    members: list[Utterance],
    split_of: dict[str, str],
    match_shard: Shard,
    synthesis_shard: Shard,
    settings: dict[str, Any],
    device: torch.device,
) -> Rows:
    normalise = settings.get("normalise", False)
    pools: dict[str, Pool] = {}
    has_train = any(split_of[u.utt_id] == "train" for u in members)
    for u in members:
        split = "train" if has_train else split_of[u.utt_id]
        if split not in pools:
            chosen = [v.utt_id for v in members if split_of[v.utt_id] == split]
            pools[split] = Pool(chosen, match_shard, synthesis_shard, device, normalise)
        pool = pools[split]
        own = pool.rows.get(u.utt_id)
        free = len(pool.match) - (own.stop - own.start if own else 0)
        if free < max(settings["topk"], settings["min_pool_s"] * float(match_shard.grid.fps)):
            if settings["small_pool"] == "error":
                raise InputError(
                    f"{u.utt_id}: its pool has {free / float(match_shard.grid.fps):.1f} s, prematch.min_pool_s is "
                    f"{settings['min_pool_s']:g}; give the speaker more speech, or set prematch.small_pool to drop, "
                    "halves or plain"
                )
            if settings["small_pool"] == "plain":
                yield u.utt_id, synthesis_shard.read(u.utt_id)
            elif settings["small_pool"] == "halves" and match_shard.length(u.utt_id) >= 2 * settings["topk"]:
                own_pool = Pool([u.utt_id], match_shard, synthesis_shard, device, normalise)
                yield u.utt_id, _halves(own_pool, settings["topk"])
            continue
        query = pool.comparable(torch.from_numpy(match_shard.read(u.utt_id)).to(device))
        yield u.utt_id, match(query, pool.match, pool.synthesis, settings["topk"], own).cpu().numpy()


def _halves(own: Pool, topk: int) -> NDArray[Any]:
    """Each half of an utterance matched against the other half: for corpora with one recording of each speaker."""
    middle = len(own.match) // 2
    first, second = slice(0, middle), slice(middle, len(own.match))
    parts = [match(own.match[half], own.match, own.synthesis, topk, own=half) for half in (first, second)]
    return torch.cat(parts).cpu().numpy()


class Pool:
    """The frames of some utterances on end, on the device; `rows` says which are whose."""

    def __init__(
        self, utt_ids: list[str], match_shard: Shard, synthesis_shard: Shard, device: torch.device, normalise: bool
    ):
        self.rows: dict[str, slice] = {}
        start = 0
        for utt_id in utt_ids:
            length = match_shard.length(utt_id)
            _check_length(synthesis_shard, utt_id, length, str(match_shard.path))
            self.rows[utt_id] = slice(start, start + length)
            start += length
        found = _stack(utt_ids, match_shard, device)
        same = match_shard.path == synthesis_shard.path
        self.synthesis = found if same else _stack(utt_ids, synthesis_shard, device)
        self._voice = voice_of(found) if normalise and len(found) else None
        self.match = self.comparable(found)

    def comparable(self, frames: Tensor) -> Tensor:
        """Frames `(T, D)` of this voice as they are compared."""
        return frames if self._voice is None else less_voice(frames, self._voice)


def _stack(utt_ids: list[str], shard: Shard, device: torch.device) -> Tensor:
    parts = [shard.read(utt_id) for utt_id in utt_ids] or [np.zeros((0, shard.dim), np.float16)]
    return torch.from_numpy(np.concatenate(parts)).to(device)
