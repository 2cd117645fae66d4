from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.exchange import shards
from vcpipe.errors import InputError
from vcpipe.exchange import sv2tts
from vcpipe.grid import Grid

ENCODER = {"kind": "mel", "n_fft": 400, "win": 400, "fmin": 0.0, "fmax": 8000.0, "power": 2, "log": "none"}
ENCODER |= {"centre": "start", "pad": "zeros"}
SYNTHESIZER = {"kind": "mel", "n_fft": 800, "win": 800, "fmin": 55.0, "fmax": 7600.0, "centre": "start", "log": "db"}
SYNTHESIZER |= {"pre_emphasis": 0.97, "ref_db": 20.0, "symmetric": 4.0}


@pytest.fixture
def corpus(tmp_path: Path):
    us = shards.utterances(1.45)  # the first two are shorter than 1.6 s
    who = shards.of(us)
    rng = np.random.default_rng(0)
    shards.column(tmp_path / "encoder_mel", shards.frames(us, Grid(16000, 160), 40), who, Grid(16000, 160), ENCODER)
    shards.column(tmp_path / "mel", shards.frames(us, Grid(16000, 200), 80), who, Grid(16000, 200), SYNTHESIZER)
    shards.column(tmp_path / "wav", shards.frames(us, Grid(16000, 1), 1), who, Grid(16000, 1))
    vectors = {u.utt_id: rng.uniform(0, 1, (1, 256)).astype("f4") for u in us}
    shards.column(tmp_path / "embed", vectors, who, Grid(16000, 160), {"kind": "ge2e"}, "utterance")
    names = ["encoder_mel", "wav", "mel", "embed"]
    return us, shards.manifest(tmp_path, us), [f"{name}={tmp_path / name}" for name in names]


def test_the_encoders_folder(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    sv2tts.export(manifest, given[:1], tmp_path / "out")
    root, mels = tmp_path / "out" / "SV2TTS" / "encoder", shards.read(tmp_path / "encoder_mel")
    seen = 0
    for speaker in sorted(root.iterdir()):
        lines = (speaker / "_sources.txt").read_text(encoding="utf-8").splitlines()
        sources = dict(line.split(",") for line in lines)  # two parts each, as the reader takes them
        assert sources.keys() == {path.name for path in speaker.glob("*.npy")} != set()
        for name in sources:
            mel = np.load(speaker / name, allow_pickle=False)
            assert mel.dtype == np.float32 and len(mel) >= 160
            assert np.array_equal(mel, mels[f"{speaker.name}/{name.removesuffix('.npy')}"])
            seen += 1
    assert seen == sum(u.n_samples >= 25600 for u in us) < len(us)
    assert not (tmp_path / "out" / "SV2TTS" / "synthesizer").exists()


def test_the_synthesizers_folder(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    sv2tts.export(manifest, given[1:], tmp_path / "out")
    root = tmp_path / "out" / "SV2TTS" / "synthesizer"
    lines = (root / "train.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == sum(u.n_samples >= 25600 for u in us) < len(us)
    for line in lines:
        audio, mel, embed, samples, frames, text = line.split("|")
        wave = np.load(root / "audio" / audio, allow_pickle=False)
        bands = np.load(root / "mels" / mel, allow_pickle=False)
        vector = np.load(root / "embeds" / embed, allow_pickle=False)
        assert (wave.dtype, bands.dtype, vector.dtype) == (np.float32,) * 3
        assert wave.shape == (int(samples),) and bands.shape == (int(frames), 80) and vector.shape == (256,)
        assert len(wave) >= 200 * len(bands), "the vocoder cuts the sound to the frames"
        assert text == "Hello, world."
        assert audio.startswith("audio-") and mel == audio.replace("audio-", "mel-", 1)


def test_a_text_cannot_break_its_line(corpus, tmp_path: Path) -> None:
    us, _, given = corpus
    lines = shards.manifest(tmp_path, [replace(u, text="two\nlines") for u in us])
    sv2tts.export(lines, given[1:], tmp_path / "out")
    text = (tmp_path / "out" / "SV2TTS" / "synthesizer" / "train.txt").read_text()
    assert all(line.endswith("|two lines") for line in text.splitlines())
    for bad in ("a|b", "", " \n"):
        with pytest.raises(InputError, match="expected a text without"):
            sv2tts.export(shards.manifest(tmp_path, [replace(us[-1], text=bad)]), given[1:], tmp_path / "out2")


def test_half_a_synthesizer_is_refused(corpus, tmp_path: Path) -> None:
    _, manifest, given = corpus
    with pytest.raises(InputError, match=r"add --column mel=FOLDER_OF_SHARDS, --column embed=FOLDER_OF_SHARDS"):
        sv2tts.export(manifest, given[:2], tmp_path / "out")


def test_an_encoder_without_a_long_utterance_is_refused(corpus, tmp_path: Path) -> None:
    us, _, given = corpus
    with pytest.raises(InputError, match="all 1 utterances are shorter than 160 frames"):
        sv2tts.export(shards.manifest(tmp_path, us[:1]), given[:1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_mel_of_the_same_shape_is_refused(corpus, tmp_path: Path) -> None:
    us, manifest, _ = corpus
    rows = shards.frames(us, Grid(16000, 160), 40)
    shards.column(tmp_path / "log", rows, shards.of(us), Grid(16000, 160), {**ENCODER, "log": "ln"})
    with pytest.raises(InputError, match="log: ln.*preset: sv2tts_encoder"):
        sv2tts.export(manifest, [f"encoder_mel={tmp_path / 'log'}"], tmp_path / "out")
