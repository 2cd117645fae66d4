"""From a file to pieces: names, lengths, reasons, and the same frames at every rate."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from tests.conftest import tone
from tests.test_audio import limited
from vcpipe import audio
from vcpipe.audio import REASONS
from vcpipe.audio_settings import RATES, AudioSettings
from vcpipe.recordings.clipping import clipped_share
from vcpipe.recordings.process import Piece, Refusal, limit_s, process

Wave = NDArray[np.float32]
ENERGY: dict[str, Any] = {"by": "energy", "top_db": 30}
SLICE: dict[str, Any] = {**ENERGY, "min_s": 1, "max_s": 4.5}


def written(folder: Path, wave: Wave, rate: int = 16000, subtype: str = "FLOAT") -> Path:
    path = folder / f"{rate}.wav"
    soundfile.write(path, wave, rate, subtype=subtype)
    return path


def phrases(rate: int = 16000, lengths: tuple[float, ...] = (2.0, 2.5, 0.4, 3.0), pause_s: float = 1.0) -> Wave:
    """Phrases with pauses of `pause_s` before, between and after them, on a floor of noise."""
    silence = np.zeros(round(pause_s * rate), np.float32)
    sounds = [(0.3 * np.sin(np.arange(round(s * rate)) * 800 / rate)).astype(np.float32) for s in lengths]
    wave = np.concatenate([silence, *itertools.chain.from_iterable((s, silence) for s in sounds)])
    return wave + np.random.default_rng(0).normal(0, 1e-3, len(wave)).astype(np.float32)


def pieces_of(found: list[Piece | Refusal]) -> list[Piece]:
    assert all(isinstance(f, Piece) for f in found), found
    return [f for f in found if isinstance(f, Piece)]


def refusal_of(found: list[Piece | Refusal]) -> Refusal:
    assert len(found) == 1 and isinstance(found[0], Refusal), found
    assert found[0].reason in REASONS and found[0].detail
    return found[0]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("to", [16000, 22050, 48000])
def test_without_any_stage_it_is_the_decoded_recording_in_whole_ticks(tmp_path: Path, rate: int, to: int) -> None:
    path = written(tmp_path, tone(1.513, rate=rate), rate)
    (piece,) = pieces_of(process(path, AudioSettings(rate=to), "p1/a"))
    assert (piece.utt_id, piece.start_s, piece.stop_s, piece.forced) == ("p1/a", 0, 1.5, False)
    assert piece.wave.dtype == np.float32 and len(piece.wave) == 1.5 * to
    np.testing.assert_array_equal(piece.wave, audio.decode(path, to)[0][: len(piece.wave)])


@pytest.mark.parametrize("settings", [{}, {"trim": ENERGY}, {"slice": SLICE}, {"trim": ENERGY, "slice": SLICE}])
def test_copies_at_every_rate_have_the_same_frames(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = written(tmp_path, phrases(44100), 44100)
    found = {}
    for rate in (16000, 22050, 24000, 48000):
        pieces = pieces_of(process(path, AudioSettings(rate=rate, **settings), "a"))
        for piece in pieces:
            assert len(piece.wave) == round((piece.stop_s - piece.start_s) * 50) * rate // 50
        found[rate] = [(p.utt_id, p.start_s, p.stop_s, len(p.wave) * 50 // rate) for p in pieces]
    assert len({str(f) for f in found.values()}) == 1
    assert len(found[16000]) == (3 if "slice" in settings else 1)


def test_slices_lie_where_they_say_and_are_named_in_order(tmp_path: Path) -> None:
    wave = phrases()
    path = written(tmp_path, wave)
    whole = np.concatenate([wave, np.zeros(320, np.float32)])
    pieces = pieces_of(process(path, AudioSettings(slice=SLICE), "p1/a"))
    assert [p.utt_id for p in pieces] == ["p1/a/000", "p1/a/001", "p1/a/002"]
    # phrases begin at 1, 4, 7.5 and 8.9 s; 0.2 s of silence stays; the third, of 0.4 s, is joined with the second
    assert [(p.start_s, p.stop_s) for p in pieces] == [(0.8, 3.2), (3.8, 8.1), (8.7, 12.1)]
    for piece in pieces:
        np.testing.assert_array_equal(piece.wave, whole[round(piece.start_s * 16000) : round(piece.stop_s * 16000)])
        assert 1 <= piece.stop_s - piece.start_s <= 4.5


def test_one_slice_is_numbered_as_well_and_a_short_one_keeps_its_number(tmp_path: Path) -> None:
    short = process(written(tmp_path, phrases(lengths=(2.0,), pause_s=0.5)), AudioSettings(slice=SLICE), "a")
    assert [p.utt_id for p in pieces_of(short)] == ["a/000"]
    found = process(written(tmp_path, phrases(lengths=(3.5, 0.3, 3.5))), AudioSettings(slice=SLICE), "a")
    assert [f.utt_id for f in found] == ["a/000", "a/001", "a/002"]
    refusal = refusal_of(found[1:2])
    assert refusal.reason == "too_short"
    assert refusal.detail == "0.70 s from 5.30 to 6.00 s, audio.slice.min_s is 1"


def test_speech_without_a_pause_is_cut_and_marked(tmp_path: Path) -> None:
    pieces = pieces_of(process(written(tmp_path, phrases(lengths=(9.0,))), AudioSettings(slice=SLICE), "a"))
    assert len(pieces) >= 3 and all(p.forced for p in pieces)
    for left, right in itertools.pairwise(pieces):
        assert left.stop_s == right.start_s
    assert pieces[0].start_s == pytest.approx(0.8) and pieces[-1].stop_s == pytest.approx(10.2)


def test_trimming_leaves_the_pad_and_refuses_what_is_then_too_short(tmp_path: Path) -> None:
    path = written(tmp_path, phrases(lengths=(2.0,)))
    (piece,) = pieces_of(process(path, AudioSettings(trim={**ENERGY, "pad_s": 0.1}), "a"))
    assert (piece.start_s, piece.stop_s) == (0.9, 3.1)
    refusal = refusal_of(process(path, AudioSettings(trim=ENERGY, min_s=3), "a"))
    assert refusal.reason == "too_short" and "2.20 s after trimming" in refusal.detail


@pytest.mark.parametrize(
    ("wave", "settings", "reason", "detail"),
    [
        (np.zeros(16000), {}, "silent", "audio.silence_dbfs is -70"),
        (np.full(16000, 0.5), {}, "silent", "around a constant"),
        (np.ones(1), {}, "too_short", "audio.min_s is 0.5"),
        (np.ones(1), {"min_s": 1e-6}, "too_short", "0.000 s"),
        (tone(0.01), {}, "too_short", "0.010 s"),
        (tone(3.0), {"max_s": 2}, "too_long", "audio.max_s is 2"),
        (np.full(16000, np.nan), {}, "not_finite", "16000 samples"),
        (tone(2.0), {"trim": {"by": "silero"}}, "no_speech", "none in 2.00 s"),
        (tone(5.0), {"slice": {"max_s": 4, "min_s": 1}}, "no_speech", "none in 5.00 s"),
        (np.clip(9 * tone(2.0), -0.8, 0.8), {"gates": {"max_clipped_share": 0.01}}, "clipped", "max_clipped_share"),
        (tone(2.0), {"gates": {"min_speech_share": 0.2}}, "little_speech", "0.0% of the duration"),
        (np.random.default_rng(0).normal(0, 0.1, 32000), {"gates": {"min_snr_db": 10}}, "noisy", "min_snr_db is 10"),
    ],
)
def test_every_refusal_has_its_reason(
    tmp_path: Path, wave: Wave, settings: dict[str, Any], reason: str, detail: str
) -> None:
    refusal = refusal_of(process(written(tmp_path, wave), AudioSettings(**settings), "p1/a"))
    assert (refusal.utt_id, refusal.reason) == ("p1/a", reason)
    assert detail in refusal.detail


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no recording " * 100)
    assert refusal_of(process(tmp_path / "a.wav", AudioSettings(), "a")).reason == "not_audio"
    assert refusal_of(process(tmp_path / "b.wav", AudioSettings(), "b")).reason == "unreadable"


def test_the_shortest_recording_that_is_asked_for_passes_every_stage(tmp_path: Path) -> None:
    settings = AudioSettings(min_s=0.02, denoise={"method": "logmmse"}, loudness={"kind": "rms", "level": -20})
    (piece,) = pieces_of(process(written(tmp_path, tone(0.025)), settings, "a"))
    assert piece.wave.shape == (320,)


def test_nothing_goes_beyond_one_and_nothing_is_clipped(tmp_path: Path) -> None:
    path = written(tmp_path, 5 * phrases(lengths=(1.0, 1.0)))
    pieces = pieces_of(process(path, AudioSettings(slice={**SLICE, "max_s": 2}), "a"))
    assert len(pieces) == 2 and pieces[0].quality.peak_dbfs > 3  # measured before it was scaled
    assert np.abs(pieces[0].wave).max() > 0.9
    loud = AudioSettings(augment={"gain_db": [12, 12], "snr_db": [0, 0]})
    for piece in (*pieces, *pieces_of(process(path, loud, "a"))):
        assert np.abs(piece.wave).max() <= 1
        assert np.count_nonzero(np.abs(piece.wave) > 0.999) < 100


def in_common(wave: Wave, rate: int) -> Wave:
    """What every copy has: below 6 kHz, at 16 kHz."""
    from scipy.signal import firwin, oaconvolve

    at_16k = wave if rate == 16000 else soxr.resample(wave, rate, 16000)
    return np.asarray(oaconvolve(at_16k, firwin(255, 6000, fs=16000), "same"))


def levels_db(path: Path, **settings: Any) -> list[float]:
    """RMS of the copies at every rate in use, below 6 kHz."""
    out = []
    for rate in RATES:
        (piece,) = pieces_of(process(path, AudioSettings(rate=rate, **settings), "a"))
        assert np.abs(piece.wave).max() <= 1
        out.append(10 * np.log10(np.mean(np.square(in_common(piece.wave, rate), dtype=np.float64))))
    return out


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_copies_at_every_rate_have_the_same_level(tmp_path: Path, rate: int, scale: float) -> None:
    wave = scale * limited(rate, 2.0)
    levels = levels_db(written(tmp_path, wave, rate, "PCM_16" if scale == 1 else "FLOAT"))
    assert max(levels) - min(levels) < 0.05
    plain = 10 * np.log10(np.mean(np.square(in_common(wave, rate), dtype=np.float64)))
    assert -6 < levels[0] - plain + 20 * np.log10(scale) < 0  # down as a whole, by what the worst rate needs


def test_copies_of_speech_have_the_level_of_the_recording(real_data: Path, tmp_path: Path) -> None:
    paths = sorted(real_data.glob("corpora/LibriSpeech/train-clean-100/*/*/*.flac"))[:3]
    for path in paths:
        wave, rate = soundfile.read(path, dtype="float32")
        assert 0.1 < np.abs(wave).max() < 0.95
        (piece,) = pieces_of(process(path, AudioSettings(), "a"))
        np.testing.assert_array_equal(piece.wave, wave[: len(piece.wave)])  # no gain where there is room
        levels = levels_db(path)
        assert max(levels) - min(levels) < 0.05
        hot = written(tmp_path, wave / np.abs(wave).max(), rate, "PCM_16")
        levels = levels_db(hot)
        assert max(levels) - min(levels) < 0.05


def test_a_slice_has_its_own_numbers_and_the_gates_judge_the_whole(tmp_path: Path) -> None:
    wave = phrases(lengths=(3.0, 3.0))
    wave[5 * 16000 :] *= np.float32(0.1)
    wave[: 5 * 16000] = np.clip(wave[: 5 * 16000], -0.2, 0.2)
    path = written(tmp_path, wave)
    loud, soft = pieces_of(process(path, AudioSettings(slice=SLICE), "a"))
    assert loud.quality.level_dbfs - soft.quality.level_dbfs == pytest.approx(18.5, abs=1)
    assert loud.quality.clipped_share > 0.3 and soft.quality.clipped_share == 0
    (whole,) = pieces_of(process(path, AudioSettings(), "a"))
    assert soft.quality.clipped_share < whole.quality.clipped_share < loud.quality.clipped_share
    gates = {"max_clipped_share": (whole.quality.clipped_share + loud.quality.clipped_share) / 2}
    assert len(pieces_of(process(path, AudioSettings(slice=SLICE, gates=gates), "a"))) == 2


def test_a_clipped_channel_is_found_beside_one_that_is_not(tmp_path: Path) -> None:
    clean = phrases(lengths=(2.0,))
    clipped = np.clip(clean, -0.2, 0.2)
    path = written(tmp_path, np.stack([np.roll(clean, 99), clipped], axis=1))
    (piece,) = pieces_of(process(path, AudioSettings(), "a"))
    assert piece.quality.clipped_share == pytest.approx(clipped_share(clipped)) and piece.quality.clipped_share > 0.2
    gated = AudioSettings(gates={"max_clipped_share": 0.01})
    assert refusal_of(process(path, gated, "a")).reason == "clipped"


def test_what_follows_decoding_has_time_by_its_stages() -> None:
    plain, much = AudioSettings(), AudioSettings(denoise={"method": "spectral"}, augment={"formant": [1, 1.1]})
    assert limit_s(0.5, plain) >= 60 and limit_s(60.0, plain) > limit_s(0.5, plain)
    assert limit_s(60.0, much) >= limit_s(60.0, plain) + 300


def test_stages_come_in_their_order(tmp_path: Path) -> None:
    wave = phrases(24000, lengths=(1.5, 1.5)) + np.random.default_rng(1).normal(0, 0.01, 144000)[: 24000 * 6]
    settings = AudioSettings(
        rate=24000,
        slice={**SLICE, "max_s": 3, "top_db": 20},
        denoise={"method": "logmmse"},
        augment={"seed": 1, "formant": [1.1, 1.2], "snr_db": [30, 40]},
        loudness={"kind": "peak", "level": 0.6},
    )
    pieces = pieces_of(process(written(tmp_path, wave.astype(np.float32), 24000), settings, "a"))
    assert len(pieces) == 2
    for piece in pieces:
        assert np.abs(piece.wave).max() == pytest.approx(0.6, rel=1e-5)  # the level comes last
    again = pieces_of(process(tmp_path / "24000.wav", settings, "a"))
    np.testing.assert_array_equal(pieces[1].wave, again[1].wave)
    other = pieces_of(process(tmp_path / "24000.wav", settings, "b"))
    assert not np.array_equal(pieces[1].wave, other[1].wave)


def test_speed_keeps_whole_ticks(tmp_path: Path) -> None:
    settings = AudioSettings(rate=22050, augment={"speed": [0.9, 0.9]})
    (piece,) = pieces_of(process(written(tmp_path, tone(2.0)), settings, "a"))
    assert len(piece.wave) == round(100 / 0.9) * 441 and piece.stop_s == 2.0


def test_real_speech_is_trimmed_sliced_and_measured(real_data: Path, tmp_path: Path) -> None:
    paths = sorted(real_data.glob("corpora/LibriSpeech/train-clean-100/*/*/*.flac"))[:3]
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in paths])
    pause = np.random.default_rng(0).normal(0, 1e-4, 32000).astype(np.float32)
    path = written(tmp_path, soxr.resample(np.concatenate([pause, speech, pause]), 16000, 44100), 44100)
    settings = AudioSettings(rate=24000, trim={}, slice={"min_s": 1.6, "max_s": 11.25})
    pieces = pieces_of(process(path, settings, "a"))
    assert len(pieces) > 3
    assert pieces[0].start_s > 1.8 and pieces[-1].stop_s < len(speech) / 16000 + 2.4
    assert all(1.6 <= p.stop_s - p.start_s <= 11.25 for p in pieces)
    kept = sum(p.stop_s - p.start_s for p in pieces)
    assert 0.75 * len(speech) / 16000 < kept <= len(speech) / 16000 + 0.5
    assert all(p.quality.speech_share > 0.5 for p in pieces)
    assert pieces[0].quality.snr_db < 20 < 28 < pieces[-1].quality.snr_db  # of recordings with 14 and 32 dB
