"""The `softvc:` section of the config and the slices of its stages. Torch-free: read at every start of snakemake."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from vcpipe import catalog, evaluated
from vcpipe.config import Config
from vcpipe.errors import InputError
from vcpipe.sections import check_name
from vcpipe.settings import DerivedSettings, FeatureSettings, Slice
from vcpipe.settings import Settings as Section
from vcpipe.settings import check as check_section
from vcpipe.systems.softvc.model_settings import ModelSettings
from vcpipe.training.settings import LoopSettings
from vcpipe.vocoders.config import PITCHED, check_rates, generator_settings
from vcpipe.vocoders.config import REVISION as VOCODER_REVISION
from vcpipe.vocoders.config import TrainingSettings as VocoderTraining

ACOUSTIC_REVISION = 1
RENDER_REVISION = 1
STATISTICS_REVISION = 1
PUBLISHED_UNITS = 100

Condition = Literal["none", "continuous", "quantised"]
CONDITIONS: tuple[str, ...] = get_args(Condition)
"""What the acoustic model is told beside the units: nothing, as published, or pitch and dynamics, by one of two
heads."""


class AcousticTraining(LoopSettings):
    """How the acoustic model is trained. As it stands, and as `preset: paper`: Soft-VC's recipe."""

    steps: PositiveInt = Field(80_000, description="updates of the model")
    batch: PositiveInt = Field(32, description="utterances per step, of all processes together")
    lr: float = Field(4e-4, gt=0, description="highest learning rate")
    lr_decay: float = Field(1.0, gt=0, le=1, description="exponential: factor at every lr_decay_every steps")
    weight_decay: float = Field(1e-5, ge=0, description="of AdamW")
    keep: Literal["last", "best"] = Field("best", description="which weights the run folder's model.safetensors holds")
    max_s: float = Field(30.0, gt=0, description="longer utterances are cut, from a random start")
    init: str = Field("", description="published checkpoint to start from")
    freeze_decoder: NonNegativeInt = Field(0, description="first steps in which the decoder stays as it is")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or "preset" not in values:
            return values
        name = str(values["preset"])
        if name not in TRAININGS:
            raise ValueError(f"no preset '{name}'; {catalog.nearest(name, list(TRAININGS))}")
        return {**TRAININGS[name], **{key: value for key, value in values.items() if key != "preset"}}


TRAININGS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {
        "steps": 1000,
        "batch": 16,
        "lr": 2e-3,
        "schedule": "cosine",
        "warmup": 50,
        "lr_floor": 0.02,
        "grad_clip": 1.0,
        "ema": 0.99,
        "max_s": 2.0,
        "keep": "last",
        "validate_every": 250,
        "checkpoint_every": 250,
        "log_every": 50,
        "valid_utterances": 16,
    },
    "refine": {"steps": 5000, "batch": 12, "lr": 1e-5},
}


class VocoderSettings(Section):
    """The vocoder that makes sound of the mels."""

    units: str = Field("", description="feature that it reads: the mel, or the mel and the f0 joined; empty: the mel")
    generator: str | dict[str, Any] = Field("hifigan_softvc", description="a preset, or a mapping")
    training: VocoderTraining

    def machine(self) -> str:
        """The keys of its training that are no part of its slice, as JSON."""
        return self.training.model_dump_json(include=VocoderTraining.MACHINE)


class Variant(Section):
    """The recordings once more, changed: features of an augmented copy, of which crops are drawn too."""

    mel: str
    f0: str
    energy: str


class RefineSettings(Section):
    """A small voice, on which a trained acoustic model goes on."""

    corpus: str = Field(description="of the voice, or voices")
    mix: float = Field(0.0, ge=0, lt=1, description="share of each batch that is of softvc.corpus")
    variants: tuple[Variant, ...] = Field((), description="changed copies, so that flat recordings teach a range")
    training: AcousticTraining = AcousticTraining.model_validate({"preset": "refine"})


class ConvertSettings(Section):
    """How a source becomes one of the voices."""

    range: Literal["match", "octave", "keep"] = Field(
        "match", description="median of the pitch: the target's, the source's by whole octaves, or the source's"
    )
    spread: float = Field(1.0, ge=0, le=1, description="how far the spread of the pitch follows the target's")
    transpose: float = Field(0.0, ge=-24, le=24, description="semitones on top")
    dynamics: bool = Field(True, description="bring the loudness of frames to the target's mean and spread")
    loudness_lufs: float | None = Field(-16.0, description="integrated loudness of the output; null leaves it")


OF_CONDITION = frozenset({"range", "spread", "transpose", "dynamics"})
"""Keys of `convert` that a model without a condition would ignore."""


class RowSettings(Section):
    """A variant that is judged beside the system: what differs from it."""

    label: str = Field("", description="its title for people; empty: its name")
    about: str = Field("", description="a sentence on it")
    kind: Literal["system", "baseline", "reference"] = "baseline"
    condition: Condition | None = Field(None, description="another than softvc.condition; its model is trained too")
    refined: bool | None = Field(None, description="the refined model; by default where there is softvc.refine")
    resynthesis: bool = Field(False, description="the source's own mels through the vocoder")
    same_speaker: bool = Field(False, description="every source into its own speaker")
    convert: dict[str, Any] = Field(default_factory=dict, description="keys of softvc.convert that differ")


FIXED_ROWS = {
    "softvc": RowSettings(
        kind="system", label="Soft-VC", about="Soft units and a contour, frame by frame to a voice it has learned."
    ),
    "softvc_resynthesis": RowSettings(
        kind="reference",
        label="Mel resynthesis",
        about="The source's own mels through the same vocoder: what it costs to be vocoded.",
        resynthesis=True,
    ),
    "softvc_same_speaker": RowSettings(
        kind="reference",
        label="Soft-VC, same speaker",
        about="Every source into its own speaker: what the model costs where no voice changes.",
        same_speaker=True,
    ),
}
"""The system itself, and what it is always seen beside."""


class Settings(Section):
    """Soft-VC: units to mels of the voices of a corpus, with or without pitch and dynamics, and mels to sound."""

    corpus: str
    units: str = Field(description="feature of content, soft or discrete, at half the frames of the mel")
    mel: str = Field(description="feature that the acoustic model makes and the vocoder reads")
    f0: str = Field(description="f0 feature on the grid of the mel")
    energy: str = Field(description="energy feature in dB on the grid of the mel")
    variants: tuple[Variant, ...] = Field((), description="changed copies of the recordings that are trained on too")
    condition: Condition = Field("continuous", description="of train_pitdyn and of conversion; none: plain Soft-VC")
    model: ModelSettings = ModelSettings()
    training: AcousticTraining = AcousticTraining()
    vocoder: VocoderSettings
    refine: RefineSettings | None = None
    convert: ConvertSettings = ConvertSettings()
    rows: dict[str, RowSettings] = Field(default_factory=dict, description="variants that are judged beside it")

    @property
    def streams(self) -> dict[str, str]:
        """What a batch has of a recording, and the feature that it is: `units` first."""
        return {"units": self.units, "mel": self.mel, "f0": self.f0, "energy": self.energy}

    @property
    def heard(self) -> str:
        """The feature that the vocoder is trained on."""
        return self.vocoder.units or self.mel

    @property
    def all_rows(self) -> dict[str, RowSettings]:
        """Everything of it that is judged, by name."""
        return {**FIXED_ROWS, **self.rows}

    def condition_of(self, row: str) -> Condition:
        """What the acoustic model of a row is told beside the units."""
        return self.all_rows[row].condition or self.condition

    def refined(self, row: str) -> bool:
        """Whether a row converts with the refined model."""
        asked = self.all_rows[row].refined
        return self.refine is not None if asked is None else asked

    def run_of(self, row: str) -> str:
        """The run folder of a row's acoustic model."""
        return f"results/runs/{run_name(self.condition_of(row), self.refined(row))}"

    @property
    def acoustics(self) -> dict[str, tuple[str, bool]]:
        """Every acoustic model that can be asked for, by the name of its run: its condition, and whether refined."""
        both = (False, True) if self.refine else (False,)
        return {run_name(condition, refined): (condition, refined) for condition in CONDITIONS for refined in both}

    def drawn(self, refined: bool) -> dict[str, tuple[Variant, ...]]:
        """The corpora that batches are drawn from, the one that is validated on first, with their changed copies."""
        if not refined:
            return {self.corpus: self.variants}
        assert self.refine is not None
        mixed = {self.corpus: self.variants} if self.refine.mix else {}
        return {self.refine.corpus: self.refine.variants, **mixed}

    def columns(self, variants: tuple[Variant, ...]) -> dict[str, list[str]]:
        """The features of each column of a batch: the plain one first, then those of the changed copies."""
        found = {key: [name] for key, name in self.streams.items()}
        for variant in variants:
            for key, name in variant.model_dump().items():
                found[key].append(name)
        return found

    def read_by(self, acoustic: str) -> dict[str, list[str]]:
        """All features that a training reads, corpus by corpus."""
        return {
            corpus: [name for names in self.columns(variants).values() for name in names]
            for corpus, variants in self.drawn(self.acoustics[acoustic][1]).items()
        }

    def machine(self, acoustic: str) -> str:
        """The keys of an acoustic model's training that are no part of its slice, as JSON."""
        refined = self.acoustics[acoustic][1]
        training = self.refine.training if refined and self.refine else self.training
        return training.model_dump_json(include=AcousticTraining.MACHINE)

    def convert_of(self, row: str) -> ConvertSettings:
        """How a row converts."""
        values = {**self.convert.model_dump(), **self.all_rows[row].convert}
        settings: ConvertSettings = check_section(ConvertSettings, values, self.where_convert(row))
        return settings

    def where_convert(self, row: str) -> str:
        """The config key under which it stands how a row converts."""
        return "softvc.convert" if row in FIXED_ROWS else f"softvc.rows.{row}.convert"

    def copy_in(self, config: Config) -> str:
        """The copy of the recordings that it learns to make."""
        return config.copy_of(self.mel)

    def trains_on(self) -> set[str]:
        """The corpora that must have utterances for train and for valid."""
        return self.corpora()

    def corpora(self) -> set[str]:
        """Every corpus that the system reads."""
        return {self.corpus} | ({self.refine.corpus} if self.refine else set())


def run_name(condition: str, refined: bool = False) -> str:
    """What the run of an acoustic model is called."""
    name = "soft_acoustic" if condition == "none" else f"pitdyn_{condition}"
    return f"{name}_refined" if refined else name


def check(config: Config) -> None:
    """What would otherwise fail hours later: unknown names, grids that do not zip, rates that miss the hop."""
    softvc: Settings = config.systems["softvc"]
    config.corpus(softvc.corpus, "softvc.corpus")
    if softvc.refine:
        config.corpus(softvc.refine.corpus, "softvc.refine.corpus")
    config.feature(softvc.mel, "softvc.mel")
    for key, kind in {"mel": "mel", "f0": "f0", "energy": "energy"}.items():
        _check_kind(config, getattr(softvc, key), kind, f"softvc.{key}")
    _check_units(config)
    sets = {"softvc": softvc.variants, **({"softvc.refine": softvc.refine.variants} if softvc.refine else {})}
    for where, variants in sets.items():
        for number, variant in enumerate(variants):
            for key, name in variant.model_dump().items():
                place = f"{where}.variants.{number}.{key}"
                _check_kind(config, name, key, place)
                _check_same(config, name, getattr(softvc, key), place)
    _check_vocoder(config)
    for name in softvc.rows:
        check_name(name, f"softvc.rows.{name}")
        if name in FIXED_ROWS:
            raise InputError(f"config key 'softvc.rows.{name}': the system has a row of this name; choose another")
    for row in softvc.all_rows:
        _check_row(softvc, row)


def _check_kind(config: Config, name: str, kind: str, where: str) -> None:
    """Refuses a feature of another kind, or on another grid than the mel."""
    softvc: Settings = config.systems["softvc"]
    found, mel = config.feature(name, where), config.feature(softvc.mel, "softvc.mel")
    if found.kind != kind:
        raise InputError(f"config key '{where}': expected a feature of kind {kind}, {name} is of kind {found.kind}")
    if found.grid != mel.grid:
        raise InputError(
            f"config key '{where}': {name} lies on grid {found.grid}, softvc.mel on {mel.grid}; both must be on the "
            "same: set the feature's hop"
        )
    if kind == "energy" and (measure := getattr(found, "measure", "")) != "rms_db":
        raise InputError(f"config key '{where}': expected an energy with measure rms_db, {name} has {measure}")
    config.check_alike(config.copy_of(softvc.mel), config.copy_of(name), where)


def _check_same(config: Config, name: str, like: str, where: str) -> None:
    """Refuses a variant that is measured otherwise than what it is a variant of."""
    found, expected = config.features[name].content(), config.features[like].content()
    if found != expected:
        key = next(k for k in sorted({*found, *expected}) if found.get(k) != expected.get(k))
        raise InputError(
            f"config key '{where}': expected {name} to be measured as {like} is, found {key} {found.get(key)!r} and "
            f"{expected.get(key)!r}; let them differ in `audio` alone"
        )


def _check_units(config: Config) -> None:
    softvc: Settings = config.systems["softvc"]
    units, mel = config.feature(softvc.units, "softvc.units"), config.feature(softvc.mel, "softvc.mel")
    if units.ROWS != "frame":
        raise InputError(
            f"config key 'softvc.units': expected a feature of frames, {softvc.units} has a row for every {units.ROWS}"
        )
    if units.grid.rate != mel.grid.rate or units.grid.hop != 2 * mel.grid.hop:
        raise InputError(
            f"config key 'softvc.units': {softvc.units} lies on grid {units.grid}, softvc.mel on {mel.grid}; one frame "
            "of units must be two of the mel"
        )
    config.check_alike(config.copy_of(softvc.mel), config.copy_of(softvc.units), "softvc.units")


def _check_vocoder(config: Config) -> None:
    """Refuses a generator that does not make the hop of the mel, or does not read what it is trained on."""
    softvc: Settings = config.systems["softvc"]
    where = "softvc.vocoder.generator"
    generator = generator_settings(softvc.vocoder.generator, where)
    check_rates(generator, config.features[softvc.mel].grid.hop, where)
    if generator.arch == "source_filter":
        raise InputError(
            f"config key '{where}': source_filter reads an envelope, here is a mel; name mel_source_filter_small"
        )
    heard = config.feature(softvc.heard, "softvc.vocoder.units")
    found = heard.names if isinstance(heard, DerivedSettings) and heard.kind == "joined" else (softvc.heard,)
    expected = (softvc.mel, softvc.f0) if generator.arch in PITCHED else (softvc.mel,)
    if tuple(found) != expected:
        wanted = f"a feature of kind joined of {' and '.join(expected)}" if len(expected) > 1 else softvc.mel
        raise InputError(
            f"config key 'softvc.vocoder.units': the generator {generator.arch} reads {wanted}, found {softvc.heard} "
            f"({' and '.join(found)}); name such a feature"
        )


def _check_row(softvc: Settings, row: str) -> None:
    judged, where = softvc.all_rows[row], f"softvc.rows.{row}"
    if judged.refined and softvc.refine is None:
        raise InputError(f"config key '{where}.refined': expected softvc.refine to say on what, found none; add it")
    convert = softvc.convert_of(row)
    own = softvc.convert.model_fields_set if row == "softvc" else set(judged.convert)
    if softvc.condition_of(row) == "none" or judged.resynthesis:
        for key in sorted(OF_CONDITION & own):
            usual = ConvertSettings.model_fields[key].default
            if (found := getattr(convert, key)) != usual:
                raise InputError(
                    f"key '{softvc.where_convert(row)}.{key}': expected {usual} without a condition, which it is of, "
                    f"found {found}; remove the key, or set the condition to continuous or quantised"
                )


def statistics_slice(config: Config, corpus: str) -> Slice:
    """What the voices' pitch and loudness of a corpus depend on."""
    softvc: Settings = config.systems["softvc"]
    return {
        "stage": "statistics",
        "revision": STATISTICS_REVISION,
        "f0": config.feature_slice(softvc.f0, corpus),
        "energy": config.feature_slice(softvc.energy, corpus),
    }


def run_slice(config: Config, condition: str, refined: bool = False) -> Slice:
    """What an acoustic model depends on. `data` is what batches are drawn from, with the share of each."""
    softvc: Settings = config.systems["softvc"]
    units, mel = config.features[softvc.units], config.features[softvc.mel]
    made_by: Slice = {
        "stage": "train",
        "task": "acoustic",
        "revision": ACOUSTIC_REVISION,
        "system": "softvc",
        "condition": condition,
        "model": softvc.model.model_dump(mode="json"),
        "units": {"grid": str(units.grid), "dim": units.dim, "n": n_units(units)},
        "mel": {"grid": str(mel.grid), "dim": mel.dim},
        "features": {name: _content(config, feature) for name, feature in softvc.streams.items()},
    }
    mix = softvc.refine.mix if refined and softvc.refine else 0.0
    shares = [1 - mix, mix] if mix else [1.0]
    data = [
        _data(config, corpus, variants, share)
        for (corpus, variants), share in zip(softvc.drawn(refined).items(), shares, strict=True)
    ]
    training = softvc.refine.training if refined and softvc.refine else softvc.training
    made_by |= {"training": training.model_dump(mode="json", exclude=AcousticTraining.MACHINE), "data": data}
    return {**made_by, "from": run_slice(config, condition)} if refined else made_by


def n_units(units: FeatureSettings) -> int:
    """How many discrete units a feature has, 0 where they are soft; as many as published where it does not say."""
    return int(getattr(units, "clusters", PUBLISHED_UNITS)) if units.dtype == "int16" else 0


def _content(config: Config, feature: str) -> Slice:
    """What a converter has to know to make a feature of any recording: of a derived one, what it is made of too."""
    settings = config.features[feature]
    names = getattr(settings, "names", ())
    return {**settings.content(), **({"of": [_content(config, name) for name in names]} if names else {})}


def _data(config: Config, corpus: str, variants: tuple[Variant, ...], share: float) -> Slice:
    """What is drawn of one corpus: of every column the shards of each variant."""
    softvc: Settings = config.systems["softvc"]
    features = softvc.columns(variants)
    return {
        "share": share,
        "shards": config.corpora[corpus].shards,
        **{key: [config.feature_slice(name, corpus) for name in names] for key, names in features.items()},
        "statistics": statistics_slice(config, corpus),
    }


def vocoder_slice(config: Config) -> Slice:
    """What the vocoder depends on."""
    softvc: Settings = config.systems["softvc"]
    units = config.features[softvc.heard]
    training = softvc.vocoder.training
    return {
        "stage": "train",
        "task": "vocoder",
        "revision": VOCODER_REVISION,
        "system": "softvc",
        "generator": generator_settings(softvc.vocoder.generator, "softvc.vocoder.generator").model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude=VocoderTraining.MACHINE),
        "units": {"grid": str(units.grid), "dim": units.dim},
        "wav": config.audio_slice(softvc.copy_in(config), softvc.corpus),
        "variants": [config.feature_slice(softvc.heard, softvc.corpus)],
        "features": {"mel": config.features[softvc.mel].content(), "f0": config.features[softvc.f0].content()},
    }


def render_slice(config: Config, row: str) -> Slice:
    """What the conversions of a row depend on, beside the table of trials."""
    softvc: Settings = config.systems["softvc"]
    corpus, judged = evaluated.corpus(config), softvc.all_rows[row]
    condition = softvc.condition_of(row)
    without = OF_CONDITION if condition == "none" or judged.resynthesis else set()
    acoustic = {} if judged.resynthesis else {"run": run_slice(config, condition, softvc.refined(row))}
    return {
        "stage": "render",
        "revision": RENDER_REVISION,
        "row": judged.model_dump(mode="json", exclude={"convert", "condition", "refined"}),
        "convert": softvc.convert_of(row).model_dump(mode="json", exclude=set(without)),
        **acoustic,
        "vocoder": vocoder_slice(config),
        **{key: config.feature_slice(name, corpus) for key, name in softvc.streams.items()},
        "wav": config.audio_slice(softvc.copy_in(config), corpus),
    }


def fitted(config: Config) -> list[str]:
    """The model that makes the units of what an extractor gives, where there is one: it goes into the run folder."""
    softvc: Settings = config.systems["softvc"]
    units = config.features[softvc.units]
    return [f"results/runs/{softvc.units}/model.safetensors"] if getattr(units, "fitted_on", "") else []


def base_of(softvc: Settings, name: str) -> list[str]:
    """The files of the run that a refined one goes on from."""
    condition, refined = softvc.acoustics[name]
    folder = f"results/runs/{run_name(condition)}"
    return [f"{folder}/model.safetensors", f"{folder}/config.json"] if refined else []


def option(name: str, values: Sequence[str]) -> list[str]:
    """A command line's option, once for each value."""
    return [part for value in values for part in (f"--{name}", value)]


def data_options(config: Config, acoustic: str) -> list[str]:
    """Where a training finds what it draws of each corpus, for its command line."""
    softvc: Settings = config.systems["softvc"]
    copy = softvc.copy_in(config)
    places = [
        {
            "manifest": f"results/audio/{copy}/{corpus}/manifest.csv",
            "statistics": statistics_file(corpus),
            **{
                key: [f"results/features/{name}/{corpus}" for name in names]
                for key, names in softvc.columns(variants).items()
            },
        }
        for corpus, variants in softvc.drawn(softvc.acoustics[acoustic][1]).items()
    ]
    return option("data", [json.dumps(place) for place in places])


def statistics_file(corpus: str) -> str:
    """Where the voices of a corpus stand."""
    return f"results/softvc/statistics/{corpus}.json"
