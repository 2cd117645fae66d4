"""Recordings as arrays: decoding with a reason for every refusal, resampling, loudness, and writing."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from vcpipe import containers
from vcpipe.audio_settings import LOUDNESS_BLOCK_S, RATES
from vcpipe.errors import InputError
from vcpipe.manifest import atomic_path

Wave = NDArray[np.float32]
Watch = Callable[[Wave, int], None]
"""Sees each block `(n, C)` of channels before they are mixed down, and the rate in Hz."""

BLOCK = 1 << 16  # samples that are held decoded, or oversampled, at once
MIN_RATE, MAX_RATE = 1000, 768_000  # Hz: outside of these, a header is wrong
UNKNOWN = 1 << 62  # what libsndfile takes for the length of a streamed flac file, and more
QUIET = 0.35  # no sample below it is taken beyond 1 by a resampler: soxr's filters sum up to 2.82
MARGIN = 1 - 1e-5  # of a gain: a resampler that works in blocks rounds in another order
EASE_S = 0.01  # over which a gain goes down and up again around a sample beyond 1
PRIMING_S = 0.25  # what a decoder may leave out at the beginning and end of an AAC track, at the most

REASONS = {
    "empty": "no bytes, or no samples",
    "truncated": "the file ends before its header says, or its bytes are damaged",
    "not_audio": "the bytes are not a recording in a format that can be read",
    "unreadable": "the operating system would not let it be read",
    "not_finite": "NaN or infinite samples",
    "bad_rate": "the header claims a sample rate that no recording has",
    "silent": "no sample is louder than audio.silence_dbfs",
    "too_short": "shorter than audio.min_s, or a slice shorter than audio.slice.min_s",
    "too_long": "longer than audio.max_s",
    "crashed": "the decoder crashed, or took more memory than any recording needs",
    "timed_out": "the decoder did not come to an end",
    "no_speech": "nothing to trim or slice by: no speech was found",
    "little_speech": "a smaller share of speech than audio.gates.min_speech_share",
    "clipped": "a larger share of clipped samples than audio.gates.max_clipped_share",
    "noisy": "a lower signal-to-noise ratio than audio.gates.min_snr_db",
    "duplicate": "another recording has the same utterance id",
}


GATES = frozenset({"little_speech", "clipped", "noisy", "too_short", "too_long"})
"""The reasons that a config asks for with gates, min_s and max_s: a corpus is not broken by them."""


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
        raise InputError(
            f"{path}: {bad.reason} ({bad.detail}); give a wav, flac, ogg, mp3, m4a or SPHERE recording"
        ) from None


def limit_s(path: str | Path) -> float:
    """Seconds after which the decoding of a file has gone wrong: 10, and ten more for every MB."""
    try:
        return 10 + Path(path).stat().st_size / 1e5
    except (OSError, ValueError):
        return 10.0


def decode(path: str | Path, rate: int, max_s: float = float("inf")) -> tuple[Wave, float]:
    """Decodes one file with `read` and resamples it (soxr, high quality).

    Returns:
        `(N,)` float32 mono in [-1, 1] at `rate` and the duration in seconds. What goes beyond 1 is scaled down as a
        whole by `headroom`, never clipped.

    Raises:
        BadAudio: with the reason.
    """
    mono, native_rate = read(path, max_s)
    wave = resampled(mono, native_rate, rate, headroom(mono, native_rate))
    if not len(wave):
        raise BadAudio("empty", f"{len(mono)} samples at {native_rate} Hz")
    return wave, len(mono) / native_rate


def read(path: str | Path, max_s: float = float("inf"), watch: Watch | None = None) -> tuple[Wave, int]:
    """Decodes, mixes down and checks one file, without holding its channels whole.

    Wav, flac, ogg, mp3 and NIST SPHERE go through libsndfile; m4a, mp4, aac and streamed flac through the package
    `av`. What a file is, its first bytes say and not its name. A recording that is too long is refused by its header,
    before any of its samples is read, or where its samples go on beyond what the header says.

    Args:
        path: of the file.
        max_s: the longest duration that is read.
        watch: is called with every block as it is decoded, for what the mono no longer shows.

    Returns:
        `(N,)` float32 mono, N >= 1, and the file's own rate in Hz. The samples are finite and as the file has them:
        in [-1, 1] for integer formats, possibly beyond 1 for floating point ones.

    Raises:
        BadAudio: with the reason.
        InputError: when `av` is needed and not installed.
    """
    try:
        kind = containers.inspect(Path(path))
    except containers.NotWhole as fault:
        raise BadAudio(fault.reason, fault.detail) from None
    try:
        mono, rate = (_read_av if kind in ("mp4", "adts") else _read_sndfile)(path, max_s, watch)
    except (soundfile.LibsndfileError, OSError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        words = str(error).replace(str(path), "").strip() or type(error).__name__
        raise BadAudio("truncated" if kind else "not_audio", " ".join(words.split())[:200]) from None
    if not len(mono):
        raise BadAudio("empty", "0 samples")
    return mono, rate


def _read_sndfile(path: str | Path, max_s: float, watch: Watch | None) -> tuple[Wave, int]:
    with soundfile.SoundFile(path) as f:
        if f.frames > UNKNOWN:  # libsndfile opens it and then cannot find its way in it
            return _read_av(path, max_s, watch)
        mixed = _Mixed(f.samplerate, max_s, f.frames, watch)
        block = np.empty((max(1, BLOCK // f.channels), f.channels), np.float32)
        while n := len(f.read(out=block)):
            mixed.add(block[:n])
    return mixed.whole(), int(f.samplerate)


def _read_av(path: str | Path, max_s: float, watch: Watch | None) -> tuple[Wave, int]:
    try:
        import av
    except ImportError:
        raise InputError(
            f"{path}: reading m4a, mp4, aac and streamed flac needs the package av; type `pip install av`"
        ) from None

    with av.open(str(path)) as container:
        if not container.streams.audio:
            raise BadAudio("not_audio", "no track of sound")
        track, mixed = container.streams.audio[0], None
        to_float = av.AudioResampler(format="fltp")
        for frame in container.decode(track):
            if mixed is None:  # here, for only a decoded frame knows the rate of high-efficiency AAC
                length = track.duration and track.time_base and float(track.duration * track.time_base)
                known = container.format.name != "aac"  # raw AAC has no index: its duration is a guess
                expected = int((length - PRIMING_S) * frame.sample_rate) if known and length else None
                mixed = _Mixed(frame.sample_rate, max_s, expected, watch)
            for part in to_float.resample(frame):
                mixed.add(np.asarray(part.to_ndarray(), np.float32).T)
    if mixed is None:
        raise BadAudio("empty", "0 samples")
    return mixed.whole(), mixed.rate


class _Mixed:
    """Blocks `(n, C)` of a recording on their way to one mono `(N,)`, with what is wrong with them."""

    def __init__(self, rate: int, max_s: float, expected: int | None, watch: Watch | None):
        if not MIN_RATE <= rate <= MAX_RATE:
            raise BadAudio("bad_rate", f"{rate} Hz; recordings have {MIN_RATE} to {MAX_RATE} Hz")
        self.rate, self.max_s, self.expected, self.watch = rate, max_s, expected, watch
        self.blocks, self.n, self.n_bad = [np.zeros(0, np.float32)], 0, 0
        self._check_length(expected or 0)

    def add(self, block: Wave) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block.mean(axis=1)
        self.n_bad += int((~np.isfinite(mono)).sum())
        self.blocks.append(mono)
        self.n += len(mono)
        self._check_length(self.n)
        if self.watch is not None:
            self.watch(block, self.rate)

    def whole(self) -> Wave:
        if self.expected is not None and self.n < self.expected:
            raise BadAudio("truncated", f"{self.n} of {self.expected} samples")
        if self.n_bad:
            raise BadAudio("not_finite", f"{self.n_bad} samples are NaN or infinite")
        return np.concatenate(self.blocks)

    def _check_length(self, n: int) -> None:
        if n > self.max_s * self.rate:
            raise BadAudio("too_long", f"{n / self.rate:.1f} s, audio.max_s is {self.max_s:g}")


def headroom(wave: Wave, rate: int) -> float:
    """The gain, 1 at most, under which `(N,)` finite float32 stays within 1 at its own and every rate of `RATES`.

    A resampler overshoots, by another amount at each rate: 2.6 dB at 16 kHz where 44.1 kHz was limited hard. One gain
    for all rates keeps the copies of a recording at one level. Block by block, at constant memory.
    """
    import soxr

    peak = _peak(wave)
    if peak <= QUIET:
        return 1.0
    scale = np.float32(max(peak, 1.0))  # first, for the filters overflow where samples are near the largest number
    streams = [soxr.ResampleStream(rate, to, 1, dtype="float32") for to in RATES if to != rate]
    found = peak / float(scale)
    for start in range(0, len(wave), BLOCK):
        block = np.ascontiguousarray(wave[start : start + BLOCK], np.float32) / scale
        last = start + BLOCK >= len(wave)
        found = max(found, *(_peak(stream.resample_chunk(block, last=last)) for stream in streams))
    gain = 1 / (float(scale) * found)
    return gain * MARGIN if gain < 1 else 1.0


def resampled(wave: Wave, rate: int, to: int, gain: float) -> Wave:
    """`(N,)` float32 under a gain, from `headroom`, at another rate (soxr, high quality) and within 1.

    A rate outside of `RATES` may overshoot a little further than the gain allows for. There, and only around the
    samples beyond 1, the gain goes down smoothly for 10 ms, so that the level of the rest stays that of other rates.
    """
    import soxr

    scaled = wave if gain == 1 else wave * np.float32(gain)
    moved = scaled if rate == to else np.asarray(soxr.resample(scaled, rate, to), np.float32)
    return moved if _peak(moved) <= 1 else _eased(moved, to)


def _eased(wave: Wave, rate: int) -> Wave:
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    half = max(1, round(EASE_S / 4 * rate))
    gain = np.float32(MARGIN) / np.maximum(np.abs(wave), 1)
    low = minimum_filter1d(gain, 4 * half + 1)  # so wide that both means below see nothing higher than is allowed
    return wave * uniform_filter1d(uniform_filter1d(low, 2 * half + 1), 2 * half + 1)


def save(path: str | Path, wave: Wave, rate: int) -> None:
    """Writes `(N,)` float32 in [-1, 1] as 16-bit WAV, whole or not at all."""
    with (
        atomic_path(path) as tmp,
        open(tmp, "wb") as f,
    ):  # opened here: an OSError names the file, libsndfile's does not
        soundfile.write(f, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")


def keep_only(folder: Path, names: Set[str]) -> None:
    """Removes the `*.wav` of a folder that have none of the names, such as recordings of an earlier table of trials."""
    for path in sorted(folder.glob("*.wav")):
        if path.name not in names:
            path.unlink()


def to_loudness(wave: Wave, rate: int, lufs: float, peak_dbtp: float = -1.0) -> Wave:
    """Scales to an integrated loudness (ITU-R BS.1770) but never beyond a true peak (4x oversampled).

    Signals too short for the 0.4 s gate, and silence, are returned as they are.
    """
    measured = loudness_lufs(wave, rate)
    if measured is None:
        return wave
    gain = 10 ** ((lufs - measured) / 20)
    ceiling = 10 ** (peak_dbtp / 20)
    return np.asarray(wave * min(gain, ceiling / max(true_peak(wave, rate), 1e-9)), np.float32)


def loudness_lufs(wave: Wave, rate: int) -> float | None:
    """The integrated loudness (ITU-R BS.1770); None for silence, what is shorter than a block, or below the gate."""
    import pyloudnorm

    if len(wave) < LOUDNESS_BLOCK_S * rate or not np.any(wave):
        return None
    lufs = float(pyloudnorm.Meter(rate, block_size=LOUDNESS_BLOCK_S).integrated_loudness(wave.astype(np.float64)))
    return lufs if np.isfinite(lufs) else None


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
