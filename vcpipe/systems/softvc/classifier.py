"""An encoder of speech that tells classes of frames apart; the embedding of a frame is what it compares with them.

As in HuBERT-Soft (van Niekerk et al. 2022, arXiv 2111.02392), which hubert-pitdyn fine-tunes: a projection of the
encoder's frames, and the cosine of it with an embedding of each class. There is one network and one `forward`, for
training, for validation and for encoding; a mask is an argument, and no mode changes a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vcpipe import weights
from vcpipe.errors import InputError
from vcpipe.nn import hubert, whisper_weights
from vcpipe.nn.soft_units import TEMPERATURE, cosines
from vcpipe.nn.ssl import SpeechTransformer
from vcpipe.nn.whisper import HOP, MEL_HOP, Size, WhisperEncoder, log_mel
from vcpipe.settings import Slice

DIM = 256
"""Columns of an embedding; those of HuBERT-Soft's projection, with which training begins."""
SPAN, LEAST_SPANS = 10, 2
"""Frames that a mask hides at once, and spans in a row of a batch."""
HUBERT_LAYER = 12
OURS: list[tuple[str, str]] = [
    (r"^feature_extractor\.", "front."),
    (r"^encoder\.feature_projection\.", "projection."),
    (r"^encoder\.transformer\.pos_conv_embed\.conv\.parametrizations\.weight\.original1", "positions.conv.weight"),
    (r"^encoder\.transformer\.", ""),
]
"""From torchaudio's names of a HuBERT's tensors to those of `SpeechTransformer`."""


class Classifier(nn.Module):
    """Recordings to embeddings of their frames, and these to scores of classes.

    Args:
        encoder: of `load_encoder` or `encoder_like`; all of it is trained.
        classes: how many are told apart.
        masked: whether spans can be hidden: there is a vector to be learnt that stands for a hidden frame.
        level: whether frames are told how loud their recording is: HuBERT's first layer is normalised over time, so
            that it hears no gain. The vector that is added for every tenfold in level is zero at first.
    """

    def __init__(self, encoder: OnWhisper | OnHubert, classes: int, masked: bool, level: bool):
        super().__init__()
        self.encoder = encoder
        self.label_embedding = nn.Embedding(classes, DIM)
        self.hidden = nn.Parameter(torch.rand(encoder.width)) if masked else None
        self.level = nn.Parameter(torch.zeros(encoder.width)) if level else None

    def forward(self, waves: Tensor, lengths: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings `(B, T, 256)` and scores `(B, T, classes)`, `T = max(lengths) // 320`.

        Args:
            waves: `(B, N)` float32 in [-1, 1] at 16 kHz, zero beyond `lengths`.
            lengths: `(B,)` samples, at least 320; frames beyond a row's own mean nothing.
            mask: `(B, T)` bool, the frames that the transformer layers don't see; of `span_mask`.
        """
        level = level_of(waves, lengths)

        def told(frames: Tensor) -> Tensor:
            if mask is not None:
                assert self.hidden is not None, "a mask needs a classifier that was made with masked=True"
                frames = torch.where(mask[..., None], self.hidden.to(frames.dtype), frames)
            return frames if self.level is None else frames + level[:, None, None] * self.level

        embeddings = self.encoder(waves, lengths, told)
        return embeddings, cosines(embeddings, self.label_embedding.weight) / TEMPERATURE


class OnWhisper(nn.Module):
    """Whisper's encoder up to a layer, its closing norm and a projection; framed as the feature `whisper` is.

    Args:
        encoder: with as many layers as are wanted.
        positions: whether sinusoidal positions are added.
    """

    def __init__(self, encoder: WhisperEncoder, positions: bool):
        super().__init__()
        self.net, self.with_positions = encoder, positions
        self.head = nn.Linear(encoder.size.width, DIM)
        self.width, self.ragged = encoder.size.width, True

    def forward(self, waves: Tensor, lengths: Tensor, told: Callable[[Tensor], Tensor]) -> Tensor:
        """`(B, N)` samples to `(B, T, 256)`; `told` changes what the convolutions made, `(B, T, width)`."""
        with torch.autocast(waves.device.type, enabled=False):  # the same spectrogram in every precision
            mel = log_mel(waves, lengths, MEL_HOP, self.net.size.n_mels)
        with _changed(self.net.conv2, lambda out: told(out.transpose(1, 2)).transpose(1, 2)):
            frames = self.net(mel, lengths // HOP, positions=self.with_positions, final_norm=True)
        out: Tensor = self.head(frames)
        return out


class OnHubert(nn.Module):
    """HuBERT-Soft with its projection, as the feature `hubert_soft` is.

    Its front end is normalised over all of time, zeros behind a short crop included: encoding takes recordings of one
    length at a time.
    """

    def __init__(self, encoder: SpeechTransformer):
        super().__init__()
        self.net = encoder
        self.net.add_module("positions", _Positions(encoder.positions.conv))
        self.width, self.ragged = int(encoder.first_attention.embed_dim), not encoder.group_norm

    def forward(self, waves: Tensor, lengths: Tensor, told: Callable[[Tensor], Tensor]) -> Tensor:
        """`(B, N)` samples to `(B, T, 256)`; `told` changes what the front end made, `(B, T, width)`."""
        with _changed(self.net.projection, told):
            out: Tensor = self.net(waves, lengths)
        return out


class _Positions(nn.Module):
    """The convolution of `LongConv` as it is, which keeps a transform of its weights: here they are trained."""

    def __init__(self, conv: nn.Conv1d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, D)` to the same."""
        out: Tensor = self.conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)
        return out


@contextmanager
def _changed(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """What a module answers goes through `change`."""
    hook = module.register_forward_hook(lambda _module, _inputs, out: change(out))
    try:
        yield
    finally:
        hook.remove()


def level_of(waves: Tensor, lengths: Tensor) -> Tensor:
    """`(B,)`: log10 of the RMS of each row up to its length; -5 for what is more silent than that."""
    power = waves.square().sum(1) / lengths.to(waves.device)
    return 0.5 * power.clamp(min=1e-10).log10()


def span_mask(lengths: Tensor, share: float) -> Tensor:
    """`(B, max lengths)` bool: frames to hide, in spans of 10 that may overlap; drawn from torch's generator.

    As in HuBERT: `share * T / 10` spans, rounded at random, at least two; where they overlap fewer frames are hidden
    than `share` (at 0.8 about 0.55). On the device of `lengths (B,)`, frames of each row.
    """
    frames = lengths.tolist()
    mask = torch.zeros(len(frames), max(frames), dtype=torch.bool)
    for row, n in zip(mask, frames, strict=True):
        count = max(LEAST_SPANS, int(share * n / SPAN + float(torch.rand(()))))
        starts = torch.randperm(max(1, n - SPAN + 1))[:count]
        row[(starts[:, None] + torch.arange(SPAN)).flatten().clamp(max=n - 1)] = True
    return mask.to(lengths.device)


def load_encoder(content: Slice) -> OnWhisper | OnHubert:
    """The encoder of a feature with its published weights, to be trained on.

    Args:
        content: the feature's settings as its slice has them; what layer it stops at is as there.

    Raises:
        InputError: when the weights are missing or of another kind, or layers are mixed.
    """
    kind = content["kind"]
    if kind == "hubert_soft":
        path = weights.find(content["weights"], content["sha256"])
        net = hubert.load(path, HUBERT_LAYER, head=True)
        if net.width != DIM:
            raise InputError(f"{path}: a projection to {net.width} columns, expected {DIM}; is it HuBERT-Soft?")
        return OnHubert(net.requires_grad_(True))
    if kind == "whisper_tiny_en":
        encoder = whisper_weights.load_tiny_en()
    else:
        encoder = whisper_weights.load(weights.find(content["weights"], content["sha256"]))
    layer = content.get("layer")
    if layer is None or not 0 < layer <= encoder.size.layers:
        raise InputError(
            f"encoder: expected the feature to stop at one layer from 1 to {encoder.size.layers}, found layer {layer}; "
            "name a feature with `layer`"
        )
    encoder.layers = encoder.layers[:layer]
    encoder.size = encoder.size._replace(layers=layer)
    return OnWhisper(encoder.requires_grad_(True), content["positions"])


def encoder_like(content: Slice, tensors: Mapping[str, Tensor], where: str) -> OnWhisper | OnHubert:
    """The encoder of exported tensors, read off their shapes: no file of weights is needed. Its numbers are random.

    Args:
        content: as in `load_encoder`.
        tensors: those of a `Classifier`.
        where: the run folder, to be named in an error.
    """
    given = {key.removeprefix("encoder.net."): value for key, value in tensors.items()}
    if content["kind"] == "hubert_soft":
        arguments = hubert.architecture(given, _ours, where, "a classifier on HuBERT-Soft")
        head = nn.Linear(arguments["encoder_embed_dim"], DIM)
        network: Any = hubert.build(arguments)
        layers = arguments["encoder_num_layers"]
        return OnHubert(SpeechTransformer(network, layers, centred=True, head=head))
    try:
        frames, width = given["positions"].shape
        n_mels = given["conv1.weight"].shape[1]
    except (KeyError, ValueError, IndexError):
        raise InputError(
            f"{where}: not the tensors of a classifier on Whisper; train it again with snakemake"
        ) from None
    layers = len({key.split(".")[1] for key in given if key.startswith("layers.")})
    size = Size(n_mels, width, width // whisper_weights.HEAD_WIDTH, layers, frames)
    return OnWhisper(WhisperEncoder(size), content["positions"])


def _ours(name: str) -> list[str]:
    for pattern, replacement in OURS:
        name = re.sub(pattern, replacement, name)
    return [name]
