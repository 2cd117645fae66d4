"""K-means over frames of a feature: centres from a stream of frames, and for each frame the number of its centre.

The settings of the clustering are those that HuBERT's labels were made with (Hsu et al. 2021): minibatches of 10,000
frames, k-means++, no reassignment of small clusters.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.weights import read_pickle_checkpoint, read_safetensors, write_safetensors

Array = NDArray[np.float32]
KEY = "centers"
BLOCK_ROWS = 4096
TRUSTED_ONLY = {".km", ".joblib", ".pkl", ".pickle"}


def train(
    frames: Iterable[NDArray[Any]], clusters: int, seed: int, max_frames: int = 200_000, restarts: int = 3
) -> Array:
    """The centres of frames that come in any number of arrays; equal for equal frames, order and seed.

    Only a sample is held in memory and clustered: every frame has the same chance to be in it.

    Args:
        frames: arrays `(T_i, D)`.
        clusters: K.
        seed: of the sample and of the clustering.
        max_frames: size of the sample; `4 * D` bytes each.
        restarts: beginnings that are tried, of which the best is kept.

    Returns:
        `(K, D)` float32.

    Raises:
        InputError: for fewer frames than clusters, frames of unequal width, or frames that are not finite.
    """
    from sklearn.cluster import MiniBatchKMeans

    if clusters < 1 or max_frames < clusters:
        raise InputError(f"k-means: expected 1 to {max_frames} (max_frames) clusters, found {clusters}; change them")
    sample = _sample(frames, max_frames, np.random.default_rng(seed))
    if len(sample) < clusters:
        raise InputError(f"k-means: {len(sample)} frames for {clusters} clusters; take fewer clusters, or more speech")
    model = MiniBatchKMeans(
        clusters,
        init="k-means++",
        max_iter=100,
        batch_size=10_000,
        random_state=seed,
        tol=0.0,
        max_no_improvement=100,
        n_init=restarts,
        reassignment_ratio=0.0,
    ).fit(sample)
    centers: Array = np.ascontiguousarray(model.cluster_centers_, np.float32)
    return centers


def _sample(frames: Iterable[NDArray[Any]], size: int, random: np.random.Generator) -> Array:
    """At most `size` rows, each of all rows with equal chance (reservoir sampling, Vitter's algorithm R)."""
    kept: Array | None = None
    seen = filled = 0
    for block in frames:
        if block.ndim != 2 or (kept is not None and block.shape[1] != kept.shape[1]):
            expected = "(T, D)" if kept is None else f"(T, {kept.shape[1]})"
            raise InputError(f"k-means: expected frames {expected}, found an array {block.shape}; name one feature")
        if not np.isfinite(block).all():
            raise InputError("k-means: found frames that are not finite; make the feature again")
        if kept is None:
            kept = np.empty((size, block.shape[1]), np.float32)
        first = min(size - filled, len(block))
        kept[filled : filled + first] = block[:first]
        filled += first
        numbers = np.arange(seen + first, seen + len(block))
        places = random.integers(0, numbers + 1)
        for row, place in zip(block[first:][places < size], places[places < size], strict=True):
            kept[place] = row
        seen += len(block)
    return np.empty((0, 0), np.float32) if kept is None else kept[:filled]


def assign(frames: NDArray[Any], centers: Array) -> NDArray[np.int64]:
    """The number of the nearest centre (Euclidean) of each frame: `(T, D)` and `(K, D)` to `(T,)`, in blocks.

    Raises:
        InputError: when frames and centres are not of one width.
    """
    if frames.ndim != 2 or frames.shape[1] != centers.shape[1]:
        raise InputError(
            f"k-means: expected frames (T, {centers.shape[1]}) like the centres, found {frames.shape}; name the "
            "feature that the centres were made of"
        )
    out = np.empty(len(frames), np.int64)
    matrix = torch.from_numpy(np.ascontiguousarray(centers, np.float32))
    for at in range(0, len(frames), BLOCK_ROWS):
        block = torch.from_numpy(np.array(frames[at : at + BLOCK_ROWS], np.float32))
        out[at : at + len(block)] = nearest(block, matrix).numpy()
    return out


def nearest(frames: Tensor, centers: Tensor) -> Tensor:
    """`(T, D)` and `(K, D)` float32 to `(T,)` int64: the number of the nearest centre, the lower one of equals."""
    return (centers.square().sum(1) - 2 * frames @ centers.T).argmin(1)


def save(path: str | Path, centers: Array, made_by: str = "") -> None:
    """Writes centres `(K, D)` as safetensors with the slice that they depend on, whole or not at all."""
    metadata = {"kind": "kmeans", "slice": made_by}
    write_safetensors(path, {KEY: torch.from_numpy(np.array(centers, np.float32))}, metadata)


def load(path: str | Path) -> Array:
    """Centres `(K, D)` float32 from what `save` wrote, from bshall's `kmeans100-*.pt`, or from a `.npy` array.

    Raises:
        InputError: for a file of another kind, and for one that could only be read by running what is inside it.
    """
    path = Path(path)
    if path.suffix in TRUSTED_ONLY:
        raise InputError(
            f"{path}: a pickled object, which is not read; where it was made, type "
            "`numpy.save('centers.npy', model.cluster_centers_)` and name that file"
        )
    found: Any
    if path.suffix == ".npy":
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as an array ({str(error)[:80]}); make it again") from None
    elif path.suffix == ".safetensors":
        found = read_safetensors(path)[0].get(KEY)
    else:
        found = read_pickle_checkpoint(path).get("cluster_centers_")
    centers = np.asarray(found) if isinstance(found, np.ndarray | Tensor) else np.empty(0)
    if centers.ndim != 2 or not len(centers) or centers.dtype.kind != "f" or not np.isfinite(centers).all():
        raise InputError(
            f"{path}: expected k-means centres (K, D) as `{KEY}` (safetensors), `cluster_centers_` (.pt) or a .npy "
            f"array, found {centers.shape if centers.size else type(found).__name__}; is it the right file?"
        )
    return np.ascontiguousarray(centers, np.float32)
