"""Predicted opinion scores: how natural and clean a recording sounds, by networks trained on listeners."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.errors import InputError
from vcpipe.evaluated import REVISIONS
from vcpipe.weights import read_pickle_checkpoint, wheel_file

Quality = Callable[[Wave], dict[str, float]]

REVISION = REVISIONS["quality"]
"""Raised whenever a number changes."""

RATE = 16000
WINDOW = round(9.01 * RATE)
"""Samples that DNSMOS hears at once."""
N_MELS, N_FFT, HOP = 120, 321, 160
"""Of the spectrogram that the network of P.808 reads."""
FITS = {
    "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
    "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
    "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
}
"""From the network of P.835 to the scale of listeners, highest power first (Reddy et al. 2022)."""

P835, P808, DISTILLED = "dnsmos_models/sig_bak_ovr.onnx", "dnsmos_models/model_v8.onnx", "weights/distill_mos_v7.pt"


class Judge(NamedTuple):
    """A predictor: the package with its weights, what to install, the files and their SHA-256, and its settings."""

    package: str
    install: str
    files: dict[str, str]
    settings: dict[str, Any]


_DNSMOS = {
    P835: "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
    P808: "9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
}
JUDGES = {
    "dnsmos": Judge("speechmos", "speechmos", _DNSMOS, {"windows": "few"}),
    "dnsmos_all": Judge("speechmos", "speechmos", _DNSMOS, {"windows": "all"}),
    "distillmos": Judge(
        "distillmos",
        "distillmos",
        {DISTILLED: "b18b3ac60227267cfb91e5d00ce22cc7b73716fd92f269484da1446e27031a40"},
        {"variant": 7},
    ),
}


def load_quality(name: str) -> Quality:
    """A predictor of quality: a recording `(N,)` float32 in [-1, 1] at 16 kHz to scores from 1 to 5.

    The same recording gives the same scores on the same machine. Safe to call from several threads at once.

    Args:
        name: `dnsmos`: DNSMOS P.835 (`dnsmos_ovrl`, `dnsmos_sig`, `dnsmos_bak`: overall, speech, background) and P.808
            (`dnsmos_p808`), one core, 0.45 s for each 9 s begun. `dnsmos_all`: the same keys and exactly the numbers of
            the package speechmos, at up to nine times the cost; see `_starts`. `distillmos`: DistillMOS
            (`distillmos`), on as many cores as torch is given.

    Raises:
        InputError: when there is no such predictor, its package is missing, or its weights are not those known.
    """
    files = {file: wheel_file(_judge(name).package, file, sha256) for file, sha256 in _judge(name).files.items()}
    if name == "distillmos":
        return _distillmos(read_pickle_checkpoint(files[DISTILLED]))
    return _dnsmos(_session(files[P835]), _session(files[P808]), _judge(name).settings["windows"])


def quality_identity(name: str) -> dict[str, Any]:
    """What decides the scores, for the protocol; InputError as `load_quality`'s."""
    judge = _judge(name)
    return {
        "name": name,
        "package": judge.package,
        "version": importlib.metadata.version(judge.package),
        "sha256": judge.files,
        "settings": {
            **judge.settings,
            "revision": REVISION,
            "versions": {name: importlib.metadata.version(name) for name in ("librosa", "onnxruntime")},
        },
    }


def _judge(name: str) -> Judge:
    if name not in JUDGES:
        raise InputError(f"quality predictor '{name}' is unknown; known: {', '.join(JUDGES)}")
    judge = JUDGES[name]
    try:
        importlib.metadata.version(judge.package)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"quality predictor '{name}': expected the package {judge.package}, found none; type "
            f"`pip install {judge.install}`, or leave {name} out"
        ) from None
    return judge


def _session(path: Any) -> Any:
    """One thread that does not spin: several workers share a computer."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _dnsmos(p835: Any, p808: Any, windows: str) -> Quality:
    """Networks and numbers of the package `speechmos` (Reddy, Gopal and Cutler, 2021 and 2022)."""

    def predict(wave: Wave) -> dict[str, float]:
        looped = _loop(_checked(wave))
        found: dict[str, list[float]] = {name: [] for name in (*FITS, "dnsmos_p808")}
        for start in _starts(len(wave), len(looped), windows):
            part = looped[start : start + WINDOW]
            sig, bak, ovrl = p835.run(None, {"input_1": part[None]})[0][0]
            for name, raw in (("dnsmos_ovrl", ovrl), ("dnsmos_sig", sig), ("dnsmos_bak", bak)):
                found[name].append(float(np.polyval(FITS[name], raw)))
            found["dnsmos_p808"].append(float(p808.run(None, {"input_1": _mel(part)[None]})[0][0][0]))
        return {name: float(np.mean(values)) for name, values in found.items()}

    return predict


def _starts(n: int, n_looped: int, windows: str) -> list[int]:
    """First samples of the windows of 9.01 s whose scores are averaged, of `n` samples looped to `n_looped`.

    `all` is speechmos's rule, one every second of the loop: eight for a recording of 4.4 s, each with all of it twice.
    `few`: as many as the recording itself fills, from its beginning to its end; where speechmos has one window, it is
    that one. Of 26 recordings, natural, noisy and converted, the scores differ by less than 0.01 on the mean and by
    0.03 (standard deviation; P.808 0.04) each, where they differ among themselves by 0.4 to 0.7.
    """
    last = int(n_looped // RATE - WINDOW / RATE)
    every = [second * RATE for second in range(last + 1) if second * RATE + WINDOW <= n_looped]
    if windows == "all" or len(every) == 1:
        return every
    return [round(start) for start in np.linspace(0, n_looped - WINDOW, -(-n // WINDOW))]


def _loop(wave: Wave) -> Wave:
    """Doubled until it fills a window, as speechmos does."""
    while len(wave) < WINDOW:
        wave = np.concatenate([wave, wave])
    return wave


def _mel(part: Wave) -> NDArray[np.float32]:
    """`(900, 120)`: power in dB below the loudest, 40 dB to a unit, as speechmos makes it."""
    import librosa

    power = librosa.feature.melspectrogram(y=part[:-HOP], sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=N_MELS)
    return np.asarray((librosa.power_to_db(power, ref=np.max) + 40) / 40, np.float32).T


def _distillmos(checkpoint: dict[str, Any]) -> Quality:
    """DistillMOS, variant 7 (Stahl and Gamper 2025), its weights read without running what is in the file."""
    import torch
    from distillmos import ConvTransformerSQAModel

    network = ConvTransformerSQAModel(load_weights=False)
    network.load_state_dict(checkpoint["model"])
    network.eval().requires_grad_(False)

    def predict(wave: Wave) -> dict[str, float]:
        with torch.inference_mode():
            return {"distillmos": float(network(torch.from_numpy(_checked(wave))[None]))}

    return predict


def _checked(wave: Wave) -> Wave:
    if wave.ndim != 1 or wave.dtype != np.float32 or not len(wave):
        raise InputError(
            f"quality: expected float32 samples (N,), N > 0, found {wave.dtype} {wave.shape}; convert it again"
        )
    if not np.abs(wave).max() <= 1:
        raise InputError("quality: expected samples in [-1, 1], found others, or NaN; convert it again")
    return wave
