"""Any recording in, a learned voice out; and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.systems.softvc import made_up
from tests.systems.softvc.literal import buzz
from vcpipe import audio
from vcpipe.errors import InputError
from vcpipe.features import f0, mel
from vcpipe.systems.softvc.cli import app
from vcpipe.systems.softvc.config import ConvertSettings
from vcpipe.systems.softvc.converter import Converter, Ear, MelVocoder
from vcpipe.training import runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("softvc")
    place = made_up.write_corpus(folder / "corpus")
    for condition in ("none", "continuous"):
        made_up.train(folder / condition, place, condition)
    made_up.vocoder(folder)
    made_up.vocoder(folder / "plain", "vocos_small")
    return folder


@pytest.fixture(scope="module")
def converter(folder: Path) -> Converter:
    return Converter.load(folder / "continuous/run", folder / "vocoder")


@pytest.mark.parametrize("run", ["none", "continuous"])
@pytest.mark.parametrize("vocoder", ["vocoder", "plain/vocoder"])
def test_a_recording_comes_out_as_long_as_its_frames(folder: Path, run: str, vocoder: str) -> None:
    wave = torch.from_numpy(buzz(0.7, 150.0))
    made = Converter.load(folder / run / "run", folder / vocoder)(wave, "high")
    assert made.shape == (len(wave) // 320 * 320,)
    assert made.dtype == np.float32 and np.isfinite(made).all() and np.abs(made).max() > 0


def test_silence_and_a_voiceless_recording_are_converted(converter: Converter) -> None:
    for wave in (torch.zeros(16000), 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))):
        assert np.isfinite(converter(wave, "low")).all()


def test_the_contour_is_brought_to_the_voice_and_transposed(converter: Converter) -> None:
    source = converter.frames(torch.from_numpy(buzz(1.0, 150.0)))
    voiced = source.f0[:, 0] > 0

    def median_hz(**settings: Any) -> float:
        f0, _ = converter.contour(source, "high", ConvertSettings(**settings))
        return float(np.median(f0[voiced, 0]))

    target = np.exp(converter.voices["high"].median_log_f0)
    assert median_hz() == pytest.approx(target, rel=0.01)
    assert median_hz(transpose=12.0) == pytest.approx(2 * target, rel=0.01)
    assert median_hz(range="keep") == pytest.approx(150.0, rel=0.02)
    assert median_hz(range="octave") in (pytest.approx(150.0, rel=0.02), pytest.approx(300.0, rel=0.02))


def test_the_vocoder_hears_the_pitch_of_the_mel() -> None:
    fine, pitch = mel.Settings(preset="softvc"), f0.load(f0.Settings(method="praat", ceil_hz=600))
    frames = mel.load(fine, made_up.CPU)(torch.from_numpy(buzz(1.0, 180.0)))
    heard = Ear(fine, pitch)(frames)
    assert torch.equal(heard[:, :-2], frames)
    voiced = heard[:, -1] > 0
    assert 0.2 < voiced.float().mean() < 0.8
    assert heard[voiced, -2].median() == pytest.approx(180.0, rel=0.02)
    assert torch.equal(Ear(fine)(frames), frames)
    told = np.full((len(frames), 2), [250.0, 1.0], np.float32)
    assert Ear(fine, pitch)(frames, told)[:, -2:].unique(dim=0).tolist() == [[250.0, 1.0]]
    assert torch.equal(Ear(fine)(frames, told), frames)


def test_the_vocoder_is_told_the_contour_that_the_model_was_told(
    folder: Path, converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def speak(self: MelVocoder, mel: torch.Tensor, loudness: float | None, told: Any = None) -> np.ndarray:
        given.append(told)
        return np.zeros(3200, np.float32)

    monkeypatch.setattr(MelVocoder, "speak", speak)
    settings = ConvertSettings(transpose=4.0)
    source = converter.frames(torch.from_numpy(buzz(1.0, 150.0)))
    converter.convert(source, "high", settings)
    np.testing.assert_array_equal(given[0], converter.contour(source, "high", settings)[0])
    Converter.load(folder / "none/run", folder / "vocoder").convert(source, "high")
    assert given[1] is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"transpose": 3.0}, "transpose 3.0: the acoustic model of this run is told no contour"),
        ({"range": "keep"}, "range keep"),
    ],
)
def test_what_a_model_without_a_condition_would_ignore_is_refused(
    folder: Path, settings: dict[str, Any], words: str
) -> None:
    plain = Converter.load(folder / "none/run", folder / "vocoder")
    with pytest.raises(InputError, match=words):
        plain(torch.zeros(16000), "low", ConvertSettings(**settings))


def test_a_voice_that_was_not_learned_is_refused(converter: Converter) -> None:
    with pytest.raises(InputError, match=r"voice 'hihg': .* did you mean 'high'\?.*softvc.refine"):
        converter(torch.zeros(16000), "hihg")


def test_a_recording_of_less_than_a_frame_is_refused(converter: Converter) -> None:
    with pytest.raises(InputError, match="300 samples, expected at least one frame of 320"):
        converter(torch.zeros(300), "low")


def edited(folder: Path, out: Path, features: dict[str, Any]) -> Path:
    """The vocoder's run folder with other features in its slice."""
    out.mkdir()
    (out / "model.safetensors").symlink_to(folder / "vocoder/model.safetensors")
    info = runs.read_info(folder / "vocoder")
    info["slice"]["features"] = features
    (out / "config.json").write_text(json.dumps(info))
    return out


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("mel", "fmax", 7000.0, r"another mel than .*fmax 7000.0 for 8000.0"),
        ("f0", "ceil_hz", 500.0, r"another f0 than .*ceil_hz 500.0 for 600.0"),
    ],
)
def test_a_vocoder_of_another_mel_or_pitch_is_refused(
    folder: Path, tmp_path: Path, name: str, key: str, value: float, words: str
) -> None:
    features = runs.read_info(folder / "vocoder")["slice"]["features"]
    features[name][key] = value
    with pytest.raises(InputError, match=words):
        Converter.load(folder / "continuous/run", edited(folder, tmp_path / "vocoder", features))


def test_a_vocoder_that_does_not_say_what_it_reads_is_refused(folder: Path, tmp_path: Path) -> None:
    features = runs.read_info(folder / "vocoder")["slice"]["features"]
    with pytest.raises(InputError, match="found 18 columns and mel; make it again"):
        MelVocoder.load(edited(folder, tmp_path / "pitchless", {"mel": features["mel"]}))
    with pytest.raises(InputError, match="found 18 columns and no features; make it again"):
        MelVocoder.load(edited(folder, tmp_path / "other", {}))


def test_a_vocoder_hears_by_its_own_pitch_which_one_without_a_pitch_has_not(folder: Path) -> None:
    pitched, plain = (MelVocoder.load(folder / name) for name in ("vocoder", "plain/vocoder"))
    assert set(pitched.models) == {"mel", "f0", "vocoder"} and set(plain.models) == {"mel", "vocoder"}
    assert (pitched.ear.f0 is None, plain.ear.f0 is None) == (False, True)


def test_a_run_of_another_task_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="expected the run of an acoustic model of softvc, found 'vocoder'"):
        Converter.load(folder / "vocoder", folder / "vocoder")


def test_the_command_writes_recordings_and_lines(folder: Path, tmp_path: Path) -> None:
    audio.save(tmp_path / "in/a b.wav", buzz(0.6, 140.0), 16000)
    common = ["convert", "--run", str(folder / "continuous/run"), "--vocoder", str(folder / "vocoder")]
    common += ["--source", str(tmp_path / "in"), "--voice", "high", "--out", str(tmp_path / "out")]
    for extra in ([], ["--draft"], ["--transpose", "-3", "--range", "octave", "--no-dynamics", "--loudness", "0"]):
        result = CliRunner().invoke(app, [*common, *extra], catch_exceptions=False)
        assert result.exit_code == 0
        line = json.loads((tmp_path / "out/converted.jsonl").read_text())
        assert (line["voice"], line["draft"]) == ("high", "--draft" in extra)
        wave, rate = audio.read(tmp_path / "out/a b.wav")
        assert rate == 16000 and np.isfinite(wave).all() and np.abs(wave).max() > 0
    assert line["settings"] == {
        "range": "octave",
        "spread": 1.0,
        "transpose": -3.0,
        "dynamics": False,
        "loudness_lufs": None,
    }
    with pytest.raises(InputError, match="range"):
        CliRunner().invoke(app, [*common, "--range", "loud"], catch_exceptions=False)
