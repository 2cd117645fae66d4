import math

import numpy as np
import pytest
import soundfile
import torch

from vcpipe.nn.mel import LogMel
from vcpipe.nn.source_filter import MelSourceFilter, SourceFilter, band_interpolation, neighbour_ramps, without_gaps
from vcpipe.vocoders.synthesis import vocode

RATE, HOP = 16000, 320
TINY = {"width": 16, "depth": 2, "bands": 8, "parts": 2}


def model(content=3, hop=HOP, seed=0, **values):
    torch.manual_seed(seed)
    values = {**TINY, **values}
    return SourceFilter(content + values["bands"] * values["parts"] + 2, hop=hop, **values).eval()


def units(frames, content=3, bands=16, batch=1, seed=0):
    """A contour of 90 to 310 Hz with gaps, an envelope of about -6."""
    rng = torch.Generator().manual_seed(seed)
    f0 = 200 + 110 * torch.sin(torch.arange(frames) / 9)
    voiced = (torch.arange(frames) % 37 > 8).float()
    free = torch.randn(batch, frames, content + bands, generator=rng)
    free[..., content:] -= 6
    return torch.cat([free, torch.stack([f0 * voiced, voiced], -1).expand(batch, -1, -1)], dim=-1)


def test_small_preset_has_about_the_promised_size():
    assert sum(p.numel() for p in SourceFilter(384 + 258).parameters()) == 2_756_230


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
@pytest.mark.parametrize(("hop", "overlap"), [(320, 2), (160, 4), (64, 8)])
@pytest.mark.parametrize("content", [0, 5])
def test_makes_exactly_hop_samples_of_a_frame(frames, hop, overlap, content):
    wave = model(content, hop, overlap=overlap)(units(frames, content, batch=2))
    assert wave.shape == (2, 1, hop * frames)
    assert torch.isfinite(wave).all()


def test_fewer_columns_than_an_envelope_and_an_f0_are_refused():
    with pytest.raises(AssertionError, match="257 columns, expected 4 x 64"):
        SourceFilter(257)


def test_pulses_are_all_harmonics_alike_with_power_one():
    sf = model()
    f0 = torch.tensor([160.0, 1.0]).expand(1, 50, 2)
    pulses = sf.pulses(sf.source(f0))[0]
    assert pulses.square().mean() == pytest.approx(1, rel=0.01)
    spectrum = torch.fft.rfft(pulses[:16000]).abs() / 16000  # one bin a Hz
    harmonics = math.floor(7900 / 160)
    expected = torch.full((harmonics,), math.sqrt(2 / harmonics) / 2)
    torch.testing.assert_close(spectrum[160 : 160 * harmonics + 1 : 160], expected, rtol=0.01, atol=0)
    spectrum[::160] = 0
    assert spectrum.max() < 0.02 * expected[0]


def test_pulses_follow_the_contour_and_are_silent_where_unvoiced():
    sf = model()
    hz = torch.tensor([100.0] * 20 + [0.0] * 10 + [250.0] * 20)
    pulses = sf.pulses(sf.source(torch.stack([hz, (hz > 0).float()], -1)[None]))[0].view(50, HOP)
    assert pulses[21:29].abs().max() == 0
    for first, period in ((2, 160), (32, 64)):
        spectrum = torch.fft.rfft(pulses[first : first + 15].flatten(), n=2 * 15 * HOP)
        assert torch.fft.irfft(spectrum.abs().square())[30:200].argmax() + 30 == period


def test_a_frame_is_voiced_where_f0_and_voicing_say_so():
    f0 = torch.tensor([[[100.0, 0.0], [0.0, 1.0], [100.0, 1.0]]])
    assert model().source(f0)[0, :, 1].tolist() == [0, 0, 1]


def test_pulses_do_not_drift_in_ten_minutes():
    sf = model()
    frames = 30_000
    hz = 200 + 100 * torch.sin(torch.arange(frames, dtype=torch.float64) / 40)
    start = sf.source(torch.stack([hz.float(), torch.ones(frames)], -1)[None])[0, :, 2]
    samples = np.interp((np.arange(frames * HOP) + 0.5) / HOP - 0.5, np.arange(frames), hz.float().double().numpy())
    cycles = samples.cumsum()[HOP - 1 :: HOP][:-1] / RATE
    off = start[1:].double().numpy() - cycles
    assert np.abs(off - off.round()).max() < 1e-4


def test_gaps_hold_the_nearest_value():
    hz = torch.tensor([[0.0, 0, 100, 0, 0, 0, 200, 0], [0] * 8])
    filled = without_gaps(hz, hz > 0)
    assert filled[0].tolist() == [100, 100, 100, 100, 100, 200, 200, 200]
    assert filled[1].unique().tolist() == [120]


def test_bands_are_interpolated_between_their_centres():
    matrix = band_interpolation(RATE, 64, 321)
    torch.testing.assert_close(matrix.sum(0), torch.ones(321))
    librosa = pytest.importorskip("librosa")
    centres = librosa.mel_frequencies(66, fmin=0, fmax=8000)[1:-1]
    values = np.random.default_rng(0).normal(size=64)
    expected = np.interp(np.linspace(0, 8000, 321), centres, values)
    np.testing.assert_allclose(values @ matrix.double().numpy(), expected, atol=1e-5)


def test_ramps_are_linear_interpolation():
    values = torch.randn(1, 1, 7)
    expected = torch.nn.functional.interpolate(values, 70, mode="linear", align_corners=False)[0, 0]
    torch.testing.assert_close(model(hop=10)._samples(values[0]).flatten(), expected)
    assert neighbour_ramps(10).sum(0) == pytest.approx(1)


def test_noise_depends_on_the_frame_alone():
    sf = model()
    whole = sf.noise(0, 400)
    assert torch.equal(whole[:, 130 * HOP : 333 * HOP], sf.noise(130, 203))
    assert torch.equal(whole[:, 100 * HOP : 150 * HOP], sf.noise(100, 50))
    assert whole.std() == pytest.approx(1, abs=0.01)
    assert abs(float((whole[:, : 200 * HOP] * whole[:, 200 * HOP :]).mean())) < 0.02


def test_evaluation_is_deterministic_and_training_is_not():
    sf, x = model(), units(20)
    assert torch.equal(sf(x), sf(x))
    sf.train()
    torch.manual_seed(1)
    first, second = sf(x), sf(x)
    assert not torch.allclose(first, second, atol=1e-3)
    torch.manual_seed(1)
    assert torch.equal(first, sf(x))


def test_a_batch_gives_the_numbers_of_single_calls():
    sf = model()
    x = torch.cat([units(30, seed=1), units(30, seed=2)])
    torch.testing.assert_close(sf(x), torch.cat([sf(row[None]) for row in x]), atol=1e-5, rtol=1e-4)


def test_a_long_recording_in_windows_is_the_whole_one():
    sf, x = model().train(), units(3000)[0]
    torch.nn.init.normal_(sf.head.out.weight, std=0.1)
    whole = vocode(sf, x, HOP, window=3000)
    torch.testing.assert_close(sf.eval()(x[None]).flatten(), whole, atol=1e-5, rtol=0)
    assert whole.std() > 0.01
    for window in (1500, 700, 61):
        assert (vocode(sf, x, HOP, window=window) - whole).abs().max() < 1e-4


def test_gradients_are_finite_however_loud_the_prediction():
    sf = model().train()
    x = units(12)
    x[..., :-2] *= 1e4
    x.requires_grad_()
    sf(x).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in sf.parameters())


def test_in_mixed_precision_only_the_network_is_half():
    sf, x = model(), units(40)
    full = sf(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = sf(x)
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_nothing_that_can_be_made_again_is_saved():
    sf = model()
    assert set(sf.state_dict()) == {name for name, _ in sf.named_parameters()}


def speech_units(wave):
    """`(1, T, 258)` of envelope and f0, no content."""
    from vcpipe.features import envelope, f0

    parts = [envelope.load(envelope.Settings())(wave), f0.load(f0.Settings(method="dio", hop=HOP))(wave)]
    return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))[None]


def read_speech(folder, seconds):
    file = sorted((folder / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[20]
    return soundfile.read(file, dtype="float32")[0][RATE : (1 + seconds) * RATE]


def test_without_a_network_it_is_already_speech(real_data):
    """Nearly as close to the recording as WORLD's own voice, which is 0.7 away from such a one; noise is 3.4 away."""
    wave = read_speech(real_data, 3)
    sf = SourceFilter(258).eval()
    torch.nn.init.zeros_(sf.head.out.weight)
    mel = LogMel(RATE, 1024, 1024, HOP, 80)
    with torch.no_grad():
        difference = mel(sf(speech_units(wave))[0]) - mel(torch.from_numpy(wave)[None])
    print(f"{difference.abs().mean():.3f} away, {difference.mean():+.3f} louder")
    assert difference.abs().mean() < 0.9


def test_steps_bring_it_nearer_to_a_recording(real_data):
    wave = read_speech(real_data, 5)
    x, y = speech_units(wave), torch.from_numpy(wave)[None]
    torch.manual_seed(0)
    sf = SourceFilter(258, width=64, depth=2)
    optimizer = torch.optim.AdamW(sf.parameters(), 2e-3)
    mel, losses = LogMel(RATE, 1024, 1024, HOP, 80), []
    for _ in range(30):
        loss = (mel(sf(x)[:, 0]) - mel(y)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"{losses[0]:.3f} to {losses[-1]:.3f}")
    assert losses[-1] < 0.85 * losses[0]


def test_over_a_mel_the_envelope_is_the_mel_without_its_harmonics():
    network = MelSourceFilter(32, hop=160, width=16, depth=1, quefrencies=8)
    assert torch.allclose(network.lifter @ network.lifter, network.lifter, atol=1e-5)
    place = (torch.arange(32) + 0.5) * math.pi / 32
    slow, fast = (place * 5).cos(), (place * 16).cos()
    assert torch.allclose((slow + fast) @ network.lifter, slow, atol=1e-4)


def test_in_mixed_precision_the_envelope_over_a_mel_is_not_rounded(monkeypatch):
    torch.manual_seed(0)
    network, x = MelSourceFilter(32, hop=160, width=16, depth=1, quefrencies=8).eval(), units(40, 0, 32)
    given = []
    monkeypatch.setattr(SourceFilter, "synthesise", lambda self, made, source, noise: given.append(made))
    network(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network(x)
    full, mixed = given
    assert mixed.dtype == torch.float32 and torch.equal(mixed, full)


def test_over_a_mel_the_pitch_is_that_of_the_last_columns():
    torch.manual_seed(0)
    network = MelSourceFilter(32, hop=160, width=16, depth=1, quefrencies=8).eval()
    f0 = torch.tensor([250.0, 1.0]).expand(1, 200, 2)
    with torch.no_grad():
        wave = network(torch.cat([torch.full((1, 200, 32), -3.0), f0], dim=-1))[0, 0].numpy()
    assert wave.shape == (200 * 160,)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    peaks = np.fft.rfftfreq(len(wave), 1 / RATE)[np.argsort(spectrum)[-8:]]
    assert np.abs(peaks / 250 - np.round(peaks / 250)).max() < 0.02
