"""Where speech begins and ends: by silero-vad's network (its weights are in the wheel), or by level alone.

The network runs in onnxruntime on one thread: no torch. It is silero's sequence model, which takes many frames in
one call and gives the same probabilities as the model that takes one.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcpipe.audio import Wave
from vcpipe.errors import InputError

log = logging.getLogger(__name__)

Spans = list[tuple[int, int]]
"""Samples `[start, stop)` of each stretch of speech, in order, without overlap."""

RATE = 16000  # samples/s that the network hears
FRAME, CONTEXT = 512, 64  # samples that it judges at once, and of the frame before that it hears again
BLOCK = 512  # frames a call
LEAD = 16  # frames of silence that it hears first: without them it misses speech that begins with the recording
SPEECH, SILENCE = 0.5, 0.35  # probability at which speech begins, and below which it may end
MIN_SILENCE, MIN_SPEECH, PAD = 1600, 4000, 480  # samples: 100, 250 and 30 ms, the defaults of silero-vad

ENERGY_GAP, ENERGY_MIN = 5, 3  # 20 ms frames: shorter silences are bridged, and then shorter sounds dropped


def speech_bounds(wave: Wave, rate: int) -> tuple[int, int]:
    """First and last sample of speech in `(N,)` float32 at `rate`, with 30 ms kept on both sides.

    Where no speech is found the whole recording is kept, and said so: an empty reference helps nobody.
    The network hears 16 kHz; a recording at another rate is brought there for it.
    """
    import soxr

    spans = silero_spans(wave if rate == RATE else soxr.resample(wave, rate, RATE))
    if not spans:
        log.warning("no speech found in %.2f s of reference; all of it is used", len(wave) / rate)
        return 0, len(wave)
    start, stop = (sample * rate // RATE for sample in (spans[0][0], spans[-1][1]))
    return start, min(stop, len(wave))


def silero_spans(wave: Wave) -> Spans:
    """Speech in `(N,)` float32 at 16 kHz, by the network.

    The spans are those of silero's own `get_speech_timestamps` for the recording with half a second of silence before
    it, in whose absence up to a third of a second of speech at the very beginning is missed.

    Speech begins with a frame of at least 0.5 and ends where frames fall below 0.35 and none of at least 0.5
    comes within 100 ms; spans of at most 250 ms are dropped, the others get 30 ms on both sides.
    """
    spans: Spans = []
    start = end = -1  # of the span that is open, and of its last speech while it is not certain that it ended
    for i, probability in enumerate(speech_probabilities(wave).tolist()):
        at = i * FRAME
        if probability >= SPEECH:
            start, end = (at if start < 0 else start), -1
        elif probability < SILENCE and start >= 0:
            end = at if end < 0 else end
            if at - end >= MIN_SILENCE:
                spans.append((start, end))
                start = end = -1
    if start >= 0:
        spans.append((start, len(wave)))
    return _padded([span for span in spans if span[1] - span[0] > MIN_SPEECH], len(wave))


def speech_probabilities(wave: Wave) -> NDArray[np.float32]:
    """How likely each 32 ms frame of `(N,)` float32 at 16 kHz is speech: `(ceil(N / 512),)` in [0, 1]."""
    return _probabilities(np.concatenate([np.zeros(LEAD * FRAME, np.float32), wave]))[LEAD:]


def _probabilities(wave: Wave) -> NDArray[np.float32]:
    n_frames = -(-len(wave) // FRAME)
    out = np.zeros(n_frames, np.float32)
    hidden, cell = np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)
    heard = np.zeros(CONTEXT, np.float32)
    for first in range(0, n_frames, BLOCK):
        part = wave[first * FRAME : (first + BLOCK) * FRAME]
        frames = np.zeros((-(-len(part) // FRAME), FRAME), np.float32)
        frames.reshape(-1)[: len(part)] = part
        context = np.concatenate([heard[None], frames[:-1, -CONTEXT:]])
        heard = frames[-1, -CONTEXT:]
        given = {"input": np.concatenate([context, frames], axis=1), "h": hidden, "c": cell}
        found, hidden, cell = _session().run(["speech_probs", "hn", "cn"], given)
        out[first : first + len(frames)] = found.reshape(-1)
    return out


def energy_spans(wave: Wave, rate: int, top_db: float) -> Spans:
    """Stretches of `(N,)` float32 at `rate` whose 20 ms frames are less than `top_db` below the loudest frame.

    Silences of less than 100 ms are bridged, sounds of less than 60 ms dropped; a constant part is no sound.
    """
    hop = max(rate // 50, 1)
    n_frames = len(wave) // hop
    if not n_frames:
        return []
    frames = (wave[: n_frames * hop] - np.float32(wave.mean(dtype=np.float64))).reshape(n_frames, hop)
    power = np.einsum("tn,tn->t", frames, frames, dtype=np.float64)
    loud = power > max(power.max() * 10 ** (-top_db / 10), 1e-12 * hop)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]]).astype(np.int8)))
    runs: list[tuple[int, int]] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if runs and start - runs[-1][1] < ENERGY_GAP:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return [(start * hop, stop * hop) for start, stop in runs if stop - start >= ENERGY_MIN]


def _padded(spans: Spans, n: int) -> Spans:
    """Widens spans by the pad; neighbours too close for two pads share what is between them."""
    starts, stops = [start for start, _ in spans], [stop for _, stop in spans]
    for i in range(len(spans) - 1):
        gap = starts[i + 1] - stops[i]
        give = gap // 2 if gap < 2 * PAD else PAD
        starts[i + 1] -= give
        stops[i] += give
    if spans:
        starts[0], stops[-1] = max(0, starts[0] - PAD), min(n, stops[-1] + PAD)
    return list(zip(starts, stops, strict=True))


@functools.cache
def _session() -> Any:
    """The network, read once a process. The package itself is not imported: that would import torch."""
    import onnxruntime

    spec = importlib.util.find_spec("silero_vad")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("silero-vad is not installed; run `pip install silero-vad`, or set `by: energy`")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    model = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"
    if not model.is_file():
        raise InputError(f"{model}: no such file; run `pip install -U silero-vad` (6.2 or later has it)")
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
