"""From feature shards to the shard of a feature that is made of them: statistics, means, contours, units."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from vcpipe import catalog
from vcpipe.config import derived_settings
from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, read_table
from vcpipe.settings import DerivedSettings, Slice
from vcpipe.store import Shard, write_shard

log = logging.getLogger(__name__)

Rows = Iterator[tuple[str, NDArray[Any]]]
Derive = Callable[[DerivedSettings, list[Shard], list[Utterance], Path | None], Rows]


def derive_shard(made_by: Slice, reads: Sequence[Path], manifest: Path, out: Path, model: Path | None = None) -> None:
    """Makes a shard of a derived feature.

    Args:
        made_by: slice of the feature; each of its `reads` is what a shard in `reads` must have been made under.
        reads: the shards of its parents, in the order of `of`.
        manifest: the utterances of the shard.
        out: the shard.
        model: file that `fit` made, for a kind that needs one.
    """
    settings = derived_settings(made_by)
    derive: Derive = catalog.feature(settings.kind, "feature kind").derive
    with ExitStack() as stack:
        parents = [
            stack.enter_context(Shard(path, expect)) for path, expect in zip(reads, made_by["reads"], strict=True)
        ]
        count = write_shard(
            out,
            derive(settings, parents, read_table(manifest, Utterance), model),
            made_by=made_by,
            grid=settings.grid,
            dim=settings.dim,
            dtype=settings.dtype,
            row=settings.ROWS,
        )
    log.info("%s: %d %s", out, count, "speakers" if settings.ROWS == "speaker" else "utterances")


def fit_feature(made_by: Slice, reads: Sequence[Path], out: Path) -> None:
    """Fits what a derived feature needs before it can be made, on all shards of one corpus.

    Args:
        made_by: the fit slice of the feature.
        reads: the shards of its parent.
        out: file of the model.
    """
    settings = derived_settings({**made_by, "stage": "derive"})
    module = catalog.feature(settings.kind, "feature kind")
    if not hasattr(module, "fit"):
        raise InputError(f"feature {settings.kind}: nothing of it is fitted; run `vcpipe derive`")
    with ExitStack() as stack:
        shards = [stack.enter_context(Shard(path, made_by["reads"][0])) for path in reads]
        module.fit(settings, made_by, shards, out)
