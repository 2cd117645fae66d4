"""The `softvc:` section of the config: what it may say, and which models and rows it asks for. Torch-free."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from vcpipe.config import Config
from vcpipe.settings import Settings as Section
from vcpipe.settings import check as check_section
from vcpipe.settings import of_preset
from vcpipe.systems.softvc.literal_settings import PITDYN, LiteralSettings
from vcpipe.systems.softvc.model_settings import ModelSettings
from vcpipe.training.settings import LoopSettings
from vcpipe.vocoders.config import TrainingSettings as VocoderTraining

Condition = Literal["none", "continuous", "quantised", "literal"]
CONDITIONS: tuple[str, ...] = get_args(Condition)
"""What the acoustic model is told beside the units: nothing, as published; pitch and dynamics, by one of two heads; or
what two classifiers heard of the source, in columns of the units, as hubert-pitdyn did."""
MOVED = ("continuous", "quantised")
"""Those whose contour is brought to the voice before the model is told."""


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
        return of_preset(values, TRAININGS)


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
    same_speakers: bool = Field(False, description="a speaker of a name that the model knows is that person")
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
"""Keys of `convert` that a model whose condition is not moved would ignore."""


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
        kind="system", label="Soft-VC", about="Units of content, frame by frame to the mels of a voice it has learned."
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
    literal: LiteralSettings | None = Field(None, description="what condition literal is made of")
    model: ModelSettings = ModelSettings()
    training: AcousticTraining = AcousticTraining()
    vocoder: VocoderSettings
    refine: RefineSettings | None = None
    convert: ConvertSettings = ConvertSettings()
    same_speaker: bool = Field(
        True,
        description="judge every source in its own speaker's voice; false where sources are no voices of the model",
    )
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
        fixed = {name: row for name, row in FIXED_ROWS.items() if self.same_speaker or not row.same_speaker}
        return {**fixed, **self.rows}

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
        return {
            run_name(condition, refined): (condition, refined)
            for condition in CONDITIONS
            for refined in both
            if condition != "literal" or self.literal
        }

    @property
    def embedded(self) -> dict[str, str]:
        """The shards of units beside pitch and dynamics, and a feature of the copy of the recordings they are heard in.

        Those of a changed copy have the units of the recordings as they are, and the pitch and dynamics of the copy.
        """
        if self.literal is None:
            return {}
        changed = (*self.variants, *(self.refine.variants if self.refine else ()))
        return {PITDYN: self.literal.encoder, **{pitdyn_of(variant): variant.mel for variant in changed}}

    def drawn(self, refined: bool) -> dict[str, tuple[Variant, ...]]:
        """The corpora that batches are drawn from, the one that is validated on first, with their changed copies."""
        if not refined:
            return {self.corpus: self.variants}
        assert self.refine is not None
        mixed = {self.corpus: self.variants} if self.refine.mix else {}
        return {self.refine.corpus: self.refine.variants, **mixed}

    def streams_of(self, condition: str) -> dict[str, str]:
        """The shards of each stream as an acoustic model reads them."""
        return {**self.streams, "units": PITDYN} if condition == "literal" else self.streams

    def columns(self, condition: str, variants: tuple[Variant, ...]) -> dict[str, list[str]]:
        """The shards of each column of a batch: the plain ones first, then those of the changed copies.

        Of condition `none` there are no changed copies: their units are those of the recordings as they are, so that
        nothing would tell the model which of the pitches is meant.
        """
        found = {key: [name] for key, name in self.streams_of(condition).items()}
        for variant in variants if condition != "none" else ():
            for key, name in variant.model_dump().items():
                found[key].append(name)
            if condition == "literal":
                found["units"].append(pitdyn_of(variant))
        return found

    def read_by(self, acoustic: str) -> dict[str, list[str]]:
        """All shards that a training reads, corpus by corpus."""
        condition, refined = self.acoustics[acoustic]
        return {
            corpus: [name for names in self.columns(condition, variants).values() for name in names]
            for corpus, variants in self.drawn(refined).items()
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


def pitdyn_of(variant: Variant) -> str:
    """What the shards of units beside the pitch and dynamics of a changed copy are called."""
    return f"{PITDYN}_{variant.mel}"


def run_name(condition: str, refined: bool = False) -> str:
    """What the run of an acoustic model is called."""
    name = "soft_acoustic" if condition == "none" else f"pitdyn_{condition}"
    return f"{name}_refined" if refined else name
