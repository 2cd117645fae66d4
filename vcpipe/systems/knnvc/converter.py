"""Any recording in, the same words in the reference's voice out.

Source of the method: Baas, van Niekerk, Kamper, "Voice conversion with just nearest neighbors", arXiv 2305.18975.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vcpipe import audio
from vcpipe.errors import InputError
from vcpipe.features.base import Extractor
from vcpipe.features.extract import load_extractor
from vcpipe.features.signal import SignalExtractor
from vcpipe.grid import Grid
from vcpipe.hearing import Recording, name_of, wave_of
from vcpipe.rendering import identity
from vcpipe.settings import canonical
from vcpipe.systems.knnvc import methods
from vcpipe.systems.knnvc.applied import check_applied
from vcpipe.systems.knnvc.config import STREAMS, ConvertSettings
from vcpipe.systems.knnvc.frames import Frames, in_voice, joined, less_voice, normalised, own_units, voice_of
from vcpipe.systems.knnvc.spectrum import Spectrum, bring_to, long_term
from vcpipe.training import runs
from vcpipe.vocoders import task
from vcpipe.vocoders.synthesis import vocode

ALONE = ("knn", "linear", "mean", "none")
"""The methods that need no more than a source and the references of one target."""
AnyExtractor = Extractor | SignalExtractor


class Converter:
    """kNN-VC with a trained vocoder. `Converter.load(run)` needs the run folder and nothing else.

    Args:
        matcher: extractor of the frames that are compared.
        synthesizer: extractor of the frames that are averaged; the same object when both are one feature.
        vocoder: module, `(B, T, E)` units to `(B, hop * T)` samples.
        grid: of the frames, at the rate of recordings and output.
        identity: which vocoder it is, as it stands in the output's JSON line.
        content: extractor of the source's own frames, where the vocoder hears them too.
        pitch: extractor of F0, where the vocoder hears it.
        normalise: compare frames less the mean and the spread of each voice.
    """

    def __init__(
        self,
        matcher: AnyExtractor,
        synthesizer: AnyExtractor,
        vocoder: torch.nn.Module,
        device: torch.device,
        identity: Mapping[str, object] | None = None,
        content: AnyExtractor | None = None,
        pitch: AnyExtractor | None = None,
        normalise: bool = False,
    ):
        self.normalise = normalise
        self.matcher, self.synthesizer, self.vocoder, self.device = matcher, synthesizer, vocoder, device
        self.content, self.pitch = content, pitch
        self.identity = dict(identity or {})
        self.grid: Grid = synthesizer.grid

    @classmethod
    def load(cls, run: str | Path, device: torch.device | str = "cpu") -> Converter:
        """Reads a run folder; refused when it was made by another revision of the feature or vocoder code."""
        device = torch.device(device)
        vocoder, info = runs.load(Path(run), task, device)
        features = info["slice"].get("features")
        if info["slice"].get("system") != "knnvc" or features is None:
            raise InputError(f"{run}: not a run of knnvc; give the folder that train_hifigan_prematched made")
        loaded: dict[str, AnyExtractor] = {}
        for content in features.values():
            if canonical(content) not in loaded:
                loaded[canonical(content)] = load_extractor(content, device)
        found = {name: loaded[canonical(content)] for name, content in features.items()}
        streams = {name: found[name] for name in STREAMS if name in found}
        normalise = info["slice"].get("normalise", False)
        return cls(found["match"], found["synthesis"], vocoder, device, identity(info), **streams, normalise=normalise)

    def frames(self, recording: Recording, trim: bool = False) -> Frames:
        """The frames of one recording.

        Args:
            recording: a file, or `(N,)` float32 in [-1, 1] at `grid.rate`.
            trim: cut what comes before and after the speech.
        """
        wave = wave_of(recording, self.grid.rate)
        if trim:
            from vcpipe.vad import speech_bounds

            start, stop = speech_bounds(wave.numpy(), self.grid.rate)
            wave = wave[start:stop]
        if len(wave) < self.grid.hop:
            raise InputError(
                f"{name_of(recording)}: {len(wave)} samples, expected at least one frame of {self.grid.hop}"
            )
        known: dict[int, Tensor] = {}

        def found(extractor: AnyExtractor) -> Tensor:
            if id(extractor) not in known:
                known[id(extractor)] = torch.as_tensor(extractor(wave))
            return known[id(extractor)]

        return Frames(
            found(self.matcher),
            found(self.synthesizer),
            None if self.content is None else found(self.content),
            None if self.pitch is None else found(self.pitch),
        )

    def pool(self, recordings: Sequence[Recording], trim: bool = True) -> Frames:
        """The frames of the references on end, in half precision: 2 bytes a value, 2 KiB a frame at 1024 columns.

        Where the vocoder hears content, it has that once more.
        """
        if not recordings:
            raise InputError("no reference recording; give at least one file or folder with the target's voice")
        pool = joined([self.frames(recording, trim).half() for recording in recordings])
        if pool.content is not None:
            pool.content = normalised(pool.content).half()
        pool.spectrum = long_term(map(self._samples, recordings), self.grid.rate)
        return pool

    def convert(
        self,
        source: Frames,
        pool: Frames,
        settings: ConvertSettings | None = None,
        target_duration_s: float | None = None,
    ) -> audio.Wave:
        """Source frames to `(hop * T,)` float32 in [-1, 1] at `grid.rate` in the pool's voice.

        Args:
            settings: as under `knnvc.convert`, of a method of `ALONE`; by default kNN as published.
            target_duration_s: stretches the source frames linearly in time to this length.

        Raises:
            InputError: for another method, or a setting that the method or the vocoder ignores.
        """
        s = settings or ConvertSettings()
        self.check(s)
        if target_duration_s is not None:
            source = source.stretched(max(1, round(target_duration_s * float(self.grid.fps))))
        query, searched = source.match.to(self.device), pool.match
        if self.normalise:
            query, searched = less_voice(query, voice_of(query)), less_voice(searched, voice_of(searched))
        own = Frames(query, source.synthesis.to(self.device))  # stands for its speaker
        made = methods.units(s, own, None, Frames(searched, pool.synthesis, pool.content))
        own_content = methods.own_content(s)
        synthesis = torch.lerp(made, own_units(source, own_content < 1).to(made), s.alpha)
        share = 0.0 if methods.keeps_voice(s.method) else 1 - s.alpha
        units = in_voice(source, synthesis, None, pool.f0, share, s.transpose, s.spread, own_content)
        if s.match_spectrum and pool.spectrum is None:
            raise InputError("match_spectrum: the pool has no spectrum; make it with Converter.pool")
        return self.speak(units, s.loudness_lufs, pool.spectrum if s.match_spectrum else None, s.spread)

    def check(self, settings: ConvertSettings) -> None:
        """Refuses a method that is not of `ALONE`, and a setting that the method or the vocoder ignores."""
        if settings.method not in ALONE:
            raise InputError(
                f"settings.method: expected one of {', '.join(ALONE)}, found {settings.method}, which a row of an "
                "evaluation can have; choose another"
            )
        check_applied(settings, settings.model_fields_set, "settings", [] if self.pitch is None else ["pitch"])
        if settings.transpose and self.pitch is None:
            raise InputError(
                f"transpose {settings.transpose:g}: the vocoder of this run hears no F0; leave it at 0, or train one "
                "with knnvc.pitch"
            )
        if methods.own_content(settings) < 1 and self.content is None:
            raise InputError(
                f"own_content {settings.own_content:g}: the vocoder of this run hears no content; leave it at 1, or "
                "train one with knnvc.content"
            )

    def speak(
        self,
        units: Tensor,
        loudness_lufs: float | None = -16.0,
        spectrum: Spectrum | None = None,
        spread: float = 0.0,
    ) -> audio.Wave:
        """Units `(T, E)`, streams included, on its device to `(hop * T,)` float32 in [-1, 1] at `grid.rate`.

        Args:
            loudness_lufs: integrated loudness of the output (BS.1770, true peak kept below -1 dBTP); None leaves it.
            spectrum: the long-term spectrum that the output is brought to; None leaves it.
            spread: how far to its spread too.
        """
        wave = vocode(self.vocoder, units, self.grid.hop).numpy()
        if not np.isfinite(wave).all():
            raise InputError("the vocoder gave values that are not finite; its run is damaged or untrained")
        if spectrum is not None:
            wave = bring_to(wave, self.grid.rate, spectrum, spread)
        return wave if loudness_lufs is None else audio.to_loudness(wave, self.grid.rate, loudness_lufs)

    def __call__(
        self, source: Recording, references: Sequence[Recording], settings: ConvertSettings | None = None
    ) -> audio.Wave:
        """One recording spoken by the voice of the references: `(N',)` float32 at `grid.rate`.

        Raises:
            InputError: for a method that is not of `ALONE`, or a setting that the method or the vocoder ignores.
        """
        s = settings or ConvertSettings()
        self.check(s)
        return self.convert(self.frames(source), self.pool(references, s.trim_references), s)

    def revisions(self) -> dict[str, object]:
        """The settings and code revisions of the extractors, as they stand in the output's JSON line."""
        used = {"match": self.matcher, "synthesis": self.synthesizer, "content": self.content, "pitch": self.pitch}
        return {name: extractor.settings.content() for name, extractor in used.items() if extractor is not None}

    def _samples(self, recording: Recording) -> audio.Wave:
        return np.asarray(wave_of(recording, self.grid.rate).numpy(), np.float32)
