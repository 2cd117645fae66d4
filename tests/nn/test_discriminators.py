import pytest
import torch

from vcpipe.nn.discriminators import hifigan_discriminators, small_discriminators


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    return hifigan_discriminators()


def weights_of(layer):
    return tuple(layer.weight.shape)


def test_published_set_has_the_published_layers(published):
    period = published["mpd"].discriminators[2]
    assert [d.period for d in published["mpd"].discriminators] == [2, 3, 5, 7, 11]
    assert [weights_of(c) for c in period.convs] == [
        (32, 1, 5, 1),
        (128, 32, 5, 1),
        (512, 128, 5, 1),
        (1024, 512, 5, 1),
        (1024, 1024, 5, 1),
    ]
    assert [c.stride for c in period.convs] == [(3, 1)] * 4 + [(1, 1)]
    assert weights_of(period.conv_post) == (1, 1024, 3, 1)
    scale = published["msd"].discriminators[1]
    assert [weights_of(c) for c in scale.convs] == [
        (128, 1, 15),
        (128, 32, 41),
        (256, 8, 41),
        (512, 16, 41),
        (1024, 32, 41),
        (1024, 64, 41),
        (1024, 1024, 5),
    ]
    assert [c.stride[0] for c in scale.convs] == [1, 2, 2, 4, 4, 1, 1]


def test_only_the_first_scale_has_spectral_norm(published):
    keys = [[k for k in d.state_dict() if k.endswith("._u")] for d in published["msd"].discriminators]
    assert [len(k) for k in keys] == [8, 0, 0]


@pytest.mark.parametrize("samples", [7040, 7039, 2003])
def test_published_set_judges_any_length(published, samples):
    with torch.no_grad():
        scores, features = published(0.1 * torch.randn(2, 1, samples))
    assert len(scores) == len(features) == 8
    assert [len(f) for f in features] == [6] * 5 + [8] * 3
    for score, layers in zip(scores, features, strict=True):
        assert torch.equal(score, layers[-1].flatten(1))
        assert score.shape[0] == 2


def test_a_period_sees_only_its_own_phase(published):
    """A change of one sample changes the scores of one column of the folded wave only."""
    period = published["mpd"].discriminators[1]
    wave = torch.zeros(1, 1, 300)
    other = wave.clone()
    other[0, 0, 151] = 1.0
    with torch.no_grad():
        difference = (period(wave)[-1] - period(other)[-1]).abs().amax(dim=(0, 1, 2))
    assert [bool(d > 0) for d in difference] == [False, True, False]


def test_lower_scales_see_the_wave_halved(published):
    lengths = [f[0].shape[-1] for f in published["msd"](torch.randn(1, 1, 1000))[1]]
    assert lengths == [1000, 501, 251]


def test_small_set_is_small_and_tells_waves_apart():
    torch.manual_seed(0)
    small = small_discriminators()
    assert sum(p.numel() for p in small.parameters()) < 1_000_000
    optimizer = torch.optim.Adam(small.parameters(), 1e-3)
    tone = torch.sin(torch.arange(4800) * 0.3).expand(2, 1, -1)
    for _ in range(15):
        real, _ = small(tone)
        fake, _ = small(0.3 * torch.randn(2, 1, 4800))
        loss = sum((1 - r).square().mean() + f.square().mean() for r, f in zip(real, fake, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(r.mean() > f.mean() for r, f in zip(real, fake, strict=True))
