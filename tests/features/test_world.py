import math
import subprocess
import sys

import numpy as np
import pytest
import pyworld
import soundfile

from vcpipe.errors import InputError
from vcpipe.features import world, world_aperiodicity, world_envelope
from vcpipe.grid import Grid
from vcpipe.settings import check

RATE = 16000
FORMANTS = ((700, 80), (1200, 100), (2600, 150), (3500, 200))


def voice(seconds, hz, rate=RATE):
    """`(N,)` float32: harmonics of a gliding f0 through four formants, some breath, a pause in the middle."""
    n = round(seconds * rate)
    t = np.arange(n) / rate
    f0 = hz * 2 ** (0.2 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    wave = np.zeros(n)
    for k in range(1, int(0.45 * rate / hz / 1.2)):
        gain = sum(1 / (1 + ((k * hz - f) / b) ** 2) for f, b in FORMANTS) + 0.02
        wave += gain / math.sqrt(k) * np.sin(k * phase)
    wave += 0.02 * np.random.default_rng(0).standard_normal(n)
    wave[int(0.48 * n) : int(0.55 * n)] *= 0.01
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def resynthesis(wave, envelope, aperiodicity):
    """F0 on the grid, and the voice made again from what the two features hold."""
    settings = envelope
    f0, _ = world.f0_at_cells(wave, settings.grid, settings.floor_hz, settings.ceil_hz)
    power = world_envelope.decode(envelope, world_envelope.load(envelope)(wave))
    noise = world_aperiodicity.decode(aperiodicity, world_aperiodicity.load(aperiodicity)(wave))
    return f0, world.synthesize(f0, power, noise, settings.grid)


def f0_error(wave, again, f0, settings):
    """Relative errors of f0 where both are voiced, away from edges of voicing, and the share with one voicing."""
    f0_again, _ = world.f0_at_cells(again, settings.grid, settings.floor_hz, settings.ceil_hz)
    both = (f0 > 0) & (f0_again > 0)
    return np.abs(f0_again[both] / f0[both] - 1), np.mean((f0 > 0) == (f0_again > 0))


def log_spectral_distance(wave, again, f0, grid):
    """Root mean square difference in dB of the voiced cells' smoothed spectra, 100 Hz to 5 kHz."""
    times = (np.arange(len(f0)) + 0.5) * grid.hop / grid.rate
    spectra = [
        10 * np.log10(pyworld.cheaptrick(x.astype(np.float64), f0, times, grid.rate)[f0 > 0]) for x in (wave, again)
    ]
    hz = np.linspace(0, grid.rate / 2, spectra[0].shape[1])
    difference = (spectra[0] - spectra[1])[:, (hz > 100) & (hz < 5000)]
    return float(np.sqrt((difference**2).mean()))


CODINGS = {
    "coded": (world_envelope.Settings(), world_aperiodicity.Settings()),
    "full": (world_envelope.Settings(dims=None), world_aperiodicity.Settings(coding="full")),
    "coded_10ms": (world_envelope.Settings(hop=160), world_aperiodicity.Settings(hop=160)),
}


@pytest.mark.parametrize("coding", CODINGS)
def test_a_synthetic_voice_comes_back(coding):
    wave = voice(2.0, 150)
    envelope, aperiodicity = CODINGS[coding]
    f0, again = resynthesis(wave, envelope, aperiodicity)
    assert again.shape == (len(f0) * envelope.hop,)
    errors, agree = f0_error(wave, again, f0, envelope)
    distance = log_spectral_distance(wave, again, f0, envelope.grid)
    print(f"{coding}: f0 {np.median(errors):.2%} median {np.mean(errors):.2%} mean, {agree:.1%}, {distance:.2f} dB")
    assert np.mean(errors) < 0.01 and agree > 0.95
    assert distance < 3


def plain_world(wave, frame_ms):
    """F0 and voice of the package alone: its own times, nothing coded, no grid."""
    x = wave.astype(np.float64)
    f0, times = pyworld.harvest(x, RATE, 50, 1100, frame_period=frame_ms)
    power = pyworld.cheaptrick(x, f0, times, RATE, fft_size=1024)
    noise = pyworld.d4c(x, f0, times, RATE, fft_size=1024)
    return f0, pyworld.synthesize(f0, power, noise, RATE, frame_ms)


def lag(wave, again):
    """Samples by which the loudness of one comes after the other's."""
    n = min(len(wave), len(again))
    smooth = [np.convolve(np.square(x[:n], dtype=np.float64), np.hanning(400), "same") for x in (wave, again)]
    a, b = (x - x.mean() for x in smooth)
    return max(range(-300, 301, 5), key=lambda s: float(np.dot(a[300:-300], np.roll(b, -s)[300:-300])))


def test_it_comes_back_in_place():
    """Where WORLD itself puts it, whose pulses decay after their place; half a hop, 80 samples, would show."""
    wave = voice(1.0, 200)
    again = resynthesis(wave, *CODINGS["coded_10ms"])[1]
    assert abs(lag(wave, again) - lag(wave, plain_world(wave, 10.0)[1])) <= 20


def test_speech_comes_back_as_well_as_from_world_itself(real_data):
    files = sorted((real_data / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[:40:20]
    envelope, aperiodicity = CODINGS["coded"]
    ours, plain, distances = [], [], []
    for file in files:
        wave = soundfile.read(file, dtype="float32")[0][RATE : 3 * RATE]
        f0, again = resynthesis(wave, envelope, aperiodicity)
        ours.append(f0_error(wave, again, f0, envelope)[0])
        distances.append(log_spectral_distance(wave, again, f0, envelope.grid))
        f0, again = plain_world(wave, 5.0)
        found = pyworld.harvest(again, RATE, 50, 1100)[0][: len(f0)]
        both = (f0 > 0) & (found > 0)
        plain.append(np.abs(found[both] / f0[both] - 1))
    medians = [float(np.median(np.concatenate(errors))) for errors in (ours, plain)]
    print(f"f0: {medians[0]:.2%} median, WORLD alone {medians[1]:.2%}; {np.mean(distances):.2f} dB")
    assert medians[0] < 0.01
    assert medians[0] < 1.1 * medians[1]
    assert np.mean(distances) < 5


def test_the_f0_is_that_of_the_feature():
    from vcpipe.features import f0 as feature

    wave = voice(1.0, 120)
    expected = feature.load(feature.Settings(hop=80))(wave)[:, 0]
    found, times = world.f0_at_cells(wave, Grid(RATE, 80), 50, 1100)
    assert np.array_equal(found.astype(np.float32), expected)
    assert times[0] == pytest.approx(40 / RATE) and len(times) == len(wave) // 80


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("floor_hz", [40, 50, 71, 110])
def test_sizes_are_worlds_own(rate, floor_hz):
    settings = world_envelope.Settings(rate=rate, floor_hz=floor_hz)
    assert settings.fft_size == pyworld.get_cheaptrick_fft_size(rate, floor_hz)


def test_parts_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match=r"found \(9,\), \(8, 513\), \(8, 513\); make them with the same"):
        world.synthesize(np.zeros(9), np.ones((8, 513)), np.ones((8, 513)), Grid(RATE, 80))
    with pytest.raises(InputError, match=r"\(8, 513\), \(8, 1025\)"):
        world.synthesize(np.zeros(8), np.ones((8, 513)), np.ones((8, 1025)), Grid(RATE, 80))


def test_the_f0_range_is_checked_when_read():
    with pytest.raises(InputError, match="harvest: floor_hz 300 and ceil_hz 200"):
        check(world_envelope.Settings, {"floor_hz": 300, "ceil_hz": 200}, "features.w")


def test_settings_import_neither_torch_nor_numpy():
    code = (
        "import sys\n"
        "from vcpipe.features import energy, ge2e, ecapa, mel, spectrogram, world_aperiodicity, world_envelope\n"
        "for m in (energy, ge2e, ecapa, mel, spectrogram, world_aperiodicity, world_envelope):\n"
        "    s = m.Settings(); s.dim, s.grid, s.content()\n"
        "assert not {'torch', 'numpy', 'scipy'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
