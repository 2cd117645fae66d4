"""The quickstart of the published kNN-VC under its own names: `get_features`, `get_matching_set`, `match`.

Who loads the published project through `torch.hub` changes the name of the repository and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vcpipe import weights
from vcpipe.device import choose
from vcpipe.errors import InputError
from vcpipe.features import wavlm
from vcpipe.hearing import Recording
from vcpipe.settings import check
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.converter import Converter
from vcpipe.systems.knnvc.frames import Frames
from vcpipe.vocoders.checkpoints import load_generator
from vcpipe.vocoders.config import generator_settings
from vcpipe.vocoders.synthesis import vocode
from vcpipe.vocoders.task import build_generator

PUBLIC_LAYER, PUBLIC_WIDTH = 6, 1024


class KNeighborsVC:
    """kNN-VC as the published class has it, over a `Converter` whose match and synthesis features are one.

    Args:
        converter: of a run folder, or of the published weights.
    """

    def __init__(self, converter: Converter):
        if converter.content is not None or converter.pitch is not None:
            raise InputError(
                "get_features gives one kind of frame, the vocoder of this run hears content or pitch beside it: use "
                "vcpipe.systems.knnvc.converter.Converter, which converts recordings"
            )
        if converter.matcher is not converter.synthesizer:
            raise InputError(
                "get_features gives one kind of frame, this run matches and synthesises with two: use Converter"
            )
        self.converter = converter
        self.device = converter.device
        self.sr = converter.grid.rate

    def get_features(self, path: Recording, weights: None = None, vad_trigger_level: float = 0) -> Tensor:
        """Frames `(T, D)` of a file or of a wave `(N,)` or `(1, N)` at `sr`; a trigger level above 0 trims silence.

        Raises:
            InputError: for `weights` other than None: the published mixing of layers is not offered.
        """
        _check_weights(weights)
        if isinstance(path, Tensor) and path.ndim == 2:
            path = path.mean(dim=0)
        return self.converter.frames(path, trim=vad_trigger_level > 0).match

    def get_matching_set(self, wavs: Sequence[Recording], weights: None = None, vad_trigger_level: float = 7) -> Tensor:
        """Frames `(P, D)` of all references on end, their silence trimmed; `weights` as in `get_features`."""
        _check_weights(weights)
        return self.converter.pool(wavs, trim=vad_trigger_level > 0).match

    def match(
        self,
        query_seq: Tensor,
        matching_set: Tensor,
        synth_set: Tensor | None = None,
        topk: int = 4,
        tgt_loudness_db: float | None = -16,
        target_duration: float | None = None,
        device: str | torch.device | None = None,
    ) -> Tensor:
        """The query in the voice of the matching set: `(N,)` samples at `sr`, on the CPU.

        Args:
            query_seq: `(T, D)` from `get_features`.
            matching_set: `(P, D)` from `get_matching_set`.
            synth_set: `(P, D)` frames to average instead, row for row those of the matching set.
            topk: nearest frames that are averaged.
            tgt_loudness_db: LUFS of the output; None leaves it.
            target_duration: seconds of the output; None is the source's.
            device: None, or the one that `knn_vc` was given: the vocoder stays where it is.
        """
        if device is not None and not _same(torch.device(device), self.device):
            raise InputError(f"device {device}: the vocoder is on {self.device}; give the device to knn_vc instead")
        pool = Frames(matching_set, matching_set if synth_set is None else synth_set)
        source = Frames(query_seq, query_seq)
        settings = check(ConvertSettings, {"topk": topk, "loudness_lufs": tgt_loudness_db}, "match")
        return torch.from_numpy(self.converter.convert(source, pool, settings, target_duration))

    def vocode(self, c: Tensor) -> Tensor:
        """Frames `(T, D)` or `(1, T, D)` as sound: `(N,)` samples at `sr`, on the CPU."""
        return vocode(self.converter.vocoder, c.reshape(-1, c.shape[-1]), self.converter.grid.hop)


def knn_vc(
    pretrained: bool = True,
    progress: bool = True,
    prematched: bool = True,
    device: str | torch.device | None = None,
    *,
    run: str | Path | None = None,
) -> KNeighborsVC:
    """kNN-VC of a run folder, or, without one, of the published WavLM-Large and HiFi-GAN weights.

    Args:
        pretrained: must be true without a run: an untrained vocoder converts nothing.
        progress: kept for callers of the published function; downloads report through the log.
        prematched: which of the published vocoders.
        device: where to compute; None: cuda where there is one, else the CPU.
        run: folder that `train_hifigan_prematched` made.
    """
    chosen = choose("auto" if device is None else str(device))
    if run is not None:
        return KNeighborsVC(Converter.load(run, chosen))
    if not pretrained:
        raise InputError("pretrained=False: an untrained vocoder converts nothing; give run=FOLDER of a trained one")
    values = {"kind": "wavlm", "weights": "WavLM-Large.pt", "layer": PUBLIC_LAYER, "width": PUBLIC_WIDTH}
    name = "prematch_g_02500000.pt" if prematched else "g_02500000.pt"
    vocoder_file = weights.find(name)  # before the encoder, which is large
    extractor = wavlm.load(check(wavlm.Settings, values, "wavlm"), chosen)
    settings = generator_settings("hifigan_v1", "generator")
    vocoder = build_generator(settings, PUBLIC_WIDTH, extractor.grid.hop, normed=False)
    load_generator(vocoder, vocoder_file)
    identity = {"weights": name, "sha256": weights.known_sha256(name)}
    return KNeighborsVC(Converter(extractor, extractor, vocoder.to(chosen).eval(), chosen, identity))


def _check_weights(weights: object) -> None:
    if weights is not None:
        raise InputError(
            f"weights: expected None, found {type(weights).__name__}; one layer is used: choose it by the feature's "
            "`layer` in config.yaml, train, and give run=FOLDER"
        )


def _same(a: torch.device, b: torch.device) -> bool:
    return (a.type, a.index or 0) == (b.type, b.index or 0)
