"""Whether a voice was ever heard to say what it will have to: units of one corpus counted against another's.

An acoustic model makes something up for a unit that its voice never spoke. A bank of sung syllables, or a recording of
ten minutes, lacks some; this tells before a training which, and how much of the large corpus they are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, atomic_path, read_table, shard_names
from vcpipe.settings import Slice, canonical
from vcpipe.store import Shard, Shards, difference

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

FORMAT = "vcpipe-coverage-1"
WORST = 10
"""Units that are listed: those that the target lacks most."""

Counts = NDArray[np.int64]


class Side(NamedTuple):
    """Where the manifest of a corpus lies, and the folder of its units."""

    manifest: Path
    units: Path


def check_coverage(made_by: Slice, target: Side, reference: Side, model: Path | None, out: Path) -> dict[str, Any]:
    """Counts the units of two corpora, each by what it gives to train on, and writes the report; see `report`.

    Args:
        made_by: slice with, for `target` and `reference`, that of the `units` and how many `shards` there are.
        target: the corpus of the voice.
        reference: the corpus that it is held against.
        model: that units of kind `soft_units` were made with; those of `hubert_soft` have theirs in the encoder's file.
        out: the JSON file.

    Raises:
        InputError: for units of another kind, or a corpus without utterances to train on.
    """
    return write_coverage(
        made_by, _counted(target, made_by["target"], model), _counted(reference, made_by["reference"], model), out
    )


def _counted(side: Side, expect: Slice, model: Path | None) -> Counts:
    utt_ids = [u.utt_id for u in read_table(side.manifest, Utterance) if u.split == "train"]
    with Shards(side.units, shard_names(expect["shards"]), expect["units"]) as shards:
        feature = expect["units"].get("feature", {})
        if feature.get("kind") == "hubert_soft":
            return of_hubert(feature, shards.parts, utt_ids)
        return of_discrete(shards.parts, utt_ids) if model is None else of_soft(model, shards.parts, utt_ids)


def of_discrete(shards: Iterable[Shard], utt_ids: Collection[str] | None = None) -> Counts:
    """How often each unit is spoken, `(K,)`; K is one more than the largest number.

    Args:
        shards: of a feature of discrete units, `(T, 1)` whole numbers from 0.
        utt_ids: utterances that are counted; None: all.

    Raises:
        InputError: for shards of something else.
    """
    counts = np.zeros(0, np.int64)
    for shard, rows in _rows(shards, utt_ids):
        if shard.dim != 1 or rows.dtype.kind != "i" or rows.min(initial=0) < 0:
            raise InputError(
                f"{shard.path}: expected discrete units (T, 1) of whole numbers from 0, found {rows.dtype} "
                f"{rows.shape}; name a feature of kind kmeans or hubert_discrete, or count soft units with their model"
            )
        counts = _sum(counts, np.bincount(rows[:, 0]))
    return counts


def of_soft(model: str | Path, shards: Iterable[Shard], utt_ids: Collection[str] | None = None) -> Counts:
    """How often each unit is the nearest to a soft one, `(K,)` for the K units of the model.

    Args:
        model: file that the soft units were made with.
        shards: of the feature, `(T, dim)`.
        utt_ids: utterances that are counted; None: all.

    Raises:
        InputError: for soft units of another model.
    """
    from vcpipe.nn import soft_units
    from vcpipe.weights import read_safetensors

    made_by = read_safetensors(model)[1].get("slice", "")
    vectors = soft_units.load(model).labels.detach()
    counts = np.zeros(len(vectors), np.int64)
    for shard, rows in _rows(shards, utt_ids):
        expect = shard.slice.get("model", {})
        if canonical(expect) != made_by or shard.dim != vectors.shape[1]:
            columns = f"{shard.dim} columns, the model has {vectors.shape[1]}"
            words = difference(json.loads(made_by or "{}"), expect) or columns
            raise InputError(f"{shard.path}: soft units of another model than {model}: {words}; name the one of both")
        counts += _nearest(rows, vectors)
    return counts


def of_hubert(feature: Mapping[str, Any], shards: Iterable[Shard], utt_ids: Collection[str] | None = None) -> Counts:
    """How often each unit is the nearest to one of HuBERT-Soft, `(K,)` for the K units that it learned to tell.

    Args:
        feature: its settings; the vectors of the units are in the file that `weights` names.
        shards: of the feature, `(T, dim)`.
        utt_ids: utterances that are counted; None: all.

    Raises:
        InputError: where that file is missing, has no such vectors, or vectors of another width.
    """
    from vcpipe import weights
    from vcpipe.nn import hubert

    path = weights.find(feature["weights"], feature["sha256"])
    vectors = hubert.unit_vectors(path)
    counts = np.zeros(len(vectors), np.int64)
    for shard, rows in _rows(shards, utt_ids):
        if shard.dim != vectors.shape[1]:
            raise InputError(
                f"{shard.path}: expected soft units of {path}, {vectors.shape[1]} columns, found {shard.dim}; make "
                "them again with that file"
            )
        counts += _nearest(rows, vectors)
    return counts


def report(target: Counts, reference: Counts) -> dict[str, Any]:
    """What of a reference's units a target never spoke.

    Args:
        target: `(K,)` frames of each unit in the corpus of the voice.
        reference: the same of the corpus that will be converted, or of speech in general; the shorter ends in zeros.

    Returns:
        `target_frames`, `reference_frames`; `units`, how many the reference has, and `unheard`, which of them the
        target lacks; `unheard_share`, the share of the reference's frames that are of these; `js_divergence` of the
        two distributions in bits, 0 for the same and 1 where none is in both; `worst`, the units whose share in the
        target falls furthest below that in the reference, each with its `unit`, `reference_share` and `target_frames`.

    Raises:
        InputError: where one of them has no frame.
    """
    size = max(len(target), len(reference))
    of_target, of_reference = (np.pad(counts, (0, size - len(counts))) for counts in (target, reference))
    for name, counts in (("target", of_target), ("reference", of_reference)):
        if not counts.sum():
            raise InputError(f"coverage: expected units of the {name}, found no frame; split its corpus")
    p, q = of_target / of_target.sum(), of_reference / of_reference.sum()
    unheard = np.flatnonzero((of_reference > 0) & (of_target == 0))
    worst = [int(unit) for unit in np.argsort(p - q, kind="stable")[:WORST] if q[unit] > p[unit]]
    return {
        "target_frames": int(of_target.sum()),
        "reference_frames": int(of_reference.sum()),
        "units": int((of_reference > 0).sum()),
        "unheard": unheard.tolist(),
        "unheard_share": float(q[unheard].sum()),
        "js_divergence": _js_divergence(p, q),
        "worst": [
            {"unit": unit, "reference_share": float(q[unit]), "target_frames": int(of_target[unit])} for unit in worst
        ],
    }


def words(found: dict[str, Any]) -> str:
    """A report in a sentence."""
    return (
        f"{100 * found['unheard_share']:.1f} % of the reference corpus's frames are of units that the target never "
        f"spoke: {len(found['unheard'])} of {found['units']} units"
    )


def write_coverage(made_by: Slice, target: Counts, reference: Counts, out: Path) -> dict[str, Any]:
    """Writes the report as JSON, whole or not at all, says it in a sentence, and answers it. A lack is no error."""
    found = report(target, reference)
    with atomic_path(out) as tmp:
        value = {"format": FORMAT, "slice": made_by, **found}
        tmp.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    log.log(logging.WARNING if found["unheard"] else logging.INFO, "%s: %s", out, words(found))
    return found


def _rows(shards: Iterable[Shard], utt_ids: Collection[str] | None) -> Iterator[tuple[Shard, NDArray[Any]]]:
    """The rows of each utterance that is counted, and its shard."""
    wanted = None if utt_ids is None else frozenset(utt_ids)
    for shard in shards:
        for utt_id in shard.utt_ids:
            if wanted is None or utt_id in wanted:
                yield shard, shard.read(utt_id)


def _nearest(rows: NDArray[Any], vectors: Tensor) -> Counts:
    """How often each of the vectors `(K, D)` is the nearest by angle to a soft unit `(T, D)`."""
    import torch

    from vcpipe.nn.soft_units import cosines

    nearest = cosines(torch.from_numpy(rows).float(), vectors).argmax(1)
    return np.bincount(nearest.numpy(), minlength=len(vectors))


def _sum(a: Counts, b: Counts) -> Counts:
    """Of counts of unlike lengths."""
    longer, shorter = (a.copy(), b) if len(a) >= len(b) else (b.copy(), a)
    longer[: len(shorter)] += shorter
    return longer


def _js_divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """Of two distributions, in bits (Lin 1991)."""
    mean = (p + q) / 2

    def against(x: NDArray[np.float64]) -> float:
        return float((x[x > 0] * np.log2(x[x > 0] / mean[x > 0])).sum())

    return min(max((against(p) + against(q)) / 2, 0.0), 1.0)
