"""The measures of a conversion: what each is called, how trials become one number, which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One column of the table.

    Args:
        name: its key in `metrics.json`.
        label: what a table calls it, short.
        unit: of what people see; '' for a plain number.
        better: `lower`, `higher`, `one` (the nearer to 1), '' where there is no better.
        digits: behind the point, for people.
        meaning: one sentence for people.
        group: under which heading it stands.
        kind: how trials become one number. `rate`: all errors over all units; `mean`; `share`: the mean of yes and
            no; `eer`: see `vcpipe.evaluation.intervals.eer`.
        keys: of a line of `judged.jsonl`: errors and units of a rate, else the value.
        least: the lower end of its scale, as in the files, where intervals end too; None for cosines and correlations,
            whose end of -1 is far from what is measured, and which end at 1.
        scale: from the number in the files to the one that people see; 100 for percent.
    """

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher", "one", ""]
    digits: int
    meaning: str
    group: Literal["words", "voice", "prosody", "spectrum", "quality", "cost"]
    kind: Literal["rate", "mean", "share", "eer"]
    keys: tuple[str, ...]
    least: float | None = None
    scale: float = 1.0


def _rate(name: str, label: str, errors: str, units: str, meaning: str) -> Measure:
    return Measure(name, label, "%", "lower", 1, meaning, "words", "rate", (errors, units), 0.0, 100.0)


MEASURES: tuple[Measure, ...] = (
    _rate("wer", "WER", "word_errors", "words", "Words that a recogniser mishears, against the written text."),
    _rate("cer", "CER", "char_errors", "chars", "Characters that a recogniser mishears, against the written text."),
    _rate(
        "wer_echo",
        "WER to source",
        "echo_word_errors",
        "echo_words",
        "Words heard otherwise than in the source recording, by the same recogniser; its own mistakes cancel.",
    ),
    _rate(
        "cer_echo",
        "CER to source",
        "echo_char_errors",
        "echo_chars",
        "Characters heard otherwise than in the source recording, by the same recogniser.",
    ),
    Measure(
        "eer",
        "EER",
        "%",
        "higher",
        1,
        "How often a verifier errs that tells conversions from the source speakers' own recordings; at 50 it cannot.",
        "voice",
        "eer",
        ("cos_target",),
        0.0,
        100.0,
    ),
    Measure(
        "cos_target",
        "like target",
        "",
        "higher",
        3,
        "Cosine of the conversion to the target speaker's recordings, by a speaker verifier.",
        "voice",
        "mean",
        ("cos_target",),
    ),
    Measure(
        "cos_source",
        "like source",
        "",
        "lower",
        3,
        "Cosine of the conversion to the source speaker's recordings: what is left of the old voice.",
        "voice",
        "mean",
        ("cos_source",),
    ),
    Measure(
        "nearer_to_target",
        "nearer",
        "%",
        "higher",
        1,
        "Conversions that sound more like the target than like the source speaker.",
        "voice",
        "share",
        ("nearer_to_target",),
        0.0,
        100.0,
    ),
    Measure(
        "f0_corr",
        "F0 corr.",
        "",
        "higher",
        3,
        "Correlation of the melody with the source's: log F0 where both are voiced, after alignment.",
        "prosody",
        "mean",
        ("f0_corr",),
    ),
    Measure(
        "f0_rmse_cents",
        "F0 RMSE",
        "cents",
        "lower",
        0,
        "How far the melody strays from the source's, once each speaker's own pitch is taken away; 100 is a semitone.",
        "prosody",
        "mean",
        ("f0_rmse_cents",),
        0.0,
    ),
    Measure(
        "vuv_error",
        "V/UV err.",
        "%",
        "lower",
        1,
        "Frames that are voiced in the conversion and not in the source, or the reverse.",
        "prosody",
        "mean",
        ("vuv_error",),
        0.0,
        100.0,
    ),
    Measure(
        "energy_corr",
        "energy corr.",
        "",
        "higher",
        3,
        "Correlation of the loudness over time with the source's.",
        "prosody",
        "mean",
        ("energy_corr",),
    ),
    Measure(
        "duration_ratio",
        "duration",
        "",
        "one",
        3,
        "Length of the conversion over that of the source.",
        "prosody",
        "mean",
        ("duration_ratio",),
        0.0,
    ),
    Measure(
        "mcd_db",
        "MCD",
        "dB",
        "lower",
        2,
        "Distance of the spectrum from the target's own recording of the same words, where there is one.",
        "spectrum",
        "mean",
        ("mcd_db",),
        0.0,
    ),
    Measure(
        "dnsmos_ovrl",
        "DNSMOS",
        "",
        "higher",
        2,
        "Overall quality that a model of listeners predicts, from 1 to 5.",
        "quality",
        "mean",
        ("dnsmos_ovrl",),
        1.0,
    ),
    Measure(
        "dnsmos_sig",
        "DNSMOS speech",
        "",
        "higher",
        2,
        "Quality of the speech alone, as predicted, from 1 to 5.",
        "quality",
        "mean",
        ("dnsmos_sig",),
        1.0,
    ),
    Measure(
        "dnsmos_bak",
        "DNSMOS noise",
        "",
        "higher",
        2,
        "Quietness of the background, as predicted, from 1 to 5.",
        "quality",
        "mean",
        ("dnsmos_bak",),
        1.0,
    ),
    Measure(
        "dnsmos_p808",
        "DNSMOS P.808",
        "",
        "higher",
        2,
        "Overall quality by a second model, of ratings under ITU-T P.808, from 1 to 5.",
        "quality",
        "mean",
        ("dnsmos_p808",),
        1.0,
    ),
    Measure(
        "distillmos",
        "DistillMOS",
        "",
        "higher",
        2,
        "Overall quality by a third model, from 1 to 5.",
        "quality",
        "mean",
        ("distillmos",),
        1.0,
    ),
    Measure(
        "rtf",
        "RTF",
        "",
        "lower",
        3,
        "Seconds of work for a second of speech, features of source and references at hand, on the machine of the row.",
        "cost",
        "mean",
        ("rtf",),
        0.0,
    ),
)
"""In the order of a table."""

BY_NAME = {measure.name: measure for measure in MEASURES}

INDISTINGUISHABLE = 0.5
"""The EER of a verifier that guesses. More than that is no further gain, see docs/EVALUATION.md."""


def number(measure: Measure, value: float | None) -> str:
    """A value for people, without its unit; '–' where there is none."""
    return "–" if value is None else f"{value * measure.scale:.{measure.digits}f}"


def shown(measure: Measure, value: float | None) -> str:
    """A value for people, with its unit: `7.4 %`; '–' where there is none."""
    return number(measure, value) + (f" {measure.unit}" if measure.unit and value is not None else "")


def merit(measure: Measure, value: float) -> float | None:
    """Larger is better, whatever the measure; None where it has no better.

    An EER counts up to 50 %, a ratio by how far it is from 1 either way.
    """
    if measure.kind == "eer":
        value = min(value, INDISTINGUISHABLE)
    if measure.better == "one":
        return -abs(math.log(value)) if value > 0 else -math.inf
    return {"higher": value, "lower": -value, "": None}[measure.better]
