"""One door to every way from the source's frames to units in another voice; none of them is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vcpipe.errors import InputError
from vcpipe.systems.knnvc import linear, match
from vcpipe.systems.knnvc.smooth import smooth_neighbours

if TYPE_CHECKING:
    from vcpipe.systems.knnvc.config import ConvertSettings
    from vcpipe.systems.knnvc.frames import Frames

Method = Callable[["Frames"], Tensor]
"""Frames of one source to units `(T, E)` float32 on the source's device.

Of kNN with `own_content` below 1 `(T, C + E)`, the neighbours' content first.
"""


def units(
    settings: ConvertSettings,
    source: Frames,
    source_pool: Frames | None,
    pool: Frames,
    content: linear.Content | None = None,
) -> Tensor:
    """The units of one source in the voice of a pool, as a `Method` gives them.

    Args:
        settings: the method and what belongs to it.
        source: frames of the recording that is converted.
        source_pool: frames of other recordings of its speaker, for the methods that must know both voices; the source
            itself where there are none.
        pool: frames of the target.
        content: what `linear.factorise` found, for `linear_factorised`.
    """
    return prepare(settings, source if source_pool is None else source_pool, pool, content)(source)


def prepare(
    settings: ConvertSettings, source_pool: Frames, pool: Frames, content: linear.Content | None = None
) -> Method:
    """The method for one pair of voices: what is fitted is fitted here, once for all sources of this speaker.

    Raises:
        InputError: for a method without units, and where the frames are too few.
    """
    if settings.method == "knn":
        return lambda source: _knn(settings, source, pool)
    if settings.method == "none":
        return lambda source: source.synthesis.float()
    if settings.method == "linear":
        return _affine(linear.fit(source_pool, pool, settings.ridge, settings.bias, settings.orthogonal))
    if settings.method == "linear_factorised":
        if content is None:
            raise InputError("linear_factorised: no factorisation of several speakers; make one with linear.factorise")
        return _affine(content.convert(source_pool, pool, settings.ridge))
    if settings.method == "mean":
        return _affine(linear.shift(source_pool, pool, settings.scale))
    raise InputError(
        f"method '{settings.method}': expected one that makes units (knn, linear, linear_factorised, mean, none); "
        "world makes recordings of recordings"
    )


def needs_source_pool(method: str) -> bool:
    """Whether other recordings of the source's speaker are of use."""
    return method in {"linear", "linear_factorised", "mean", "world"}


def own_content(settings: ConvertSettings) -> float:
    """The source's share in the content that the vocoder hears: the rest is its neighbours', where there are any."""
    return settings.own_content if settings.method == "knn" else 1.0


def keeps_voice(method: str) -> bool:
    """Whether the units are the source's own, so that its pitch stays too."""
    return method == "none"


def _affine(voice: linear.Affine) -> Method:
    return lambda source: voice(source.synthesis)


def _knn(settings: ConvertSettings, source: Frames, pool: Frames) -> Tensor:
    synthesis = match.check_synthesis(pool.match, pool.synthesis)
    with torch.inference_mode():
        similarity, rows = smooth_neighbours(
            source.match, pool.match, settings.topk, settings.smoothness, settings.candidates
        )
        weights = match.weights(similarity, settings.weighting, settings.temperature)
        made = match.average(rows, synthesis, weights)
        if own_content(settings) == 1:
            return made
        if pool.content is None:
            raise InputError("own_content: the pool has no content; make it with the converter of the same run")
        return torch.cat([match.average(rows, pool.content, weights), made], dim=1)
