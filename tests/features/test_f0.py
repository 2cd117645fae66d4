import numpy as np
import pytest
import soundfile

from tests.f0.signals import noisy, voice
from vcpipe import catalog
from vcpipe.config import feature_settings
from vcpipe.errors import InputError
from vcpipe.features import f0
from vcpipe.features.f0 import Settings, load
from vcpipe.settings import check

EACH = [
    {"method": "harvest"},
    {"method": "dio"},
    {"method": "praat"},
    {"method": "pyin"},
    {"method": "crepe", "model": "tiny"},
    {"method": "swift"},
]


def settings(**values):
    return check(Settings, {"kind": "f0", **values}, "features.f0")


@pytest.mark.parametrize("values", EACH, ids=lambda v: v["method"])
def test_frames_are_hertz_and_voicing_on_the_grid(values):
    wave = voice(16000, seconds=0.6)
    found = load(settings(hop=320, **values))(wave.wave[:-100])
    assert found.shape == (29, 2) and found.dtype == np.float32
    assert set(found[:, 1]) <= {0.0, 1.0}
    t = (np.arange(29) + 0.5) * 0.02
    assert np.abs(found[5:-5, 0] / wave.f0(t[5:-5]) - 1).max() < 0.03


@pytest.mark.parametrize("values", EACH, ids=lambda v: v["method"])
def test_silence_is_unvoiced(values):
    assert not load(settings(**values))(np.zeros(8000, np.float32)).any()


def phrases(seconds):
    """Voiced stretches and pauses, so that decoding has something to decide."""
    piece = np.concatenate([voice(16000, seconds=1.0).wave, np.zeros(4000, np.float32)])
    wave = np.tile(piece, int(seconds / 1.25) + 1)[: int(seconds * 16000)]
    return (wave + 0.005 * np.random.default_rng(0).normal(size=len(wave))).astype(np.float32)


def check_windows(monkeypatch, values, cents):
    """At most one frame in a hundred otherwise voiced, and 99 % of the voiced ones within `cents`."""
    wave = phrases(8.7)
    whole = load(settings(**values))(wave)
    monkeypatch.setattr(f0, "WINDOW_S", 6)
    extractor = load(settings(**values))
    assert (extractor.window, extractor.margin) == (96000, 32000)
    cut = extractor(wave)
    assert cut.shape == whole.shape == (870, 2)
    assert (cut[:, 1] != whole[:, 1]).mean() <= 0.01
    both = (cut[:, 1] > 0) & (whole[:, 1] > 0)
    assert both.mean() > 0.7
    assert (np.abs(1200 * np.log2(cut[both, 0] / whole[both, 0])) <= cents).mean() >= 0.99


@pytest.mark.parametrize("method", ["dio", "praat"])
def test_windows_give_what_the_whole_gives(monkeypatch, method):
    check_windows(monkeypatch, {"method": method}, cents=1)


def test_windows_of_swift_give_nearly_what_the_whole_gives(monkeypatch):
    """Its frames of 16 ms stand elsewhere in the last window, which starts where the recording's length says."""
    check_windows(monkeypatch, {"method": "swift"}, cents=15)


@pytest.mark.slow
@pytest.mark.parametrize("values", [EACH[0], *EACH[3:5]], ids=lambda v: v["method"])
def test_windows_of_the_slow_methods_give_what_the_whole_gives(monkeypatch, values):
    check_windows(monkeypatch, values, cents=5)


def test_the_stream_is_the_call():
    wave = phrases(3.0)
    extractor = load(settings(method="praat"))
    assert np.array_equal(np.concatenate(list(extractor.stream(wave))), extractor(wave))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "harvset"}, "features.f0.method"),
        ({"threshold": 0.5}, "method harvest has no threshold; leave it out"),
        ({"method": "dio", "model": "tiny"}, "method dio has no model to choose, only crepe has"),
        ({"method": "praat", "model": "full"}, "method praat has no model"),
        ({"method": "crepe", "model": "large"}, "features.f0.model"),
        ({"method": "swift", "threshold": 1.5}, "features.f0.threshold"),
        ({"method": "swift", "floor_hz": 40}, "f0 swift: floor_hz 40 and ceil_hz 1100, expected 46.875 <= floor_hz"),
        ({"method": "crepe", "ceil_hz": 3000}, "f0 crepe: .* ceil_hz <= 1975"),
        ({"floor_hz": 500, "ceil_hz": 400}, "f0 harvest: floor_hz 500 and ceil_hz 400"),
        ({"rate": 2000}, "ceil_hz <= 1000 at 2000 samples/s"),
        ({"hopp": 160}, "features.f0.hopp' is unknown; did you mean 'hop'"),
        ({"hop": 0}, "features.f0.hop"),
    ],
)
def test_settings_that_make_no_f0_are_refused_when_read(values, words):
    with pytest.raises(InputError, match=words):
        settings(**values)


@pytest.mark.parametrize("values", [*EACH, {"method": "rmvpe"}, {"method": "fcpe"}], ids=lambda v: v["method"])
def test_settings_come_back_from_their_content(monkeypatch, values):
    monkeypatch.setitem(catalog.FEATURES, "f0", "vcpipe.features.f0")
    made = settings(rate=24000, hop=480, **values)
    assert feature_settings(made.content()) == made
    assert (str(made.grid), made.dim, made.dtype) == ("24000/480", 2, "float32")
    assert made.torch == (values["method"] in ("crepe", "fcpe"))


def test_the_threshold_of_the_method_stands_in_the_slice():
    assert settings(method="praat").content()["threshold"] == 0.45
    assert settings(method="swift", threshold=0.7).content()["threshold"] == 0.7
    assert settings(method="harvest").content()["threshold"] is None
    assert settings(method="crepe").content()["model"] == "full"


def test_a_threshold_changes_what_is_voiced():
    wave = noisy(voice(16000, seconds=1.0).wave, 0)
    for method, low, high in (("praat", 0.1, 0.95), ("swift", 0.05, 0.999)):
        easy, strict = (load(settings(method=method, threshold=t))(wave)[:, 1].mean() for t in (low, high))
        assert strict < easy, method


def test_real_speech_has_one_pitch_whoever_listens(real_data):
    files = sorted((real_data / "corpora" / "LibriSpeech" / "test-other").rglob("*.flac"))[::6]
    from vcpipe.f0.contour import agreement

    for file in files[:2]:
        wave, _ = soundfile.read(file, dtype="float32", frames=16000 * 5)
        ours, other = (load(settings(method=m))(wave) for m in ("praat", "swift"))
        found = agreement(ours, other)
        assert found["both_voiced"] > 0.2 and found["gross_errors"] <= 0.1 and found["within_50_cents"] >= 0.8
