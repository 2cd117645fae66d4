import pytest
import torch
import torch.nn.functional as F

from vcpipe.nn.vocos import SpectrumHead, Vocos


def forward_stft(wave, n_fft, hop):
    """`(B, hop * T)` to `(B, T, bins)`: frame i centred on the middle of its cell."""
    side = (n_fft - hop) // 2
    frames = F.pad(wave, (side, side)).unfold(-1, n_fft, hop)
    return torch.fft.rfft(frames * torch.hann_window(n_fft), dim=-1)


def test_small_preset_has_about_the_promised_size():
    assert sum(p.numel() for p in Vocos(1024).parameters()) == 2_696_898


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
@pytest.mark.parametrize(("hop", "overlap"), [(320, 4), (160, 4), (256, 2), (320, 6)])
def test_makes_exactly_hop_samples_of_a_frame(frames, hop, overlap):
    model = Vocos(5, hop=hop, width=8, depth=1, overlap=overlap)
    wave = model(torch.randn(2, frames, 5))
    assert wave.shape == (2, 1, hop * frames)
    assert torch.isfinite(wave).all()


@pytest.mark.parametrize(("hop", "overlap"), [(320, 4), (64, 2), (80, 6)])
def test_the_inverse_undoes_a_centred_stft(hop, overlap):
    torch.manual_seed(0)
    head = SpectrumHead(4, hop, overlap)
    wave = torch.randn(2, hop * 20)
    back = head.invert(forward_stft(wave, head.n_fft, hop))
    inside = slice(hop * overlap, -hop * overlap)
    torch.testing.assert_close(back[:, inside], wave[:, inside], atol=1e-4, rtol=0)


def test_overlap_add_is_the_sum_of_shifted_frames():
    head = SpectrumHead(4, 4, 2)
    frames = torch.randn(1, 3, 8)
    expected = torch.zeros(1, 16)
    for i in range(3):
        expected[:, 4 * i : 4 * i + 8] += frames[:, i]
    torch.testing.assert_close(head.overlap_add(frames), expected)


def test_gradients_are_finite_however_loud_the_prediction():
    head = SpectrumHead(4, 32, 4)
    x = (1e5 * torch.randn(1, 6, 4)).requires_grad_()
    wave = head(x)
    wave.square().sum().backward()
    assert torch.isfinite(wave).all()
    assert torch.isfinite(x.grad).all()


def test_a_batch_gives_the_numbers_of_single_calls():
    torch.manual_seed(0)
    model = Vocos(5, hop=32, width=16, depth=2)
    x = torch.randn(3, 12, 5)
    torch.testing.assert_close(model(x), torch.cat([model(row[None]) for row in x]), atol=1e-6, rtol=1e-4)
