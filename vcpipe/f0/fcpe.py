"""FCPE through the package `torchfcpe`, whose weights come with it: as robust as RMVPE and faster."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vcpipe.f0.track import Limits, Track, check, missing, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITS = Limits(32.7, 1975.5)
THRESHOLD: float | None = 0.006
OFFSET_S = 0.0
"""Added to its times, 10 * i ms, which its documentation gives by the number of frames. Not measured."""
RATE, HOP = 16000, 160


def track(
    wave: NDArray[np.float32],
    rate: int,
    *,
    floor_hz: float = 50.0,
    ceil_hz: float = 1100.0,
    frame_s: float = 0.01,
    threshold: float = 0.006,
    device: str = "cpu",
) -> Track:
    """F0 of a mono recording by FCPE (Luo et al. 2025), a frame every 10 ms whatever `frame_s` says.

    It is given 16 kHz, because it counts its frames in samples of the rate that it is given. The ceiling is ours: it
    would put everything above on the ceiling and call it voiced.

    Args:
        wave: `(N,)` float32 in [-1, 1]; another rate than 16 kHz is resampled first.
        rate: samples per second.
        floor_hz: lowest f0; estimates below are unvoiced.
        ceil_hz: highest f0; estimates above are unvoiced.
        frame_s: not used: the network's frames are what they are.
        threshold: of voicing, 0 to 1, against the network's confidence.
        device: where the network runs, as torch names it.

    Raises:
        InputError: when the package is not there.
    """
    import numpy as np

    check("fcpe", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    network = _network(device)
    import torch

    if rate != RATE:
        import soxr

        wave = soxr.resample(wave, rate, RATE)
    audio = torch.from_numpy(np.array(wave, np.float32))[None, :, None].to(device)
    with torch.inference_mode():
        found = network.infer(
            audio, sr=RATE, decoder_mode="local_argmax", threshold=threshold, f0_min=floor_hz, interp_uv=False
        )
    f0_hz = found[0, :, 0].float().cpu().numpy()
    return tidy(np.arange(len(f0_hz)) * HOP / RATE + OFFSET_S, f0_hz, f0_hz > 0, floor_hz, ceil_hz)


@functools.cache
def _network(device: str) -> Any:
    """Once a process for each device."""
    try:
        from torchfcpe import spawn_bundled_infer_model
    except ImportError:
        raise missing("fcpe", "torchfcpe", "torchfcpe") from None
    return spawn_bundled_infer_model(device=device)
