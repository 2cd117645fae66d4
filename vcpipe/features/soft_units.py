"""Soft units: of each frame the vector by which a small network tells its discrete unit; fitted on a corpus.

As HuBERT-Soft's (van Niekerk et al. 2022), with the encoder left as it is: what of a frame does not help to tell units
apart, as who speaks, goes; that a frame lies between two units stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vcpipe.settings import DerivedSettings, FeatureSettings, Slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vcpipe.manifest import Utterance
    from vcpipe.store import Shard


class Settings(DerivedSettings):
    """`(T, dim)`, on the grid of what `of` names: a feature of frames, and discrete units on the same grid."""

    REVISION: ClassVar[int] = 1
    PARENTS: ClassVar[int] = 2

    kind: Literal["soft_units"] = "soft_units"
    dtype: Literal["float16", "float32"] = "float16"
    corpus: str = Field(description="on whose frames the network is trained")
    width: PositiveInt = Field(64, description="columns of a soft unit")
    normalise: bool = Field(True, description="bring the frames of a recording to mean 0 and spread 1 first")
    hidden: PositiveInt = Field(256, description="width of the hidden layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="of the hidden layer, when training")
    max_frames: PositiveInt = Field(200_000, description="frames, drawn at random, that it is trained on")
    steps: PositiveInt = Field(800, description="of training")
    batch: PositiveInt = Field(512, description="frames in a step")
    learning_rate: PositiveFloat = Field(1e-3, description="the highest; it rises at first, and falls to zero")
    seed: NonNegativeInt = 0

    @property
    def dim(self) -> int:
        """Columns of a soft unit."""
        return self.width

    @property
    def torch(self) -> bool:
        """A network."""
        return True

    @property
    def fitted_on(self) -> str:
        """The corpus of the training."""
        return self.corpus

    def check_parents(self) -> None:
        """Vectors and whole numbers, frame by frame."""
        vectors, units = self.parents
        if vectors.ROWS != "frame" or vectors.dtype == "int16" or units.ROWS != "frame" or units.dtype != "int16":
            raise ValueError(
                "expected a feature of frames and one of discrete units (kmeans, hubert_discrete), in this order, "
                f"found {_words(vectors)} and {_words(units)}"
            )
        if vectors.grid != units.grid:
            raise ValueError(
                f"{vectors.kind} lies on {vectors.grid}, {units.kind} on {units.grid}; name features on one grid"
            )


def _words(settings: FeatureSettings) -> str:
    what = "discrete units" if settings.dtype == "int16" else "vectors"
    return f"{settings.kind} ({what}, a row for each {settings.ROWS})"


def fit(
    settings: Settings, made_by: Slice, parents: Sequence[Sequence[Shard]], utt_ids: Collection[str], out: Path
) -> None:
    """Trains the network on the frames and units of some utterances, and writes it as safetensors."""
    from vcpipe.nn import soft_units
    from vcpipe.settings import canonical

    vectors, units = parents
    pairs = [(a, b, i) for a, b in zip(vectors, units, strict=True) for i in a.utt_ids if i in utt_ids]
    frames, labels = _sample(settings, pairs)
    keys = {"hidden", "dropout", "normalise", "steps", "batch", "learning_rate", "seed"}
    model = soft_units.train(frames, labels, dim=settings.width, **settings.model_dump(include=keys))
    soft_units.save(out, model, canonical(made_by))


def _sample(settings: Settings, pairs: Sequence[tuple[Shard, Shard, str]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """At most `max_frames` frames `(N, D)` with their units `(N,)`, each of all frames with equal chance."""
    import numpy as np
    import torch

    from vcpipe.errors import InputError
    from vcpipe.nn.soft_units import normalised

    lengths = [vectors.length(utt_id) for vectors, _, utt_id in pairs]
    starts = np.cumsum([0, *lengths])
    total = int(starts[-1])
    chosen = np.random.default_rng(settings.seed).choice(total, min(total, settings.max_frames), replace=False)
    chosen.sort()
    frames: NDArray[Any] = np.empty((len(chosen), pairs[0][0].dim if pairs else 0), np.float32)
    labels: NDArray[Any] = np.empty(len(chosen), np.int64)
    for (vectors, units, utt_id), length, start in zip(pairs, lengths, starts[:-1], strict=True):
        first, last = np.searchsorted(chosen, (start, start + length))
        if first == last:
            continue
        if units.length(utt_id) != length:
            raise InputError(
                f"{units.path}: expected {length} units of {utt_id}, as many as {vectors.path} has frames, found "
                f"{units.length(utt_id)}; make it again"
            )
        here = chosen[first:last] - start
        block = torch.from_numpy(vectors.read(utt_id))
        frames[first:last] = (normalised(block) if settings.normalise else block).numpy()[here]
        labels[first:last] = units.read(utt_id)[here, 0]
    return frames, labels


def derive(
    settings: Settings, parents: list[Shard], utterances: list[Utterance], model: Path | None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The soft units of each utterance."""
    import torch

    from vcpipe.nn import soft_units

    assert model is not None, "soft_units: derived without a model"
    frames, _ = parents
    network = soft_units.load(model)
    with torch.no_grad():
        for u in utterances:
            yield u.utt_id, network(torch.from_numpy(frames.read(u.utt_id))).numpy()
