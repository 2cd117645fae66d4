"""What the classifiers of pitch and dynamics are, and how they are trained. Torch-free."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.settings import Settings, Slice, check, of_preset
from vcpipe.training.settings import LoopSettings

REVISION = 1
Embds = Literal["pits", "dyns"]
GRID = Grid(16000, 320)
"""Of the encoders, and so of labels and embeddings."""
ENCODERS = ("whisper_tiny_en", "whisper", "hubert_soft")
"""The features whose encoder can be trained on."""


class ClassifierSettings(Settings):
    """What is told apart. There are as many classes as these say, and no dead ones in the softmax."""

    low_hz: PositiveFloat = Field(50.0, description="where the first class of pitch begins; lower ones are in it too")
    high_hz: PositiveFloat = Field(1100.0, description="what the last class of pitch reaches; higher ones are in it")
    low_db: float = Field(-70.0, description="where the first bin of dynamics begins; below is a class of its own")
    high_db: float = Field(0.0, description="where the last bin of dynamics ends; louder ones are in it")
    bins: PositiveInt = Field(32, description="of dynamics, of equal width in dB")
    level: bool = Field(True, description="tell the encoder how loud its recording is: its front end can't hear that")

    @model_validator(mode="after")
    def _ranges(self) -> ClassifierSettings:
        for low, high in (("low_hz", "high_hz"), ("low_db", "high_db")):
            if getattr(self, low) >= getattr(self, high):
                raise ValueError(
                    f"{low} {getattr(self, low):g} must be lower than {high} {getattr(self, high):g}; change one"
                )
        return self

    def classes(self, embds: Embds) -> int:
        """Unvoiced and one a semitone, or below and the bins."""
        if embds == "dyns":
            return 1 + self.bins
        return 1 + math.ceil(12 * math.log2(self.high_hz / self.low_hz) - 1e-9)


class ClassifierTraining(LoopSettings):
    """How a classifier is trained.

    As it stands: what was measured to be best, with the rates of hubert-pitdyn; `preset: paper` is hubert-pitdyn's
    recipe with its masks, `preset: cpu` needs no GPU.
    """

    steps: PositiveInt = Field(80_000, description="updates of the model")
    batch: PositiveInt = Field(32, description="crops per step, of all processes together")
    lr: PositiveFloat = Field(1e-5, description="highest learning rate")
    lr_decay: float = Field(1.0, gt=0, le=1, description="exponential: factor at every lr_decay_every steps")
    betas: tuple[float, float] = Field((0.9, 0.98), description="of AdamW")
    grad_clip: PositiveFloat | None = Field(10.0, description="largest norm of the gradient; null: as it comes")
    keep: Literal["last", "best"] = Field("best", description="which weights the run folder's model.safetensors holds")
    validate_every: PositiveInt = Field(3000, description="steps")
    segment_frames: int = Field(250, ge=20, description="frames per crop, 50 a second")
    mask_share: float = Field(
        0.0, ge=0, le=1, description="spans of 10 frames are hidden, so many frames in all; 0: none"
    )
    alpha: float = Field(1.0, ge=0, le=1, description="what hidden frames count for; 1: the others count for nothing")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        return of_preset(values, TRAININGS)


TRAININGS: dict[str, dict[str, Any]] = {
    "paper": {"mask_share": 0.8},
    "cpu": {
        "steps": 600,
        "batch": 8,
        "segment_frames": 100,
        "lr": 5e-4,
        "schedule": "cosine",
        "warmup": 50,
        "lr_floor": 0.02,
        "validate_every": 150,
        "checkpoint_every": 150,
        "log_every": 25,
        "valid_utterances": 16,
        "valid_max_s": 6.0,
    },
}


class ClassifierConfig(Settings):
    """All that decides a classifier: what the slice of its run says, checked."""

    embds: Embds
    encoder: Slice
    classifier: ClassifierSettings
    training: ClassifierTraining

    @property
    def classes(self) -> int:
        """How many are told apart."""
        return self.classifier.classes(self.embds)


def of_slice(made_by: Slice, where: str) -> ClassifierConfig:
    """The classifier behind the slice of a run.

    Raises:
        InputError: when it is another stage's, another revision's of this code, or of an encoder that can't be
            trained on; `where` names the file.
    """
    if made_by.get("task") != "classifier":
        raise InputError(f"{where}: expected the run of a classifier, found {made_by.get('task')!r}")
    if made_by.get("revision") != REVISION:
        raise InputError(
            f"{where}: made by revision {made_by.get('revision')} of the classifier code, this is revision {REVISION}; "
            "train it again with snakemake, or use the vcpipe that made it"
        )
    keys = ("embds", "encoder", "classifier", "training")
    config: ClassifierConfig = check(ClassifierConfig, {key: made_by.get(key) for key in keys}, where)
    check_encoder(config.encoder, f"{where} encoder")
    return config


def check_encoder(content: Slice, where: str) -> None:
    """Refuses a feature whose encoder can't be trained on; `where` is the key that names it."""
    if content.get("kind") not in ENCODERS:
        raise InputError(
            f"config key '{where}': expected a feature of kind {', '.join(ENCODERS)}, found {content.get('kind')!r}; "
            "name one of these"
        )
