"""The one config: read, checked once, and cut into the slices that stages depend on.

A *slice* is a plain mapping with everything that decides a stage's numbers, the revisions of the code included
and the slices of what it reads nested inside. Its canonical JSON is the only parameter of a rule and stands in the
header of every artifact, so that an edit re-runs what depends on it and nothing is read under a wrong setting.
Only the standard library and pydantic are imported here: every `snakemake` start pays for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.grid import Grid

Slice = dict[str, Any]

AUDIO_REVISION = 1
JUDGE_REVISION = 1


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


class AudioSettings(Settings):
    """How recordings become the arrays that features are made from."""

    rate: PositiveInt = Field(16000, description="samples per second")
    min_s: PositiveFloat = Field(0.5, description="shorter recordings are rejected")
    max_s: PositiveFloat = Field(3600.0, description="longer recordings are rejected")
    silence_dbfs: float = Field(-70.0, description="a recording whose peak is lower is rejected as silent")


class FeatureSettings(Settings):
    """What every feature has. Kinds add their own keys in `vcpipe/features/<kind>.py`.

    A kind's class sets `REVISION` (raised whenever its numbers change) and answers `grid` and `dim` from its settings.
    """

    REVISION: ClassVar[int]
    NOT_CONTENT: ClassVar[set[str]] = set()

    kind: str
    dtype: Literal["float16", "float32"] = "float16"

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


class JudgeSettings(Settings):
    """Who judges the conversions, by name."""

    asr: Literal["whisper_tiny_en"] = "whisper_tiny_en"
    verifier: Literal["ge2e"] = "ge2e"
    enrolment: PositiveInt = Field(10, description="recordings of a speaker that make up the speaker's centroid")


class Config(Settings):
    """The whole of `config.yaml`, checked. `systems` holds one settings object for each system's section."""

    corpora: dict[str, CorpusSettings]
    audio: AudioSettings = AudioSettings()
    features: dict[str, FeatureSettings]
    judge: JudgeSettings = JudgeSettings()
    systems: dict[str, Any]

    def corpus(self, name: str, where: str) -> CorpusSettings:
        """A corpus by its name in `corpora:`."""
        return _named(self.corpora, name, where, "corpora")

    def feature(self, name: str, where: str) -> FeatureSettings:
        """A feature by its name in `features:`."""
        return _named(self.features, name, where, "features")

    def audio_slice(self, corpus: str) -> Slice:
        """What the audio shards of a corpus depend on."""
        settings = self.corpus(corpus, "corpora")
        return {
            "stage": "audio",
            "corpus": settings.content(),
            "shards": settings.shards,
            "audio": {**self.audio.model_dump(mode="json"), "revision": AUDIO_REVISION},
        }

    def feature_slice(self, feature: str, corpus: str) -> Slice:
        """What the shards of a feature of a corpus depend on."""
        settings = self.feature(feature, "features")
        return {"stage": "feature", "feature": settings.content(), "reads": self.audio_slice(corpus)}

    def judge_slice(self, corpus: str) -> Slice:
        """What the verdict on conversions between speakers of a corpus depends on, beside the conversions."""
        return {
            "stage": "judge",
            "revision": JUDGE_REVISION,
            "judge": self.judge.model_dump(mode="json"),
            "wav": self.audio_slice(corpus),
        }


def canonical(value: Slice) -> str:
    """One string for one meaning: sorted keys, no blanks, so that equal slices are equal strings."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def load(raw: Mapping[str, Any]) -> Config:
    """Checks a whole config, given as the mapping that YAML made of it.

    Raises:
        InputError: naming the key's path, what was found, and the nearest right name.
    """
    names = catalog.system_names()
    known = ["corpora", "audio", "features", "judge", *names]
    for key in raw:
        if key not in known:
            raise InputError(f"config key '{key}' is unknown; {catalog.nearest(key, known)}")
    config = Config.model_construct(
        corpora={name: _rooted(name, c) for name, c in _kinds(raw, "corpora", catalog.corpus).items()},
        audio=check(AudioSettings, raw.get("audio") or {}, "audio"),
        features=_kinds(raw, "features", catalog.feature),
        judge=check(JudgeSettings, raw.get("judge") or {}, "judge"),
        systems={},
    )
    for name in names:
        if name in raw:
            module = catalog.system_config(name)
            config.systems[name] = check(module.Settings, raw[name] or {}, name)
            module.check(config)
    return config


def check(model: type[BaseModel], raw: object, where: str) -> Any:
    """Makes a settings object of a mapping, or raises an InputError that names the key's path."""
    if not isinstance(raw, Mapping):
        raise InputError(f"config key '{where}': expected keys with values, found {raw!r}")
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise InputError(_explain(error, model, where)) from None


def feature_settings(content: Slice) -> FeatureSettings:
    """The settings object behind the `feature` part of a slice.

    Raises:
        InputError: when the slice was made by another revision of the feature's code.
    """
    values = dict(content)
    revision = values.pop("revision", None)
    module = catalog.feature(str(values.get("kind")), "feature kind")
    if revision != module.Settings.REVISION:
        raise InputError(
            f"feature '{values.get('kind')}': made by revision {revision} of its code, this is revision "
            f"{module.Settings.REVISION}; make it again with snakemake, or use the vcpipe that made it"
        )
    return cast(FeatureSettings, check(module.Settings, values, f"feature {values.get('kind')}"))


def _kinds(raw: Mapping[str, Any], section: str, resolve: Any) -> dict[str, Any]:
    """The entries of `corpora:` or `features:`, each checked by the class of its `kind`."""
    entries = raw.get(section) or {}
    if not isinstance(entries, Mapping):
        raise InputError(f"config key '{section}': expected named entries, found {entries!r}")
    out = {}
    for name, values in entries.items():
        where = f"{section}.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise InputError(f"config key '{where}': a name has letters, digits, _, - and . only; it becomes a folder")
        if not isinstance(values, Mapping) or "kind" not in values:
            raise InputError(f"config key '{where}': expected a mapping with a `kind`, found {values!r}")
        out[name] = check(resolve(str(values["kind"]), f"{where}.kind").Settings, values, where)
    return out


def _rooted(name: str, corpus: CorpusSettings) -> CorpusSettings:
    """A corpus that is made, not found, lies under the results by its name."""
    return corpus if corpus.root else corpus.model_copy(update={"root": f"results/corpora/{name}/raw"})


def _named(table: dict[str, Any], name: str, where: str, section: str) -> Any:
    if name not in table:
        raise InputError(f"config key '{where}': '{name}' is not under {section}; {catalog.nearest(name, list(table))}")
    return table[name]


def _explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    first = error.errors()[0]
    path = ".".join([where, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        owner: Any = model
        for part in first["loc"][:-1]:
            owner = _submodel(owner, part)
        known = list(owner.model_fields) if owner is not None else []
        return f"config key '{path}' is unknown; {catalog.nearest(str(first['loc'][-1]), known)}"
    return f"config key '{path}': {first['msg']}; found {first['input']!r}"


def _submodel(owner: Any, part: object) -> Any:
    """The model behind a field of a model, looking through Optional and unions; None when there is none."""
    field = getattr(owner, "model_fields", {}).get(part)
    if field is None:
        return owner
    options = [field.annotation, *getattr(field.annotation, "__args__", ())]
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
