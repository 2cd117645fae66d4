"""A table of trials to converted recordings, with one JSON line each: a row of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vcpipe import audio
from vcpipe.manifest import Utterance, by_speaker, read_table, shard_names
from vcpipe.rendering import Conversion, sizes, write_row
from vcpipe.settings import Slice, check
from vcpipe.store import Shards
from vcpipe.systems.knnvc import linear, methods, world
from vcpipe.systems.knnvc.config import ConvertSettings, RowSettings
from vcpipe.systems.knnvc.converter import Converter
from vcpipe.systems.knnvc.frames import Frames, Voice, in_voice, less_voice, normalised, own_units, voice_of
from vcpipe.systems.knnvc.spectrum import Spectrum, bring_to, long_term
from vcpipe.trials import Trial, read_trials, reference_samples, to_themselves

POOLS = 8
"""Pools of frames that are held at once: as `Converter.pool` has them, or twice that where voices are normalised."""


def render(
    made_by: Slice,
    run: Path,
    manifest: Path,
    audio_folder: Path,
    match_folder: Path,
    synthesis_folder: Path,
    trials: Path,
    out: Path,
    device: torch.device,
    threads: int,
    streams: Mapping[str, Path] | None = None,
) -> None:
    """Converts every trial; writes `audio/*.wav`, `system.json` and, when all are done, `out` as JSON lines.

    The frames of sources and references come from the feature shards, which the slice ties to the run's extractors;
    `streams` are the folders of those of `content` and `pitch`, where the vocoder hears these.
    """
    utterances = read_table(manifest, Utterance)
    row: RowSettings = check(RowSettings, made_by["row"], "the row")
    settings: ConvertSettings = check(ConvertSettings, made_by["convert"], "knnvc.convert")
    chosen = read_trials(trials, utterances)
    if row.same_speaker:
        chosen = to_themselves(chosen, utterances)
    converter = Converter.load(run, device)
    names = shard_names(made_by["wav"]["shards"])
    with ExitStack() as stack:

        def opened(folder: Path, expect: Slice) -> Shards:
            return stack.enter_context(Shards(folder, names, expect))

        voices = Voices(
            utterances,
            chosen,
            opened(audio_folder, made_by["wav"]),
            opened(match_folder, made_by["match"]),
            opened(synthesis_folder, made_by["synthesis"]),
            {name: opened(folder, made_by["streams"][name]) for name, folder in (streams or {}).items()},
            converter.normalise,
            methods.own_content(settings) < 1,
        )
        convert = _by_world(voices, settings) if settings.method == "world" else _by_units(voices, converter, settings)
        write_row(
            out,
            chosen,
            convert,
            converter.grid.rate,
            system="knnvc",
            settings=made_by["convert"],
            about=_about(out.parent.name, row, converter, settings, run, device, threads),
        )


class Voices:
    """What is known of the speakers of some trials: their frames and recordings, the last pools kept."""

    def __init__(
        self,
        utterances: list[Utterance],
        trials: list[Trial],
        waves: Shards,
        match: Shards,
        synthesis: Shards,
        streams: Mapping[str, Shards],
        normalise: bool,
        with_content: bool = False,
    ):
        self._normalise, self._with_content = normalise, with_content
        self.waves, self._match, self._synthesis = waves, match, synthesis
        self._content, self._pitch = streams.get("content"), streams.get("pitch")
        self._speakers = dict(by_speaker(utterances))
        self._sources = {trial.source for trial in trials}
        self._pools: dict[tuple[tuple[str, int], ...], Frames] = {}
        self._own: dict[str, Voice] = {}
        self._own_f0: dict[str, Tensor | None] = {}
        self._spectra: dict[tuple[tuple[str, int], ...], Spectrum] = {}
        self.names = sorted({trial.target for trial in trials} | {trial.source.speaker for trial in trials})

    def source(self, trial: Trial) -> Frames:
        """The frames of a trial's source, content included."""
        heard = [(trial.source.utt_id, trial.source.n_samples)]
        frames = self._frames(heard)
        frames.content = None if self._content is None else _read(self._content, heard)
        if self._normalise:
            frames.match = less_voice(frames.match, self._voice(trial))
        return frames

    def _voice(self, trial: Trial) -> Voice:
        """Of other recordings of a source's speaker; of the source itself where there are none."""
        speaker = trial.source.speaker
        others = [(u.utt_id, u.n_samples) for u in self.others(speaker)]
        if not others:
            return voice_of(_read(self._match, [(trial.source.utt_id, trial.source.n_samples)]))
        if speaker not in self._own:
            self._own[speaker] = voice_of(_read(self._match, others))
        return self._own[speaker]

    def spectrum(self, trial: Trial) -> Spectrum:
        """The long-term spectrum of a trial's references."""
        key = tuple(zip((u.utt_id for u in trial.references), reference_samples(trial), strict=True))
        if key not in self._spectra:
            self._spectra[key] = long_term((self.waves.read(u)[:n, 0] for u, n in key), trial.source.sample_rate)
        return self._spectra[key]

    def target(self, trial: Trial) -> Frames:
        """The frames of a trial's references, as much of them as may be heard."""
        heard = zip(trial.references, reference_samples(trial), strict=True)
        return self._pool(tuple((u.utt_id, n) for u, n in heard))

    def others(self, speaker: str) -> list[Utterance]:
        """A speaker's recordings that are no source of any trial; empty where all are."""
        return [u for u in self._speakers[speaker] if u not in self._sources]

    def own(self, trial: Trial) -> Frames | None:
        """The frames of other recordings of the source's speaker; None where there are none."""
        return self.of(trial.source.speaker)

    def of(self, speaker: str) -> Frames | None:
        """The frames of a speaker's recordings that are no source; None where there are none."""
        others = self.others(speaker)
        return self._pool(tuple((u.utt_id, u.n_samples) for u in others)) if others else None

    def own_f0(self, trial: Trial) -> Tensor | None:
        """F0 `(N, 2)` of what `own` stands for, read without the frames; None where there is none."""
        speaker = trial.source.speaker
        if speaker not in self._own_f0:
            heard = [(u.utt_id, u.n_samples) for u in self.others(speaker)]
            self._own_f0[speaker] = _read(self._pitch, heard) if self._pitch is not None and heard else None
        return self._own_f0[speaker]

    def _pool(self, heard: tuple[tuple[str, int], ...]) -> Frames:
        frames = self._pools.pop(heard, None)
        if frames is None:
            frames = self._frames(list(heard))
            if self._normalise:
                frames.match = less_voice(frames.match, voice_of(frames.match))
            if self._with_content and self._content is not None:
                same = self._normalise and self._content.folder == self._match.folder
                frames.content = frames.match if same else normalised(_read(self._content, list(heard)))
        self._pools[heard] = frames  # the last one asked for is the last one to go
        if len(self._pools) > POOLS:
            del self._pools[next(iter(self._pools))]
        return frames

    def _frames(self, heard: list[tuple[str, int]]) -> Frames:
        found = _read(self._match, heard)
        same = self._match.folder == self._synthesis.folder
        f0 = None if self._pitch is None else _read(self._pitch, heard)
        return Frames(found, found if same else _read(self._synthesis, heard), f0=f0)


def _read(shards: Shards, heard: list[tuple[str, int]]) -> Tensor:
    """The frames of recordings on end, of each as many samples as may be heard."""
    hop = shards.parts[0].grid.hop
    return torch.cat([torch.from_numpy(shards.read(utt_id)[: n // hop]) for utt_id, n in heard])


def _by_units(voices: Voices, converter: Converter, settings: ConvertSettings) -> Conversion:
    keeps = methods.keeps_voice(settings.method)  # then the source's register stays as it is too
    share, transpose = (0.0, 0.0) if keeps else (1 - settings.alpha, settings.transpose)
    matches = settings.match_spectrum and not keeps
    own_content = methods.own_content(settings)
    content = _content(voices, settings.rank) if settings.method == "linear_factorised" else None
    ready: dict[tuple[str, tuple[Utterance, ...], float], methods.Method] = {}

    def convert(trial: Trial) -> audio.Wave:
        source, target = voices.source(trial), voices.target(trial)
        own = voices.own(trial) if methods.needs_source_pool(settings.method) else None
        key = (trial.source.speaker if own is not None else trial.source.utt_id, trial.references, trial.reference_s)
        if key not in ready:
            ready.clear()  # trials come pair by pair of voices: one at a time is enough
            ready[key] = methods.prepare(settings, source if own is None else own, target, content)
        matched = ready[key](source).to(converter.device)
        synthesis = torch.lerp(matched, own_units(source, own_content < 1).to(matched), settings.alpha)
        units = in_voice(
            source, synthesis, voices.own_f0(trial), target.f0, share, transpose, settings.spread, own_content
        )
        spectrum = voices.spectrum(trial) if matches else None
        return converter.speak(units, settings.loudness_lufs, spectrum, settings.spread)

    return convert


def _by_world(voices: Voices, settings: ConvertSettings) -> Conversion:
    known: dict[tuple[tuple[str, int], ...], world.Voice] = {}

    def voice(heard: list[tuple[str, int]]) -> world.Voice:
        key = tuple(heard)
        if key not in known:
            known[key] = world.voice([voices.waves.read(utt_id)[:n, 0] for utt_id, n in heard])
        return known[key]

    def convert(trial: Trial) -> audio.Wave:
        others = voices.others(trial.source.speaker) or [trial.source]
        own = voice([(u.utt_id, u.n_samples) for u in others])
        heard = zip(trial.references, reference_samples(trial), strict=True)
        target = voice([(u.utt_id, n) for u, n in heard])
        rate = trial.source.sample_rate
        wave = world.convert(voices.waves.read(trial.source.utt_id)[:, 0], own, target, rate, settings.scale)
        if settings.match_spectrum:
            wave = bring_to(wave, rate, voices.spectrum(trial), settings.spread)
        return wave if settings.loudness_lufs is None else audio.to_loudness(wave, rate, settings.loudness_lufs)

    return convert


def _content(voices: Voices, rank: int) -> linear.Content:
    """What the speakers of all trials have in common; the one with most speech is the measure of the others.

    All pools are held here, but only while this is found.
    """
    pools = [pool for pool in map(voices.of, voices.names) if pool is not None]
    return linear.factorise(sorted(pools, key=len, reverse=True), rank)


def _about(
    name: str,
    row: RowSettings,
    converter: Converter,
    settings: ConvertSettings,
    run: Path,
    device: torch.device,
    threads: int,
) -> dict[str, Any]:
    """What the row is, and what it was made with. Parameters are those that were trained."""
    by_world = settings.method == "world"
    return {
        "label": row.label or name,
        "kind": row.kind,
        "about": row.about,
        **sizes([] if by_world else [converter.vocoder]),
        "device": str(device),
        "threads": threads,
        "speaker_encoder": None,
        "models": {} if by_world else {**converter.revisions(), "vocoder": converter.identity},
        "run": "" if by_world else str(run),
    }
