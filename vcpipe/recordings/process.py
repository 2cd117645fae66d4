"""From one recording to the rows of an audio shard, each with its numbers, or to the reason why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcpipe import audio
from vcpipe.audio import Wave
from vcpipe.audio_settings import TICKS, AudioSettings, SpeechFinder
from vcpipe.recordings import spans
from vcpipe.recordings.augment import augment
from vcpipe.recordings.clipping import Clipping
from vcpipe.recordings.denoise import denoise
from vcpipe.recordings.level import to_level
from vcpipe.recordings.quality import Quality, gate, measure
from vcpipe.recordings.spans import Span, speech_spans
from vcpipe.worker import more_time

SILERO = SpeechFinder()

START_S = 120.0  # for imports from a slow disk: torch, onnxruntime, Praat
# Seconds for a second of sound: a hundred times what one idle core takes at 48 kHz (0.007, 0.025 and 0.027).
ANALYSIS_X, DENOISE_X, VOICE_X = 1.0, 3.0, 3.0


@dataclass(frozen=True)
class Piece:
    """An utterance that is ready: `wave` is `(N,)` float32 mono in [-1, 1] at the rate of the settings.

    `start_s` and `stop_s` lie in the original; N is `(stop_s - start_s) * rate`, unless the speed was changed.
    `quality` is that of the original: of this part of it where recordings are sliced, else of the whole. `forced`
    marks a slice with an end that is cut where there is speech.
    """

    utt_id: str
    wave: Wave
    start_s: float
    stop_s: float
    quality: Quality
    forced: bool = False


@dataclass(frozen=True)
class Refusal:
    """A recording, or a slice of it, that cannot be used; `reason` is a key of `vcpipe.audio.REASONS`."""

    utt_id: str
    reason: str
    detail: str


def process(path: str | Path, settings: AudioSettings, utt_id: str) -> list[Piece | Refusal]:
    """Everything that is done to one recording: check, measure, cut, resample, denoise, augment, level.

    Without `slice` there is one result, named as the recording. With it the results are named `utt_id/000`,
    `utt_id/001` and so on in order of time, also when there is only one, and a slice that is refused keeps its
    number; a refusal of the whole recording bears the recording's own name.

    The gates judge a recording as a whole, before it is cut; the numbers of a slice are its own.

    The whole recording is resampled and denoised before it is cut, so that no cut leaves a trace. A recording that
    goes beyond 1, or would at some rate, is scaled down as a whole by one gain that is the same at every rate, and so
    is a piece that noise or gain brings there; nothing is clipped.

    In a `Guarded` worker, what follows the decoding asks for time of its own, see `limit_s`.
    """
    clipping = Clipping()
    try:
        mono, rate = audio.read(path, settings.max_s, clipping)
    except audio.BadAudio as bad:
        return [Refusal(utt_id, bad.reason, bad.detail)]
    more_time(limit_s(len(mono) / rate, settings))
    if refusal := _unusable(mono, rate, settings):
        return [Refusal(utt_id, *refusal)]
    gain = audio.headroom(mono, rate)
    heard = audio.resampled(mono, rate, spans.ANALYSIS_RATE, gain)
    speech, power = speech_spans(heard, SILERO), spans.tick_power(mono, rate)
    quality = measure(mono, rate, speech, power, clipping)
    if settings.gates is not None and (refusal := gate(quality, settings.gates)):
        return [Refusal(utt_id, *refusal)]
    found = _pieces(heard, power, speech, settings)
    if not found:
        duration_s = len(mono) / rate
        return [Refusal(utt_id, "no_speech", f"none in {duration_s:.2f} s; remove trim and slice to keep it whole")]
    qualities = [quality if settings.slice is None else measure(mono, rate, speech, power, clipping, s) for s in found]
    wave = heard if settings.rate == spans.ANALYSIS_RATE else audio.resampled(mono, rate, settings.rate, gain)
    del mono, heard
    if settings.denoise is not None:
        quiet = np.repeat(spans.pauses(speech, len(power)), settings.rate // TICKS)
        wave = denoise(wave, settings.rate, wave[: len(quiet)][quiet], settings.denoise)
    out: list[Piece | Refusal] = []
    for i, (span, its) in enumerate(zip(found, qualities, strict=True)):
        name = utt_id if settings.slice is None else f"{utt_id}/{i:03d}"
        short = _too_short(span, settings)
        if short:
            out.append(Refusal(name, "too_short", short))
        else:
            times = (span.start / TICKS, span.stop / TICKS)
            out.append(Piece(name, _finished(wave, span, name, settings), *times, its, span.forced))
    return out


def limit_s(duration_s: float, settings: AudioSettings) -> float:
    """Seconds after which what follows the decoding has gone wrong, on a slow machine that has much else to do."""
    voice = settings.augment is not None and settings.augment.changes_voice
    each = ANALYSIS_X + DENOISE_X * (settings.denoise is not None) + VOICE_X * voice
    return START_S + each * duration_s * max(1.0, settings.rate / 48000)


def _unusable(mono: Wave, rate: int, settings: AudioSettings) -> tuple[str, str] | None:
    """The refusals that need no analysis: too short, or silent once the constant part is gone."""
    duration_s = len(mono) / rate
    if duration_s < settings.min_s or not spans.ticks_in(len(mono), rate):
        return "too_short", f"{duration_s:.3f} s, audio.min_s is {settings.min_s:g}"
    mean = float(mono.mean(dtype=np.float64))
    peak_dbfs = 20 * np.log10(max(float(mono.max()) - mean, mean - float(mono.min()), 1e-10))
    if peak_dbfs < settings.silence_dbfs:
        offset = f" around a constant {mean:+.3g}" if abs(mean) > 1e-3 else ""
        return "silent", f"peak {peak_dbfs:.1f} dBFS{offset}, audio.silence_dbfs is {settings.silence_dbfs:g}"
    return None


def _pieces(
    heard: Wave, power: NDArray[np.float64], speech: list[tuple[float, float]], settings: AudioSettings
) -> list[Span]:
    """Which ticks come out, by trimming and then slicing; none where speech is needed and there is none."""

    def by(finder: SpeechFinder) -> list[tuple[float, float]]:
        return speech if finder.by == SILERO.by else speech_spans(heard, finder)

    whole: Span | None = Span(0, len(power))
    if settings.trim is not None:
        whole = spans.trimmed(len(power), by(settings.trim), settings.trim)
    if whole is None or settings.slice is None:
        return [whole] if whole else []
    if len(whole) <= settings.slice.max_s * TICKS:
        return [whole]
    return spans.sliced(whole, by(settings.slice), power, settings.slice)


def _too_short(span: Span, settings: AudioSettings) -> str:
    """Why a piece is too short, or nothing."""
    duration_s, where = len(span) / TICKS, f"from {span.start / TICKS:.2f} to {span.stop / TICKS:.2f} s"
    if settings.slice is not None and duration_s < settings.slice.min_s:
        return f"{duration_s:.2f} s {where}, audio.slice.min_s is {settings.slice.min_s:g}"
    if settings.trim is not None and settings.slice is None and duration_s < settings.min_s:
        return f"{duration_s:.2f} s after trimming, {where}, audio.min_s is {settings.min_s:g}"
    return ""


def _finished(wave: Wave, span: Span, name: str, settings: AudioSettings) -> Wave:
    """One piece out of the resampled recording: exactly `len(span)` ticks, augmented, at its level."""
    per_tick = settings.rate // TICKS
    start, stop = span.start * per_tick, span.stop * per_tick
    piece = wave[start:stop].copy()
    assert len(piece) == stop - start, f"{name}: {len(piece)} samples, expected {stop - start}"
    if settings.augment is not None:
        piece = augment(piece, settings.rate, name, settings.augment)
    if settings.loudness is not None:
        piece = to_level(piece, settings.rate, settings.loudness)
    return _within_one(piece)


def _within_one(wave: Wave) -> Wave:
    peak = max(float(wave.max()), -float(wave.min())) if len(wave) else 0.0
    return np.asarray(wave / np.float32(peak), np.float32) if peak > 1 else wave
