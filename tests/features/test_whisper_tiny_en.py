"""The feature `whisper_tiny_en`: its frames, its settings, and where a frame lies in time."""

import subprocess
import sys

import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.features.whisper_tiny_en import Settings, load
from vcpipe.grid import Grid
from vcpipe.settings import check

CPU = torch.device("cpu")
NOISE = torch.randn(48000, generator=torch.Generator().manual_seed(0)) / 30


@pytest.fixture(scope="module")
def extractor():
    return load(Settings(), CPU)


def test_grid_and_dim_are_known_without_torch():
    code = (
        "import sys; from vcpipe.features.whisper_tiny_en import Settings; s = Settings(); "
        "print(s.grid, s.dim, s.layer, s.positions, 'torch' in sys.modules or 'numpy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["16000/320", "384", "2", "True", "False"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layer": 5}, r"features\.x\.layer.* less than or equal to 4; found 5"),
        ({"layers": 2}, r"features\.x\.layers' is unknown; did you mean 'layer'"),
        ({"window_s": 31}, r"features\.x\.window_s.* less than or equal to 30; found 31"),
        ({"kind": "whisper"}, r"features\.x\.kind"),
    ],
)
def test_a_wrong_setting_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        check(Settings, {"kind": "whisper_tiny_en", **values}, "features.x")


def test_as_many_frames_as_the_grid_says_for_every_length(extractor):
    lengths = list(range(320, 1301))
    with torch.inference_mode():
        for n in lengths:
            frames = extractor.encode(NOISE[None, :n], torch.tensor([n]))
            assert frames.shape == (1, Grid(16000, 320).frames(n), 384), n
            assert bool(torch.isfinite(frames).all()), n


def test_a_batch_is_its_recordings(extractor):
    waves = [NOISE[:n] for n in (48000, 320, 479, 480, 481, 799, 16123, 31999)]
    for wave, frames in zip(waves, extractor.batch(waves), strict=True):
        assert frames.shape == (len(wave) // 320, 384)
        assert float((frames - extractor(wave)).abs().max()) < 1e-4


def test_two_calls_give_the_same_numbers(extractor):
    assert torch.equal(extractor(NOISE), extractor(NOISE))


def test_silence_is_finite(extractor):
    assert bool(torch.isfinite(extractor(torch.zeros(16000))).all())


@pytest.mark.parametrize("layer", range(5))
def test_frames_fit_the_dtype_that_they_are_stored_in(layer):
    frames = load(Settings(layer=layer), CPU)(NOISE)
    assert bool(torch.isfinite(frames.half()).all())


@pytest.mark.parametrize("layer", [0, 2])
def test_a_frame_is_centred_on_its_samples(layer):
    extractor = load(Settings(layer=layer, positions=False), CPU)
    before = NOISE / 30
    offsets = []
    for frame in (12, 40, 77, 101):
        after = before.clone()
        after[320 * frame : 320 * (frame + 1)] *= 10
        change = (extractor(after) - extractor(before)).square().sum(1)
        near = torch.arange(frame - 4, frame + 5)
        offsets.append(float((near * change[near]).sum() / change[near].sum()) - frame)
    print(f"layer {layer}: a burst of one frame is seen {sum(offsets) / 4 * 320:+.0f} samples late, {offsets}")
    assert abs(sum(offsets) / 4) < 0.15


def test_recordings_longer_than_the_window_have_every_frame(extractor):
    long = NOISE.repeat(11)[: 31 * 16000 + 123]
    frames = extractor(long)
    assert frames.shape == (1550, 384)
    whole = extractor(long[: 27 * 16000])
    assert torch.equal(whole, extractor.batch([NOISE, long[: 27 * 16000]])[1])
    alike = torch.nn.functional.cosine_similarity(frames[: 25 * 50], whole[: 25 * 50])
    assert float(alike.min()) > 0.95


# The numbers of REVISION 1. When they change on purpose, raise REVISION and write the new ones here.
GOLDEN = {
    0: [-0.2971, -0.335, -0.6152, 0.7123],
    2: [0.903, 0.8037, 0.522, 0.6318],
    4: [1.7007, 1.2064, 0.4347, 0.9415],
}


@pytest.mark.parametrize("layer", GOLDEN)
def test_numbers_are_those_of_the_revision(layer):
    seconds = torch.arange(16000) / 16000
    wave = 0.1 * torch.sin(2 * torch.pi * (200 + 400 * seconds) * seconds)
    frames = load(Settings(layer=layer), CPU)(wave)
    found = [*frames[25, :3].tolist(), float(frames.abs().mean())]
    assert Settings.REVISION == 1
    assert found == pytest.approx(GOLDEN[layer], abs=2e-3)
