"""Statistics of a speaker's pitch: what maps one speaker's contour onto another's range."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from vcpipe.settings import DerivedSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard

log = logging.getLogger(__name__)

COLUMNS = ("median_log_f0", "mean_log_f0", "std_log_f0", "p05_hz", "p95_hz", "voiced_share", "frames")
"""See `vcpipe.f0.contour.speaker_statistics`."""


class Settings(DerivedSettings):
    """One row a speaker, `(1, 7)`: the columns of `COLUMNS`. `of` names a feature of kind f0."""

    REVISION: ClassVar[int] = 1
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "speaker"

    kind: Literal["speaker_f0"] = "speaker_f0"
    dtype: Literal["float16", "float32", "int16"] = "float32"

    @property
    def dim(self) -> int:
        """One column a statistic."""
        return len(COLUMNS)

    def check_parents(self) -> None:
        """Only F0 has such statistics."""
        if self.parents[0].kind != "f0":
            raise ValueError(f"expected a feature of kind f0, found {self.parents[0].kind}")


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The statistics of each speaker who has a voiced frame."""
    import numpy as np

    from vcpipe.f0.contour import speaker_statistics
    from vcpipe.manifest import by_speaker

    (shard,) = parents
    for speaker, rows in by_speaker(utterances):
        contours = [shard.read(u.utt_id) for u in rows]
        if not any(f0[:, 1].any() for f0 in contours):
            log.warning("speaker %s: no voiced frame in %d utterances; left out", speaker, len(rows))
            continue
        found = speaker_statistics([(f0[:, 0], f0[:, 1]) for f0 in contours])
        yield speaker, np.array([[found[name] for name in COLUMNS]], np.float32)
