"""Plateaus are found at any level, in the worst channel, in blocks of any size, and where they are."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.recordings.test_quality import syllables
from vcpipe.recordings.clipping import CLIPPED_RUN, STEP, Clipping, clipped_share

Wave = NDArray[np.float32]


def seen(wave: Wave, blocks: Iterator[int] | None = None, rate: int = 16000) -> Clipping:
    clipping, at = Clipping(), 0
    channels = wave if wave.ndim == 2 else wave[:, None]
    while at < len(channels):
        n = next(blocks) if blocks else len(channels)
        clipping(channels[at : at + n], rate)
        at += n
    return clipping


def by_loop(wave: Wave) -> int:
    """Clipped samples, one run after the other."""
    found = 0
    for side in (wave, -wave):
        top, start = side.max(), 0
        while top > 0 and start < len(side):
            stop = start
            while stop < len(side) and side[stop] == top:
                stop += 1
            around = min(side[max(start - 1, 0)], side[min(stop, len(side) - 1)])
            if stop - start >= CLIPPED_RUN and top - around > 4 * STEP:
                found += stop - start
            start = stop + 1
    return found


@pytest.mark.parametrize("level", [1.0, 0.31])
@pytest.mark.parametrize("steps", [0, 2**15])
def test_clipping_is_found_at_any_level(level: float, steps: int) -> None:
    wave, _ = syllables()
    clipped = level * np.clip(wave / np.abs(wave).max() * 3, -1, 1)
    clipped = (np.round(clipped * steps) / steps if steps else clipped).astype(np.float32)
    true_share = np.mean(np.abs(wave) * 3 >= np.abs(wave).max())
    assert 0.3 * true_share < clipped_share(clipped) <= 1.05 * true_share  # runs of one or two are not counted
    rounded = (np.round(0.9 * wave / np.abs(wave).max() * 2**15) / 2**15).astype(np.float32)
    assert clipped_share(rounded) == 0
    one_sided = np.minimum(clipped, 0.5 * level).astype(np.float32)
    assert clipped_share(one_sided) > clipped_share(clipped)


@pytest.mark.parametrize("hz", [30, 50, 100, 440])
@pytest.mark.parametrize("peak", [0.9, 0.01])
def test_the_round_top_of_a_low_tone_is_no_plateau(hz: float, peak: float) -> None:
    sine = peak * np.sin(2 * np.pi * hz * np.arange(48000) / 48000)
    assert clipped_share((np.round(sine * 2**15) / 2**15).astype(np.float32)) == 0
    if peak * hz > 4:  # steeper than four 16-bit steps a sample where it is cut
        assert clipped_share(np.clip(sine, -0.7 * peak, peak).astype(np.float32)) > 0.15


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("largest", [1, 7, 400])
def test_blocks_of_any_size_give_what_a_loop_over_the_samples_gives(seed: int, largest: int) -> None:
    draw = np.random.default_rng(seed)
    wave = np.repeat(draw.normal(size=600), draw.integers(1, 9, 600)).astype(np.float32)  # runs everywhere
    limit = draw.uniform(0.3, 1.5)
    wave = np.clip(wave, -limit, limit if seed % 2 else 2 * limit)
    wave[: draw.integers(0, 900)] *= np.float32(0.5)  # the largest value comes late
    sizes = iter(lambda: int(draw.integers(1, largest + 1)), None)
    clipping = seen(wave, sizes, 1000)
    assert clipping.share() * len(wave) == pytest.approx(by_loop(wave))
    ticks = -(-len(wave) // 20)
    parts = [clipping.share(t, t + 1) for t in range(ticks)]
    assert sum(parts[:-1]) * 20 + parts[-1] * (len(wave) - 20 * (ticks - 1)) == pytest.approx(by_loop(wave))


def test_the_worst_channel_counts_and_not_their_mean() -> None:
    wave, _ = syllables()
    clean = (wave / np.abs(wave).max()).astype(np.float32)
    clipped = np.clip(3 * clean, -1, 1)
    both = np.stack([np.roll(clean, 77), clipped], axis=1)
    assert clipped_share(both.mean(axis=1)) == 0
    assert seen(both, iter(lambda: 4096, None)).share() == clipped_share(clipped) > 0.005


def test_a_constant_and_nothing_have_no_plateau() -> None:
    for wave in (np.full(1000, 0.5), np.full(1000, -1.0), np.zeros(1000)):
        assert seen(wave.astype(np.float32), iter(lambda: 300, None)).share() == 0
    assert Clipping().share() == 0
