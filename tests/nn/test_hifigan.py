import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from vcpipe.nn.hifigan import HifiGan, fused_weights

TINY = {
    "rates": (5, 4),
    "kernels": (11, 8),
    "channels": 8,
    "pre_dim": None,
    "resblock_kernels": (3,),
    "dilations": ((1, 3),),
}


def count(model):
    return sum(p.numel() for p in model.parameters())


def golden(name):
    folder = os.environ.get("VCPIPE_TEST_DATA")
    if not folder:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    return Path(folder) / "golden" / name


def test_gives_the_published_implementations_numbers():
    config = json.loads(golden("hifigan_tiny_random.json").read_text())
    numbers = np.load(golden("hifigan_tiny_random.npz"))
    shape = {
        "rates": config["upsample_rates"],
        "kernels": config["upsample_kernel_sizes"],
        "channels": config["upsample_initial_channel"],
        "pre_dim": config["hifi_dim"],
    }
    model = HifiGan(config["hubert_dim"], **shape)
    plain = HifiGan(config["hubert_dim"], **shape, normed=False)
    weights = torch.load(golden("hifigan_tiny_random.pt"), weights_only=True)["generator"]
    model.load_state_dict(weights)
    plain.load_state_dict(fused_weights(model))
    for m in (model, plain):
        with torch.no_grad():
            wave = m(torch.from_numpy(numbers["features"]))
        assert wave.shape == (2, 1, 9600)
        np.testing.assert_allclose(wave.numpy(), numbers["wave"], atol=1e-5, rtol=0)


def test_has_the_published_number_of_parameters():
    model = HifiGan(1024)
    assert count(model) == 16_533_506
    assert sum(w.numel() for w in fused_weights(model).values()) == 16_523_393
    assert count(HifiGan(1024, normed=False)) == 16_523_393
    soft = HifiGan(128, rates=(10, 4, 2, 2), kernels=(20, 8, 4, 4), pre_dim=None, normed=False)
    assert count(soft) == 14_360_193


@pytest.mark.parametrize("resblock", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_makes_exactly_hop_samples_of_a_frame(resblock, frames):
    model = HifiGan(6, **TINY, resblock=resblock)
    assert model(torch.randn(3, frames, 6)).shape == (3, 1, 20 * frames)


def test_fusing_keeps_the_numbers_and_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = HifiGan(6, **TINY)
    x = torch.randn(1, 9, 6)
    before = model(x)
    plain = HifiGan(6, **TINY, normed=False)
    plain.load_state_dict(fused_weights(model))
    torch.testing.assert_close(plain(x), before)
    torch.testing.assert_close(model(x), before, atol=0, rtol=0)


def test_a_frame_is_heard_where_it_stands():
    torch.manual_seed(0)
    model = HifiGan(6, **TINY)
    x = torch.zeros(1, 31, 6)
    y = x.clone()
    y[:, 15] = 3.0
    with torch.no_grad():
        changed = (model(y) - model(x)).flatten().nonzero().flatten()
    assert int(changed[0]) + int(changed[-1]) + 1 == 2 * (15 * 20 + 10)
