"""From an audio shard to a feature shard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcpipe import catalog
from vcpipe.config import feature_settings
from vcpipe.errors import InputError
from vcpipe.guarded import Failure, Guarded, Raised
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

BATCH_S = 240.0
LIMIT_S = 3600.0  # for one utterance of a feature that is shared among processes

Rows = Iterator[tuple[str, NDArray[Any] | Iterator[NDArray[Any]]]]


def load_extractor(content: Slice, device: torch.device | None) -> Any:
    """The extractor behind the `feature` part of a slice; refused when its code has another revision now.

    Args:
        content: the feature's settings and revision.
        device: of those that need torch; others take none.
    """
    settings = feature_settings(content)
    return catalog.feature(settings.kind, "feature kind").load(settings, device)


def extract_shard(made_by: Slice, audio: Path, out: Path, device: torch.device | None, threads: int = 1) -> None:
    """Makes the frames, or the one vector, of every utterance of an audio shard, in the shard's order.

    Args:
        made_by: slice of the feature; its `reads` part is what the audio shard must have been made under.
        audio: the audio shard.
        out: the feature shard.
        device: of a feature that needs torch.
        threads: processes that share the utterances of a feature that does not.
    """
    settings = feature_settings(made_by["feature"])
    started = time.monotonic()
    with Shard(audio, made_by["reads"]) as shard:
        if settings.torch:
            rows = _batched(shard, load_extractor(made_by["feature"], device))
        else:
            rows = _shared(shard, made_by, threads)
        write_shard(
            out,
            rows,
            made_by=made_by,
            grid=settings.grid,
            dim=settings.dim,
            dtype=settings.dtype,
            row=settings.ROWS,
        )
        audio_s = len(shard.values) / shard.grid.rate
    elapsed = time.monotonic() - started
    log.info("%s: %.1f s of audio in %.1f s, %.1f times real time", out, audio_s, elapsed, audio_s / max(elapsed, 1e-9))


def _batched(shard: Shard, extractor: Any) -> Rows:
    for ids in _groups(shard):
        if len(ids) == 1:
            blocks = extractor.stream(Recording(shard, ids[0]))
            yield ids[0], (np.asarray(block) for block in blocks)
        else:
            found = extractor.batch([Recording(shard, utt_id) for utt_id in ids])
            yield from ((utt_id, np.asarray(frames)) for utt_id, frames in zip(ids, found, strict=True))


def _shared(shard: Shard, made_by: Slice, threads: int) -> Rows:
    """Utterances one by one, shared among as many processes as there are threads."""
    extractor = load_extractor(made_by["feature"], None)
    if threads < 2:
        for utt_id in shard.utt_ids:
            yield utt_id, _naming(shard, utt_id, extractor.stream(Recording(shard, utt_id)))
        return
    opened: list[Shard] = []

    def frames(utt_id: str) -> NDArray[Any]:
        if not opened:  # an open file is not shared with other processes
            opened.append(Shard(shard.path, made_by["reads"]))
        return np.asarray(extractor(Recording(opened[0], utt_id)))

    with Guarded(frames, threads, LIMIT_S) as pool:
        for utt_id, found in zip(shard.utt_ids, pool.map(shard.utt_ids), strict=True):
            if isinstance(found, Failure):
                raise _failed(f"{shard.path}: {utt_id}", extractor.settings.kind, found)
            yield utt_id, found


def _naming(shard: Shard, utt_id: str, blocks: Iterator[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """The blocks of an utterance, which is named where they are refused."""
    try:
        yield from blocks
    except InputError as error:
        raise InputError(f"{shard.path}: {utt_id}: {error}") from None


def _failed(place: str, kind: str, failure: Failure) -> Exception:
    """What a worker met with: one line for what it refused and for how it died, a traceback for a fault of ours."""
    if isinstance(failure, Raised):
        return failure.error(place, f"feature {kind}")
    return InputError(
        f"{place}: feature {kind}: expected frames, found a process {failure.words}; run it again with fewer --cores, "
        "or take the recording out of the corpus"
    )


class Recording:
    """An utterance of an audio shard as a one-dimensional array that is read where it is sliced."""

    dtype = "float32"

    def __init__(self, shard: Shard, utt_id: str):
        self.shard, self.utt_id, self.shape = shard, utt_id, (shard.length(utt_id),)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(self.shape[0])
        samples: NDArray[Any] = self.shard.read(self.utt_id, start, stop - start)[:, 0]
        return samples


def _groups(shard: Shard) -> Iterator[list[str]]:
    """Runs of utterances of at most `BATCH_S` together, to be batched; a longer one stands alone, to be streamed."""
    group: list[str] = []
    budget = BATCH_S * shard.grid.rate
    for utt_id in shard.utt_ids:
        if group and shard.length(utt_id) > budget:
            yield group
            group, budget = [], BATCH_S * shard.grid.rate
        group.append(utt_id)
        budget -= shard.length(utt_id)
    if group:
        yield group
