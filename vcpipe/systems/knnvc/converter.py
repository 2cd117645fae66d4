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
from vcpipe.grid import Grid
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.match import match
from vcpipe.training import runs
from vcpipe.vocoders import task
from vcpipe.vocoders.synthesis import vocode

Recording = str | Path | Tensor


class Frames:
    """Frames of one or many recordings on end: `match (T, D)` for comparing, `synthesis (T, E)` for the vocoder."""

    def __init__(self, match: Tensor, synthesis: Tensor):
        self.match, self.synthesis = match, synthesis

    def __len__(self) -> int:
        return len(self.match)


class Converter:
    """kNN-VC with a trained vocoder. `Converter.load(run)` needs the run folder and nothing else.

    Args:
        matcher: extractor of the frames that are compared.
        synthesizer: extractor of the frames that are averaged; the same object when both are one feature.
        vocoder: module, `(B, T, E)` units to `(B, hop * T)` samples.
        grid: of the frames, at the rate of recordings and output.
        identity: which vocoder it is, as it stands in the output's JSON line.
    """

    def __init__(
        self,
        matcher: Extractor,
        synthesizer: Extractor,
        vocoder: torch.nn.Module,
        device: torch.device,
        identity: Mapping[str, object] | None = None,
    ):
        self.matcher, self.synthesizer, self.vocoder, self.device = matcher, synthesizer, vocoder, device
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
        matcher = load_extractor(features["match"], device)
        same = features["match"] == features["synthesis"]
        synthesizer = matcher if same else load_extractor(features["synthesis"], device)
        return cls(matcher, synthesizer, vocoder, device, _identity(info))

    def frames(self, recording: Recording, trim: bool = False) -> Frames:
        """The frames of one recording.

        Args:
            recording: a file, or `(N,)` float32 in [-1, 1] at `grid.rate`.
            trim: cut what comes before and after the speech.
        """
        wave = self._wave(recording)
        if trim:
            from vcpipe.vad import speech_bounds

            start, stop = speech_bounds(wave.numpy(), self.grid.rate)
            wave = wave[start:stop]
        if len(wave) < self.grid.hop:
            raise InputError(f"{_name(recording)}: {len(wave)} samples, expected at least one frame of {self.grid.hop}")
        found = self.matcher(wave)
        same = self.synthesizer is self.matcher
        return Frames(found, found if same else self.synthesizer(wave))

    def pool(self, recordings: Sequence[Recording], trim: bool = True) -> Frames:
        """The frames of the references on end, in half precision: 2 bytes a value, 2 KiB a frame at 1024 columns."""
        if not recordings:
            raise InputError("no reference recording; give at least one file or folder with the target's voice")
        parts = [_half(self.frames(recording, trim)) for recording in recordings]
        found = torch.cat([p.match for p in parts])
        same = self.synthesizer is self.matcher
        return Frames(found, found if same else torch.cat([p.synthesis for p in parts]))

    def convert(
        self,
        source: Frames,
        pool: Frames,
        topk: int = 4,
        alpha: float = 0.0,
        loudness_lufs: float | None = -16.0,
        target_duration_s: float | None = None,
    ) -> audio.Wave:
        """Source frames to `(hop * T,)` float32 in [-1, 1] at `grid.rate`, in the pool's voice.

        Args:
            topk: nearest frames that are averaged.
            alpha: share of the source's own frames mixed into the result; 0 is all target.
            loudness_lufs: integrated loudness of the output (BS.1770, true peak kept below -1 dBTP); None leaves it.
            target_duration_s: stretches the source frames linearly in time to this length.
        """
        if target_duration_s is not None:
            source = _stretched(source, max(1, round(target_duration_s * float(self.grid.fps))))
        matched = match(source.match.to(self.device), pool.match, pool.synthesis, topk)
        return self.speak(torch.lerp(matched, source.synthesis.to(self.device, torch.float32), alpha), loudness_lufs)

    def speak(self, units: Tensor, loudness_lufs: float | None = -16.0) -> audio.Wave:
        """Units `(T, E)` on the converter's device to `(hop * T,)` float32 in [-1, 1] at `grid.rate`.

        Args:
            loudness_lufs: as in `convert`.
        """
        wave = vocode(self.vocoder, units, self.grid.hop).numpy()
        if not np.isfinite(wave).all():
            raise InputError("the vocoder gave values that are not finite; its run is damaged or untrained")
        return wave if loudness_lufs is None else audio.to_loudness(wave, self.grid.rate, loudness_lufs)

    def __call__(
        self, source: Recording, references: Sequence[Recording], settings: ConvertSettings | None = None
    ) -> audio.Wave:
        """One recording spoken by the voice of the references: `(N',)` float32 at `grid.rate`."""
        s = settings or ConvertSettings()
        pool = self.pool(references, s.trim_references)
        return self.convert(self.frames(source), pool, s.topk, s.alpha, s.loudness_lufs)

    def revisions(self) -> dict[str, object]:
        """The settings and code revisions of the extractors, as they stand in the output's JSON line."""
        return {"match": self.matcher.settings.content(), "synthesis": self.synthesizer.settings.content()}

    def _wave(self, recording: Recording) -> Tensor:
        if isinstance(recording, str | Path):
            return torch.from_numpy(audio.load(recording, self.grid.rate))
        if recording.ndim != 1:
            raise InputError(f"recording: expected a mono wave (N,), found {tuple(recording.shape)}; mix it down first")
        if not torch.isfinite(recording).all():
            raise InputError("recording: NaN or infinite samples; repair the recording first")
        return recording.float().cpu()


def _identity(info: runs.Info) -> dict[str, object]:
    """What tells one trained vocoder from another, from a run's `config.json`; the commit where it is known."""
    known = {"revision": info["slice"]["revision"], "step": info["step"], "checksum": info["checksum"]}
    return {**known, "commit": info["commit"]} if info.get("commit") else known


def _half(frames: Frames) -> Frames:
    found = frames.match.half()
    return Frames(found, found if frames.synthesis is frames.match else frames.synthesis.half())


def _stretched(source: Frames, n_frames: int) -> Frames:
    def stretch(frames: Tensor) -> Tensor:
        resized = torch.nn.functional.interpolate(frames.float().T[None], n_frames, mode="linear", align_corners=False)
        return resized[0].T

    found = stretch(source.match)
    return Frames(found, found if source.synthesis is source.match else stretch(source.synthesis))


def _name(recording: Recording) -> str:
    return str(recording) if isinstance(recording, str | Path) else "recording"
