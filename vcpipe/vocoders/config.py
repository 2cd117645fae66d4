"""What a vocoder is and how it is trained. Torch-free: systems' config modules read it at every start of snakemake."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator

from vcpipe import catalog
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.settings import Settings, Slice, check, of_preset
from vcpipe.training.settings import LoopSettings

REVISION = 2


class HifiGanSettings(Settings):
    """Shape of a HiFi-GAN generator (arXiv 2010.05646). As it stands: kNN-VC's, 320 samples per frame."""

    arch: Literal["hifigan"] = "hifigan"
    rates: tuple[PositiveInt, ...] = Field((10, 8, 2, 2), description="upsampling stages; their product is the hop")
    kernels: tuple[PositiveInt, ...] = Field((20, 16, 4, 4), description="of the stages; kernel - rate must be even")
    channels: PositiveInt = Field(512, description="of the first stage; halved by every stage")
    pre_dim: PositiveInt | None = Field(512, description="width of a linear layer in front; null for none")
    resblock: Literal[1, 2] = 1
    resblock_kernels: tuple[PositiveInt, ...] = (3, 7, 11)
    dilations: tuple[tuple[PositiveInt, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))

    @model_validator(mode="after")
    def _shapes_fit(self) -> HifiGanSettings:
        if len(self.rates) != len(self.kernels) or not self.rates:
            raise ValueError(
                f"rates has {len(self.rates)} stages and kernels {len(self.kernels)}; give one kernel a rate"
            )
        for rate, kernel in zip(self.rates, self.kernels, strict=True):
            if kernel < rate or (kernel - rate) % 2:
                raise ValueError(
                    f"kernel {kernel} for rate {rate}: kernel - rate must be even and not negative, else the length "
                    f"drifts; try {2 * rate if rate % 2 == 0 else 2 * rate + 1}"
                )
        if len(self.resblock_kernels) != len(self.dilations):
            raise ValueError(
                f"resblock_kernels has {len(self.resblock_kernels)} entries and dilations {len(self.dilations)}; "
                "give one list of dilations a kernel"
            )
        if even := [k for k in self.resblock_kernels if k % 2 == 0]:
            raise ValueError(f"resblock_kernels {even}: must be odd, else the length drifts")
        if self.channels % 2 ** len(self.rates):
            raise ValueError(f"channels {self.channels} cannot be halved {len(self.rates)} times")
        return self


class VocosSettings(Settings):
    """Shape of a Vocos generator (arXiv 2306.00814). Its hop is that of the units, so there is nothing to agree."""

    arch: Literal["vocos"] = "vocos"
    width: PositiveInt = Field(224, description="channels of the blocks")
    depth: PositiveInt = Field(6, description="number of blocks")
    expand: PositiveInt = Field(3, description="hidden width of a block, in widths")
    overlap: Literal[2, 4, 6, 8] = Field(4, description="length of the inverse STFT, in hops")


class SourceFilterSettings(Settings):
    """Shape of a source-filter generator, whose units end in `parts * bands` of an envelope and two of an f0."""

    arch: Literal["source_filter"] = "source_filter"
    width: PositiveInt = Field(224, description="channels of the blocks")
    depth: PositiveInt = Field(6, description="number of blocks")
    expand: PositiveInt = Field(3, description="hidden width of a block, in widths")
    filters: PositiveInt = Field(2, description="in a frame; divides `parts` and the hop")
    overlap: Literal[2, 4, 6, 8] = Field(4, description="length of the inverse STFT, in steps from filter to filter")
    bands: int = Field(64, ge=2, description="mel bands of the envelope")
    parts: PositiveInt = Field(4, description="instants of the envelope in a frame")

    @property
    def least_dim(self) -> int:
        """Columns of units that hold an envelope and an f0, and no content before them."""
        return self.parts * self.bands + 2


class MelSourceFilterSettings(Settings):
    """Shape of a source-filter generator over log-mels, whose units end in two columns of an f0."""

    arch: Literal["mel_source_filter"] = "mel_source_filter"
    width: PositiveInt = Field(160, description="channels of the blocks")
    depth: PositiveInt = Field(6, description="number of blocks")
    expand: PositiveInt = Field(3, description="hidden width of a block, in widths")
    overlap: Literal[2, 4, 6, 8] = Field(4, description="length of the inverse STFT, in hops")
    quefrencies: PositiveInt = Field(24, description="cosines along the bands that make up the envelope")


GeneratorSettings = HifiGanSettings | VocosSettings | SourceFilterSettings | MelSourceFilterSettings
ARCHS: dict[str, type[GeneratorSettings]] = {
    "hifigan": HifiGanSettings,
    "vocos": VocosSettings,
    "source_filter": SourceFilterSettings,
    "mel_source_filter": MelSourceFilterSettings,
}
PITCHED = ("source_filter", "mel_source_filter")
"""Generators whose units end in an f0."""

GENERATORS: dict[str, dict[str, Any]] = {
    "hifigan_v1": {"arch": "hifigan"},
    "hifigan_v2": {"arch": "hifigan", "channels": 128, "pre_dim": 128},
    "hifigan_v3": {
        "arch": "hifigan",
        "rates": (10, 8, 4),
        "kernels": (20, 16, 8),
        "channels": 256,
        "pre_dim": 256,
        "resblock": 2,
        "resblock_kernels": (3, 5, 7),
        "dilations": ((1, 2), (2, 6), (3, 12)),
    },
    "hifigan_small": {
        "arch": "hifigan",
        "rates": (10, 8, 4),
        "kernels": (20, 16, 8),
        "channels": 192,
        "pre_dim": 192,
        "resblock": 2,
        "resblock_kernels": (3, 7),
        "dilations": ((1, 3), (1, 3)),
    },
    "hifigan_softvc": {"arch": "hifigan", "rates": (10, 4, 2, 2), "kernels": (20, 8, 4, 4), "pre_dim": None},
    "vocos_small": {"arch": "vocos"},
    "source_filter_small": {"arch": "source_filter"},
    "mel_source_filter_small": {"arch": "mel_source_filter"},
}
"""Presets. v2 and v3 are HiFi-GAN's shapes at 320 samples per frame, softvc is Soft-VC's at 160, over mels."""


def generator_settings(value: str | Mapping[str, Any] | GeneratorSettings, where: str) -> GeneratorSettings:
    """The generator that a config value means.

    Args:
        value: the name of a preset, `{preset: name, key: override}`, or a mapping with an `arch`.
        where: the config key to name in an error.
    """
    if isinstance(value, GeneratorSettings):
        return value
    values = _laid_over(GENERATORS, {"preset": value} if isinstance(value, str) else value, where)
    arch = str(values.get("arch"))
    if arch not in ARCHS:
        raise InputError(
            f"config key '{where}': expected a preset ({', '.join(GENERATORS)}) or an arch ({', '.join(ARCHS)}), "
            f"found {value!r}"
        )
    settings: GeneratorSettings = check(ARCHS[arch], values, where)
    return settings


def check_rates(generator: GeneratorSettings, hop: int, where: str) -> None:
    """Refuses a generator that does not make `hop` samples of a frame; `where` is its config key."""
    if not isinstance(generator, HifiGanSettings):
        if hop % 2 and generator.overlap % 2 == 0:
            raise InputError(
                f"config key '{where}': an inverse STFT needs an even hop, the units have {hop}; use hifigan"
            )
        if isinstance(generator, SourceFilterSettings):
            _check_filters(generator, hop, where)
        return
    product = math.prod(generator.rates)
    if product != hop:
        raise InputError(
            f"config key '{where}.rates': {' x '.join(map(str, generator.rates))} = {product} samples per frame, but "
            f"the units have a hop of {hop}; choose rates whose product is {hop}"
        )


def _check_filters(generator: SourceFilterSettings, hop: int, where: str) -> None:
    if hop % (2 * generator.filters) or generator.parts % generator.filters:
        raise InputError(
            f"config key '{where}.filters': expected a number that divides half the hop of the units ({hop}) and the "
            f"parts of the envelope ({generator.parts}), found {generator.filters}; set it to 1 or 2"
        )


def check_dim(generator: GeneratorSettings, dim: int, where: str) -> None:
    """Refuses units of `dim` columns that lack what the generator needs; `where` is its config key."""
    if isinstance(generator, SourceFilterSettings) and dim < generator.least_dim:
        raise InputError(
            f"config key '{where}': the units have {dim} columns, source_filter needs {generator.least_dim} or more: "
            f"{generator.parts} parts of {generator.bands} bands of an envelope, then f0 and voicing; set the "
            "generator's parts and bands to those of the feature `envelope`, and name an f0"
        )


class MelScale(Settings):
    """One log-mel spectrogram of the loss."""

    n_fft: PositiveInt
    hop: PositiveInt
    mels: PositiveInt


class LossWeights(Settings):
    """What each term counts for. A term with weight 0 is not computed."""

    mel: NonNegativeFloat = Field(default=45.0, description="L1 of log-mel spectrograms, mean over `mel_scales`")
    stft: NonNegativeFloat = Field(
        default=0.0, description="L1 of log-magnitudes and spectral convergence, at `stft_scales`"
    )
    adversarial: NonNegativeFloat = Field(default=1.0, description="least squares against the discriminators")
    feature: NonNegativeFloat = Field(default=2.0, description="L1 of the discriminators' layers")


PAPER_SCALES = (MelScale(n_fft=1024, hop=320, mels=80),)


class TrainingSettings(LoopSettings):
    """How a vocoder is trained. As it stands, and as `preset: paper`: kNN-VC's recipe; `preset: cpu` needs no GPU."""

    segment_frames: PositiveInt = Field(22, description="frames per crop")
    weights: LossWeights = LossWeights()
    mel_scales: tuple[MelScale, ...] = Field(PAPER_SCALES, min_length=1, description="spectrograms of the mel loss")
    discriminators: Literal["hifigan", "small"] = Field("hifigan", description="the published set, or one for a CPU")
    adversarial_from: NonNegativeInt | None = Field(0, description="step of the first adversarial update; null: never")
    init_generator: str = Field("", description="checkpoint or run folder to start from")
    init_discriminators: str = Field("", description="checkpoint of the discriminators to start from")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return of_preset(values, TRAININGS)


TRAININGS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {
        "steps": 2000,
        "segment_frames": 48,
        "lr": 2e-3,
        "schedule": "cosine",
        "warmup": 50,
        "lr_floor": 0.02,
        "betas": (0.9, 0.99),
        "grad_clip": 10.0,
        "ema": 0.99,
        "validate_every": 250,
        "checkpoint_every": 250,
        "log_every": 50,
        "valid_utterances": 8,
        "valid_max_s": 5.0,
        "adversarial_from": None,
        "discriminators": "small",
        "mel_scales": (
            {"n_fft": 256, "hop": 128, "mels": 32},
            {"n_fft": 512, "hop": 256, "mels": 48},
            {"n_fft": 1024, "hop": 320, "mels": 80},
            {"n_fft": 2048, "hop": 640, "mels": 96},
        ),
    },
}


class VocoderConfig(Settings):
    """All that decides a vocoder: what the slice of its run says, checked."""

    generator: GeneratorSettings = Field(discriminator="arch")
    training: TrainingSettings
    rate: PositiveInt
    hop: PositiveInt
    in_dim: PositiveInt

    @property
    def grid(self) -> Grid:
        """Samples per second, and samples per frame of units."""
        return Grid(self.rate, self.hop)


def of_slice(made_by: Slice, where: str) -> VocoderConfig:
    """The vocoder behind the slice of a run: its `generator`, `training` and `units` (`grid`, `dim`).

    Raises:
        InputError: when it is another stage's, or another revision's of this code; `where` names the file.
    """
    if made_by.get("task") != "vocoder":
        raise InputError(f"{where}: expected the run of a vocoder, found {made_by.get('task')!r}")
    if made_by.get("revision") != REVISION:
        raise InputError(
            f"{where}: made by revision {made_by.get('revision')} of the vocoder code, this is revision {REVISION}; "
            "train it again with snakemake, or use the vcpipe that made it"
        )
    try:
        rate, hop = str(made_by["units"]["grid"]).split("/")
        values = {"generator": made_by["generator"], "training": made_by["training"], "in_dim": made_by["units"]["dim"]}
        values |= {"rate": int(rate), "hop": int(hop)}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where}: not the slice of a vocoder ({error!r}); train it again with snakemake") from None
    config: VocoderConfig = check(VocoderConfig, values, where)
    check_rates(config.generator, config.hop, f"{where} generator")
    check_dim(config.generator, config.in_dim, f"{where} generator")
    return config


def _laid_over(presets: dict[str, dict[str, Any]], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of `preset` where it is named, with the others on top."""
    rest = {key: value for key, value in values.items() if key != "preset"}
    if "preset" not in values:
        return rest
    name = str(values["preset"])
    if name not in presets:
        raise InputError(f"config key '{where}': no preset is called '{name}'; {catalog.nearest(name, list(presets))}")
    return {**presets[name], **rest}
