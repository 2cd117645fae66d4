"""Sentences of a made-up language, in any voice: vowels, hisses and pauses, spoken by WORLD."""

import numpy as np

from vcpipe.features.world import synthesize
from vcpipe.grid import Grid

GRID = Grid(16000, 80)
VOWELS = [
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
]


def sentence(seed=0, register=1.0, tract=1.0, tempo=1.0, seconds=2.5):
    """`(N,)` float32 at 16 kHz. The seed decides what is said, and with which melody.

    Args:
        seed: of the sentence.
        register: factor on f0, whose middle is 150 Hz.
        tract: factor on the formants.
        tempo: factor on the length of the frames, one for all or one for each tenth of the sentence.
        seconds: about, at tempo 1.
    """
    rng = np.random.default_rng(seed)
    n_syllables = round(seconds / 0.25)
    f0, power, noise = [], [], []
    tones = np.cumsum(rng.normal(0, 2.5, n_syllables + 1)).clip(-6, 6)
    formants = np.array([VOWELS[i] for i in rng.integers(0, len(VOWELS), n_syllables + 1)], float)
    for k in range(n_syllables):
        share = np.linspace(0, 1, 50, endpoint=False)[:, None]
        vowel = formants[k] + share * (formants[k + 1] - formants[k])
        kind = np.where(share[:, 0] < 0.2, ("hiss", "pause", "vowel")[rng.integers(3)], "vowel")
        f0.append(np.where(kind == "vowel", 150 * 2 ** ((tones[k] + share[:, 0] * np.diff(tones)[k]) / 12), 0))
        spectrum = np.array([_envelope(f * tract) for f in vowel])
        spectrum[kind == "hiss"] = 3e-5 * np.linspace(0.01, 1, 513) ** 2
        spectrum[kind == "pause"] = 1e-9
        power.append(spectrum)
        noise.append(np.where(kind[:, None] == "vowel", np.linspace(1e-3, 0.3, 513), 1.0))
    f0, power, noise = (np.concatenate(part) for part in (f0, power, noise))
    steps = np.repeat(np.broadcast_to(tempo, 10), -(-len(f0) // 10))[: len(f0)]
    ends = np.cumsum(steps)
    at = np.searchsorted(ends, np.arange(int(ends[-1])), side="right").clip(0, len(f0) - 1)
    wave = synthesize(f0[at] * register, power[at], noise[at], GRID)
    return (wave * (0.3 / np.abs(wave).max())).astype(np.float32)


def _envelope(formants):
    hz = np.linspace(0, 8000, 513)
    peaks = sum(g / (1 + ((hz - f) / w) ** 2) for f, g, w in zip(formants, (1, 0.4, 0.15), (60, 90, 120), strict=True))
    return 1e-3 * (peaks + 1e-4) * 10 ** (-hz / 8000)
