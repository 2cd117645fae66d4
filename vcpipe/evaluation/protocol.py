"""The protocol of a row's figures: all that they depend on, so that two figures can be told to be comparable."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from vcpipe import __version__, results
from vcpipe.errors import InputError
from vcpipe.evaluation.asr import normalise, normaliser_identity
from vcpipe.manifest import Utterance, by_speaker
from vcpipe.settings import Slice

if TYPE_CHECKING:
    from vcpipe.evaluation.judge import Judges

PACKAGES = (
    "ctranslate2",
    "faster-whisper",
    "jiwer",
    "librosa",
    "numpy",
    "onnxruntime",
    "praat-parselmouth",
    "pyworld",
    "scipy",
    "soundfile",
    "soxr",
    "speechmos",
    "torch",
    "whisper-normalizer",
)

Line = dict[str, Any]


def protocol(
    made_by: Slice, system: Line, pairs: list[Line], judges: Judges, enrolment: dict[str, Any]
) -> dict[str, Any]:
    """What `protocol.json` holds.

    Args:
        made_by: the slice of the judge's stage.
        system: of `system.json`.
        pairs: of `pairs.jsonl`, from which the trials are taken.
        judges: that were asked, with the identities under which their findings are kept.
        enrolment: who was enrolled from which recordings; see `Enrolment.about`.
    """
    trials = results.trials(pairs)
    return {
        "format": results.FORMAT,
        "row": system["row"],
        "system": {key: system[key] for key in ("system", "speaker_encoder", "models", "settings")},
        "trials": {"n": len(trials), "digest": results.digest(trials), "list": trials},
        "asr": judges.asr.identity,
        "verifier": judges.verifier.identity,
        "quality": {judge.identity["name"]: judge.identity for judge in judges.quality},
        "prosody": judges.prosody.identity,
        "mcd": judges.mcd.identity,
        "normaliser": normaliser_identity(),
        "enrolment": enrolment,
        "intervals": {key: made_by["judge"][key] for key in ("seed", "resamples")},
        "versions": {"vcpipe": __version__, "python": platform.python_version(), **versions(*PACKAGES)},
        "slice": made_by,
    }


def versions(*packages: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    out = {}
    for package in packages:
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return out


class Enrolment:
    """From which recordings a speaker is known to the verifier.

    From the first `count`, training ones first and then by id, that are no source of any trial. Where all of a
    speaker's recordings are sources, from the first `count` that are not the source of the very trial.
    """

    def __init__(self, pairs: list[Line], utterances: list[Utterance], count: int):
        sources = {line["source_utt"] for line in pairs}
        needed = {line[side] for line in pairs for side in ("source_speaker", "target_speaker")}
        self.count = count
        self.apart: dict[str, list[str]] = {}
        self.among: dict[str, list[str]] = {}
        for speaker, theirs in by_speaker(u for u in utterances if u.speaker in needed):
            ids = [u.utt_id for u in sorted(theirs, key=_training_first)]
            self.apart[speaker] = [utt_id for utt_id in ids if utt_id not in sources][:count]
            if not self.apart[speaker]:
                self.among[speaker] = ids

    def __call__(self, speaker: str, without: str) -> tuple[str, ...]:
        """The utterances behind a speaker's centroid, `without` the source of the trial."""
        among = [utt_id for utt_id in self.among.get(speaker, []) if utt_id != without]
        chosen = self.apart.get(speaker) or among[: self.count]
        if not chosen:
            raise InputError(
                f"speaker {speaker}: expected a recording besides {without} to know the voice by, found none in the "
                "manifest; add recordings of that speaker to the corpus, or take the trials out of the list"
            )
        return tuple(chosen)

    def about(self) -> Line:
        """For the protocol: of each speaker the utterances, and in which order others are taken where all are sources.

        They may be among the references, which no source is.
        """
        apart = {speaker: ids for speaker, ids in self.apart.items() if ids}
        return {"count": self.count, "apart_from_sources": apart, "all_are_sources": self.among}


class Parallel:
    """A recording of the target speaker who says what the source says; of a speaker's own sources, the source."""

    def __init__(self, pairs: list[Line], utterances: list[Utterance]):
        targets = {line["target_speaker"] for line in pairs}
        self.said: dict[tuple[str, str], str] = {}
        for u in sorted(utterances, key=_training_first):
            if u.speaker in targets and (words := normalise(u.text)):
                self.said.setdefault((u.speaker, words), u.utt_id)

    def __call__(self, line: Line) -> str | None:
        """The utterance, None where there is none."""
        if line["source_speaker"] == line["target_speaker"]:
            return str(line["source_utt"])
        return self.said.get((line["target_speaker"], normalise(line["text"])))


def _training_first(u: Utterance) -> tuple[bool, str]:
    return u.split != "train", u.utt_id
