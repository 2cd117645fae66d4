"""How far two F0 estimators agree on an utterance: a score to find bad recordings and octave errors by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vcpipe.settings import DerivedSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard


COLUMNS = ("both_voiced", "voicing_disagreement", "within_50_cents", "octave_errors", "gross_errors")
"""Shares in [0, 1]; see `vcpipe.f0.contour.agreement`."""


class Settings(DerivedSettings):
    """One row an utterance, `(1, 5)`: the columns of `COLUMNS`. `of` names two features of kind f0 on one grid."""

    REVISION: ClassVar[int] = 1
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "utterance"
    PARENTS: ClassVar[int] = 2

    kind: Literal["f0_agreement"] = "f0_agreement"
    dtype: Literal["float16", "float32", "int16"] = "float32"

    @property
    def dim(self) -> int:
        """One column a share."""
        return len(COLUMNS)

    def check_parents(self) -> None:
        """Two estimators, frame by frame."""
        a, b = self.parents
        if self.names[0] == self.names[1]:
            raise ValueError(f"{self.names[0]} agrees with itself; name two estimates")
        if a.kind != "f0" or b.kind != "f0" or a.grid != b.grid:
            raise ValueError(
                f"expected two features of kind f0 on one grid, found {a.kind} on {a.grid} and {b.kind} on {b.grid}"
            )


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The agreement on each utterance."""
    import numpy as np

    from vcpipe.f0.contour import agreement

    a, b = parents
    for u in utterances:
        found = agreement(a.read(u.utt_id), b.read(u.utt_id))
        yield u.utt_id, np.array([[found[name] for name in COLUMNS]], np.float32)
