"""Conversion with tiny networks: lengths, switches, chunks, and the published quickstart."""

import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import RATE, tone
from vcpipe.errors import InputError
from vcpipe.features import tiny_random
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.converter import Converter
from vcpipe.systems.knnvc.frames import Frames
from vcpipe.systems.knnvc.hub import KNeighborsVC
from vcpipe.systems.knnvc.match import match
from vcpipe.systems.knnvc.methods import units as units_of
from vcpipe.vocoders.config import generator_settings
from vcpipe.vocoders.synthesis import vocode
from vcpipe.vocoders.task import build_generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def converter() -> Converter:
    torch.manual_seed(0)
    vocoder = build_generator(generator_settings({"preset": "vocos_small", "width": 16, "depth": 2}, "x"), 64, 320)
    extractor = tiny_random.load(tiny_random.Settings(), CPU)
    return Converter(extractor, extractor, vocoder.eval(), CPU)


def wave(seconds: float, hz: float = 150.0) -> torch.Tensor:
    return torch.from_numpy(tone(seconds, hz))


def test_a_conversion_is_as_long_as_its_source_and_as_loud_as_asked(converter: Converter) -> None:
    import pyloudnorm

    source = wave(1.51)
    out = converter(source, [wave(2.0, 220), wave(1.0, 200)])
    assert len(out) == len(source) // 320 * 320 and out.dtype == np.float32
    measured = pyloudnorm.Meter(RATE).integrated_loudness(out.astype(float))
    assert abs(measured + 16) < 0.2 or np.abs(out).max() > 0.85


def test_alpha_mixes_from_all_target_to_all_source(converter: Converter) -> None:
    source, pool = converter.frames(wave(1.0)), converter.pool([wave(2.0, 220)], trim=False)
    matched = match(source.match, pool.match)
    for alpha, units in ((0.0, matched), (1.0, source.synthesis), (0.3, 0.7 * matched + 0.3 * source.synthesis)):
        expected = vocode(converter.vocoder, units, 320).numpy()
        settings = ConvertSettings(alpha=alpha, loudness_lufs=None)
        np.testing.assert_allclose(converter.convert(source, pool, settings), expected, atol=1e-5)


@pytest.mark.parametrize(
    "convert",
    [
        {"weighting": "softmax", "smoothness": 1.0},
        {"method": "linear"},
        {"method": "mean", "alpha": 0.3},
        {"method": "none"},
    ],
    ids=["knn", "linear", "mean", "none"],
)
def test_the_settings_of_a_call_reach_the_units(converter: Converter, convert: dict[str, Any]) -> None:
    settings = ConvertSettings(**convert, loudness_lufs=None, trim_references=False)
    source, pool = converter.frames(wave(1.0)), converter.pool([wave(2.0, 220)], trim=False)
    made = torch.lerp(units_of(settings, source, None, pool), source.synthesis.float(), settings.alpha)
    expected = vocode(converter.vocoder, made, 320).numpy()
    plain = converter.convert(source, pool, ConvertSettings(loudness_lufs=None))
    out = converter(wave(1.0), [wave(2.0, 220)], settings)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert not np.allclose(out, plain, atol=1e-4)


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        ({"method": "world"}, r"settings\.method: expected one of knn, linear, mean, none, found world"),
        ({"method": "linear_factorised"}, r"settings\.method: .*found linear_factorised"),
        ({"method": "none", "alpha": 0.5}, r"'settings\.alpha': expected 0 with method none"),
        ({"transpose": 2.0}, r"transpose 2: the vocoder of this run hears no F0"),
    ],
)
def test_settings_that_a_call_would_ignore_are_refused(
    converter: Converter, convert: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        converter(wave(1.0), [wave(1.0, 220)], ConvertSettings(**convert))


def test_a_target_duration_is_met(converter: Converter) -> None:
    source, pool = converter.frames(wave(1.0)), converter.pool([wave(2.0, 220)], trim=False)
    assert len(converter.convert(source, pool, target_duration_s=1.7)) == round(1.7 * 50) * 320


def test_long_inputs_are_vocoded_in_chunks_without_a_seam(converter: Converter) -> None:
    units = torch.randn(500, 64)
    whole = vocode(converter.vocoder, units, 320, window=500)
    chunked = vocode(converter.vocoder, units, 320, window=120)
    error = 20 * torch.log10(whole.norm() / (whole - chunked).norm().clamp(min=1e-12))
    assert error > 100, f"seams are {error:.1f} dB below the signal"


def test_hifigan_chunks_have_no_seam_either() -> None:
    torch.manual_seed(0)
    model = build_generator(generator_settings({"preset": "hifigan_small", "channels": 16, "pre_dim": 8}, "x"), 64, 320)
    units = torch.randn(300, 64)
    whole, chunked = (vocode(model.eval(), units, 320, window=w) for w in (300, 100))
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=0)


def test_bad_recordings_are_refused_in_words(converter: Converter, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no reference recording"):
        converter.pool([])
    with pytest.raises(InputError, match=r"expected a mono wave.*\(2, 16000\)"):
        converter.frames(torch.zeros(2, 16000))
    with pytest.raises(InputError, match="NaN or infinite"):
        converter.frames(torch.full((16000,), torch.nan))
    with pytest.raises(InputError, match="at least one frame of 320"):
        converter.frames(torch.zeros(100))
    with pytest.raises(InputError, match=r"none\.wav: unreadable"):
        converter.frames(tmp_path / "none.wav")


def test_silence_and_a_silent_reference_give_finite_samples(converter: Converter) -> None:
    out = converter(torch.zeros(16000), [wave(1.0)])
    assert np.isfinite(out).all()
    assert np.isfinite(converter(wave(1.0), [torch.zeros(16000)])).all()


def test_a_pool_holds_one_recording_in_full_precision_at_a_time(converter: Converter) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []

    class Watched:
        grid = converter.grid

        def __call__(self, wave: torch.Tensor) -> torch.Tensor:
            assert [r for r in alive if r() is not None] == []
            found = torch.ones(len(wave) // 320, 4)
            alive.append(weakref.ref(found))
            return found

    watched = Watched()
    pool = Converter(watched, watched, converter.vocoder, CPU).pool([wave(1.0)] * 3, trim=False)  # type: ignore[arg-type]
    assert len(alive) == 3 and pool.match.dtype == torch.float16 and pool.match.shape == (150, 4)
    assert pool.synthesis is pool.match


def test_the_published_quickstart_gives_the_same_as_the_converter(converter: Converter, tmp_path: Path) -> None:
    for name, hz in (("src", 150), ("ref", 220)):
        soundfile.write(tmp_path / f"{name}.wav", tone(1.5, hz), RATE)
    knn_vc = KNeighborsVC(converter)
    query_seq = knn_vc.get_features(str(tmp_path / "src.wav"))
    matching_set = knn_vc.get_matching_set([str(tmp_path / "ref.wav")])
    out = knn_vc.match(query_seq, matching_set, topk=4)
    expected = converter(str(tmp_path / "src.wav"), [str(tmp_path / "ref.wav")])
    np.testing.assert_array_equal(out.numpy(), expected)
    assert query_seq.shape == (75, 64)


def test_separate_synthesis_frames_are_what_is_vocoded(converter: Converter) -> None:
    source = converter.frames(wave(1.0))
    pool = Frames(converter.pool([wave(2.0)], trim=False).match, torch.randn(100, 64))
    expected = vocode(converter.vocoder, match(source.match, pool.match, pool.synthesis), 320).numpy()
    out = converter.convert(source, pool, ConvertSettings(loudness_lufs=None))
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reference", "nowhere"], "--reference nowhere: no such file or folder"),
        (["--reference", "{folder}"], "no recording in this folder (wav, flac"),
        (["--reference", "{wav}"], "not a run folder"),
    ],
)
def test_the_command_line_answers_with_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    (tmp_path / "empty").mkdir()
    filled = [a.format(folder=tmp_path / "empty", wav=tmp_path / "a.wav") for a in arguments]
    command = [sys.executable, "-m", "vcpipe", "convert", "--system", "knnvc", "--run", str(tmp_path / "none")]
    command += ["--source", str(tmp_path / "a.wav"), "--out", str(tmp_path / "out"), *filled]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()
