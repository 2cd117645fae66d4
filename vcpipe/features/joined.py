"""Features side by side: the columns of several on one grid, for a model that hears them together."""

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
    """`(T, D1 + D2 + ...)`: the columns of the features that `of` names, in their order."""

    REVISION: ClassVar[int] = 1
    PARENTS: ClassVar[int] = 0

    kind: Literal["joined"] = "joined"
    dtype: Literal["float16", "float32"] = "float32"

    @property
    def dim(self) -> int:
        """The columns of all."""
        return sum(parent.dim for parent in self.parents)

    def check_parents(self) -> None:
        """Frames on one grid."""
        first = self.parents[0]
        for parent in self.parents:
            if parent.ROWS != "frame":
                raise ValueError(f"{parent.kind} has one row for a whole {parent.ROWS}; name features of frames")
            if parent.grid != first.grid:
                raise ValueError(
                    f"{first.kind} lies on {first.grid}, {parent.kind} on {parent.grid}; name features on one grid"
                )


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The columns of each utterance."""
    import numpy as np

    for u in utterances:
        yield u.utt_id, np.concatenate([shard.read(u.utt_id) for shard in parents], axis=1)
