import pytest
import torch
from torch import nn

from vcpipe.nn.longconv import LongConv


@pytest.mark.parametrize("frames", [1, 63, 64, 128, 129, 130, 700])
@pytest.mark.parametrize(("kernel", "groups", "width"), [(128, 4, 16), (31, 2, 8), (128, 16, 64)])
def test_it_is_the_convolution(frames: int, kernel: int, groups: int, width: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
    x = torch.randn(2, frames, width)
    module = LongConv(conv)
    with torch.no_grad():
        expected = conv(x.transpose(1, 2))[..., :frames].transpose(1, 2)
        torch.testing.assert_close(module(x), expected, atol=2e-6, rtol=0)
        torch.testing.assert_close(module(x[:1]), expected[:1], atol=2e-6, rtol=0)


def test_gradients_go_through_the_convolution_itself() -> None:
    conv = nn.Conv1d(8, 8, 32, padding=16, groups=2)
    x = torch.randn(1, 50, 8, requires_grad=True)
    LongConv(conv)(x).square().sum().backward()
    assert x.grad is not None and conv.weight.grad is not None
