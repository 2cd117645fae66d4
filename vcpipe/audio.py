"""Recordings as arrays: decoding with a reason for every refusal, resampling, loudness, and writing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from vcpipe.config import AudioSettings
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path

Wave = NDArray[np.float32]

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
    """Decodes, mixes down, resamples (soxr, high quality) and checks one file.

    Returns:
        `(N,)` float32 mono in [-1, 1] at `rate` and the duration in seconds. A recording in floating point
        that goes beyond 1 is scaled down as a whole, never clipped.

    Raises:
        BadAudio: with the reason.
    """
    import soxr

    data = _bytes(Path(path))
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as f:
            duration_s = f.frames / f.samplerate
            if duration_s > max_s:
                raise BadAudio("too_long", f"{duration_s:.1f} s, audio.max_s is {max_s:g}")
            expected, native_rate = f.frames, f.samplerate
            samples = f.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, ZeroDivisionError) as error:
        reason = "truncated" if _starts_as_audio(data) else "not_audio"
        raise BadAudio(reason, str(error).replace("\n", " ")[:200]) from None
    _check_whole(data, samples, expected)
    if not np.isfinite(samples).all():
        raise BadAudio("not_finite", f"{int((~np.isfinite(samples)).sum())} samples are NaN or infinite")
    mono = samples.mean(axis=1)
    wave = mono if native_rate == rate else soxr.resample(mono, native_rate, rate)
    if not len(wave):
        raise BadAudio("empty", f"{len(mono)} samples at {native_rate} Hz")
    peak = float(np.abs(wave).max())
    return np.ascontiguousarray(wave / peak if peak > 1 else wave, np.float32), duration_s


def save(path: str | Path, wave: Wave, rate: int) -> None:
    """Writes `(N,)` float32 in [-1, 1] as 16-bit WAV, whole or not at all."""
    with atomic_path(path) as tmp:
        soundfile.write(tmp, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")


def to_loudness(wave: Wave, rate: int, lufs: float, peak_dbtp: float = -1.0) -> Wave:
    """Scales to an integrated loudness (ITU-R BS.1770) but never beyond a true peak (4x oversampled).

    Signals too short for the 0.4 s gate, and silence, are returned as they are.
    """
    import pyloudnorm
    import soxr

    if len(wave) < 0.4 * rate or not np.any(wave):
        return wave
    measured = pyloudnorm.Meter(rate).integrated_loudness(wave.astype(np.float64))
    if not np.isfinite(measured):
        return wave
    gain = 10 ** ((lufs - measured) / 20)
    true_peak = max(float(np.abs(w).max()) for w in (wave, soxr.resample(wave, rate, 4 * rate)))
    ceiling = 10 ** (peak_dbtp / 20)
    return np.asarray(wave * min(gain, ceiling / max(true_peak, 1e-9)), np.float32)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadAudio("unreadable", error.strerror or str(error)) from None
    if not data:
        raise BadAudio("empty", "0 bytes")
    return data


def _check_whole(data: bytes, samples: NDArray[np.float32], expected: int) -> None:
    """Finds a file that was cut off: libsndfile shortens some of them without a word."""
    if len(samples) < expected:
        raise BadAudio("truncated", f"{len(samples)} of {expected} samples")
    if data[:4] == b"RIFF":
        claimed = int.from_bytes(data[4:8], "little") + 8
        if len(data) < claimed - 1 and claimed < 2**32 - 1:
            raise BadAudio("truncated", f"{len(data)} of {claimed} bytes")
    if data[:4] == b"OggS":
        page = data[data.rfind(b"OggS") :]
        segments = page[27 : 27 + page[26]] if len(page) > 26 else b""
        if len(page) < 27 + len(segments) + sum(segments) or not page[5] & 4:
            raise BadAudio("truncated", "the stream has no last page, or only a part of it")
    if not samples.size:
        raise BadAudio("empty", "0 samples")


def _starts_as_audio(data: bytes) -> bool:
    return data[:4] in (b"RIFF", b"fLaC", b"OggS") or data[:3] == b"ID3"
