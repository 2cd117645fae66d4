"""The sections of the config, and how one is checked. Standard library and pydantic only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    PrivateAttr,
    ValidationError,
    field_validator,
)

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.grid import Grid

Slice = dict[str, Any]


class Settings(BaseModel):
    """A section of the config: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CorpusSettings(Settings):
    """What every corpus has. Kinds add their own keys in `vcpipe/corpora/<kind>.py`."""

    REVISION: ClassVar[int]
    NOT_CONTENT: ClassVar[set[str]] = {"root", "shards", "max_reject_share", "splits", "valid_share"}

    kind: str
    root: str = Field("", description="folder of the recordings, never written to; empty: where they are made")
    shards: PositiveInt = Field(4, le=1000, description="files per feature; a speaker stays within one")
    max_reject_share: float = Field(0.05, ge=0, le=1, description="more unusable recordings than this is an error")
    splits: str = Field("", description="folder with train.csv, valid.csv, test.csv; empty: the corpus's own split")
    valid_share: float = Field(0.05, ge=0, lt=1, description="of utterances that no split names, held out by hash")

    def content(self) -> Slice:
        """The part that decides what the recordings are, not where they lie."""
        return {**self.model_dump(mode="json", exclude=self.NOT_CONTENT), "revision": self.REVISION}


class FeatureSettings(Settings):
    """What every feature has. Kinds add their own keys in `vcpipe/features/<kind>.py`.

    A kind's class sets `REVISION` (raised whenever its numbers change) and answers `grid` and `dim` from its settings.
    """

    REVISION: ClassVar[int]
    NOT_CONTENT: ClassVar[set[str]] = {"audio"}
    ROWS: ClassVar[Literal["frame", "utterance", "speaker"]] = "frame"
    """What a row of a shard stands for; a frame is one of `grid`."""

    kind: str
    audio: str = Field(
        "", description="copy of the recordings that it reads; empty: the one at its rate that is not augmented"
    )
    dtype: Literal["float16", "float32", "int16"] = "float16"

    @field_validator("dtype", check_fields=False)
    @classmethod
    def _whole_numbers_for_units(cls, dtype: str) -> str:
        """Units are whole numbers, which half floats have only up to 2048; everything else is lost when rounded."""
        usual = cls.model_fields["dtype"].default
        if (dtype == "int16") != (usual == "int16"):
            expected = "int16, its values are numbers of units" if usual == "int16" else "float16 or float32"
            raise ValueError(f"expected {expected}")
        return dtype

    @property
    def torch(self) -> bool:
        """Whether its code needs torch, whose import costs seconds."""
        return True

    @property
    def grid(self) -> Grid:
        """The rate that the feature reads and the samples that one of its frames covers."""
        raise NotImplementedError

    @property
    def dim(self) -> int:
        """Columns of the feature. A kind may need its weights to know: then it reads their header only."""
        raise NotImplementedError

    def content(self) -> Slice:
        """Everything that decides the numbers: the settings and the revision of the code."""
        return {**self.model_dump(mode="json", exclude=self.NOT_CONTENT), "revision": self.REVISION}


def _name_or_names(of: object) -> object:
    if isinstance(of, str) or (isinstance(of, list | tuple) and all(isinstance(name, str) for name in of)):
        return of
    raise ValueError("expected the name of a feature, or a list of names")


class DerivedSettings(FeatureSettings):
    """A feature that is made of other features, not of recordings: `of` names them in `features:`."""

    NOT_CONTENT: ClassVar[set[str]] = FeatureSettings.NOT_CONTENT | {"of"}
    PARENTS: ClassVar[int] = 1
    """How many features it is made of; 0: any number from 2 on."""

    of: Annotated[str | tuple[str, ...], BeforeValidator(_name_or_names)] = Field(
        description="the features that it is made of"
    )
    _parents: tuple[FeatureSettings, ...] = PrivateAttr(())

    @property
    def names(self) -> tuple[str, ...]:
        """The features that it is made of."""
        return (self.of,) if isinstance(self.of, str) else self.of

    @property
    def parents(self) -> tuple[FeatureSettings, ...]:
        """The settings of the features that it is made of, from which its grid and columns follow."""
        return self._parents

    def bind(self, parents: tuple[FeatureSettings, ...]) -> None:
        """Says what the names in `of` stand for; refuses what the kind cannot be made of."""
        self._parents = parents
        self.check_parents()

    def check_parents(self) -> None:
        """Kinds refuse here what they cannot be made of, by a ValueError."""

    @property
    def torch(self) -> bool:
        """Kinds that need torch say so."""
        return False

    @property
    def grid(self) -> Grid:
        """That of the first parent."""
        return self.parents[0].grid

    @property
    def dim(self) -> int:
        """Columns of the first parent."""
        return self.parents[0].dim

    @property
    def fitted_on(self) -> str:
        """The corpus on which a model is fitted before the feature can be made; empty where there is none."""
        return ""


class EvaluateSettings(Settings):
    """Which conversions every system is judged on, and by whom."""

    JUDGES: ClassVar[set[str]] = {"asr", "verifier", "quality", "enrolment", "seed", "resamples"}

    corpus: str = Field("", description="of the sources and references; empty: the one that the systems train on")
    audio: str = Field("", description="copy of its recordings that is heard; empty: the one at 16 kHz")
    trials: str = Field(
        "", description="table of who is converted to whom; empty: data_splits/trials/<corpus>.csv, else some are drawn"
    )
    pairs: PositiveInt = Field(32, description="how many are drawn when there is no table")
    seed: NonNegativeInt = Field(0, description="of what is drawn: trials, and the resamples behind the intervals")
    asr: str = Field("whisper_tiny_en", description="who writes down what was said")
    verifier: str = Field("ge2e", description="who tells speakers apart")
    quality: tuple[str, ...] = Field(("dnsmos",), description="who says how it sounds")
    enrolment: PositiveInt = Field(10, description="recordings of a speaker that make up the speaker's centroid")
    resamples: PositiveInt = Field(2000, description="of the speakers, from which the intervals come")

    def judges(self) -> Slice:
        """The part that decides a verdict, whatever it is that is judged."""
        return self.model_dump(mode="json", include=self.JUDGES)


class PackSettings(Settings):
    """Which columns of which utterances are packed as tars, for a trainer that streams them."""

    REVISION: ClassVar[int] = 1

    corpus: str
    columns: dict[str, str | tuple[str, ...]] = Field(
        description="name in a batch: a feature, a copy of the recordings, or several to draw from"
    )
    split: Literal["train", "valid", "test"] = "train"
    target_mib: PositiveInt = Field(256, description="size of a tar")
    form: Literal["npy16", "flac"] = Field("npy16", description="of recordings: 16-bit samples, or FLAC, half the size")
    bits: Literal[16, 24] = Field(24, description="of FLAC")

    def variants(self, column: str) -> tuple[str, ...]:
        """The features or copies that a column is drawn from."""
        found = self.columns[column]
        return (found,) if isinstance(found, str) else found


def of_preset(values: Any, presets: Mapping[str, Mapping[str, Any]]) -> Any:
    """The values of the preset that `values` names, with the others on top; as they are where none is named.

    For a validator before the fields.

    Raises:
        ValueError: when there is no such preset.
    """
    if not isinstance(values, Mapping) or "preset" not in values:
        return values
    name = str(values["preset"])
    if name not in presets:
        raise ValueError(f"no preset '{name}'; {catalog.nearest(name, list(presets))}")
    return {**presets[name], **{key: value for key, value in values.items() if key != "preset"}}


def canonical(value: Slice) -> str:
    """One string for one meaning: sorted keys, no blanks, so that equal slices are equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def check(model: type[BaseModel], raw: object, where: str) -> Any:
    """Makes a settings object of a mapping, or raises an InputError that names the key's path."""
    if not isinstance(raw, Mapping):
        raise InputError(f"config key '{where}': expected keys with values, found {raw!r}")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise InputError(_explain(error, model, where)) from None


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    faults = error.errors()
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])  # likely a misspelt key
    path = ".".join([where, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for part in first["loc"][:-1]:
            owner = _submodel(owner, part)
        known = list(owner.model_fields) if owner is not None else []
        return f"config key '{path}' is unknown; {catalog.nearest(str(first['loc'][-1]), known)}"
    if first["type"] == "missing":
        field = getattr(model, "model_fields", {}).get(first["loc"][-1])
        meaning = f" ({field.description})" if field is not None and field.description else ""
        return f"config key '{path}'{meaning} is missing; add `{first['loc'][-1]}: ...`"
    return f"config key '{path}': {first['msg'].removeprefix('Value error, ')}; found {first['input']!r}"


def _submodel(owner: Any, part: object) -> Any:
    """The model behind a field of a model, looking through Optional and unions; None when there is none."""
    field = getattr(owner, "model_fields", {}).get(part)
    if field is None:
        return owner
    options = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
