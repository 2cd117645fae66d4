"""RMVPE and FCPE are extras: how their packages are asked, and what is said when they are not there."""

import hashlib
import sys
import types

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.f0 import fcpe, rmvpe


@pytest.fixture(autouse=True)
def _fresh():
    rmvpe._network.cache_clear()
    fcpe._network.cache_clear()
    yield
    rmvpe._network.cache_clear()
    fcpe._network.cache_clear()


@pytest.mark.parametrize(
    ("module", "package", "command"),
    [(rmvpe, "rmvpe_onnx", 'pip install "rmvpe-onnx'), (fcpe, "torchfcpe", "pip install torchfcpe")],
)
def test_a_missing_package_is_named_with_what_to_type(monkeypatch, module, package, command):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"expected the package {package}, found none; type `{command}"):
        module.track(np.zeros(1600, np.float32), 16000)


class FakeRMVPE:
    made: list = []  # noqa: RUF012

    def __init__(self, model_path=None, device=None):
        self.made.append((model_path, device))

    def predict(self, audio, sr):
        assert isinstance(audio, np.ndarray) and audio.ndim == 1 and audio.dtype == np.float32
        assert sr == 16000 and len(audio) >= 1024
        n = len(audio) // 160 + 1
        confidence = np.where(np.arange(n) % 2, 0.9, 0.01)
        return np.arange(n) * 0.01, np.full(n, 220.0), confidence, np.zeros((n, 360), np.float32)


@pytest.fixture
def rmvpe_package(monkeypatch, tmp_path):
    path = tmp_path / "rmvpe.onnx"
    FakeRMVPE.made = []
    fake = types.SimpleNamespace(RMVPE=FakeRMVPE, default_model_path=lambda: path)
    monkeypatch.setitem(sys.modules, "rmvpe_onnx", fake)
    return path


def test_rmvpe_is_asked_as_its_package_says(monkeypatch, rmvpe_package):
    rmvpe_package.write_bytes(b"weights")
    monkeypatch.setattr(rmvpe, "SHA256", hashlib.sha256(b"weights").hexdigest())
    found = rmvpe.track(np.zeros(24000, np.float32), 24000, threshold=0.5)  # one second, resampled
    assert FakeRMVPE.made == [(rmvpe_package, "cpu")] or FakeRMVPE.made == [(str(rmvpe_package), "cpu")]
    assert len(found.times_s) == 101
    assert found.times_s[3] == pytest.approx(0.03)
    assert found.voiced.tolist()[:4] == [False, True, False, True]
    assert found.f0_hz.tolist()[:2] == [0.0, 220.0]


def test_rmvpe_takes_short_recordings(monkeypatch, rmvpe_package):
    rmvpe_package.write_bytes(b"weights")
    monkeypatch.setattr(rmvpe, "SHA256", hashlib.sha256(b"weights").hexdigest())
    assert rmvpe.track(np.zeros(10, np.float32), 16000).voiced.any()


def test_rmvpe_fetches_no_weights_by_itself(rmvpe_package):
    with pytest.raises(
        InputError, match=r"expected its weights at .*rmvpe.onnx, found none; type `rmvpe-onnx download`"
    ):
        rmvpe.track(np.zeros(1600, np.float32), 16000)
    assert FakeRMVPE.made == []


def test_rmvpe_refuses_other_weights(rmvpe_package):
    rmvpe_package.write_bytes(b"other")
    with pytest.raises(InputError, match="expected sha256 5370e71a"):
        rmvpe.track(np.zeros(1600, np.float32), 16000)
    assert FakeRMVPE.made == []


def test_fcpe_is_asked_as_its_package_says(monkeypatch):
    import torch

    asked = {}

    class Model:
        def infer(self, wav, sr, decoder_mode, threshold, f0_min, interp_uv):
            assert wav.dtype == torch.float32 and wav.shape == (1, 16000, 1)
            asked.update(sr=sr, decoder_mode=decoder_mode, threshold=threshold, f0_min=f0_min, interp_uv=interp_uv)
            f0 = torch.full((1, 101, 1), 220.0)
            f0[:, ::2] = 0
            f0[:, 5] = 1500.0
            return f0

    def spawn(device=None):
        asked["device"] = device
        return Model()

    monkeypatch.setitem(sys.modules, "torchfcpe", types.SimpleNamespace(spawn_bundled_infer_model=spawn))
    found = fcpe.track(np.zeros(24000, np.float32), 24000, threshold=0.01, floor_hz=60.0)
    assert asked == {
        "device": "cpu",
        "sr": 16000,
        "decoder_mode": "local_argmax",
        "threshold": 0.01,
        "f0_min": 60.0,
        "interp_uv": False,
    }
    assert found.times_s[3] == pytest.approx(0.03)
    assert found.f0_hz[:6].tolist() == [0, 220, 0, 220, 0, 0]  # above the ceiling is unvoiced
    assert found.voiced[:6].tolist() == [False, True, False, True, False, False]
