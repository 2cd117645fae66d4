"""Discrete units: for each frame of a feature the number of the nearest of K centres, fitted on a corpus."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from vcpipe.settings import DerivedSettings, Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard


class Settings(DerivedSettings):
    """`(T, 1)`: units 0 to clusters - 1, on the grid of the feature that `of` names."""

    REVISION: ClassVar[int] = 1

    kind: Literal["kmeans"] = "kmeans"
    dtype: Literal["float16", "float32", "int16"] = "int16"
    corpus: str = Field(description="on whose frames the centres are fitted")
    clusters: PositiveInt = Field(100, le=32767, description="K: how many units there are")
    max_frames: PositiveInt = Field(200_000, description="frames, drawn at random, that are clustered")
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _enough_frames(self) -> Settings:
        if self.max_frames < self.clusters:
            raise ValueError(f"max_frames ({self.max_frames}) is below clusters ({self.clusters}); raise it")
        return self

    @property
    def dim(self) -> int:
        """The number of the unit."""
        return 1

    @property
    def torch(self) -> bool:
        """Distances are a product of matrices."""
        return True

    @property
    def fitted_on(self) -> str:
        """The corpus of the centres."""
        return self.corpus

    def check_parents(self) -> None:
        """Only numbers have a mean, and units stand on frames."""
        parent = self.parents[0]
        if parent.dtype == "int16":
            raise ValueError(f"{parent.kind} is discrete already; name a feature of vectors")
        if parent.ROWS != "frame":
            raise ValueError(f"{parent.kind} has one row for a whole {parent.ROWS}; name a feature of frames")


def fit(
    settings: Settings, made_by: Slice, parents: Sequence[Sequence[Shard]], utt_ids: Collection[str], out: Path
) -> None:
    """Fits the centres on the frames of some utterances, and writes them as safetensors."""
    from vcpipe.nn import kmeans
    from vcpipe.settings import canonical

    (shards,) = parents
    frames = (shard.read(utt_id) for shard in shards for utt_id in shard.utt_ids if utt_id in utt_ids)
    centers = kmeans.train(frames, settings.clusters, settings.seed, settings.max_frames)
    kmeans.save(out, centers, canonical(made_by))


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The units of each utterance."""
    import numpy as np

    from vcpipe.nn import kmeans

    assert model is not None, "kmeans: derived without a model"
    (shard,) = parents
    centers = kmeans.load(model)
    for u in utterances:
        yield u.utt_id, kmeans.assign(shard.read(u.utt_id), centers)[:, None].astype(np.int16)
