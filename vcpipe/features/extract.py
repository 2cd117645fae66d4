"""From an audio shard to a feature shard."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from vcpipe import catalog
from vcpipe.config import Slice, feature_settings
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.store import Shard, write_shard

log = logging.getLogger(__name__)

BATCH_S = 240.0


def load_extractor(content: Slice, device: torch.device) -> Extractor:
    """The extractor behind the `feature` part of a slice; refused when its code has another revision now."""
    settings = feature_settings(content)
    extractor: Extractor = catalog.feature(settings.kind, "feature kind").load(settings, device)
    return extractor


def extract_shard(made_by: Slice, audio: Path, out: Path, device: torch.device) -> None:
    """Makes the frames of every utterance of an audio shard, in the shard's order.

    Args:
        made_by: slice of the feature; its `reads` part is what the audio shard must have been made under.
    """
    settings = feature_settings(made_by["feature"])
    extractor = load_extractor(made_by["feature"], device)
    started = time.monotonic()
    with Shard(audio, made_by["reads"]) as shard:
        if shard.grid.rate != settings.grid.rate:
            raise InputError(
                f"{audio}: {shard.grid.rate} samples/s, feature {settings.kind} expects {settings.grid.rate}; set "
                "audio.rate, or the feature's rate, so that they agree"
            )
        write_shard(
            out, _rows(shard, extractor), made_by=made_by, grid=settings.grid, dim=settings.dim, dtype=settings.dtype
        )
        audio_s = len(shard.values) / shard.grid.rate
    elapsed = time.monotonic() - started
    log.info("%s: %.1f s of audio in %.1f s, %.1f times real time", out, audio_s, elapsed, audio_s / max(elapsed, 1e-9))


def _rows(shard: Shard, extractor: Extractor) -> Iterator[tuple[str, NDArray[Any] | Iterator[NDArray[Any]]]]:
    for ids in _groups(shard):
        if len(ids) == 1:
            blocks = extractor.stream(Recording(shard, ids[0]))
            yield ids[0], (block.numpy() for block in blocks)
        else:
            found = extractor.batch([Recording(shard, utt_id) for utt_id in ids])
            yield from ((utt_id, frames.numpy()) for utt_id, frames in zip(ids, found, strict=True))


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
