"""A table of trials to converted recordings, with one JSON line each: a row of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from vcpipe import audio
from vcpipe.errors import InputError
from vcpipe.manifest import Utterance, by_speaker, read_table, shard_names
from vcpipe.rendering import sizes, write_row
from vcpipe.settings import Slice, check
from vcpipe.store import Shards
from vcpipe.systems.softvc.config import ConvertSettings, RowSettings
from vcpipe.systems.softvc.converter import Converter, Frames, MelVocoder
from vcpipe.systems.softvc.slices import STREAMS
from vcpipe.systems.softvc.statistics import Voice, of_frames
from vcpipe.trials import Trial, read_trials, to_themselves


def render(
    made_by: Slice,
    run: Path | None,
    vocoder: Path,
    manifest: Path,
    folders: Mapping[str, Path],
    trials: Path,
    out: Path,
    device: torch.device,
    threads: int,
) -> None:
    """Converts every trial; writes `audio/*.wav`, `system.json` and, when all are done, `out` as JSON lines.

    What is heard of the target is what the model was trained on; a trial's references only judge it.

    Args:
        made_by: slice of the row.
        run: run folder of the acoustic model; None where the row is a resynthesis.
        vocoder: run folder of the vocoder.
        manifest: of the corpus that is evaluated.
        folders: of its shards, stream by stream; a resynthesis has those that its vocoder reads.
        trials: who is converted to whom.
        out: the JSON lines.
        device: where the networks go.
        threads: as it stands in `system.json`.

    Raises:
        InputError: when a target is no voice of the model, or what is given is not what such a row is made of.
    """
    utterances = read_table(manifest, Utterance)
    row: RowSettings = check(RowSettings, made_by["row"], "the row")
    settings: ConvertSettings = check(ConvertSettings, made_by["convert"], "softvc.convert")
    speaking = MelVocoder.load(vocoder, device) if row.resynthesis else None
    _check_given(run, folders, speaking)
    chosen = read_trials(trials, utterances)
    if row.same_speaker:
        chosen = to_themselves(chosen, utterances)
    names = shard_names(made_by["wav"]["shards"])
    with ExitStack() as stack:
        shards = {key: stack.enter_context(Shards(folders[key], names, made_by[key])) for key in folders}
        if speaking is not None:
            parts, models, speak = [speaking.network], speaking.models, speaking.speak

            def convert(trial: Trial) -> audio.Wave:
                given = {key: shards[key].read(trial.source.utt_id) for key in folders}
                return speak(torch.from_numpy(given["mel"]), settings.loudness_lufs, given.get("f0"))

        else:
            assert run is not None
            converter = Converter.load(run, vocoder, device)
            speaking = converter.vocoder
            _check_targets(converter, chosen, run, trials)
            parts, models = [converter.trained, speaking.network], converter.models
            voices = Voices(utterances, chosen, shards)

            def convert(trial: Trial) -> audio.Wave:
                return converter.convert(voices.source(trial), trial.target, settings, voices.own(trial))

        about = {
            "label": row.label or out.parent.name,
            "kind": row.kind,
            "about": row.about,
            **sizes(parts),
            "device": str(device),
            "threads": threads,
            "speaker_encoder": None,
            "hears_references": False,
            "models": models,
            "run": str(run or vocoder),
        }
        write_row(out, chosen, convert, speaking.grid.rate, system="softvc", settings=made_by["convert"], about=about)


def _check_given(run: Path | None, folders: Mapping[str, Path], resynthesis: MelVocoder | None) -> None:
    expected = {"run", *STREAMS} if resynthesis is None else set(resynthesis.features)
    found = {*folders, *(["run"] if run is not None else [])}
    if found != expected:
        options, given = (", ".join(f"--{name}" for name in sorted(names)) for names in (expected, found))
        kind = "a conversion" if resynthesis is None else "a resynthesis"
        raise InputError(f"{options}: expected for {kind}, found {given or 'none'}; give those and no others")


def _check_targets(converter: Converter, chosen: list[Trial], run: Path, trials: Path) -> None:
    if strange := sorted({trial.target for trial in chosen} - set(converter.voices)):
        raise InputError(
            f"{trials}: expected targets that {run} speaks with ({', '.join(list(converter.voices)[:5])}, ...), found "
            f"{len(strange)} others, such as {strange[0]}; name another table in evaluate.trials, go on with their "
            "recordings (softvc.refine), or, for the same speaker to itself, set softvc.same_speaker to false"
        )


class Voices:
    """What is known of the sources of some trials, and of their speakers."""

    def __init__(self, utterances: list[Utterance], trials: list[Trial], shards: Mapping[str, Shards]):
        self._shards = shards
        self._speakers = dict(by_speaker(utterances))
        self._sources = {trial.source for trial in trials}
        self._own: dict[str, Voice | None] = {}

    def source(self, trial: Trial) -> Frames:
        """The frames of a trial's source."""
        return self._frames(trial.source)

    def own(self, trial: Trial) -> Voice | None:
        """How the source's speaker speaks in other recordings; None where these do not say."""
        speaker = trial.source.speaker
        if speaker not in self._own:
            others = [self._contour(u) for u in self._speakers[speaker] if u not in self._sources]
            spoken = any(f0[:, 1].any() for f0, _ in others)
            self._own[speaker] = of_frames(others) if spoken else None
        return self._own[speaker]

    def _frames(self, utterance: Utterance) -> Frames:
        units = torch.from_numpy(self._shards["units"].read(utterance.utt_id))
        f0, energy = self._contour(utterance)
        return Frames(units, f0[: 2 * len(units)], energy[: 2 * len(units)])

    def _contour(self, utterance: Utterance) -> tuple[np.ndarray, np.ndarray]:
        f0, energy = (self._shards[key].read(utterance.utt_id) for key in ("f0", "energy"))
        return f0, energy
