"""The one config: checked once, and cut into the slices that stages depend on.

A *slice* is a plain mapping with everything that decides a stage's numbers, the revisions of the code included
and the slices of what it reads nested inside. Its canonical JSON is the only parameter of a rule and stands in the
header of every artifact, so that an edit re-runs what depends on it and nothing is read under a wrong setting.
Only the standard library and pydantic are imported here: every `snakemake` start pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from pydantic import Field

from vcpipe import catalog, evaluated, sections
from vcpipe.audio_settings import AudioSettings
from vcpipe.errors import InputError
from vcpipe.settings import (
    CorpusSettings,
    DerivedSettings,
    EvaluateSettings,
    FeatureSettings,
    PackSettings,
    Settings,
    Slice,
    check,
)

AUDIO_REVISION = 2


class SystemShards(NamedTuple):
    """Shards that a system derives of a corpus, as a row of the `SHARDS` of its `config` module.

    `slice` answers what they are made under, `like` the features whose columns they have, all of one copy; none where
    the config does not ask for such shards. `beside` is how many columns of float16 they have beside those.
    """

    slice: Callable[[Config, str], Slice]
    like: Callable[[Config], Sequence[str]]
    beside: int = 0


class Config(Settings):
    """The whole of `config.yaml`, checked. `systems` holds one settings object for each system's section."""

    corpora: dict[str, CorpusSettings]
    audio: dict[str, AudioSettings]
    features: dict[str, FeatureSettings]
    evaluate: EvaluateSettings = EvaluateSettings()
    packs: dict[str, PackSettings] = Field(default_factory=dict)
    systems: dict[str, Any]

    def corpus(self, name: str, where: str) -> CorpusSettings:
        """A corpus by its name in `corpora:`."""
        return _named(self.corpora, name, where, "corpora")

    def feature(self, name: str, where: str) -> FeatureSettings:
        """A feature by its name in `features:`."""
        return _named(self.features, name, where, "features")

    def audio_copy(self, name: str, where: str) -> AudioSettings:
        """A copy of the recordings by its name in `audio:`."""
        return _named(self.audio, name, where, "audio")

    def copy_of(self, feature: str) -> str:
        """The name in `audio:` of the copy of the recordings that a feature reads."""
        settings = self.feature(feature, "features")
        if isinstance(settings, DerivedSettings):
            copies = {self.copy_of(name) for name in settings.names}
            if len(copies) > 1:
                raise InputError(
                    f"config key 'features.{feature}.of': {' and '.join(settings.names)} are of the copies "
                    f"{' and '.join(sorted(copies))}; name features of one copy"
                )
            return copies.pop()
        where, rate = f"features.{feature}.audio", settings.grid.rate
        if settings.audio:
            found = self.audio_copy(settings.audio, where).rate
            if found != rate:
                raise InputError(
                    f"config key '{where}': {settings.audio} has {found} samples/s, the feature reads {rate}; name "
                    "another copy, or set the feature's rate"
                )
            return settings.audio
        fitting = [name for name, copy in self.audio.items() if copy.rate == rate and copy.augment is None]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise InputError(f"config key '{where}': {' and '.join(fitting)} have {rate} samples/s; name one of them")
        raise InputError(
            f"config key 'features.{feature}': it reads {rate} samples/s, but no copy under audio has that rate; add "
            f"`{rate // 1000}k: {{rate: {rate}}}` there, or set the feature's rate"
        )

    def audio_slice(self, copy: str, corpus: str) -> Slice:
        """What the audio shards of a copy of a corpus depend on."""
        settings = self.corpus(corpus, "corpora")
        audio = self.audio_copy(copy, "audio")
        return {
            "stage": "audio",
            "corpus": settings.content(),
            "shards": settings.shards,
            "audio": {**audio.model_dump(mode="json", exclude_none=True), "revision": AUDIO_REVISION},
        }

    def feature_slice(self, feature: str, corpus: str) -> Slice:
        """What the shards of a feature of a corpus depend on."""
        settings = self.feature(feature, "features")
        if not isinstance(settings, DerivedSettings):
            reads = self.audio_slice(self.copy_of(feature), corpus)
            return {"stage": "feature", "feature": settings.content(), "reads": reads}
        made_by = {
            "stage": "derive",
            "feature": settings.content(),
            "reads": [self.feature_slice(name, corpus) for name in settings.names],
        }
        return {**made_by, "model": self.fit_slice(feature)} if settings.fitted_on else made_by

    def fit_slice(self, feature: str) -> Slice:
        """What the fitted model of a derived feature depends on."""
        settings = self.feature(feature, "features")
        assert isinstance(settings, DerivedSettings)
        reads = [self.feature_slice(name, settings.fitted_on) for name in settings.names]
        return {"stage": "fit", "feature": settings.content(), "reads": reads}

    def source(self, name: str, corpus: str, where: str) -> tuple[str, Slice]:
        """Where the shards of a feature, a copy, or what a system derives lie, and what they are made under."""
        if name in self.audio:
            return f"results/audio/{name}/{corpus}", self.audio_slice(name, corpus)
        if name in self.features:
            return f"results/features/{name}/{corpus}", self.feature_slice(name, corpus)
        derived = self.of_systems()
        if name in derived:
            return f"results/features/{name}/{corpus}", derived[name].slice(self, corpus)
        known = [*self.audio, *self.features, *derived]
        raise InputError(
            f"config key '{where}': '{name}' is neither a feature nor a copy of the recordings; "
            f"{catalog.nearest(name, known)}"
        )

    def of_systems(self) -> dict[str, SystemShards]:
        """What the systems of the config derive beside its features, by name."""
        out: dict[str, SystemShards] = {}
        for system in self.systems:
            shards: dict[str, SystemShards] = getattr(catalog.system_config(system), "SHARDS", {})
            out |= {name: made for name, made in shards.items() if made.like(self)}
        return out

    def check_alike(self, a: str, b: str, where: str) -> None:
        """Refuses two copies that are not cut alike: their utterances, or the frames of those, would differ."""
        cuts = [self.audio[name].cut() for name in (a, b)]
        if differ := sorted(key for key in {*cuts[0], *cuts[1]} if cuts[0].get(key) != cuts[1].get(key)):
            raise InputError(
                f"config key '{where}': the copies {a} and {b} differ in {', '.join(differ)}, so that their utterances "
                "are not the same; make these keys equal"
            )


def load(raw: Mapping[str, Any]) -> Config:
    """Checks a whole config, given as the mapping that YAML made of it. A system that is `off` is left out.

    Raises:
        InputError: naming the key's path, what was found, and the nearest right name.
    """
    names = catalog.system_names()
    known = ["corpora", "audio", "features", "evaluate", "packs", *names]
    for key in raw:
        if key not in known:
            raise InputError(f"config key '{key}' is unknown; {catalog.nearest(str(key), known)}")
    config = Config.model_construct(
        corpora=sections.corpora(raw),
        audio=sections.copies(raw),
        features=sections.features(raw),
        evaluate=sections.one(raw, "evaluate", EvaluateSettings),
        packs=sections.packs(raw),
        systems={},
    )
    for name in config.features:
        if name in config.audio:
            raise InputError(f"config key 'features.{name}': a copy under audio has this name too; choose another")
        _bind(config, name, ())
        config.copy_of(name)
    for name in names:
        if name in raw and raw[name] is not False:
            module = catalog.system_config(name)
            config.systems[name] = sections.one(raw, name, module.Settings)
            module.check(config)
    evaluated.check(config)
    return config


def _bind(config: Config, name: str, above: tuple[str, ...]) -> None:
    """Resolves what a derived feature is made of, and what that is made of in turn."""
    settings, where = config.features[name], f"features.{name}.of"
    if name in above:
        raise InputError(f"config key '{where}': {' -> '.join([*above, name])} is a circle; name another feature")
    if not isinstance(settings, DerivedSettings) or settings.parents:
        return
    if settings.audio:
        raise InputError(
            f"config key 'features.{name}.audio': {settings.kind} reads features, not recordings, found "
            f"{settings.audio}; remove it, and set it where the features of `of` stand"
        )
    if len(settings.names) != settings.PARENTS and (settings.PARENTS or len(settings.names) < 2):
        noun = {0: "2 features or more", 1: "1 feature"}.get(settings.PARENTS, f"{settings.PARENTS} features")
        raise InputError(
            f"config key '{where}': {settings.kind} is made of {noun}, found {len(settings.names)}; name {noun}"
        )
    for parent in settings.names:
        config.feature(parent, where)
        _bind(config, parent, (*above, name))
    if settings.fitted_on:
        config.corpus(settings.fitted_on, f"features.{name}.corpus")
    try:
        settings.bind(tuple(config.features[parent] for parent in settings.names))
    except ValueError as error:
        raise InputError(f"config key '{where}': {error}") from None


def derived_settings(made_by: Slice) -> DerivedSettings:
    """The settings object behind a slice of a derived feature, with what it is made of."""
    settings = feature_settings({**made_by["feature"], "of": tuple(str(i) for i in range(len(made_by["reads"])))})
    assert isinstance(settings, DerivedSettings)
    derived = (derived_settings if part["stage"] == "derive" else _extracted for part in made_by["reads"])
    settings.bind(tuple(make(part) for make, part in zip(derived, made_by["reads"], strict=True)))
    return settings


def _extracted(made_by: Slice) -> FeatureSettings:
    return feature_settings(made_by["feature"])


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


def _named(table: dict[str, Any], name: str, where: str, section: str) -> Any:
    if name not in table:
        raise InputError(f"config key '{where}': '{name}' is not under {section}; {catalog.nearest(name, list(table))}")
    return table[name]
