"""The `softvc:` section of the config and the slices of its stages. Torch-free: read at every start of snakemake.

The door of three modules: `settings`, what may be said; `checks`, what is refused; `slices`, what depends on what.
"""

from __future__ import annotations

from vcpipe.config import SystemShards
from vcpipe.systems.softvc.checks import check
from vcpipe.systems.softvc.literal_settings import ADDED, PITDYN, ROLES
from vcpipe.systems.softvc.settings import (
    OF_CONDITION,
    AcousticTraining,
    ConvertSettings,
    RowSettings,
    Settings,
    run_name,
)
from vcpipe.systems.softvc.slices import (
    ACOUSTIC_REVISION,
    base_of,
    classifier_slice,
    classifiers,
    counted_by,
    coverage_file,
    coverage_slice,
    data_options,
    embed_slice,
    fitted,
    option,
    render_slice,
    run_slice,
    statistics_file,
    statistics_slice,
    vocoder_slice,
)

__all__ = [
    "ACOUSTIC_REVISION",
    "OF_CONDITION",
    "PITDYN",
    "ROLES",
    "SHARDS",
    "AcousticTraining",
    "ConvertSettings",
    "RowSettings",
    "Settings",
    "base_of",
    "check",
    "classifier_slice",
    "classifiers",
    "counted_by",
    "coverage_file",
    "coverage_slice",
    "data_options",
    "embed_slice",
    "fitted",
    "option",
    "render_slice",
    "run_name",
    "run_slice",
    "statistics_file",
    "statistics_slice",
    "vocoder_slice",
]

SHARDS = {
    PITDYN: SystemShards(
        embed_slice,
        like=lambda config: [config.systems["softvc"].units] if config.systems["softvc"].literal else [],
        beside=ADDED,
    )
}
"""What the system derives of a corpus beside the features of the config."""
