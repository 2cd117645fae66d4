"""The mean of a feature over a speaker: of speaker vectors their centroid, of frames their average."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from vcpipe.settings import DerivedSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard


class Settings(DerivedSettings):
    """One row a speaker, `(1, D)`, under the speaker's name."""

    REVISION: ClassVar[int] = 1
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "speaker"

    kind: Literal["speaker_mean"] = "speaker_mean"
    dtype: Literal["float16", "float32", "int16"] = "float32"
    normalize: bool = Field(True, description="scale the mean to length 1, as embeddings of speakers are compared")

    def check_parents(self) -> None:
        """Means are of numbers, and of what utterances have."""
        if self.parents[0].kind == "f0":
            raise ValueError(f"unvoiced frames of {self.names[0]} are 0 Hz; take `kind: speaker_f0`")
        if self.parents[0].dtype == "int16" or self.parents[0].ROWS == "speaker":
            raise ValueError(
                f"{self.parents[0].kind} has no mean over a speaker; name a feature of utterances or frames"
            )


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The mean over all rows of all of a speaker's utterances, in sorted order of the speakers."""
    import numpy as np

    from vcpipe.manifest import by_speaker

    (shard,) = parents
    for speaker, rows in by_speaker(utterances):
        total, count = np.zeros(shard.dim), 0
        for u in rows:
            values = shard.read(u.utt_id)
            total += values.sum(axis=0, dtype=np.float64)
            count += len(values)
        if not count:
            continue
        mean = total / count
        norm = np.linalg.norm(mean)
        yield speaker, (mean / norm if settings.normalize and norm else mean)[None].astype(np.float32)
