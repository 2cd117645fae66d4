"""From feature shards to the shard of a feature that is made of them: statistics, means, contours, units."""

from __future__ import annotations

import json
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
from vcpipe.settings import DerivedSettings, Slice, canonical
from vcpipe.store import Shard, difference, write_shard

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
    if model is not None:
        _check_model(model, made_by["model"])
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


def _check_model(model: Path, expect: Slice) -> None:
    """Refuses a fitted model that was made under another slice."""
    from vcpipe.weights import read_safetensors

    found = read_safetensors(model)[1].get("slice", "")
    if found != canonical(expect):
        words = difference(json.loads(found), expect) if found else "it does not say what it depends on"
        raise InputError(f"{model}: made under other settings: {words}; make it again: `snakemake --force {model}`")


def fit_feature(made_by: Slice, reads: Sequence[Path], manifest: Path, out: Path) -> None:
    """Fits what a derived feature needs before it can be made, on the training utterances of one corpus.

    Args:
        made_by: the fit slice of the feature.
        reads: the shards of its parents, all of the first, then as many of the next, in one order.
        manifest: of the corpus.
        out: file of the model.
    """
    settings = derived_settings({**made_by, "stage": "derive"})
    module = catalog.feature(settings.kind, "feature kind")
    if not hasattr(module, "fit"):
        raise InputError(f"feature {settings.kind}: nothing of it is fitted; run `vcpipe derive`")
    utt_ids = {u.utt_id for u in read_table(manifest, Utterance) if u.split == "train"}
    if not utt_ids:
        raise InputError(f"{manifest}: no utterance has split train, on which feature {settings.kind} is fitted")
    n_parents = len(made_by["reads"])
    if len(reads) % n_parents:
        raise InputError(
            f"feature {settings.kind}: expected the same number of shards of each of its {n_parents} parents, found "
            f"{len(reads)} in all; make it with `snakemake --cores all {out}`"
        )
    each = len(reads) // n_parents
    with ExitStack() as stack:
        parents = [
            [stack.enter_context(Shard(path, expect)) for path in reads[i * each : (i + 1) * each]]
            for i, expect in enumerate(made_by["reads"])
        ]
        module.fit(settings, made_by, parents, utt_ids, out)
