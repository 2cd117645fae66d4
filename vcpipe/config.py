"""The one config: read, checked once, and cut into the slices that stages depend on.

A *slice* is a plain mapping with everything that decides a stage's numbers, the revisions of the code included
and the slices of what it reads nested inside. Its canonical JSON is the only parameter of a rule and stands in the
header of every artifact, so that an edit re-runs what depends on it and nothing is read under a wrong setting.
Only the standard library and pydantic are imported here: every `snakemake` start pays for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import Field

from vcpipe import catalog
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
JUDGE_REVISION = 2
REVISIONS = {"reference": 1, "prosody": 1, "mcd": 1, "quality": 1, "table": 1}
"""Of the code behind the reference rows, these judges' numbers, and the table's intervals and tests."""
REFERENCE_ROWS = ("recordings", "source", "noise")
"""What every system is judged beside, and no system is needed for."""


class SystemShards(NamedTuple):
    """Shards that a system derives of a corpus, as a row of the `SHARDS` of its `config` module.

    `slice` answers what they are made under, `like` the features whose columns they have, all of one copy; none where
    the config does not ask for such shards.
    """

    slice: Callable[[Config, str], Slice]
    like: Callable[[Config], Sequence[str]]


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
            found = _named(self.audio, settings.audio, where, "audio").rate
            if found != rate:
                raise InputError(
                    f"config key '{where}': {settings.audio} has {found} samples/s, the feature reads {rate}; name "
                    "another copy, or set the feature's rate"
                )
            return settings.audio
        fitting = [name for name, copy in self.audio.items() if copy.rate == rate]
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
        audio = _named(self.audio, copy, "audio", "audio")
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

    def evaluated_corpus(self) -> str:
        """The corpus whose speakers are converted into one another."""
        where = "evaluate.corpus"
        if self.evaluate.corpus:
            self.corpus(self.evaluate.corpus, where)
            return self.evaluate.corpus
        trained_on = sorted({name for settings in self.systems.values() for name in settings.trains_on()})
        if len(trained_on) != 1:
            raise InputError(
                f"config key '{where}': the systems train on {' and '.join(trained_on) or 'nothing'}; name the corpus "
                "whose speakers are converted into one another"
            )
        return trained_on[0]

    def evaluated_copy(self) -> str:
        """The copy of its recordings that the judges hear: theirs is a rate of 16 kHz."""
        where, rate = "evaluate.audio", 16000
        if self.evaluate.audio:
            found = _named(self.audio, self.evaluate.audio, where, "audio").rate
            if found != rate:
                raise InputError(f"config key '{where}': {self.evaluate.audio} has {found} samples/s, expected {rate}")
            return self.evaluate.audio
        fitting = [name for name, copy in self.audio.items() if copy.rate == rate]
        if len(fitting) != 1:
            found = " and ".join(fitting) or "none"
            raise InputError(f"config key '{where}': expected one copy at {rate} samples/s, found {found}; name one")
        return fitting[0]

    def evaluated_slice(self) -> Slice:
        """What the recordings that the judges hear were made under."""
        return self.audio_slice(self.evaluated_copy(), self.evaluated_corpus())

    def trials(self) -> str:
        """The table of the trials; empty where they are drawn."""
        committed = f"data_splits/trials/{self.evaluated_corpus()}.csv"
        return self.evaluate.trials or (committed if Path(committed).is_file() else "")

    def rows(self) -> dict[str, str]:
        """The rows of all systems, by name, and whose they are."""
        out: dict[str, str] = {}
        for system, settings in self.systems.items():
            for row in settings.all_rows:
                if row in out or row in REFERENCE_ROWS:
                    owner = out.get(row, "the evaluation")
                    raise InputError(
                        f"config key '{system}.rows.{row}': {owner} has a row of this name; choose another"
                    )
                out[row] = system
        return out

    def reference_slice(self, row: str) -> Slice:
        """What a row of recordings that no system made depends on, beside the table of trials."""
        return {"stage": "reference", "revision": REVISIONS["reference"], "kind": row, "wav": self.evaluated_slice()}

    def judge_slice(self) -> Slice:
        """What the verdict on conversions depends on, beside the conversions."""
        judged_by = {name: REVISIONS[name] for name in ("prosody", "mcd", "quality")}
        return {
            "stage": "judge",
            "revision": JUDGE_REVISION,
            "judge": self.evaluate.judges(),
            "revisions": judged_by,
            "wav": self.evaluated_slice(),
        }


def read(paths: Sequence[Path]) -> dict[str, Any]:
    """The mapping of config files, each laid over those before it as `snakemake --configfile` does."""
    import yaml

    out: dict[str, Any] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path}: no such config file; give one with --config, or go to where config.yaml lies")
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); correct it") from None
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected keys with values, found {type(found).__name__}; correct it")
        _lay_over(out, found)
    return out


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping):
            if not isinstance(below.get(key), dict):
                below[key] = {}  # a mapping of its own: with YAML aliases two keys may hold the same one
            _lay_over(below[key], value)
        else:
            below[key] = value


def load(raw: Mapping[str, Any]) -> Config:
    """Checks a whole config, given as the mapping that YAML made of it.

    Raises:
        InputError: naming the key's path, what was found, and the nearest right name.
    """
    names = catalog.system_names()
    known = ["corpora", "audio", "features", "evaluate", "packs", *names]
    for key in raw:
        if key not in known:
            raise InputError(f"config key '{key}' is unknown; {catalog.nearest(str(key), known)}")
    config = Config.model_construct(
        corpora={name: _rooted(name, c) for name, c in _kinds(raw, "corpora", catalog.corpus).items()},
        audio=_copies(raw.get("audio")),
        features=_kinds(raw, "features", catalog.feature),
        evaluate=check(EvaluateSettings, _given(raw, "evaluate"), "evaluate"),
        packs={
            name: check(PackSettings, values, f"packs.{check_name(name, f'packs.{name}')}")
            for name, values in _entries(raw, "packs")
        },
        systems={},
    )
    for name in config.features:
        if name in config.audio:
            raise InputError(f"config key 'features.{name}': a copy under audio has this name too; choose another")
        _bind(config, name, ())
        config.copy_of(name)
    for name in names:
        if name in raw:
            module = catalog.system_config(name)
            config.systems[name] = check(module.Settings, _given(raw, name), name)
            module.check(config)
    config.rows()
    if config.systems:
        config.evaluated_slice()
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
    if len(settings.names) != settings.PARENTS:
        noun = "1 feature" if settings.PARENTS == 1 else f"{settings.PARENTS} features"
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


def _kinds(raw: Mapping[str, Any], section: str, resolve: Any) -> dict[str, Any]:
    """The entries of `corpora:` or `features:`, each checked by the class of its `kind`."""
    out = {}
    for name, values in _entries(raw, section):
        where = f"{section}.{name}"
        check_name(name, where)
        if not isinstance(values, Mapping) or "kind" not in values:
            raise InputError(f"config key '{where}': expected a mapping with a `kind`, found {values!r}")
        out[name] = check(resolve(str(values["kind"]), f"{where}.kind").Settings, values, where)
    return out


def _entries(raw: Mapping[str, Any], section: str) -> Iterable[tuple[str, Any]]:
    entries = _given(raw, section)
    if not isinstance(entries, Mapping):
        raise InputError(f"config key '{section}': expected named entries, found {entries!r}")
    return entries.items()


def _copies(entries: object) -> dict[str, AudioSettings]:
    """The named copies under `audio:`; where there is none, one at 16 kHz."""
    if entries is None:
        entries = {"16k": {}}
    if not isinstance(entries, Mapping) or not entries:
        raise InputError(f"config key 'audio': expected named copies like `16k: {{rate: 16000}}`, found {entries!r}")
    if stray := [key for key in entries if key in AudioSettings.model_fields]:
        raise InputError(
            f"config key 'audio.{stray[0]}': settings belong to a named copy of the recordings; write "
            f"`audio: {{16k: {{{stray[0]}: {entries[stray[0]]}}}}}`"
        )
    out = {}
    for name in entries:
        check_name(name, f"audio.{name}")
        out[name] = check(AudioSettings, _given(entries, name), f"audio.{name}")
    return out


def _given(raw: Mapping[str, Any], key: str) -> Any:
    """The value of a key; a key with nothing after it, or none, is an empty mapping."""
    value = raw.get(key)
    return {} if value is None else value


def check_name(name: object, where: str) -> str:
    """Refuses what cannot be the name of a folder; `where` is its config key."""
    if not isinstance(name, str):
        raise InputError(f"config key '{where}': expected a name, found the YAML value {name!r}; put it in quotes")
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InputError(f"config key '{where}': a name has letters, digits, _, - and . only; it becomes a folder")
    return name


def _rooted(name: str, corpus: CorpusSettings) -> CorpusSettings:
    """A corpus that is made, not found, lies under the results by its name."""
    return corpus if corpus.root else corpus.model_copy(update={"root": f"results/corpora/{name}/raw"})


def _named(table: dict[str, Any], name: str, where: str, section: str) -> Any:
    if name not in table:
        raise InputError(f"config key '{where}': '{name}' is not under {section}; {catalog.nearest(name, list(table))}")
    return table[name]
