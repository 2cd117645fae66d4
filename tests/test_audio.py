import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tests.conftest import RATE, tone
from tests.fuzz.recordings import aac, encoded, sphere
from vcpipe import audio, containers
from vcpipe.audio import BadAudio
from vcpipe.errors import InputError

MAX_S = 3.0


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (22050, 2), (48000, 1), (44100, 3)])
def test_every_format_rate_and_channel_count_comes_in(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    if suffix == "mp3" and channels > 2:
        pytest.skip("mp3 has two channels at most")
    t = np.arange(rate) / rate
    wave = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.stack([wave] * channels, axis=1), rate)
    got = audio.decode(path, RATE, MAX_S)[0]
    assert got.dtype == np.float32 and got.ndim == 1
    assert abs(len(got) - RATE) <= (0.1 * RATE if suffix == "mp3" else 1)
    middle = got[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(np.argmax(spectrum) * RATE / len(middle) - 440) <= 2
    assert abs(np.abs(middle).max() - 0.5) < 0.03


def rejected(path: Path) -> str:
    with pytest.raises(BadAudio) as verdict:
        audio.decode(path, RATE, MAX_S)[0]
    assert verdict.value.reason in audio.REASONS and verdict.value.detail
    return verdict.value.reason


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_a_file_that_was_cut_off_is_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(2.0), RATE)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert rejected(path) == "truncated"


def test_every_other_fault_has_its_reason(tmp_path: Path) -> None:
    def file(name: str, wave: np.ndarray | None = None, data: bytes | None = None, subtype: str = "FLOAT") -> Path:
        path = tmp_path / f"{name}.wav"
        if data is not None:
            path.write_bytes(data)
        else:
            soundfile.write(path, wave, RATE, subtype=subtype)
        return path

    bad = tone(1.0)
    bad[100] = np.nan
    assert rejected(file("nothing", data=b"")) == "empty"
    assert rejected(file("no-samples", np.zeros(0))) == "empty"
    assert rejected(file("text", data=b"this is not a recording " * 100)) == "not_audio"
    assert rejected(file("nan", bad)) == "not_finite"
    assert rejected(file("long", tone(3.5))) == "too_long"
    assert rejected(tmp_path / "missing.wav") == "unreadable"


def test_a_recording_beyond_full_scale_is_scaled_as_a_whole(tmp_path: Path) -> None:
    wave = tone(1.0)
    soundfile.write(tmp_path / "loud.wav", 8 * wave, RATE, subtype="FLOAT")
    got = audio.decode(tmp_path / "loud.wav", RATE)[0]
    assert 0.7 < np.abs(got).max() <= 1
    np.testing.assert_allclose(got, wave * np.abs(got).max() / np.abs(wave).max(), atol=1e-6)


def test_a_person_gets_the_file_and_the_reason(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.wav: empty \(0 bytes\)"):
        audio.load(tmp_path / "a.wav", RATE)


def test_loudness_is_reached_and_never_beyond_the_true_peak() -> None:
    import pyloudnorm

    wave = 0.05 * tone(3.0)
    got = audio.to_loudness(wave, RATE, -23.0)
    assert abs(pyloudnorm.Meter(RATE).integrated_loudness(got.astype(float)) + 23.0) < 0.1
    clicks = np.zeros(3 * RATE, np.float32)
    clicks[:: RATE // 4] = 0.5
    assert np.abs(audio.to_loudness(clicks, RATE, -10.0)).max() <= 10 ** (-1 / 20) + 1e-3
    for untouched in (np.zeros(RATE, np.float32), tone(0.2)):
        np.testing.assert_array_equal(audio.to_loudness(untouched, RATE, -16.0), untouched)


def memory(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held at once while `work` ran."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_true_peak_is_that_of_the_whole_oversampled_wave_at_constant_memory() -> None:
    import soxr

    noise = np.random.default_rng(0).normal(size=5 * audio.BLOCK + 321).astype(np.float32)
    expected = np.abs(soxr.resample(noise, RATE, 4 * RATE)).max()
    assert audio.true_peak(noise, RATE) == pytest.approx(expected, rel=1e-5)
    assert audio.true_peak(noise[:0], RATE) == 0
    peaks = [memory(lambda n=n: audio.true_peak(np.zeros(n * audio.BLOCK, np.float32), RATE)) for n in (20, 40)]
    assert peaks[1] - peaks[0] < 1.1 * 20 * audio.BLOCK * 4  # the longer wave itself, and nothing else of its length


def test_many_channels_are_mixed_down_without_being_held(tmp_path: Path) -> None:
    wave = tone(60.0)
    soundfile.write(tmp_path / "a.wav", np.stack([wave] * 8, axis=1), RATE)
    got, duration_s = audio.decode(tmp_path / "a.wav", RATE)
    np.testing.assert_allclose(got, wave, atol=1 / 32000)
    assert duration_s == 60.0
    assert memory(lambda: audio.decode(tmp_path / "a.wav", RATE)) < 4 * wave.nbytes


def test_a_recording_that_is_too_long_is_refused_by_its_header(tmp_path: Path) -> None:
    path, n_bytes = tmp_path / "a.wav", 100 << 20
    soundfile.write(path, tone(1.0), RATE)
    head = bytearray(path.read_bytes()[:44])
    head[4:8], head[40:44] = ((n_bytes + extra).to_bytes(4, "little") for extra in (36, 0))
    path.write_bytes(head)
    os.truncate(path, 44 + n_bytes)  # a hole: it takes no room
    assert memory(lambda: rejected(path)) < 1 << 20
    assert rejected(path) == "too_long"


def test_an_ogg_file_longer_than_its_tail_is_still_checked_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=80 * RATE), RATE)
    data = path.read_bytes()
    assert len(data) > 2 * containers.OGG_TAIL
    assert len(audio.load(path, RATE)) == 80 * RATE
    path.write_bytes(data[: -containers.OGG_TAIL])
    with pytest.raises(InputError, match="truncated"):
        audio.load(path, RATE)


def test_a_wave_that_cannot_be_written_is_an_error_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    with pytest.raises(OSError, match="exists|directory") as error:
        audio.save(tmp_path / "a" / "b.wav", tone(0.1), RATE)
    assert error.value.filename


def test_a_wave_survives_being_saved(tmp_path: Path) -> None:
    wave = tone(1.0)
    audio.save(tmp_path / "new" / "a.wav", wave, RATE)
    np.testing.assert_allclose(audio.load(tmp_path / "new" / "a.wav", RATE), wave, atol=1 / 32000)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.wav"]


@pytest.mark.parametrize("order", ["01", "10"])
@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 1), (16000, 2)])
def test_nist_sphere_comes_in_under_any_name(tmp_path: Path, order: str, rate: int, channels: int) -> None:
    pcm = np.int16(32767 * tone(1.0, rate=rate))
    path = tmp_path / "SA1.WAV"
    path.write_bytes(sphere(np.repeat(pcm, channels), rate, order, channels))
    wave, native_rate = audio.read(path)
    assert native_rate == rate
    np.testing.assert_array_equal(wave, pcm.astype(np.float32) / 32768)
    data = path.read_bytes()
    for place in (500, 1024, 1030, len(data) - 2):
        path.write_bytes(data[:place])
        assert rejected(path) == "truncated"


def test_a_sphere_file_that_is_packed_names_the_program_that_unpacks_it(tmp_path: Path) -> None:
    path = tmp_path / "a.sph"
    path.write_bytes(sphere(np.zeros(RATE, np.int16), sample_coding="pcm,embedded-shorten-v2.00"))
    with pytest.raises(InputError, match=r"a\.sph: not_audio .*sph2pipe -f wav"):
        audio.load(path, RATE)


@pytest.mark.parametrize(("container", "faststart"), [("ipod", False), ("mp4", True), ("adts", False)])
def test_aac_comes_in_and_is_refused_where_it_was_cut(tmp_path: Path, container: str, faststart: bool) -> None:
    pytest.importorskip("av")
    rate = 44100
    wave = tone(2.0, 300, rate)
    path = tmp_path / "a.m4a"
    path.write_bytes(aac(wave, container, rate, faststart))
    got, native_rate = audio.read(path)
    assert native_rate == rate and abs(len(got) - len(wave)) <= 4096
    spectrum = np.abs(np.fft.rfft(got[:rate] * np.hanning(rate)))
    expected = np.abs(np.fft.rfft(wave[:rate] * np.hanning(rate)))
    assert abs(spectrum[250:350].max() / expected[250:350].max() - 1) < 0.1
    assert len(audio.decode(path, RATE, MAX_S)[0]) == pytest.approx(len(got) * RATE / rate, abs=1)
    data = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        path.write_bytes(data[: int(share * len(data))])
        assert rejected(path) == "truncated"
    path.write_bytes(aac(tone(4.0), container))
    assert rejected(path) == "too_long"


def test_without_av_its_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    (tmp_path / "a.m4a").write_bytes(aac(tone(0.5), "ipod"))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"a\.m4a: .* needs the package av"):
        audio.load(tmp_path / "a.m4a", RATE)


def test_a_streamed_flac_file_needs_no_length_in_its_header(tmp_path: Path) -> None:
    wave, path = tone(2.0), tmp_path / "a.flac"
    data = bytearray(encoded(wave, "flac"))
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    np.testing.assert_allclose(audio.decode(path, RATE, MAX_S)[0], wave, atol=1 / 32000)
    for share in (0.3, 0.5, 0.9):
        path.write_bytes(data[: int(share * len(data))])
        assert rejected(path) == "truncated"


@pytest.mark.parametrize("rate", [1, 999, 768_001, 10_000_000])
def test_a_rate_that_no_recording_has_is_refused(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(tone(1.0), rate=rate))
    assert rejected(tmp_path / "a.wav") == "bad_rate"


def test_a_claim_of_more_samples_than_there_are_is_found_unless_it_says_unknown(tmp_path: Path) -> None:
    path, data = tmp_path / "a.wav", bytearray(encoded(tone(1.0)))
    for riff, samples, verdict in ((0xFFFFFFFF, 0xFFFFFFDB, "truncated"), (0xFFFFFFFF, 0xFFFFFFFF, "good")):
        data[4:8], data[40:44] = riff.to_bytes(4, "little"), samples.to_bytes(4, "little")
        path.write_bytes(data)
        if verdict == "good":
            assert len(audio.load(path, RATE)) == RATE
        else:
            assert rejected(path) == verdict


def test_samples_near_the_largest_number_are_refused_or_scaled(tmp_path: Path) -> None:
    path, wave = tmp_path / "a.wav", tone(1.0)
    wave[100:103] = 3e38
    for data in (np.stack([wave] * 8, axis=1), wave):
        soundfile.write(path, data, RATE, subtype="FLOAT")
        if data.ndim == 2:
            assert rejected(path) == "not_finite"
        else:
            got = audio.load(path, RATE)
            assert np.isfinite(got).all() and 0.35 < np.abs(got).max() <= 1


def test_a_named_pipe_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "b.wav").mkdir()
    assert rejected(tmp_path / "a.wav") == rejected(tmp_path / "b.wav") == rejected(tmp_path / "c\0.wav")


def test_read_keeps_the_files_own_rate_and_scale(tmp_path: Path) -> None:
    wave = 4 * tone(0.5, rate=22050)
    soundfile.write(tmp_path / "a.wav", np.stack([wave, wave], axis=1), 22050, subtype="FLOAT")
    got, rate = audio.read(tmp_path / "a.wav")
    assert rate == 22050 and got.dtype == np.float32
    np.testing.assert_allclose(got, wave, atol=1e-6)


def limited(rate: int, seconds: float = 3.0, peak: float = 0.99) -> np.ndarray:
    """Noise with the spectrum and the syllables of speech, limited hard: the worst case of a resampler."""
    n = round(seconds * rate)
    hz = np.fft.rfftfreq(n, 1 / rate)
    shaped = np.fft.irfft(np.fft.rfft(np.random.default_rng(0).normal(size=n)) / (1 + (hz / 500) ** 2) ** 0.5, n)
    wave = shaped / shaped.std() * (0.2 + np.sin(np.arange(n) * 8 / rate) ** 2)
    return (peak * np.clip(8 * wave, -1, 1)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_one_gain_keeps_every_rate_within_one_without_clipping(rate: int) -> None:
    wave = limited(rate)
    gain = audio.headroom(wave, rate)
    assert 0.35 < gain < 1
    for to in audio.RATES:
        got = audio.resampled(wave, rate, to, gain)
        plain = wave if to == rate else soxr.resample(wave, rate, to)
        assert np.abs(got).max() <= 1
        np.testing.assert_allclose(got, plain * gain, atol=1e-5)


def test_the_gain_is_of_the_signal_alone_and_one_where_there_is_room() -> None:
    assert audio.headroom(0.35 * limited(44100), 44100) == 1
    assert audio.headroom(np.float32(0.9) * tone(1.0) / np.abs(tone(1.0)).max(), RATE) > 0.9
    loud = [audio.headroom(scale * limited(44100), 44100) * scale for scale in (1, 30, 1e30)]
    np.testing.assert_allclose(loud, loud[0], rtol=1e-4)
    assert audio.headroom(np.zeros(0, np.float32), 44100) == 1


@pytest.mark.parametrize("to", [8000, 12000, 96000, 192000])
def test_other_rates_are_eased_where_they_go_beyond_one_and_keep_their_level(to: int) -> None:
    wave = limited(44100)
    gain = audio.headroom(wave, 44100)
    got, plain = audio.resampled(wave, 44100, to, gain), soxr.resample(wave * np.float32(gain), 44100, to)
    assert np.abs(got).max() <= 1
    assert abs(10 * np.log10(np.mean(got.astype(float) ** 2) / np.mean(plain.astype(float) ** 2))) < 0.05
    away = np.convolve(np.abs(plain) > 1, np.ones(2 * (to // 100) + 1), "same") < 0.5
    np.testing.assert_allclose(got[away], plain[away], atol=1e-6)
    soft = audio._eased(np.float32(1.5) * plain, to)  # far beyond: still nothing is flat at the top
    assert np.abs(soft).max() <= 1 and (np.abs(soft) > 0.9999).mean() < 0.2


def test_channels_can_be_watched_before_they_are_mixed(tmp_path: Path) -> None:
    wave = np.stack([tone(6.0), 0.5 * tone(6.0, 300)], axis=1)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    blocks: list[np.ndarray] = []
    mono, _ = audio.read(tmp_path / "a.wav", watch=lambda block, rate: blocks.append(rate / RATE * block))
    np.testing.assert_array_equal(np.concatenate(blocks), wave)
    np.testing.assert_allclose(mono, wave.mean(axis=1), atol=1e-7)
