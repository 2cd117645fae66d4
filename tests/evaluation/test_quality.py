"""Predicted opinion scores against the packages they come from."""

import importlib.metadata
import json
import sys
import types

import numpy as np
import pytest
import soundfile

from tests.evaluation.speech import sentence
from vcpipe.errors import InputError
from vcpipe.evaluation import quality
from vcpipe.evaluation.quality import load_quality, quality_identity

KEYS = ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak", "dnsmos_p808"]


@pytest.fixture(scope="module")
def dnsmos():
    return load_quality("dnsmos")


@pytest.fixture(scope="module")
def published():
    """The package's own scores; its sessions would spin on every core, so they are exchanged for ours."""
    module = pytest.importorskip("speechmos.dnsmos")
    files = [quality.wheel_file("speechmos", name, sha256) for name, sha256 in quality.JUDGES["dnsmos"].files.items()]
    judge = module.DNSMOS(*map(str, files))
    judge.onnx_sess, judge.p808_onnx_sess = map(quality._session, files)

    def run(wave):
        found = judge(wave, 16000, False)
        return {key: float(found[f"{key.removeprefix('dnsmos_')}_mos"]) for key in KEYS}

    return run


def test_one_window_has_the_numbers_of_the_package(dnsmos, published):
    wave = sentence(seconds=5)
    found = dnsmos(wave)
    assert list(found) == KEYS
    assert found == pytest.approx(published(wave), abs=1e-4)
    assert dnsmos(wave) == found
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("seconds", [3, 10.6], ids=["looped", "long"])
def test_all_windows_have_the_numbers_of_the_package(dnsmos, published, seconds):
    wave = np.resize(sentence(seconds=4), round(seconds * 16000))
    expected = published(wave)
    assert load_quality("dnsmos_all")(wave) == pytest.approx(expected, abs=1e-4)
    few = dnsmos(wave)
    print({key: few[key] - expected[key] for key in KEYS})
    assert few == pytest.approx(expected, abs=0.15)


def starts(seconds, windows):
    n = round(seconds * 16000)
    looped = n
    while looped < 9.01 * 16000:
        looped *= 2
    return [start / 16000 for start in quality._starts(n, looped, windows)]


@pytest.mark.parametrize(
    ("seconds", "every", "few"),
    [
        (5, [0], [0]),
        (9.01, [0], [0]),
        (10.9, [0], [0]),
        (3, [0, 1, 2], [0]),
        (4.4, [0, 1, 2, 3, 4, 5, 6, 7], [0]),
        (12, [0, 1, 2], [0, 2.99]),
        (20, list(range(11)), [0, 5.495, 10.99]),
    ],
)
def test_where_windows_begin(seconds, every, few):
    assert starts(seconds, "all") == every
    assert starts(seconds, "few") == pytest.approx(few)


def test_silence_and_short_recordings_have_finite_scores(dnsmos):
    for wave in (np.zeros(16000, np.float32), np.full(1, 0.1, np.float32)):
        assert np.isfinite(list(dnsmos(wave).values())).all()


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(0, np.float32), r"expected float32 samples \(N,\), N > 0, found float32 \(0,\)"),
        (np.zeros(160), "found float64"),
        (np.zeros((2, 160), np.float32), r"found float32 \(2, 160\)"),
        (np.full(160, 1.5, np.float32), r"expected samples in \[-1, 1\]"),
        (np.full(160, np.nan, np.float32), r"expected samples in \[-1, 1\]"),
    ],
    ids=["empty", "double", "channels", "loud", "nan"],
)
def test_what_is_no_recording_is_refused(dnsmos, wave, message):
    with pytest.raises(InputError, match=message):
        dnsmos(wave)


def test_the_identity_names_package_and_files():
    found = quality_identity("dnsmos")
    assert (found["package"], found["version"]) == ("speechmos", importlib.metadata.version("speechmos"))
    assert set(found["sha256"]) == {"dnsmos_models/sig_bak_ovr.onnx", "dnsmos_models/model_v8.onnx"}
    assert quality_identity("dnsmos_all") != found
    json.dumps(found)


def test_an_unknown_predictor_is_refused():
    for call in (load_quality, quality_identity):
        with pytest.raises(InputError, match="'utmos' is unknown; known: dnsmos, dnsmos_all, distillmos"):
            call("utmos")


def test_a_missing_package_is_named(monkeypatch):
    def missing(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for name in ("dnsmos", "distillmos"):
        package = quality.JUDGES[name].package
        for call in (load_quality, quality_identity):
            with pytest.raises(InputError, match=f"expected the package {package}, found none; type `pip install "):
                call(name)


def test_other_weights_are_refused(monkeypatch, tmp_path):
    package = tmp_path / "speechmos" / "dnsmos_models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "sig_bak_ovr.onnx").write_bytes(b"other")
    monkeypatch.delitem(sys.modules, "speechmos", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match="sig_bak_ovr.onnx: expected the file with SHA-256 269fbebdb513"):
        load_quality("dnsmos")


def test_distilled_scores_come_from_checked_weights(monkeypatch):
    """With a stand-in for the network: its package is an extra."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self, load_weights):
            assert not load_weights, "the package would read the file itself"
            super().__init__()
            self.gain = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return 1 + self.gain * x.abs().amax(dim=1, keepdim=True)

    module = types.ModuleType("distillmos")
    module.ConvTransformerSQAModel = Network
    monkeypatch.setitem(sys.modules, "distillmos", module)
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "0.9.1")
    monkeypatch.setattr(quality, "wheel_file", lambda package, file, sha256: f"{package}/{file}/{sha256[:4]}")
    read = []

    def checkpoint(path):
        read.append(path)
        return {"model": {"gain": torch.full((1,), 3.0)}}

    monkeypatch.setattr(quality, "read_pickle_checkpoint", checkpoint)
    assert load_quality("distillmos")(np.full(160, 0.5, np.float32)) == {"distillmos": pytest.approx(2.5)}
    assert read == ["distillmos/weights/distill_mos_v7.pt/b18b"]
    assert quality_identity("distillmos")["version"] == "0.9.1"


def test_noise_lowers_the_scores_of_recordings(dnsmos, real_data):
    file = sorted((real_data / "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[6]
    wave = soundfile.read(file, dtype="float32")[0][:80000]
    level, noise = np.sqrt(np.mean(wave**2)), np.random.default_rng(0).normal(0, 1, len(wave))
    noisy = [(wave + level * 10 ** (-snr / 20) * noise).clip(-1, 1).astype(np.float32) for snr in (20, 10, 0)]
    found = [dnsmos(w) for w in (wave, *noisy)]
    for key in KEYS:
        scores = [scored[key] for scored in found]
        print(key, np.round(scores, 2))
        assert scores[0] > scores[3]
        assert key == "dnsmos_sig" or scores[0] > scores[1] > scores[2]  # of a little noise the speech is not blamed
