"""What of a config is evaluated: the rows, the recordings and trials behind them, and the slices of the judges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vcpipe.errors import InputError
from vcpipe.settings import Slice

if TYPE_CHECKING:
    from vcpipe.config import Config

REVISIONS = {"judge": 3, "reference": 1, "prosody": 1, "mcd": 1, "quality": 1, "table": 2}
"""Of the code behind verdicts, the reference rows, these judges' numbers, and the table's intervals and tests."""
REFERENCE_ROWS = ("recordings", "source", "noise")
"""What every system is judged beside, and no system is needed for."""


def check(config: Config) -> None:
    """Refuses rows of one name and, where there is a system, recordings that no judge could hear."""
    rows(config)
    if config.systems:
        audio_slice(config)


def corpus(config: Config) -> str:
    """The corpus whose speakers are converted into one another."""
    where = "evaluate.corpus"
    if config.evaluate.corpus:
        config.corpus(config.evaluate.corpus, where)
        return config.evaluate.corpus
    trained_on = sorted({name for settings in config.systems.values() for name in settings.trains_on()})
    if len(trained_on) != 1:
        raise InputError(
            f"config key '{where}': the systems train on {' and '.join(trained_on) or 'nothing'}; name the corpus "
            "whose speakers are converted into one another"
        )
    return trained_on[0]


def copy(config: Config) -> str:
    """The copy of its recordings that the judges hear: theirs is a rate of 16 kHz."""
    where, rate = "evaluate.audio", 16000
    if config.evaluate.audio:
        found_rate = config.audio_copy(config.evaluate.audio, where).rate
        if found_rate != rate:
            raise InputError(
                f"config key '{where}': {config.evaluate.audio} has {found_rate} samples/s, expected {rate}"
            )
        return config.evaluate.audio
    fitting = [name for name, settings in config.audio.items() if settings.rate == rate and settings.augment is None]
    if len(fitting) != 1:
        found = " and ".join(fitting) or "none"
        raise InputError(f"config key '{where}': expected one copy at {rate} samples/s, found {found}; name one")
    return fitting[0]


def trials(config: Config) -> str:
    """The table of the trials; empty where they are drawn."""
    committed = f"data_splits/trials/{corpus(config)}.csv"
    return config.evaluate.trials or (committed if Path(committed).is_file() else "")


def rows(config: Config) -> dict[str, str]:
    """The rows of all systems, by name, and whose they are."""
    out: dict[str, str] = {}
    for system, settings in config.systems.items():
        for row in settings.all_rows:
            if row in out or row in REFERENCE_ROWS:
                owner = out.get(row, "the evaluation")
                raise InputError(f"config key '{system}.rows.{row}': {owner} has a row of this name; choose another")
            out[row] = system
    return out


def audio_slice(config: Config) -> Slice:
    """What the recordings that the judges hear were made under."""
    return config.audio_slice(copy(config), corpus(config))


def reference_slice(config: Config, row: str) -> Slice:
    """What a row of recordings that no system made depends on, beside the table of trials."""
    return {"stage": "reference", "revision": REVISIONS["reference"], "kind": row, "wav": audio_slice(config)}


def judge_slice(config: Config) -> Slice:
    """What the verdict on conversions depends on, beside the conversions."""
    return {
        "stage": "judge",
        "revision": REVISIONS["judge"],
        "judge": config.evaluate.judges(),
        "revisions": {name: REVISIONS[name] for name in ("prosody", "mcd", "quality")},
        "wav": audio_slice(config),
    }
