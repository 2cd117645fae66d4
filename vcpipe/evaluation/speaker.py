"""Speaker verification as a judge: how much two recordings sound like one person."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vcpipe import weights
from vcpipe.errors import InputError

Embedding = NDArray[np.float32]
Verifier = Callable[[NDArray[np.float32]], Embedding]
Device = torch.device | str

RATE = 16000
SHORTEST_S = 0.5
"""ECAPA and WavLM need some frames: a shorter recording is repeated up to here."""
LONGEST_S = 30.0
"""WavLM's attention grows with the square of time: a longer recording is the mean of equal parts of at most this."""
ECAPA, WAVLM_SV = "spkrec-ecapa-voxceleb", "wavlm-base-plus-sv"
"""Names of folders below `./weights` or the cache; they are the names that the weights are published under."""
WAVLM_FILES = ("model.safetensors", "pytorch_model.bin")


def load_verifier(name: str, device: Device = "cpu") -> Verifier:
    """A recording `(N,)` float32 in [-1, 1] at 16 kHz, N > 0, to an embedding `(D,)` float32 of length 1.

    Args:
        name: `ge2e` (D = 256), the public GE2E encoder, of which the weights come in an installed package; it raises
            quiet recordings to -30 dBFS first. Its cosines are around 0.9 for one speaker and around 0.5 for two.
            `ecapa` (192), speechbrain's ECAPA-TDNN, needs that package. `wavlm_sv` (512), Microsoft's WavLM Base+ with
            an x-vector head. The weights of both are put into a folder by hand (`ECAPA`, `WAVLM_SV`).
        device: where it runs.

    Raises:
        InputError: when there is no such verifier, or its package or weights are missing.
    """
    return _chosen(name)[0](device)


def verifier_identity(name: str) -> dict[str, Any]:
    """All that the embeddings depend on: name, package and version, SHA-256 of the weights, settings.

    Raises:
        InputError: as `load_verifier`.
    """
    return {"name": name, **_chosen(name)[1]()}


def check_independent(name: str, system: Mapping[str, Any]) -> None:
    """Refuses a verifier that the system was conditioned on: it would find what the system was trained to show it.

    Args:
        name: of the verifier.
        system: content of a row's `system.json`; its `speaker_encoder` is the name of an encoder, or None.
    """
    row = system.get("row", "?")
    if "speaker_encoder" not in system:
        raise InputError(
            f"row '{row}': expected `speaker_encoder` in its system.json (null where no encoder conditioned it), "
            "found none; render the row again"
        )
    if system["speaker_encoder"] == name:
        other = next(known for known in INDEPENDENT if known != name)
        raise InputError(
            f"row '{row}': expected a verifier that knows nothing of the system, found '{name}', which its speaker "
            f"vectors come from; set `evaluate.verifier: {other}` for all rows"
        )


def _chosen(name: str) -> tuple[Callable[[Device], Verifier], Callable[[], dict[str, Any]]]:
    if name not in _KNOWN:
        raise InputError(f"speaker verifier '{name}' is unknown; known: {', '.join(VERIFIERS)}")
    return _KNOWN[name]


def _load_ge2e(device: Device) -> Verifier:
    from vcpipe.nn.ge2e import load_ge2e, raise_volume

    encoder = load_ge2e(device)

    def embed(wave: NDArray[np.float32]) -> Embedding:
        embedding: Embedding = encoder.embed_utterance(raise_volume(torch.from_numpy(wave))).numpy()
        return embedding

    return embed


def _ge2e_identity() -> dict[str, Any]:
    from vcpipe.nn.ge2e import MIN_COVERAGE, PACKAGE, PARTIALS_PER_S, TARGET_DBFS, WEIGHTS, WEIGHTS_SHA256

    weights.wheel_file(PACKAGE, WEIGHTS, WEIGHTS_SHA256)
    settings = {"level_dbfs": TARGET_DBFS, "rate_per_s": PARTIALS_PER_S, "min_coverage": MIN_COVERAGE}
    return {
        "package": PACKAGE,
        "version": importlib.metadata.version(PACKAGE),
        "sha256": WEIGHTS_SHA256,
        "settings": settings,
    }


def _load_ecapa(device: Device) -> Verifier:
    from vcpipe.features.ecapa import Settings, load

    embedder = load(Settings(weights=str(_ecapa_folder())), torch.device(device))
    return lambda wave: _checked(embedder(_long_enough(wave))[0].numpy(), "ecapa")


def _ecapa_folder() -> Path:
    from vcpipe.features.ecapa import FILE

    return weights.find_folder(ECAPA, (FILE,), f"download {FILE} of speechbrain's {ECAPA} by hand")


def _ecapa_identity() -> dict[str, Any]:
    from vcpipe.features.ecapa import FILE, Settings

    path = _ecapa_folder() / FILE
    try:
        version = importlib.metadata.version("speechbrain")
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            "speaker verifier 'ecapa' needs the package speechbrain, found none; type `pip install speechbrain`"
        ) from None
    settings = {"window_s": Settings(weights=str(path.parent)).window_s, "shortest_s": SHORTEST_S}
    return {"package": "speechbrain", "version": version, "sha256": weights.file_sha256(path), "settings": settings}


def _load_wavlm_sv(device: Device) -> Verifier:
    from vcpipe.nn import xvector

    network = xvector.load(_wavlm_file()).to(device)

    def embed(wave: NDArray[np.float32]) -> Embedding:
        parts = np.array_split(_long_enough(wave), max(1, -(-len(wave) // round(LONGEST_S * RATE))))
        with torch.inference_mode():
            vectors = [network(torch.from_numpy(part).to(device)).float().cpu().numpy() for part in parts]
        return _checked(
            centroid([vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in vectors]), "wavlm_sv"
        )

    return embed


def _wavlm_file() -> Path:
    by_hand = f"download {' or '.join(WAVLM_FILES)} of Microsoft's {WAVLM_SV} by hand, with both configurations,"
    folder = weights.find_folder(WAVLM_SV, ("config.json", "preprocessor_config.json"), by_hand)
    found = [folder / name for name in WAVLM_FILES if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder}: expected a file {' or '.join(WAVLM_FILES)} in it, found neither; {by_hand}")
    return found[0]


def _wavlm_identity() -> dict[str, Any]:
    from vcpipe import __version__

    path = _wavlm_file()
    configs = {name: weights.file_sha256(path.parent / name) for name in ("config.json", "preprocessor_config.json")}
    settings = {"shortest_s": SHORTEST_S, "longest_s": LONGEST_S, **configs}
    return {"package": "vcpipe", "version": __version__, "sha256": weights.file_sha256(path), "settings": settings}


_KNOWN: dict[str, tuple[Callable[[Device], Verifier], Callable[[], dict[str, Any]]]] = {
    "ge2e": (_load_ge2e, _ge2e_identity),
    "ecapa": (_load_ecapa, _ecapa_identity),
    "wavlm_sv": (_load_wavlm_sv, _wavlm_identity),
}
VERIFIERS = tuple(_KNOWN)
INDEPENDENT = ("ecapa", "ge2e")
"""What to take instead of a verifier that cannot be taken, best first."""


def _long_enough(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """The recording, repeated up to `SHORTEST_S` where it is shorter."""
    return wave if len(wave) >= SHORTEST_S * RATE else np.resize(wave, round(SHORTEST_S * RATE))


def _checked(embedding: Embedding, name: str) -> Embedding:
    assert np.isfinite(embedding).all(), f"speaker verifier '{name}': an embedding that is not finite"
    return embedding


def centroid(embeddings: Sequence[Embedding]) -> Embedding:
    """The speaker behind some recordings: the mean of their embeddings `(D,)`, of length 1."""
    if not len(embeddings):
        raise InputError("speaker centroid: expected at least one recording of the speaker, found none")
    mean = np.mean(np.stack(embeddings), axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def cosine(a: Embedding, b: Embedding) -> float:
    """The cosine of the angle between two embeddings; 0 where one of them is zero."""
    return float(np.dot(a, b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
