"""The literal hubert-pitdyn: what is trained to hear pitch and dynamics, whose embeddings stand beside the units.

Torch-free.
"""

from __future__ import annotations

from typing import get_args

from pydantic import Field

from vcpipe.settings import Settings
from vcpipe.systems.softvc.classifier_settings import ClassifierSettings, ClassifierTraining, Embds

EMBED_REVISION = 1
ROLES: tuple[Embds, ...] = get_args(Embds)
"""In the order of their columns."""
ADDED = 512
"""Columns beside those of the units: 256 of each classifier."""
PITDYN = "units_pitdyn"
"""What the shards are called."""


class LiteralSettings(Settings):
    """What condition `literal` is made of; the classifiers are trained on softvc.corpus."""

    encoder: str = Field(description="feature whose encoder is trained on: whisper_tiny_en, whisper or hubert_soft")
    pits: str = Field(description="f0 feature on the grid of the units: the classes of pitch")
    dyns: str = Field(description="energy feature in dB on the grid of the units: the classes of dynamics")
    classes: ClassifierSettings = ClassifierSettings()
    training: ClassifierTraining = ClassifierTraining()

    def machine(self) -> str:
        """The keys of the training that are no part of a classifier's slice, as JSON."""
        return self.training.model_dump_json(include=ClassifierTraining.MACHINE)
