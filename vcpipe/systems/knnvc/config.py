"""The `knnvc:` section of the config and the slices of its stages. Torch-free: read at every start of snakemake."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from vcpipe import evaluated
from vcpipe.config import Config, SystemShards
from vcpipe.errors import InputError
from vcpipe.sections import check_name
from vcpipe.settings import FeatureSettings, Slice
from vcpipe.settings import Settings as Section
from vcpipe.settings import check as check_section
from vcpipe.systems.knnvc.applied import applied, check_applied
from vcpipe.vocoders.config import REVISION as VOCODER_REVISION
from vcpipe.vocoders.config import (
    GeneratorSettings,
    SourceFilterSettings,
    TrainingSettings,
    check_rates,
    generator_settings,
)

PREMATCH_REVISION = 1
RENDER_REVISION = 5
UNMATCHED_REVISION = 1
STREAMS = ("content", "pitch")
"""What a vocoder may hear beside the frames that conversion makes: keys of the section that name a feature each."""


class PrematchSettings(Section):
    """How training frames are matched against the speaker's other utterances."""

    topk: PositiveInt = Field(4, description="nearest frames that are averaged")
    pool: Literal["speaker", "group"] = Field("speaker", description="group: the recording session (a chapter)")
    min_pool_s: float = Field(10.0, ge=0, description="a smaller pool falls under small_pool")
    small_pool: Literal["drop", "plain", "halves", "error"] = Field(
        "drop",
        description="an utterance with too small a pool: left out, used unmatched, each half matched against the other "
        "half, or an error",
    )


class ConvertSettings(Section):
    """How one voice becomes another at conversion."""

    method: Literal["knn", "linear", "linear_factorised", "mean", "world", "none"] = Field(
        "knn",
        description="nearest frames; a linear map from voice to voice, or one through shared content; the voices' mean "
        "frames exchanged; WORLD's pitch and envelope, without units; or the source's own frames",
    )
    topk: PositiveInt = Field(4, description="knn: nearest frames that are averaged")
    weighting: Literal["uniform", "softmax", "inverse"] = Field("uniform", description="knn: what each of them counts")
    temperature: float = Field(0.01, gt=0, description="knn: of the softmax of cosines")
    smoothness: float = Field(0.0, ge=0, description="knn: what a jump within the pool costs; 0: nothing")
    candidates: PositiveInt = Field(32, description="knn: nearest frames among which the smoothest way is looked for")
    ridge: float = Field(0.01, ge=0, description="linear, linear_factorised: pull against too few frames")
    own_content: float = Field(
        1.0,
        ge=0,
        le=1,
        description="knn: the source's share in what the vocoder hears as knnvc.content, beside alpha; the rest is its "
        "neighbours'",
    )
    bias: bool = Field(False, description="linear: fit a constant too")
    orthogonal: bool = Field(False, description="linear: only turn the frames")
    rank: PositiveInt = Field(100, description="linear_factorised: directions of content that the voices share")
    scale: bool = Field(False, description="mean, world: exchange the spread too")
    alpha: float = Field(
        0.0, ge=0, le=1, description="share of the source's own frames that is mixed in; 0: all target"
    )
    transpose: float = Field(0.0, ge=-24, le=24, description="semitones above the target's register; needs knnvc.pitch")
    match_spectrum: bool = Field(False, description="filter the output towards the target's long-term spectrum")
    spread: float = Field(
        0.0,
        ge=0,
        le=1,
        description="how far the spread of the pitch, and with match_spectrum of the spectrum, follows the target's",
    )
    loudness_lufs: float | None = Field(-16.0, description="integrated loudness of the output; null leaves it")
    trim_references: bool = Field(
        True,
        description="cut silence around the speech of each reference that is given to a Converter; rows read the "
        "frames of the shards as they are",
    )


class RowSettings(Section):
    """A variant that is judged beside the system: what differs from it."""

    label: str = Field("", description="its title for people; empty: its name")
    about: str = Field("", description="a sentence on it")
    kind: Literal["system", "baseline", "reference"] = "baseline"
    vocoder: Literal["prematched", "plain"] = Field("prematched", description="plain: the one of train_hifigan")
    convert: dict[str, Any] = Field(default_factory=dict, description="keys of knnvc.convert that differ")
    same_speaker: bool = Field(False, description="every source into its own speaker, from other recordings")


FIXED_ROWS = {
    "knnvc": RowSettings(kind="system", label="kNN-VC", about="Nearest frames of the target, by the trained vocoder."),
    "knnvc_resynthesis": RowSettings(
        kind="reference",
        label="Vocoder resynthesis",
        about="The source's own frames through the same vocoder: what it costs to be vocoded.",
        convert={"method": "none"},
    ),
    "knnvc_same_speaker": RowSettings(
        kind="reference",
        label="Same speaker to itself",
        about="Every source converted into its own speaker: what the method costs where no voice changes.",
        same_speaker=True,
    ),
}
"""The system itself, and what it is always seen beside."""


class Settings(Section):
    """kNN-VC: what is matched, what is vocoded, how the vocoder is trained."""

    corpus: str
    match: str = Field(description="feature whose frames are compared")
    synthesis: str = Field("", description="feature whose frames are averaged and vocoded; empty: the same")
    normalise: bool = Field(False, description="compare frames less the mean and the spread of each voice")
    content: str = Field("", description="feature whose own frames, normalised over the recording, are vocoded too")
    pitch: str = Field("", description="f0 feature for the generator source_filter; conversion moves its register")
    prematch: PrematchSettings = PrematchSettings()
    mix_plain: bool = Field(False, description="train_hifigan_prematched draws half of its crops from plain features")
    generator: str | dict[str, Any] = "hifigan_v1"
    training: TrainingSettings
    convert: ConvertSettings = ConvertSettings()
    rows: dict[str, RowSettings] = Field(default_factory=dict, description="variants that are judged beside it")

    @property
    def units(self) -> str:
        """The feature that the vocoder reads."""
        return self.synthesis or self.match

    @property
    def streams(self) -> dict[str, str]:
        """The features that the vocoder hears beside `units`, by what they are to it."""
        named = {name: str(getattr(self, name)) for name in STREAMS}
        return {name: feature for name, feature in named.items() if feature}

    @property
    def columns(self) -> list[str]:
        """The features whose columns the vocoder hears."""
        return [self.units, *self.streams.values()]

    @property
    def plain(self) -> str:
        """The shards of unmatched units: those of the feature, or, with streams, those that hold all columns."""
        return "unmatched" if self.streams else self.units

    @property
    def all_rows(self) -> dict[str, RowSettings]:
        """Everything of it that is judged, by name."""
        return {**FIXED_ROWS, **self.rows}

    def run_of(self, row: str) -> str:
        """The run folder of a row's vocoder."""
        return f"results/runs/{'hifigan' if self.all_rows[row].vocoder == 'plain' else 'hifigan_prematched'}"

    def convert_of(self, row: str) -> ConvertSettings:
        """How a row converts."""
        settings: ConvertSettings = check_section(
            ConvertSettings,
            {**self.convert.model_dump(), **self.all_rows[row].convert},
            self.where_convert(row),
        )
        return settings

    def where_convert(self, row: str) -> str:
        """The config key under which it stands how a row converts."""
        return "knnvc.convert" if row in FIXED_ROWS else f"knnvc.rows.{row}.convert"

    def variants(self, prematched: bool) -> list[str]:
        """The features that a vocoder's crops are drawn from, half and half where there are two."""
        if not prematched:
            return [self.plain]
        return ["prematched", self.plain] if self.mix_plain else ["prematched"]

    def machine(self) -> str:
        """The keys of the training that are no part of its slice, as JSON."""
        return self.training.model_dump_json(include=TrainingSettings.MACHINE)

    def copy_in(self, config: Config) -> str:
        """The copy of the recordings that its vocoder learns to make."""
        return config.copy_of(self.units)

    def trains_on(self) -> set[str]:
        """The corpora that must have utterances for train and for valid."""
        return {self.corpus}

    def corpora(self) -> set[str]:
        """Every corpus that the system reads."""
        return {self.corpus}


def check(config: Config) -> None:
    """What would otherwise fail hours later: unknown names, grids that do not zip, rates that miss the hop."""
    knnvc: Settings = config.systems["knnvc"]
    config.corpus(knnvc.corpus, "knnvc.corpus")
    for name, what in {"prematched": "pre-matched features", "unmatched": "units without matching"}.items():
        if name in config.features:
            raise InputError(f"config key 'features.{name}': the name is kept for {what}; choose another")
    match = config.feature(knnvc.match, "knnvc.match")
    units = config.feature(knnvc.units, "knnvc.synthesis")
    for key, name in {"synthesis": knnvc.units, **knnvc.streams}.items():
        where = f"knnvc.{key}"
        feature = config.feature(name, where)
        if feature.ROWS != "frame":
            raise InputError(
                f"config key '{where}': expected a feature of frames, {name} has a row for every {feature.ROWS}"
            )
        if match.grid != feature.grid:
            raise InputError(
                f"config key '{where}': {name} lies on grid {feature.grid}, knnvc.match on {match.grid}; both must be "
                "on the same"
            )
        config.check_alike(config.copy_of(knnvc.match), config.copy_of(name), where)
    generator = generator_settings(knnvc.generator, "knnvc.generator")
    check_rates(generator, units.grid.hop, "knnvc.generator")
    _check_streams(config, generator)
    for name in knnvc.rows:
        check_name(name, f"knnvc.rows.{name}")
        if name in FIXED_ROWS:
            raise InputError(f"config key 'knnvc.rows.{name}': the system has a row of this name; choose another")
    for row, judged in knnvc.all_rows.items():
        own = knnvc.convert.model_fields_set if row == "knnvc" else judged.convert
        convert = knnvc.convert_of(row)
        check_applied(convert, own, knnvc.where_convert(row), knnvc.streams)
        if convert.own_content < 1 and "own_content" in own and not knnvc.content:
            raise InputError(
                f"config key '{knnvc.where_convert(row)}.own_content': expected 1 without content that could be mixed, "
                f"found {convert.own_content:g}; set it to 1, or name a feature in knnvc.content"
            )
        if (transpose := convert.transpose) and not knnvc.pitch:
            raise InputError(
                f"config key '{knnvc.where_convert(row)}.transpose': expected 0 without a pitch that could be moved, "
                f"found {transpose:g}; set it to 0, or name an f0 feature in knnvc.pitch"
            )


def _check_streams(config: Config, generator: GeneratorSettings) -> None:
    """Refuses a generator that does not get the columns it reads, and columns that none reads."""
    knnvc: Settings = config.systems["knnvc"]
    if knnvc.pitch and (kind := config.features[knnvc.pitch].kind) != "f0":
        raise InputError(f"config key 'knnvc.pitch': expected a feature of kind f0, {knnvc.pitch} is of kind {kind}")
    if not isinstance(generator, SourceFilterSettings):
        if knnvc.pitch:
            raise InputError(
                f"config key 'knnvc.pitch': the generator {generator.arch} does not read F0; remove the key, or set "
                "knnvc.generator to source_filter_small"
            )
        return
    if not knnvc.pitch:
        raise InputError(
            "config key 'knnvc.pitch': the generator source_filter needs an F0; name a feature of kind f0 with the hop "
            "of knnvc.match"
        )
    units = config.features[knnvc.units]
    found = {"kind": units.kind, "bands": getattr(units, "bands", None), "parts": getattr(units, "parts", None)}
    expected = {"kind": "envelope", "bands": generator.bands, "parts": generator.parts}
    for key, value in expected.items():
        if found[key] != value:
            raise InputError(
                f"config key 'knnvc.synthesis': the generator source_filter reads a feature with {key} {value}, "
                f"{knnvc.units} has {key} {found[key]}; name another feature, or set the generator's bands and parts"
            )


def prematch_slice(config: Config, corpus: str) -> Slice:
    """What the pre-matched shards of a corpus depend on."""
    knnvc: Settings = config.systems["knnvc"]
    return {
        "stage": "prematch",
        "revision": PREMATCH_REVISION,
        "settings": {**knnvc.prematch.model_dump(mode="json"), **_normalise_slice(knnvc)},
        "match": config.feature_slice(knnvc.match, corpus),
        "synthesis": config.feature_slice(knnvc.units, corpus),
        **_streams_slice(config, corpus),
    }


def unmatched_slice(config: Config, corpus: str) -> Slice:
    """What the shards with the columns of the pre-matched ones, but nothing matched, depend on."""
    knnvc: Settings = config.systems["knnvc"]
    return {
        "stage": "unmatched",
        "revision": UNMATCHED_REVISION,
        "synthesis": config.feature_slice(knnvc.units, corpus),
        **_streams_slice(config, corpus),
    }


def _normalise_slice(knnvc: Settings) -> Slice:
    """The part of a slice on how frames are compared; none where they are compared as they are."""
    return {"normalise": True} if knnvc.normalise else {}


def _streams_slice(config: Config, corpus: str) -> Slice:
    """The part of a slice on the streams; none where there are none."""
    streams = config.systems["knnvc"].streams
    return {"streams": {key: config.feature_slice(name, corpus) for key, name in streams.items()}} if streams else {}


def run_slice(config: Config, prematched: bool) -> Slice:
    """What a trained vocoder depends on. `variants` are the kinds of units that its crops are drawn from."""
    knnvc: Settings = config.systems["knnvc"]
    units: FeatureSettings = config.feature(knnvc.units, "knnvc.synthesis")
    corpus = knnvc.corpus
    streams = {key: config.feature(name, f"knnvc.{key}") for key, name in knnvc.streams.items()}
    made = {"prematched": prematch_slice, "unmatched": unmatched_slice}
    return {
        "stage": "train",
        "task": "vocoder",
        "revision": VOCODER_REVISION,
        "system": "knnvc",
        "generator": generator_settings(knnvc.generator, "knnvc.generator").model_dump(mode="json"),
        "training": knnvc.training.model_dump(mode="json", exclude=TrainingSettings.MACHINE),
        **_normalise_slice(knnvc),
        "units": {"grid": str(units.grid), "dim": units.dim + sum(f.dim for f in streams.values())},
        "wav": config.audio_slice(knnvc.copy_in(config), corpus),
        "variants": [
            made[name](config, corpus) if name in made else config.feature_slice(name, corpus)
            for name in knnvc.variants(prematched)
        ],
        "features": {
            "match": config.feature(knnvc.match, "knnvc.match").content(),
            "synthesis": units.content(),
            **{key: feature.content() for key, feature in streams.items()},
        },
    }


def render_slice(config: Config, row: str) -> Slice:
    """What the conversions of a row depend on, beside the table of trials."""
    knnvc: Settings = config.systems["knnvc"]
    corpus, settings = evaluated.corpus(config), knnvc.all_rows[row]
    return {
        "stage": "render",
        "revision": RENDER_REVISION,
        "row": settings.model_dump(mode="json", exclude={"convert", "vocoder"}),
        "convert": applied(knnvc.convert_of(row), knnvc.streams),
        "run": run_slice(config, settings.vocoder == "prematched"),
        "match": config.feature_slice(knnvc.match, corpus),
        "synthesis": config.feature_slice(knnvc.units, corpus),
        "wav": config.audio_slice(knnvc.copy_in(config), corpus),
        **_streams_slice(config, corpus),
    }


SHARDS = {
    "prematched": SystemShards(prematch_slice, like=lambda config: config.systems["knnvc"].columns),
    "unmatched": SystemShards(
        unmatched_slice, like=lambda config: config.systems["knnvc"].columns if config.systems["knnvc"].streams else []
    ),
}
"""What the system derives of a corpus beside the features of the config."""
