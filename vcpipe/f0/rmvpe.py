"""RMVPE through the package `rmvpe-onnx`: made for singing over music, robust against noise."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vcpipe.errors import InputError
from vcpipe.f0.track import Limits, Track, check, missing, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(32.0, 1975.0)
THRESHOLD: float | None = 0.03
OFFSET_S = 0.0
"""Added to the package's times, 10 * i ms, the centres of its analysis windows. Not measured."""
SHA256 = "5370e71ac80af8b4b7c793d27efd51fd8bf962de3a7ede0766dac0befa3660fd"
"""Of the weights that the package names; it only warns when they differ."""
RATE = 16000
SHORTEST = 1024
"""Samples; a shorter recording is longer than its own reflection allows, and is filled up with silence."""


def track(
    wave: NDArray[np.float32],
    rate: int,
    *,
    floor_hz: float = 50.0,
    ceil_hz: float = 1100.0,
    frame_s: float = 0.01,
    threshold: float = 0.03,
) -> Track:
    """F0 of a mono recording by RMVPE (Wei et al., Interspeech 2023), a frame every 10 ms whatever `frame_s` says.

    Args:
        wave: `(N,)` float32 in [-1, 1]; another rate than 16 kHz is resampled first.
        rate: samples per second.
        floor_hz: lowest f0; estimates below are unvoiced.
        ceil_hz: highest f0; estimates above are unvoiced.
        frame_s: not used: the network's frames are what they are.
        threshold: of voicing, 0 to 1, against the network's confidence.

    Raises:
        InputError: when the package or its weights are not there.
    """
    import numpy as np

    check("rmvpe", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    network = _network()
    if rate != RATE:
        import soxr

        wave = soxr.resample(wave, rate, RATE)
    wave = np.pad(wave, (0, max(0, SHORTEST - len(wave))))
    times_s, f0_hz, confidence, _ = network.predict(audio=wave, sr=RATE)
    return tidy(np.asarray(times_s) + OFFSET_S, f0_hz, np.asarray(confidence) >= threshold, floor_hz, ceil_hz)


@functools.cache
def _network() -> Any:
    """Once a process. The package would fetch the weights by itself and use whatever came: they are checked first."""
    from vcpipe.weights import find

    try:
        from rmvpe_onnx import RMVPE, default_model_path
    except ImportError:
        raise missing("rmvpe", "rmvpe_onnx", '"rmvpe-onnx[cli]"') from None
    path = default_model_path()
    if not path.is_file():
        raise InputError(f"f0 method rmvpe: expected its weights at {path}, found none; type `rmvpe-onnx download`")
    return RMVPE(model_path=find(str(path), SHA256), device="cpu")
