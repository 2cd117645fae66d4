import math

import pytest
import torch

from vcpipe.nn.mel import LogMel
from vcpipe.vocoders.config import MelScale
from vcpipe.vocoders.losses import MelLoss, StftLoss, adversarial_loss, discriminator_loss, feature_loss

SCALES = [MelScale(n_fft=1024, hop=320, mels=80), MelScale(n_fft=512, hop=128, mels=40)]


@pytest.mark.parametrize("loss", [MelLoss(16000, SCALES), StftLoss()])
def test_spectral_losses_are_zero_for_equal_waves_only_and_pull_on_the_prediction_only(loss):
    torch.manual_seed(0)
    wave = (0.1 * torch.randn(2, 7040)).requires_grad_()
    wave_hat = (0.1 * torch.randn(2, 7040)).requires_grad_()
    assert loss(wave, wave) < 1e-6
    value = loss(wave_hat, wave)
    value.backward()
    assert value > 0.01
    assert wave.grad is None
    assert wave_hat.grad.abs().sum() > 0


def test_mel_loss_is_the_mean_difference_of_logs():
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(1, 7040)
    assert MelLoss(16000, SCALES)(wave * math.e, wave) == pytest.approx(1.0, abs=1e-4)
    one = LogMel(16000, 1024, 1024, 320, 80, 0.0, 8000.0)
    other = 0.2 * torch.randn(1, 7040)
    expected = (one(other) - one(wave)).abs().mean()
    torch.testing.assert_close(MelLoss(16000, SCALES[:1])(other, wave), expected)


def test_losses_of_silence_are_finite():
    silence = torch.zeros(1, 7040, requires_grad=True)
    value = MelLoss(16000, SCALES)(silence, torch.zeros(1, 7040)) + StftLoss()(silence, torch.zeros(1, 7040))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(silence.grad).all()


def test_least_squares_sum_over_sub_discriminators():
    real = [torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 2.0, 0.0]])]
    fake = [torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 0.0, 0.0]])]
    assert discriminator_loss(real, fake) == pytest.approx(0 + 0 + 1 + 3)
    assert adversarial_loss(fake) == pytest.approx(1 + (4 + 1 + 1) / 3)


def test_feature_loss_sums_layers_and_leaves_the_recordings_alone():
    real = [[torch.zeros(2, 3, requires_grad=True), torch.ones(2, 1)], [torch.zeros(1)]]
    fake = [[torch.full((2, 3), 0.5, requires_grad=True), torch.zeros(2, 1)], [torch.full((1,), -2.0)]]
    value = feature_loss(real, fake)
    value.backward()
    assert value.item() == pytest.approx(0.5 + 1 + 2)
    assert real[0][0].grad is None
