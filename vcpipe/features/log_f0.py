"""The pitch contour without gaps: natural logarithm of F0, interpolated where nothing is voiced, and the voicing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vcpipe.settings import DerivedSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard


class Settings(DerivedSettings):
    """`(T, 2)`: ln Hz, voiced (0 or 1), on the grid of the f0 feature that `of` names."""

    REVISION: ClassVar[int] = 1

    kind: Literal["log_f0"] = "log_f0"
    dtype: Literal["float16", "float32", "int16"] = "float32"

    def check_parents(self) -> None:
        """Only F0 has a contour."""
        if self.parents[0].kind != "f0":
            raise ValueError(f"expected a feature of kind f0, found {self.parents[0].kind}")


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The contour of each utterance."""
    import numpy as np

    from vcpipe.f0.contour import log_f0

    (shard,) = parents
    for u in utterances:
        f0 = shard.read(u.utt_id)
        yield u.utt_id, np.stack([log_f0(f0[:, 0], f0[:, 1]), f0[:, 1]], axis=1)
