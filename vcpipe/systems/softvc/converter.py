"""Any recording in, the same words in a voice that the model has learned out.

Source: arXiv 2111.02392. Pitch and loudness of the source are brought to the voice's and told to the model, where it
was trained to hear them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vcpipe import audio, catalog
from vcpipe.errors import InputError
from vcpipe.features.extract import load_extractor
from vcpipe.grid import Grid
from vcpipe.hearing import Recording, name_of, wave_of
from vcpipe.nn.griffinlim import griffin_lim
from vcpipe.rendering import identity
from vcpipe.settings import Slice
from vcpipe.systems.softvc import embed
from vcpipe.systems.softvc import task as acoustic_task
from vcpipe.systems.softvc.condition import columns
from vcpipe.systems.softvc.config import OF_CONDITION, ConvertSettings
from vcpipe.systems.softvc.literal_settings import ROLES
from vcpipe.systems.softvc.statistics import Voice, of_frames, to_voice
from vcpipe.training import runs
from vcpipe.vocoders import task as vocoder_task
from vcpipe.vocoders.synthesis import vocode


@dataclass
class Frames:
    """A recording frame by frame: `units (n, D)`, `f0 (2n, 2)` in Hz and voiced, `energy (2n, 1)` in dB.

    Of condition `literal` the embeddings of the classifiers are columns of the units.
    """

    units: Tensor
    f0: NDArray[np.float32]
    energy: NDArray[np.float32]


class Ear:
    """What a vocoder is given of a mel: the mel, and a pitch beside it, where the vocoder reads one.

    It is the contour that the acoustic model was told. Where none was told it is heard in the mel, made audible by
    Griffin and Lim's iteration, by the method of the vocoder's f0 feature.

    Args:
        mel: settings of the feature.
        f0: extractor of F0, on the grid of the mel; None where the vocoder reads the mel alone.
    """

    def __init__(self, mel: Any, f0: Any = None):
        self.mel, self.f0 = mel, f0

    def __call__(self, mel: Tensor, told: NDArray[np.float32] | None = None) -> Tensor:
        """`(T, mels)`, and the F0 `(T, 2)` in Hz and voiced that it was made for, to `(T, mels)` or `(T, mels + 2)`."""
        if self.f0 is None:
            return mel
        pitch = np.asarray(self.f0(self.draft(mel)) if told is None else told, np.float32)
        if pitch.shape != (len(mel), 2) or not np.isfinite(pitch).all():
            raise InputError(f"F0 of a mel: expected ({len(mel)}, 2) finite numbers, found {pitch.shape}; give its own")
        return torch.cat([mel.cpu(), torch.from_numpy(pitch)], dim=1)

    def draft(self, mel: Tensor) -> Tensor:
        """`(T, mels)` to `(hop * T,)` samples without a vocoder: an ear for what the acoustic model makes."""
        s = self.mel
        return griffin_lim(mel, s.rate, s.hop, s.n_fft, s.fmin, s.fmax)


class MelVocoder:
    """Mels to sound by a trained vocoder, which needs no acoustic model: `MelVocoder.load(run)`.

    Args:
        network: module, `(B, T, E)` to `(B, hop * T)` samples.
        features: contents of those that the vocoder reads: `mel`, and `f0` where it reads a pitch.
        device: where the network is.
        models: which they are, as it stands in the output's JSON line.
    """

    def __init__(
        self, network: torch.nn.Module, features: Mapping[str, Slice], device: torch.device, models: Mapping[str, Any]
    ):
        mel: Any = _settings(features["mel"])
        self.network, self.features, self.device, self.models = network, dict(features), device, dict(models)
        self.grid: Grid = mel.grid
        self.ear = Ear(mel, load_extractor(_content(features["f0"]), device) if "f0" in features else None)

    @classmethod
    def load(cls, run: str | Path, device: torch.device | str = "cpu") -> MelVocoder:
        """Reads the run folder that `train_soft_vocoder` made."""
        device = torch.device(device)
        network, info = runs.load(run, vocoder_task, device)
        features, columns = info["slice"].get("features", {}), info["slice"]["units"]["dim"]
        expected = sum(_settings(features[name]).dim for name in ("mel", "f0") if name in features)
        if "mel" not in features or columns != expected:
            raise InputError(
                f"{run}: expected a vocoder of softvc whose config.json says by which mel and f0 it hears, found "
                f"{columns} columns and {' and '.join(sorted(features)) or 'no features'}; make it again with snakemake"
            )
        models = {**{name: _content(content) for name, content in features.items()}, "vocoder": identity(info)}
        return cls(network, features, device, models)

    def speak(
        self, mel: Tensor, loudness_lufs: float | None = -16.0, told: NDArray[np.float32] | None = None
    ) -> audio.Wave:
        """`(T, mels)` to `(hop * T,)` float32 in [-1, 1] at `grid.rate`.

        Args:
            mel: log-mel.
            loudness_lufs: integrated loudness of the output (BS.1770, true peak kept below -1 dBTP); None leaves it.
            told: F0 `(T, 2)` that the mel was made for, if any; see `Ear`.
        """
        wave = vocode(self.network, self.ear(mel, told).to(self.device), self.grid.hop).numpy()
        if not np.isfinite(wave).all():
            raise InputError("the vocoder gave values that are not finite; its run is damaged or untrained")
        return wave if loudness_lufs is None else audio.to_loudness(wave, self.grid.rate, loudness_lufs)


class Converter:
    """Soft-VC with a trained acoustic model and a vocoder: `Converter.load(run, vocoder)`.

    Args:
        trained: acoustic model, and the networks of its units where it has some.
        voices: that it speaks with, in order.
        vocoder: that makes sound of its mels.
        features: extractors: `units` (or of what the network makes them of), `f0` and `energy`; `pits` and `dyns` of
            condition `literal`.
        device: where the networks are.
        models: which they are, as it stands in the output's JSON line.
    """

    def __init__(
        self,
        trained: acoustic_task.Trained,
        voices: Mapping[str, Voice],
        vocoder: MelVocoder,
        features: Mapping[str, Any],
        device: torch.device,
        models: Mapping[str, Any] | None = None,
    ):
        self.trained, self.voices, self.vocoder, self.features = trained, dict(voices), vocoder, dict(features)
        self.ear, self.grid, self.device, self.models = vocoder.ear, vocoder.grid, device, dict(models or {})
        self.conditioned = trained.acoustic.condition is not None
        """Whether the model is told a contour, which can be moved."""

    @classmethod
    def load(cls, run: str | Path, vocoder: str | Path, device: torch.device | str = "cpu") -> Converter:
        """Reads the two run folders; refused when they do not go together or are of another revision of the code.

        Args:
            run: that `train_pitdyn` or `train_soft_acoustic` made.
            vocoder: that `train_soft_vocoder` made.
            device: where the networks go.
        """
        device = torch.device(device)
        trained, info = runs.load(run, acoustic_task, device)
        assert isinstance(trained, acoustic_task.Trained)
        features, speaking = info["slice"]["features"], MelVocoder.load(vocoder, device)
        for name, theirs in speaking.features.items():
            if theirs != features[name]:
                raise InputError(
                    f"{vocoder}: it was trained on another {name} than {run} ({_difference(features[name], theirs)}); "
                    "give the vocoder of the same config"
                )
        units = features["units"]["of"][0] if trained.units is not None else features["units"]
        extractors = {"units": load_extractor(_content(units), device)}
        extractors |= {name: load_extractor(_content(features[name]), device) for name in ("f0", "energy")}
        models = {**{name: _content(content) for name, content in features.items()}, "acoustic": identity(info)}
        models |= speaking.models
        for role, content in info["slice"].get("literal", {}).items():
            extractors[role] = embed.of_model(trained.literal[role], content, device)
            models[role] = {key: content[key] for key in ("revision", "encoder", "classifier")}
        return cls(trained, acoustic_task.voices_of(info), speaking, extractors, device, models)

    def frames(self, recording: Recording) -> Frames:
        """The frames of one recording.

        Args:
            recording: a file, or `(N,)` float32 in [-1, 1] at `grid.rate`.
        """
        wave = wave_of(recording, self.grid.rate)
        if len(wave) < 2 * self.grid.hop:
            raise InputError(
                f"{name_of(recording)}: {len(wave)} samples, expected at least one frame of {2 * self.grid.hop}; give "
                "a longer recording"
            )
        units = torch.as_tensor(np.asarray(self.features["units"](wave)))
        if self.trained.units is not None:
            units = self.trained.units(units.to(self.device)).cpu()
        if self.trained.literal:
            beside = [self.features[role](wave) for role in ROLES]
            units = torch.cat([units.float(), *beside], dim=1)
        n = 2 * len(units)
        return Frames(units, *(np.asarray(self.features[name](wave))[:n] for name in ("f0", "energy")))

    def voice(self, name: str) -> int:
        """The number of a voice."""
        if name not in self.voices:
            known = list(self.voices)
            raise InputError(
                f"voice '{name}': the model does not speak with it; {catalog.nearest(name, known)}. For another voice "
                "go on with its recordings: softvc.refine"
            )
        return list(self.voices).index(name)

    def check(self, settings: ConvertSettings) -> None:
        """Refuses what a model that is told no contour would ignore."""
        for key in sorted(OF_CONDITION & settings.model_fields_set):
            value, usual = getattr(settings, key), type(settings).model_fields[key].default
            if not self.conditioned and value != usual:
                raise InputError(
                    f"{key} {value}: the acoustic model of this run is told no contour that could be moved; leave it "
                    "out, or take a run with condition continuous or quantised"
                )

    def mel(
        self, source: Frames, voice: str, settings: ConvertSettings, own: Voice | None = None
    ) -> tuple[Tensor, NDArray[np.float32] | None]:
        """Source frames to `(2n, mels)` in a voice, and the F0 `(2n, 2)` that the model was told, if it was told any.

        Args:
            source: of a recording.
            voice: that it is to be spoken with.
            settings: as under `softvc.convert`.
            own: how the source's speaker speaks; None: as in the recording itself.
        """
        number = torch.tensor([self.voice(voice)], device=self.device)
        condition = told = None
        if self.conditioned:
            told, energy = self.contour(source, voice, settings, own)
            condition = torch.from_numpy(columns(told, energy))[None].to(self.device)
        units = source.units.to(self.device)
        numbers = units[:, 0].long() if self.trained.acoustic.encoder.embedding is not None else units.float()
        return self.trained.acoustic.generate(numbers[None], condition, number)[0], told

    def contour(
        self, source: Frames, voice: str, settings: ConvertSettings, own: Voice | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """F0 `(2n, 2)` and loudness `(2n, 1)` as the voice is told to speak; a source without voice keeps its own."""
        if own is None:
            if not source.f0[:, 1].any():
                return source.f0, source.energy
            own = of_frames([(source.f0, source.energy)])
        return to_voice(
            source.f0,
            source.energy,
            own,
            self.voices[voice],
            register=settings.range,
            spread=settings.spread,
            transpose=settings.transpose,
            dynamics=settings.dynamics,
        )

    def convert(
        self, source: Frames, voice: str, settings: ConvertSettings | None = None, own: Voice | None = None
    ) -> audio.Wave:
        """Source frames to `(hop * 2n,)` float32 in [-1, 1] at `grid.rate`, spoken with a voice; see `mel`."""
        s = settings or ConvertSettings()
        self.check(s)
        mel, told = self.mel(source, voice, s, own)
        return self.vocoder.speak(mel, s.loudness_lufs, told)

    def __call__(self, source: Recording, voice: str, settings: ConvertSettings | None = None) -> audio.Wave:
        """One recording spoken with a voice: `(N',)` float32 at `grid.rate`.

        Raises:
            InputError: for a voice that the model does not know, or a setting that it would ignore.
        """
        return self.convert(self.frames(source), voice, settings)


def _content(content: Slice) -> Slice:
    """The settings of a feature without what it is made of."""
    return {key: value for key, value in content.items() if key != "of"}


def _settings(content: Slice) -> Any:
    from vcpipe.config import feature_settings

    return feature_settings(_content(content))


def _difference(ours: Slice, theirs: Slice) -> str:
    keys = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    return ", ".join(f"{key} {theirs.get(key)} for {ours.get(key)}" for key in keys)
