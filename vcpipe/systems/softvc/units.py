"""What makes units of an encoder's frames, so that a run folder is all that a conversion needs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vcpipe.errors import InputError
from vcpipe.nn import kmeans, soft_units
from vcpipe.settings import Slice


class Discrete(nn.Module):
    """Frames `(T, D)` to the numbers `(T, 1)` of the nearest of `(K, D)` centres."""

    centers: Tensor

    def __init__(self, centers: Tensor):
        super().__init__()
        self.register_buffer("centers", centers)

    def forward(self, frames: Tensor) -> Tensor:
        """`(T, D)` to `(T, 1)`."""
        return kmeans.nearest(frames.float(), self.centers)[:, None]


def module_of(content: Slice, tensors: Mapping[str, Tensor], where: str) -> nn.Module | None:
    """The network that makes a feature of units, or None where an extractor does it alone.

    Args:
        content: of the feature, as in a slice.
        tensors: that were fitted for it, by their names in its model.
        where: the run folder, for errors.

    Raises:
        InputError: when the tensors are not those of the kind.
    """
    kind = content["kind"]
    if kind == "soft_units":
        return soft_units.of_tensors(tensors, bool(content["normalise"]), where)
    if kind == "kmeans":
        if list(tensors) != [kmeans.KEY]:
            raise InputError(f"{where}: expected the tensor {kmeans.KEY} of k-means, found {sorted(tensors)}")
        return Discrete(tensors[kmeans.KEY])
    if tensors:
        raise InputError(f"{where}: units of kind {kind} need no fitted model, found {sorted(tensors)}; train it again")
    return None
