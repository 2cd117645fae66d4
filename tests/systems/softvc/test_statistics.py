"""Voices as an artifact, and contours brought from one voice to another."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, write_table
from vcpipe.store import write_shard
from vcpipe.systems.softvc import statistics
from vcpipe.systems.softvc.statistics import Statistics, of_frames, read, to_voice, write, write_statistics

GRID = Grid(16000, 160)


def contour(median_hz, spread, level_db, n=400, seed=0, level_spread=5.0):
    """Half of it voiced, the rest as loud; then a pause of a quarter."""
    rng = np.random.default_rng(seed)
    ln_hz = math.log(median_hz) + spread * np.sin(np.arange(n) / 9.0)
    voiced = (np.arange(n) % 40 < 20).astype(np.float32)
    energy = level_db + level_spread * rng.standard_normal(n)
    f0 = np.stack([np.exp(ln_hz) * voiced, voiced], axis=1)
    pause = n // 4
    f0 = np.concatenate([f0, np.zeros((pause, 2))]).astype(np.float32)
    return f0, np.concatenate([energy, np.full(pause, -90.0)])[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def low():
    return of_frames([contour(100, 0.15, -30, seed=1)])


@pytest.fixture(scope="module")
def high():
    return of_frames([contour(210, 0.25, -20, seed=2, level_spread=3.0)])


def test_a_voice_is_measured(low):
    f0, energy = contour(100, 0.15, -30, seed=1)
    ln_hz = np.log(f0[f0[:, 1] > 0, 0].astype(np.float64))
    assert low.median_log_f0 == pytest.approx(np.median(ln_hz))
    assert low.std_log_f0 == pytest.approx(ln_hz.std())
    assert low.p05_hz < 100 < low.p95_hz
    assert low.voiced_share == pytest.approx(200 / 500)
    assert (type(low.frames), low.frames) == (int, 500)
    assert low.energy_mean_db == pytest.approx(-30, abs=1)
    assert low.energy_std_db == pytest.approx(5, abs=0.5)
    halves = of_frames([(f0[:250], energy[:250]), (f0[250:], energy[250:])])
    assert asdict(halves) == pytest.approx(asdict(low))


def test_silence_does_not_decide_the_loudness(low):
    f0, energy = contour(100, 0.15, -30, seed=1)
    silence = np.zeros((9000, 2), np.float32), np.full((9000, 1), -80, np.float32)
    found = of_frames([(f0, energy), silence])
    assert found.energy_mean_db == pytest.approx(low.energy_mean_db, abs=0.3)
    assert found.energy_std_db == pytest.approx(low.energy_std_db, abs=0.3)
    assert found.voiced_share < low.voiced_share / 10


def test_a_click_does_not_decide_the_loudness():
    f0, energy = contour(100, 0.15, -40, n=4000)
    clean = of_frames([(f0, energy)])
    energy[[100, 700]] = 0
    assert of_frames([(f0, energy)]).energy_mean_db == pytest.approx(clean.energy_mean_db, abs=0.1)


def test_what_has_no_voice_is_refused():
    f0, energy = contour(100, 0.15, -30)
    with pytest.raises(InputError, match="expected voiced frames, found none"):
        of_frames([(f0 * 0, energy)])
    with pytest.raises(InputError, match="expected voiced frames, found none"):
        of_frames([])
    with pytest.raises(InputError, match=r"as many frames, found \(500, 2\) and \(499, 1\)"):
        of_frames([(f0, energy[:-1])])


def ln(f0):
    return np.log(f0[f0[:, 0] > 0, 0].astype(np.float64))


def test_a_contour_takes_the_register_and_the_spread_of_the_target(low, high):
    f0, energy = contour(100, 0.15, -30, seed=1)
    found, level = to_voice(f0, energy, low, high)
    assert found.dtype == level.dtype == np.float32
    assert found.shape == f0.shape and level.shape == energy.shape
    assert np.array_equal(found[:, 0] > 0, f0[:, 0] > 0)
    assert np.array_equal(found[:, 1], f0[:, 1])
    assert np.median(ln(found)) == pytest.approx(high.median_log_f0, abs=1e-3)
    assert ln(found).std() == pytest.approx(high.std_log_f0, rel=0.02)
    assert np.corrcoef(ln(found), ln(f0))[0, 1] > 0.999
    heard = level[energy > -60]
    assert heard.mean() == pytest.approx(high.energy_mean_db, abs=0.2)
    assert heard.std() == pytest.approx(high.energy_std_db, rel=0.1)
    assert np.corrcoef(heard, energy[energy > -60])[0, 1] > 0.99


def test_a_voice_to_itself_is_itself(low):
    f0, energy = contour(100, 0.15, -30, seed=1)
    for register in ("match", "octave", "keep"):
        found, level = to_voice(f0, energy, low, low, register=register)
        np.testing.assert_allclose(found, f0, rtol=1e-6)
        np.testing.assert_allclose(level, energy, rtol=1e-6)


def test_the_spread_follows_as_far_as_it_is_asked(low, high):
    f0, energy = contour(100, 0.15, -30, seed=1)
    stays, _ = to_voice(f0, energy, low, high, spread=0.0)
    np.testing.assert_allclose(ln(stays) - ln(f0), high.median_log_f0 - low.median_log_f0, atol=1e-5)
    half, _ = to_voice(f0, energy, low, high, spread=0.5)
    assert ln(half).std() == pytest.approx(math.sqrt(low.std_log_f0 * high.std_log_f0), rel=0.02)


@pytest.mark.parametrize(("target", "expected"), [(9.0, 2.0), (0.01, 0.5), (0.0, 1.0)])
def test_a_spread_grows_and_shrinks_by_two_at_the_most(low, target, expected):
    f0, energy = contour(100, 0.15, -30, seed=1)
    other = replace(low, std_log_f0=low.std_log_f0 * target, energy_std_db=low.energy_std_db * target)
    found, level = to_voice(f0, energy, low, other)
    inside = (np.exp(ln(f0)) > low.p05_hz) & (np.exp(ln(f0)) < low.p95_hz)
    assert np.polyfit(ln(f0)[inside], ln(found)[inside], 1)[0] == pytest.approx(expected, rel=1e-3)
    near = np.abs(energy - low.energy_mean_db) < low.energy_std_db
    assert np.polyfit(energy[near], level[near], 1)[0] == pytest.approx(expected, rel=1e-3)


def test_octave_errors_and_silence_move_no_further_than_they_did(low):
    f0, energy = contour(100, 0.15, -30, seed=1)
    f0[5, 0] *= 4
    lively = replace(low, std_log_f0=2 * low.std_log_f0, energy_std_db=2 * low.energy_std_db)
    found, level = to_voice(f0, energy, low, lively)
    assert found[5, 0] == pytest.approx(f0[5, 0] * low.p95_hz / math.exp(low.median_log_f0), rel=1e-3)
    assert level[-1, 0] == pytest.approx(-90 - 2 * low.energy_std_db, abs=1e-2)


@pytest.mark.parametrize(("hz", "octaves"), [(100, 0), (130, 0), (150, 1), (205, 1), (390, 2), (52, -1)])
def test_whole_octaves_keep_the_key(low, hz, octaves):
    f0, energy = contour(100, 0.15, -30, seed=1)
    target = replace(low, median_log_f0=math.log(hz), std_log_f0=2 * low.std_log_f0)
    found, _ = to_voice(f0, energy, low, target, register="octave")
    np.testing.assert_allclose(found[:, 0], f0[:, 0] * 2.0**octaves, rtol=1e-5)


@pytest.mark.parametrize("register", ["match", "octave", "keep"])
def test_transpose_adds_semitones(low, high, register):
    f0, energy = contour(100, 0.15, -30, seed=1)
    without, _ = to_voice(f0, energy, low, high, register=register)
    found, _ = to_voice(f0, energy, low, high, register=register, transpose=12)
    np.testing.assert_allclose(found[:, 0], 2 * without[:, 0], rtol=1e-5)
    if register == "keep":
        np.testing.assert_allclose(without, f0, rtol=1e-6)


def test_dynamics_can_stay(low, high):
    f0, energy = contour(100, 0.15, -30, seed=1)
    before = f0.copy(), energy.copy()
    _, level = to_voice(f0, energy, low, high, dynamics=False)
    np.testing.assert_array_equal(level, energy)
    assert np.array_equal(f0, before[0]) and np.array_equal(energy, before[1])


def test_a_contour_without_a_voiced_frame_stays(low, high):
    f0, energy = np.zeros((7, 2), np.float32), np.full((7, 1), -50, np.float32)
    found, level = to_voice(f0, energy, low, high, transpose=3)
    assert not found.any() and np.isfinite(level).all()


def test_written_voices_are_read_again(tmp_path, low, high):
    voices = Statistics({"stage": "statistics", "n": 1}, {"a": low, "b č": high}, high)
    write(tmp_path / "voices.json", voices)
    assert read(tmp_path / "voices.json") == voices
    assert read(tmp_path / "voices.json", {"n": 1, "stage": "statistics"}) == voices
    with pytest.raises(InputError, match=r"voices\.json: made under other settings: n is 1 in the file, .* says 2"):
        read(tmp_path / "voices.json", {"stage": "statistics", "n": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["voices.json"]


def damaged(value, change):
    value = json.loads(json.dumps(value))
    change(value)
    return json.dumps(value)


DAMAGES = {
    "cut": (lambda v: None, "expected JSON"),
    "format": (lambda v: v.update(format="vcpipe-voices-0"), "key 'format': expected vcpipe-voices-1, found 'vcpipe-v"),
    "no_speakers": (lambda v: v.pop("speakers"), "key 'speakers': expected keys"),
    "list": (lambda v: v.update(speakers=[1]), "key 'speakers': expected keys"),
    "no_all": (lambda v: v.pop("all"), "key 'all': expected the keys median_log_f0"),
    "lacking": (lambda v: v["speakers"]["a"].pop("p05_hz"), "key 'speakers.a': expected the keys"),
    "unknown": (lambda v: v["all"].update(hz=1), "key 'all': expected the keys"),
    "text": (lambda v: v["all"].update(p05_hz="80"), "key 'all.p05_hz': expected a number .* found '80'"),
    "nan": (lambda v: v["all"].update(mean_log_f0=float("nan")), "key 'all.mean_log_f0'"),
    "true": (lambda v: v["speakers"]["a"].update(frames=True), "key 'speakers.a.frames'"),
    "spread": (lambda v: v["speakers"]["a"].update(energy_std_db=-1), "key 'speakers.a.energy_std_db'"),
    "hz": (lambda v: v["speakers"]["a"].update(p95_hz=0), "key 'speakers.a.p95_hz'"),
}


@pytest.mark.parametrize("name", sorted(DAMAGES))
def test_damage_is_named(tmp_path, low, name):
    path = tmp_path / "voices.json"
    write(path, Statistics({}, {"a": low}, low))
    change, expected = DAMAGES[name]
    text = damaged(json.loads(path.read_text()), change)
    path.write_text(text[:-20] if name == "cut" else text)
    with pytest.raises(InputError, match=rf"voices\.json: .*{expected}") as error:
        read(path)
    assert "make it again" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"voices\.json: no such file; make it with `snakemake"):
        read(tmp_path / "voices.json")


READS = {"stage": "audio", "shards": 2}
F0, ENERGY = {"stage": "feature", "of": "f0", "reads": READS}, {"stage": "feature", "of": "energy", "reads": READS}
MADE_BY = {"stage": "statistics", "f0": F0, "energy": ENERGY}
HEIGHTS = {"low": 100, "high": 210, "mute": 0}


@pytest.fixture
def corpus(tmp_path):
    """Three speakers, one of whom never has a voice, each with an utterance that is not trained on."""
    rows, parts = [], [[], []]
    for s, (speaker, hz) in enumerate(HEIGHTS.items()):
        for n in range(4):
            split = "valid" if n == 3 else "train"
            rows.append(Utterance(f"{speaker}-{n}", speaker, "x", 80000, 16000, split=split))
            f0, energy = contour((hz or 100) * (5 if n == 3 else 1), 0.15, -30 - 5 * s, seed=4 * s + n)
            parts[s % 2].append((rows[-1].utt_id, f0 if hz else 0 * f0, energy))
    for number, part in enumerate(parts):
        for name, column, made_by, dim in (("f0", 1, F0, 2), ("energy", 2, ENERGY, 1)):
            given = [(row[0], row[column]) for row in part]
            path = tmp_path / name / f"{number:03d}.h5"
            write_shard(path, given, made_by=made_by, grid=GRID, dim=dim, dtype="float32")
    write_table(tmp_path / "manifest.csv", rows, Utterance)
    return tmp_path


def made(corpus, made_by=MADE_BY):
    write_statistics(made_by, corpus / "manifest.csv", corpus / "f0", corpus / "energy", corpus / "out" / "voices.json")
    return read(corpus / "out" / "voices.json", made_by)


def test_speakers_of_a_corpus_by_what_is_trained_on(corpus):
    found = made(corpus)
    assert list(found.speakers) == ["high", "low"]
    assert found.speakers["low"] == of_frames([contour(100, 0.15, -30, seed=n) for n in range(3)])
    assert found.all.frames == 2 * 3 * 500
    assert found.speakers["low"].mean_log_f0 < found.all.mean_log_f0 < found.speakers["high"].mean_log_f0
    assert found.all.std_log_f0 > 0.3


def test_of_a_large_corpus_all_together_is_a_sample(corpus, monkeypatch):
    whole = made(corpus)
    monkeypatch.setattr(statistics, "MOST_FRAMES", 2000)  # of 6000 in the shards
    found = made(corpus)
    assert found.speakers == whole.speakers
    assert found.all.frames == 6 * 125
    assert found.all.median_log_f0 == pytest.approx(whole.all.median_log_f0, abs=0.05)
    assert found.all.energy_mean_db == pytest.approx(whole.all.energy_mean_db, abs=0.5)


def test_shards_that_do_not_go_together_are_refused(corpus):
    with pytest.raises(InputError, match="made under other settings: of is"):
        made(corpus, {**MADE_BY, "energy": {**ENERGY, "of": "other"}})
    rows = [("low-0", np.zeros((5, 1), np.float32))]
    for number in range(2):
        path = corpus / "energy" / f"{number:03d}.h5"
        write_shard(path, rows, made_by=ENERGY, grid=Grid(16000, 320), dim=1, dtype="float32")
    with pytest.raises(InputError, match=r"energy/000\.h5: grid 16000/320, expected 16000/160 as in .*f0/000\.h5"):
        made(corpus)


def test_a_corpus_without_a_voice_is_refused(corpus):
    rows = [Utterance("mute-0", "mute", "x", 80000, 16000, split="train")]
    write_table(corpus / "manifest.csv", rows, Utterance)
    with pytest.raises(InputError, match=r"manifest\.csv: expected a voiced frame .* found none in 1;"):
        made(corpus)
    assert not (corpus / "out").exists()
