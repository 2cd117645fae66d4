"""Which parts of a recording are kept: trimming and slicing, decided once and written down in ticks of 20 ms.

Decisions are made on a 16 kHz version of the original. A tick is a whole number of samples at every supported
rate, so that a piece of `t` ticks has exactly `t * rate / 50` samples in every copy, and the same frames.

The rules of slicing. A recording (after trimming) of at most `max_s` stays whole. A longer one is cut at every
silence of at least `silence_s`. On each side of a cut, and at the two ends, up to `pad_s` of silence stays, and at
most half of it; what is left of such a silence is dropped, and nothing else is. Speech of more than `max_s` without
such a silence is cut at its quietest place, without dropping anything, and marked. From left to right, a piece
shorter than `min_s` is joined with its shorter neighbour, the silence between them included, unless that is longer
than `max_s` (then with the other one, or not at all): the rule of SV2TTS.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcpipe import vad
from vcpipe.audio import Wave
from vcpipe.audio_settings import DEFAULT_TOP_DB, TICKS, Slicing, SpeechFinder, Trim

ANALYSIS_RATE = vad.RATE
BLOCK = 3000  # ticks whose samples are held in double precision at once
GUARD = 5  # ticks beside speech that are no pause: breath, reverberation
SMOOTH = 4  # ticks around a forced cut that must be quiet


@dataclass(frozen=True)
class Span:
    """Ticks `[start, stop)` of a recording; `forced` when an end of it had to be cut where there is speech."""

    start: int
    stop: int
    forced: bool = False

    def __len__(self) -> int:
        return self.stop - self.start


def ticks_in(n_samples: int, rate: int) -> int:
    """Whole ticks in a recording at any rate; what is left at its end is not used."""
    return n_samples * TICKS // rate


def speech_spans(wave16k: Wave, by: SpeechFinder) -> list[tuple[float, float]]:
    """Start and stop in seconds of each stretch of speech in `(N,)` float32 at 16 kHz, in order."""
    if by.by == "energy":
        found = vad.energy_spans(wave16k, ANALYSIS_RATE, by.top_db or DEFAULT_TOP_DB)
    else:
        found = vad.silero_spans(wave16k)
    return [(start / ANALYSIS_RATE, stop / ANALYSIS_RATE) for start, stop in found]


def pauses(speech: list[tuple[float, float]], total: int) -> NDArray[np.bool_]:
    """Which of `total` ticks lie further than 0.1 s from any speech: `(total,)`."""
    quiet = np.ones(total, bool)
    for span in _in_ticks(speech, total):
        quiet[max(0, span.start - GUARD) : span.stop + GUARD] = False
    return quiet


def tick_power(wave: Wave, rate: int) -> NDArray[np.float64]:
    """Variance of each tick of `(N,)` float32 at any rate, so that a constant part has no power: `(ticks,)`."""
    total = ticks_in(len(wave), rate)
    edges = np.arange(total + 1, dtype=np.int64) * rate // TICKS
    out = np.zeros(total)
    for first in range(0, total, BLOCK):
        at = edges[first : first + BLOCK + 1]
        starts, sizes = at[:-1] - at[0], np.diff(at)
        block = wave[at[0] : at[-1]].astype(np.float64)
        block -= np.repeat(np.add.reduceat(block, starts) / sizes, sizes)
        out[first : first + BLOCK] = np.add.reduceat(np.square(block), starts) / sizes
    return out


def trimmed(total: int, speech: list[tuple[float, float]], trim: Trim) -> Span | None:
    """From the first to the last speech and `pad_s` more, in whole ticks; None where there is no speech."""
    if not speech:
        return None
    start = math.floor(round((speech[0][0] - trim.pad_s) * TICKS, 6))
    stop = math.ceil(round((speech[-1][1] + trim.pad_s) * TICKS, 6))
    return Span(max(0, start), min(total, stop))


def sliced(whole: Span, speech: list[tuple[float, float]], power: NDArray[np.float64], slicing: Slicing) -> list[Span]:
    """The pieces of `whole`, in order, by the rules at the top of this file.

    Args:
        whole: what trimming left.
        speech: of the recording, in seconds.
        power: `(ticks,)` of the recording, from `tick_power`, to find quiet places.
        slicing: the settings.

    Returns:
        Pieces of at most `max_s`; those that are still shorter than `min_s` are among them. Empty where a recording
        longer than `max_s` has no speech.
    """
    shortest = math.ceil(round(slicing.min_s * TICKS, 6))
    longest = math.floor(round(slicing.max_s * TICKS, 6))
    if len(whole) <= longest:
        return [whole]
    ends: list[tuple[int, int]] = []
    forced: set[int] = set()
    for start, stop in _stretches(whole, speech, slicing):
        cuts = _forced_cuts(start, stop, shortest, longest, power)
        ends += itertools.pairwise([start, *cuts, stop])
        forced.update(cuts)
    pieces = _joined(ends, shortest, longest)
    return [Span(start, stop, start in forced or stop in forced) for start, stop in pieces]


def _stretches(whole: Span, speech: list[tuple[float, float]], slicing: Slicing) -> list[tuple[int, int]]:
    """What lies between silences of at least `silence_s`, with its share of them."""
    least, pad = math.ceil(round(slicing.silence_s * TICKS, 6)), math.floor(round(slicing.pad_s * TICKS, 6))
    runs: list[list[int]] = []
    for span in _in_ticks(speech, whole.stop):
        start, stop = max(span.start, whole.start), span.stop
        if stop <= start:
            continue
        if runs and start - runs[-1][1] < least:
            runs[-1][1] = stop
        else:
            runs.append([start, stop])
    out = [[start, stop] for start, stop in runs]
    for before, after in itertools.pairwise(out):
        silence = after[0] - before[1]
        before[1] += min(pad, silence // 2)
        after[0] -= min(pad, silence - silence // 2)
    if out:
        out[0][0], out[-1][1] = max(whole.start, out[0][0] - pad), min(whole.stop, out[-1][1] + pad)
    return [(start, stop) for start, stop in out]


def _forced_cuts(start: int, stop: int, shortest: int, longest: int, power: NDArray[np.float64]) -> list[int]:
    """Ticks at which a stretch must be cut to be no longer than `longest`; both sides have `shortest` at least."""
    cuts = []
    half = SMOOTH // 2
    padded = np.pad(power, half, mode="edge")
    while stop - start > longest:
        low, high = start + longest // 2, min(start + longest, stop - shortest)
        around = np.convolve(padded[low : high + 2 * half], np.ones(2 * half), "valid")
        start = low + int(np.argmin(around))
        cuts.append(start)
    return cuts


def _joined(pieces: list[tuple[int, int]], shortest: int, longest: int) -> list[tuple[int, int]]:
    """Joins pieces that are too short with a neighbour, where both together are short enough."""
    pieces, i = list(pieces), 0
    while i < len(pieces):
        start, stop = pieces[i]
        beside = sorted((j for j in (i - 1, i + 1) if 0 <= j < len(pieces)), key=lambda j: pieces[j][1] - pieces[j][0])
        fits = [j for j in beside if max(pieces[j][1], stop) - min(pieces[j][0], start) <= longest]
        if stop - start >= shortest or not fits:
            i += 1
            continue
        i, right = sorted((i, fits[0]))
        pieces[i : right + 1] = [(pieces[i][0], pieces[right][1])]
    return pieces


def _in_ticks(speech: list[tuple[float, float]], total: int) -> list[Span]:
    """Speech in whole ticks, without overlap, within the first `total`."""
    out: list[Span] = []
    for start_s, stop_s in speech:
        start = math.floor(round(start_s * TICKS, 6))
        stop = min(total, math.ceil(round(stop_s * TICKS, 6)))
        start = max(start, out[-1].stop) if out else start
        if stop > start:
            out.append(Span(start, stop))
    return out
