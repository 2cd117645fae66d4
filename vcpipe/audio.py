"""Recordings as arrays: decoding with a reason for every refusal, resampling, loudness, and writing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from vcpipe.config import AudioSettings
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path

Wave = NDArray[np.float32]

BLOCK = 1 << 16  # samples that are held decoded, or oversampled, at once
OGG_TAIL = 1 << 17  # bytes at the end of an Ogg file in which its last page, of 65307 bytes at most, begins

REASONS = {
    "empty": "no bytes, or no samples",
    "truncated": "the file ends before its header says",
    "not_audio": "the bytes are not a recording in a format that can be read",
    "unreadable": "the operating system would not let it be read",
    "not_finite": "NaN or infinite samples",
    "silent": "no sample is louder than audio.silence_dbfs",
    "too_short": "shorter than audio.min_s",
    "too_long": "longer than audio.max_s",
    "duplicate": "another recording has the same utterance id",
}


class BadAudio(Exception):
    """A recording that cannot be used; `reason` is a key of `REASONS`."""

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def load(path: str | Path, rate: int) -> Wave:
    """A recording given by a person: `(N,)` float32 mono in [-1, 1] at `rate`.

    Raises:
        InputError: naming the file and what is wrong with it.
    """
    try:
        return decode(path, rate)[0]
    except BadAudio as bad:
        raise InputError(f"{path}: {bad.reason} ({bad.detail}); give a wav, flac, ogg or mp3 recording") from None


def prepare(path: str | Path, settings: AudioSettings) -> Wave:
    """A recording of a corpus: `(N,)` float32 mono in [-1, 1] at `settings.rate`, or BadAudio with the reason."""
    wave, duration_s = decode(path, settings.rate, settings.max_s)
    if duration_s < settings.min_s:
        raise BadAudio("too_short", f"{duration_s:.3f} s, audio.min_s is {settings.min_s:g}")
    peak_dbfs = 20 * np.log10(max(float(np.abs(wave).max()), 1e-10))
    if peak_dbfs < settings.silence_dbfs:
        raise BadAudio("silent", f"peak {peak_dbfs:.1f} dBFS, audio.silence_dbfs is {settings.silence_dbfs:g}")
    return wave


def decode(path: str | Path, rate: int, max_s: float = float("inf")) -> tuple[Wave, float]:
    """Decodes, mixes down, resamples (soxr, high quality) and checks one file, without holding it whole.

    A recording that is too long is refused by its header, before any of its samples is read.

    Returns:
        `(N,)` float32 mono in [-1, 1] at `rate` and the duration in seconds. A recording in floating point
        that goes beyond 1 is scaled down as a whole, never clipped.

    Raises:
        BadAudio: with the reason.
    """
    import soxr

    head, tail, size = _ends(Path(path))
    try:
        with soundfile.SoundFile(path) as f:
            duration_s = f.frames / f.samplerate
            if duration_s > max_s:
                raise BadAudio("too_long", f"{duration_s:.1f} s, audio.max_s is {max_s:g}")
            expected, native_rate = f.frames, f.samplerate
            mono, n_bad = _mixed_down(f)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = "truncated" if _starts_as_audio(head) else "not_audio"
        raise BadAudio(reason, str(error).replace("\n", " ")[:200]) from None
    _check_whole(head, tail, size, len(mono), expected)
    if n_bad:
        raise BadAudio("not_finite", f"{n_bad} samples are NaN or infinite")
    wave = mono if native_rate == rate else soxr.resample(mono, native_rate, rate)
    if not len(wave):
        raise BadAudio("empty", f"{len(mono)} samples at {native_rate} Hz")
    peak = _peak(wave)
    return np.ascontiguousarray(wave / peak if peak > 1 else wave, np.float32), duration_s


def save(path: str | Path, wave: Wave, rate: int) -> None:
    """Writes `(N,)` float32 in [-1, 1] as 16-bit WAV, whole or not at all."""
    with (
        atomic_path(path) as tmp,
        open(tmp, "wb") as f,
    ):  # opened here: an OSError names the file, libsndfile's does not
        soundfile.write(f, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")


def to_loudness(wave: Wave, rate: int, lufs: float, peak_dbtp: float = -1.0) -> Wave:
    """Scales to an integrated loudness (ITU-R BS.1770) but never beyond a true peak (4x oversampled).

    Signals too short for the 0.4 s gate, and silence, are returned as they are.
    """
    import pyloudnorm

    if len(wave) < 0.4 * rate or not np.any(wave):
        return wave
    measured = pyloudnorm.Meter(rate).integrated_loudness(wave.astype(np.float64))
    if not np.isfinite(measured):
        return wave
    gain = 10 ** ((lufs - measured) / 20)
    ceiling = 10 ** (peak_dbtp / 20)
    return np.asarray(wave * min(gain, ceiling / max(true_peak(wave, rate), 1e-9)), np.float32)


def true_peak(wave: Wave, rate: int) -> float:
    """The largest magnitude of `(N,)` and of itself oversampled 4 times, block by block at constant memory."""
    import soxr

    stream = soxr.ResampleStream(rate, 4 * rate, 1, dtype="float32")
    peak = _peak(wave)
    for start in range(0, len(wave), BLOCK):
        block = np.ascontiguousarray(wave[start : start + BLOCK], np.float32)
        peak = max(peak, _peak(stream.resample_chunk(block, last=start + BLOCK >= len(wave))))
    return peak


def _peak(wave: Wave) -> float:
    return max(float(wave.max()), -float(wave.min())) if len(wave) else 0.0


def _ends(path: Path) -> tuple[bytes, bytes, int]:
    """The first bytes of a file, its last where `_check_whole` looks at them, and its size in bytes."""
    try:
        with open(path, "rb") as f:
            head = f.read(12)
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - OGG_TAIL))
            tail = f.read() if head[:4] == b"OggS" else b""
    except OSError as error:
        raise BadAudio("unreadable", error.strerror or str(error)) from None
    if not size:
        raise BadAudio("empty", "0 bytes")
    return head, tail, size


def _mixed_down(f: soundfile.SoundFile) -> tuple[Wave, int]:
    """All samples as mono `(N,)` float32, and how many of them, over all channels, are NaN or infinite."""
    blocks, n_bad = [np.zeros(0, np.float32)], 0
    while len(block := f.read(BLOCK, dtype="float32", always_2d=True)):
        n_bad += int((~np.isfinite(block)).sum())
        blocks.append(block.mean(axis=1))
    return np.concatenate(blocks), n_bad


def _check_whole(head: bytes, tail: bytes, size: int, n_samples: int, expected: int) -> None:
    """Finds a file that was cut off: libsndfile shortens some of them without a word."""
    if n_samples < expected:
        raise BadAudio("truncated", f"{n_samples} of {expected} samples")
    if head[:4] == b"RIFF":
        claimed = int.from_bytes(head[4:8], "little") + 8
        if size < claimed - 1 and claimed < 2**32 - 1:
            raise BadAudio("truncated", f"{size} of {claimed} bytes")
    if head[:4] == b"OggS":
        page = tail[max(0, tail.rfind(b"OggS")) :]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if len(page) < 27 + len(segments) + sum(segments) or not page[5] & 4:
            raise BadAudio("truncated", "the stream has no last page, or only a part of it")
    if not n_samples:
        raise BadAudio("empty", "0 samples")


def _starts_as_audio(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"fLaC", b"OggS") or head[:3] == b"ID3"
