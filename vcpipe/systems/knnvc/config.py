"""The `knnvc:` section of the config and the slices of its stages. Torch-free: read at every start of snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vcpipe.config import Config, SystemShards
from vcpipe.errors import InputError
from vcpipe.settings import FeatureSettings, Slice
from vcpipe.settings import Settings as Section
from vcpipe.vocoders.config import REVISION as VOCODER_REVISION
from vcpipe.vocoders.config import TrainingSettings, check_rates, generator_settings

PREMATCH_REVISION = 1
RENDER_REVISION = 2


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

    topk: PositiveInt = Field(4, description="nearest frames that are averaged")
    alpha: float = Field(
        0.0, ge=0, le=1, description="share of the source's own frames that is mixed in; 0: all target"
    )
    loudness_lufs: float | None = Field(-16.0, description="integrated loudness of the output; null leaves it")
    trim_references: bool = Field(True, description="cut silence before and after the speech of each reference")


class DemoSettings(Section):
    """Which conversions the demo page shows."""

    corpus: str = Field("", description="of the sources and references; empty: the training corpus")
    trials: str = Field(
        "", description="CSV of source,target,references; empty: data_splits/trials/<corpus>.csv, else some are drawn"
    )
    pairs: PositiveInt = Field(32, description="how many are drawn when there is no trials file")
    seed: NonNegativeInt = 0


class Settings(Section):
    """kNN-VC: what is matched, what is vocoded, how the vocoder is trained."""

    corpus: str
    match: str = Field(description="feature whose frames are compared")
    synthesis: str = Field("", description="feature whose frames are averaged and vocoded; empty: the same")
    prematch: PrematchSettings = PrematchSettings()
    mix_plain: bool = Field(False, description="train_hifigan_prematched draws half of its crops from plain features")
    generator: str | dict[str, Any] = "hifigan_v1"
    training: TrainingSettings
    convert: ConvertSettings = ConvertSettings()
    demo: DemoSettings = DemoSettings()

    @property
    def units(self) -> str:
        """The feature that the vocoder reads."""
        return self.synthesis or self.match

    @property
    def demo_corpus(self) -> str:
        """The corpus of the demo's sources and references."""
        return self.demo.corpus or self.corpus

    @property
    def trials(self) -> str:
        """The table of the demo's trials; empty where they are drawn."""
        committed = f"data_splits/trials/{self.demo_corpus}.csv"
        return self.demo.trials or (committed if Path(committed).is_file() else "")

    def variants(self, prematched: bool) -> list[str]:
        """The features that a vocoder's crops are drawn from, half and half where there are two."""
        if not prematched:
            return [self.units]
        return ["prematched", self.units] if self.mix_plain else ["prematched"]

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
        return {self.corpus, self.demo_corpus}


def check(config: Config) -> None:
    """What would otherwise fail hours later: unknown names, grids that do not zip, rates that miss the hop."""
    knnvc: Settings = config.systems["knnvc"]
    for key, name in (("knnvc.corpus", knnvc.corpus), ("knnvc.demo.corpus", knnvc.demo_corpus)):
        config.corpus(name, key)
    if "prematched" in config.features:
        raise InputError("config key 'features.prematched': the name is kept for pre-matched features; choose another")
    match = config.feature(knnvc.match, "knnvc.match")
    units = config.feature(knnvc.units, "knnvc.synthesis")
    if match.grid != units.grid:
        raise InputError(
            f"config key 'knnvc.synthesis': {knnvc.units} lies on grid {units.grid}, knnvc.match on {match.grid}; "
            "both must be on the same"
        )
    config.check_alike(config.copy_of(knnvc.match), config.copy_of(knnvc.units), "knnvc.synthesis")
    check_rates(generator_settings(knnvc.generator, "knnvc.generator"), units.grid.hop, "knnvc.generator")


def prematch_slice(config: Config, corpus: str) -> Slice:
    """What the pre-matched shards of a corpus depend on."""
    knnvc: Settings = config.systems["knnvc"]
    return {
        "stage": "prematch",
        "revision": PREMATCH_REVISION,
        "settings": knnvc.prematch.model_dump(mode="json"),
        "match": config.feature_slice(knnvc.match, corpus),
        "synthesis": config.feature_slice(knnvc.units, corpus),
    }


def run_slice(config: Config, prematched: bool) -> Slice:
    """What a trained vocoder depends on. `variants` are the kinds of units that its crops are drawn from."""
    knnvc: Settings = config.systems["knnvc"]
    units: FeatureSettings = config.feature(knnvc.units, "knnvc.synthesis")
    corpus = knnvc.corpus
    return {
        "stage": "train",
        "task": "vocoder",
        "revision": VOCODER_REVISION,
        "system": "knnvc",
        "generator": generator_settings(knnvc.generator, "knnvc.generator").model_dump(mode="json"),
        "training": knnvc.training.model_dump(mode="json", exclude=TrainingSettings.MACHINE),
        "units": {"grid": str(units.grid), "dim": units.dim},
        "wav": config.audio_slice(knnvc.copy_in(config), corpus),
        "variants": [
            prematch_slice(config, corpus) if name == "prematched" else config.feature_slice(name, corpus)
            for name in knnvc.variants(prematched)
        ],
        "features": {
            "match": config.feature(knnvc.match, "knnvc.match").content(),
            "synthesis": units.content(),
        },
    }


def render_slice(config: Config, prematched: bool) -> Slice:
    """What the conversions of the demo depend on."""
    knnvc: Settings = config.systems["knnvc"]
    return {
        "stage": "render",
        "revision": RENDER_REVISION,
        "convert": knnvc.convert.model_dump(mode="json"),
        "demo": knnvc.demo.model_dump(mode="json", exclude={"trials"}),
        "run": run_slice(config, prematched),
        "match": config.feature_slice(knnvc.match, knnvc.demo_corpus),
        "synthesis": config.feature_slice(knnvc.units, knnvc.demo_corpus),
        "wav": config.audio_slice(knnvc.copy_in(config), knnvc.demo_corpus),
    }


SHARDS = {"prematched": SystemShards(prematch_slice, like=lambda config: config.systems["knnvc"].units)}
"""What the system derives of a corpus beside the features of the config."""
