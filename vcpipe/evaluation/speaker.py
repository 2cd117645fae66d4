"""Speaker verification as a judge: how much two recordings sound like one person."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vcpipe.errors import InputError

Embedding = NDArray[np.float32]
Verifier = Callable[[NDArray[np.float32]], Embedding]

VERIFIERS = ("ge2e",)


def load_verifier(name: str, device: torch.device | str = "cpu") -> Verifier:
    """A recording `(N,)` float32 in [-1, 1] at 16 kHz to an embedding `(256,)` float32 of length 1.

    Args:
        name: `ge2e`, the public GE2E encoder; it raises quiet recordings to -30 dBFS first. Its cosines are around
            0.9 for one speaker and around 0.5 for two.
        device: where it runs.

    Raises:
        InputError: when there is no such verifier, or its weights are missing.
    """
    if name not in VERIFIERS:
        raise InputError(f"speaker verifier '{name}' is unknown; known: {', '.join(VERIFIERS)}")
    from vcpipe.nn.ge2e import load_ge2e, raise_volume

    encoder = load_ge2e(device)

    def embed(wave: NDArray[np.float32]) -> Embedding:
        embedding: Embedding = encoder.embed_utterance(raise_volume(torch.from_numpy(wave))).numpy()
        return embedding

    return embed


def centroid(embeddings: Sequence[Embedding]) -> Embedding:
    """The speaker behind some recordings: the mean of their embeddings `(D,)`, of length 1."""
    if not len(embeddings):
        raise InputError("speaker centroid: expected at least one recording of the speaker, found none")
    mean = np.mean(np.stack(embeddings), axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def cosine(a: Embedding, b: Embedding) -> float:
    """The cosine of the angle between two embeddings; 0 where one of them is zero."""
    return float(np.dot(a, b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
