"""Where pieces begin and end: exact bookkeeping, whatever the speech looks like."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vcpipe.audio_settings import TICKS, Slicing, SpeechFinder, Trim
from vcpipe.recordings.spans import Span, pauses, sliced, speech_spans, tick_power, ticks_in, trimmed

SLICING = Slicing(min_s=1, max_s=5, silence_s=0.4, pad_s=0.2)
Speech = list[tuple[float, float]]


@st.composite
def recordings(draw: st.DrawFn) -> tuple[Speech, int]:
    """Speech in seconds, on ticks, and the ticks of the recording."""
    lengths = draw(st.lists(st.tuples(st.integers(0, 150), st.integers(1, 600)), min_size=1, max_size=12))
    at, speech = 0, []
    for silence, sound in lengths:
        speech.append(((at + silence) / TICKS, (at + silence + sound) / TICKS))
        at += silence + sound
    return speech, at + draw(st.integers(0, 150))


def power_of(total: int, speech: Speech) -> NDArray[np.float64]:
    power = np.full(total, 1e-6)
    for start, stop in speech:
        power[round(start * TICKS) : round(stop * TICKS)] = 1
    return power * np.random.default_rng(0).uniform(0.5, 1, total)


@settings(max_examples=300, deadline=None)
@given(recordings())
def test_no_tick_of_speech_is_lost_or_doubled(recording: tuple[Speech, int]) -> None:
    speech, total = recording
    pieces = sliced(Span(0, total), speech, power_of(total, speech), SLICING)
    if total <= 5 * TICKS:
        assert pieces == [Span(0, total)]
        return
    spoken = np.zeros(total, int)
    for start, stop in speech:
        spoken[round(start * TICKS) : round(stop * TICKS)] = 1
    covered = np.zeros(total, int)
    for piece in pieces:
        covered[piece.start : piece.stop] += 1
    assert covered.max() == 1
    assert covered[spoken == 1].min() == 1
    for piece in pieces:
        assert 0 <= piece.start < piece.stop <= total
        assert len(piece) <= 5 * TICKS
    for left, right in itertools.pairwise(pieces):
        both = right.stop - left.start
        assert len(left) >= TICKS <= len(right) or both > 5 * TICKS  # what is too short could not be joined
        silence = spoken[left.stop : right.start]
        if len(silence):  # dropped: a silence of which 0.2 s is kept on each side
            assert not spoken[left.stop - 10 : right.start + 10].any()
        elif spoken[left.stop - 1] and spoken[right.start]:
            assert left.forced and right.forced
    long_enough = [len(piece) >= TICKS for piece in pieces if piece.forced]
    assert all(long_enough)


def test_long_speech_is_cut_at_its_quietest_place() -> None:
    power = np.ones(400)
    power[180:184] = 0.1
    pieces = sliced(Span(0, 400), [(0, 8)], power, SLICING)
    assert pieces == [Span(0, 182, forced=True), Span(182, 400, forced=True)]


def test_silences_are_cut_and_short_pieces_joined_with_their_shorter_neighbour() -> None:
    speech = [(0.5, 3.0), (4.0, 4.5), (5.2, 6.4), (6.6, 7.0)]
    power = power_of(400, speech)
    pieces = sliced(Span(0, 400), speech, power, SLICING)
    # 0.5 s of speech from 4.0 goes to the stretch of 1.8 s after it, not to that of 2.5 s before it
    assert pieces == [Span(15, 160), Span(190, 360)]
    alone = sliced(Span(0, 1000), [(0, 4.9), (8.0, 8.5), (12.0, 16.9)], power_of(1000, []), SLICING)
    assert Span(390, 435) in alone  # nobody to join with


def test_a_recording_without_speech_has_no_slices_and_no_trim() -> None:
    assert sliced(Span(0, 1000), [], np.ones(1000), SLICING) == []
    assert trimmed(1000, [], Trim()) is None


def test_trimming_keeps_the_pad_within_the_recording() -> None:
    assert trimmed(500, [(1.0, 2.0), (3.0, 4.5)], Trim(pad_s=0.1)) == Span(45, 230)
    assert trimmed(500, [(0.05, 9.99)], Trim(pad_s=0.1)) == Span(0, 500)
    assert trimmed(500, [(1.001, 2.001)], Trim(pad_s=0)) == Span(50, 101)  # outwards to whole ticks


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_the_power_of_each_tick_is_that_of_its_samples(rate: int) -> None:
    wave = np.random.default_rng(0).normal(0.5, 0.1, 70 * rate + 7).astype(np.float32)
    power = tick_power(wave, rate)
    assert len(power) == ticks_in(len(wave), rate) == 70 * TICKS
    for tick in (0, 1, 2999, 3000, 3499):
        at = slice(tick * rate // TICKS, (tick + 1) * rate // TICKS)
        assert power[tick] == pytest.approx(np.var(wave[at].astype(np.float64)), rel=1e-6)
    assert len(tick_power(wave[:1], rate)) == 0


def test_pauses_are_what_is_far_from_speech() -> None:
    assert np.flatnonzero(~pauses([(1.0, 1.2)], 100)).tolist() == list(range(45, 65))
    assert pauses([], 10).all()


def test_energy_finds_a_burst_and_nothing_in_silence() -> None:
    wave = np.random.default_rng(0).normal(0, 1e-4, 48000).astype(np.float32)
    wave[16000:32000] += 0.3 * np.sin(np.arange(16000)).astype(np.float32)
    by = SpeechFinder(by="energy")
    assert speech_spans(wave, by) == [(1.0, 2.0)]
    assert speech_spans(np.zeros(16000, np.float32), by) == []
    assert speech_spans(np.full(16000, 0.5, np.float32), by) == []
    assert speech_spans(wave[:100], by) == []
