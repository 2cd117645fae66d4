"""Features that are made of other features: the numbers, the rows, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.f0.contour import agreement, speaker_statistics
from vcpipe.features.derive import derive_shard, fit_feature
from vcpipe.features.f0_agreement import COLUMNS as SHARES
from vcpipe.features.speaker_f0 import COLUMNS as STATISTICS
from vcpipe.manifest import Utterance, write_table
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard

Array = NDArray[Any]

CONFIG = load(
    {
        "corpora": {"mine": {"kind": "folder", "root": "x"}, "fitting": {"kind": "folder", "root": "y"}},
        "audio": {"16k": {}},
        "features": {
            "pitch": {"kind": "f0", "method": "praat"},
            "pitch_dio": {"kind": "f0", "method": "dio"},
            "tiny": {"kind": "tiny_random", "width": 16},
            "voice": {"kind": "ge2e"},
            "contour": {"kind": "log_f0", "of": "pitch"},
            "range": {"kind": "speaker_f0", "of": "pitch"},
            "agreement": {"kind": "f0_agreement", "of": ["pitch", "pitch_dio"]},
            "units": {"kind": "kmeans", "of": "tiny", "corpus": "fitting", "clusters": 3},
            "centroid": {"kind": "speaker_mean", "of": "voice"},
            "both": {"kind": "joined", "of": ["pitch", "pitch_dio"]},
            "average": {"kind": "speaker_mean", "of": "tiny", "normalize": False},
        },
    }
)


def utterance(utt_id: str) -> Utterance:
    return Utterance(utt_id, utt_id.partition("/")[0], f"{utt_id}.wav", 16000, 16000)


def written(path: Path, feature: str, rows: Mapping[str, Array], corpus: str = "mine") -> Path:
    """The shard of a feature as `extract` would write it."""
    settings = CONFIG.features[feature]
    write_shard(
        path,
        rows.items(),
        made_by=CONFIG.feature_slice(feature, corpus),
        grid=settings.grid,
        dim=settings.dim,
        dtype=settings.dtype,
        row=settings.ROWS,
    )
    return path


def derived(folder: Path, feature: str, *parents: Mapping[str, Array], model: Path | None = None) -> dict[str, Array]:
    """The rows of a derived feature, whose shard is checked as every reader checks it."""
    settings: Any = CONFIG.features[feature]
    reads = [
        written(folder / f"{i}.h5", name, rows)
        for i, (name, rows) in enumerate(zip(settings.names, parents, strict=True))
    ]
    write_table(folder / "manifest.csv", map(utterance, parents[0]), Utterance)
    made_by = CONFIG.feature_slice(feature, "mine")
    derive_shard(made_by, reads, folder / "manifest.csv", folder / "out.h5", model)
    with Shard(folder / "out.h5", made_by) as shard:
        shard.verify()
        assert (shard.row, shard.dim, shard.grid) == (settings.ROWS, settings.dim, settings.grid)
        assert str(shard.values.dtype) == settings.dtype
        return dict(shard)


def f0(hz: list[float]) -> Array:
    """`(T, 2)` of F0 in Hz, 0 where unvoiced, and voiced."""
    values = np.array(hz, np.float32)
    return np.stack([values, values > 0], axis=1)


def frames(seed: int, n: int = 20, at: float = 0.0) -> Array:
    return np.random.default_rng(seed).normal(at, 0.1, (n, 16)).astype(np.float16)


PITCH = {"a/1": f0([0, 100, 0, 400, 0]), "a/2": f0([200, 200, 0]), "b/1": f0([50] * 4)}


def test_a_contour_is_the_logarithm_with_its_gaps_filled_beside_the_voicing(tmp_path: Path) -> None:
    found = derived(tmp_path, "contour", PITCH)
    assert list(found) == list(PITCH)
    np.testing.assert_allclose(np.exp(found["a/1"][:, 0]), [100, 100, 200, 400, 400], rtol=1e-5)
    for utt_id, contour in found.items():
        np.testing.assert_array_equal(contour[:, 1], PITCH[utt_id][:, 1])


def test_a_speakers_statistics_are_over_all_of_the_speakers_frames(tmp_path: Path) -> None:
    found = derived(tmp_path, "range", PITCH)
    assert list(found) == ["a", "b"]
    pooled = speaker_statistics([(PITCH[i][:, 0], PITCH[i][:, 1]) for i in ("a/1", "a/2")])
    np.testing.assert_allclose(found["a"], [[pooled[name] for name in STATISTICS]], rtol=1e-6)
    row = dict(zip(STATISTICS, found["a"][0], strict=True))
    assert np.exp(row["median_log_f0"]) == pytest.approx(200)
    assert (row["voiced_share"], row["frames"]) == (0.5, 8)


def test_a_speaker_who_is_never_voiced_has_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list(derived(tmp_path, "range", {"a/1": f0([0, 0]), "b/1": f0([0, 90])})) == ["b"]
    assert "speaker a: no voiced frame in 1 utterances" in caplog.text
    assert derived(tmp_path, "range", {"a/1": f0([0, 0])}) == {}


def test_the_agreement_of_two_estimators_is_one_row_an_utterance(tmp_path: Path) -> None:
    other = {"a/1": f0([0, 200, 0, 400, 100]), "a/2": f0([0, 0, 0]), "b/1": f0([50] * 4)}
    found = derived(tmp_path, "agreement", PITCH, other)
    for utt_id, row in found.items():
        expected = agreement(PITCH[utt_id], other[utt_id])
        np.testing.assert_allclose(row, [[expected[name] for name in SHARES]], rtol=1e-6)
    assert dict(zip(SHARES, found["a/1"][0], strict=True)) == pytest.approx(
        {
            "both_voiced": 0.4,
            "voicing_disagreement": 0.2,
            "within_50_cents": 0.5,
            "octave_errors": 0.5,
            "gross_errors": 0.5,
        }
    )


def test_joined_features_stand_side_by_side(tmp_path: Path) -> None:
    other = {utt_id: pitch + 1 for utt_id, pitch in PITCH.items()}
    found = derived(tmp_path, "both", PITCH, other)
    for utt_id, rows in found.items():
        np.testing.assert_array_equal(rows, np.concatenate([PITCH[utt_id], other[utt_id]], axis=1))


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ("pitch", "joined is made of 2 features or more, found 1"),
        (["pitch", "tiny"], "f0 lies on 16000/160, tiny_random on 16000/320"),
        (["pitch", "voice"], "ge2e has one row for a whole utterance"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(of: Any, words: str) -> None:
    raw = {
        "pitch": {"kind": "f0", "method": "praat"},
        "tiny": {"kind": "tiny_random"},
        "voice": {"kind": "ge2e"},
        "both": {"kind": "joined", "of": of},
    }
    with pytest.raises(InputError, match=f"features.both.of.*{words}"):
        load({"corpora": {"mine": {"kind": "folder", "root": "x"}}, "audio": {"16k": {}}, "features": raw})


def test_estimates_of_unequal_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected two arrays .* found \(5, 2\) and \(4, 2\)"):
        derived(tmp_path, "agreement", {"a/1": PITCH["a/1"]}, {"a/1": f0([1, 2, 3, 4])})
    assert not (tmp_path / "out.h5").exists()


def test_a_centroid_is_the_normalized_mean_of_a_speakers_vectors(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    voice = {i: random.normal(size=(1, 256)).astype(np.float32) for i in ("b/1", "a/1", "a/2", "a/3")}
    found = derived(tmp_path, "centroid", voice)
    assert list(found) == ["a", "b"]
    mean = np.concatenate([voice[f"a/{i}"] for i in (1, 2, 3)]).mean(axis=0)
    np.testing.assert_allclose(found["a"], [mean / np.linalg.norm(mean)], atol=1e-6)
    assert np.linalg.norm(found["b"]) == pytest.approx(1)


def test_the_mean_of_frames_weighs_every_frame_alike_and_is_precise_for_many_of_16_bits(tmp_path: Path) -> None:
    tiny = {"a/1": frames(1, 30000, at=50.0), "a/2": frames(2, 10)}
    found = derived(tmp_path, "average", tiny)
    expected = np.concatenate([v.astype(np.float64) for v in tiny.values()]).mean(axis=0)
    np.testing.assert_allclose(found["a"][0], expected, rtol=1e-6)


def splits(path: Path, train: list[str], test: list[str]) -> Path:
    rows = [replace(utterance(i), split=split) for split, ids in (("train", train), ("test", test)) for i in ids]
    write_table(path, rows, Utterance)
    return path


def fitted(folder: Path) -> tuple[Path, dict[str, Array]]:
    """Three centres, fitted on three far clouds in two shards of another corpus, whose test utterance is not heard."""
    clouds = {f"c/{i}": frames(i, at=10.0 * i) for i in range(3)}
    reads = [
        written(folder / "fit0.h5", "tiny", {"c/0": clouds["c/0"], "c/far": frames(9, at=900.0)}, "fitting"),
        written(folder / "fit1.h5", "tiny", {i: clouds[i] for i in ("c/1", "c/2")}, "fitting"),
    ]
    splits(folder / "fit.csv", [*clouds], ["c/far"])
    fit_feature(CONFIG.fit_slice("units"), reads, folder / "fit.csv", folder / "model.safetensors")
    return folder / "model.safetensors", clouds


def test_units_are_the_numbers_of_the_nearest_centres(tmp_path: Path) -> None:
    model, clouds = fitted(tmp_path)
    mixed = {"a/1": np.concatenate([clouds["c/2"][:5], clouds["c/0"][:5]]), "b/1": clouds["c/1"]}
    found = derived(tmp_path, "units", mixed, model=model)
    two, zero = found["a/1"][0, 0], found["a/1"][-1, 0]
    assert found["a/1"].ravel().tolist() == [two] * 5 + [zero] * 5
    assert {two, zero, *found["b/1"].ravel()} == {0, 1, 2}
    assert derived(tmp_path, "units", mixed, model=fitted(tmp_path)[0])["a/1"].tolist() == found["a/1"].tolist()


def test_too_few_frames_for_the_clusters_leave_no_model(tmp_path: Path) -> None:
    read = written(tmp_path / "fit.h5", "tiny", {"c/0": frames(0, 2)}, "fitting")
    with pytest.raises(InputError, match="2 frames for 3 clusters; take fewer clusters"):
        fit_feature(
            CONFIG.fit_slice("units"), [read], splits(tmp_path / "fit.csv", ["c/0"], []), tmp_path / "model.safetensors"
        )
    with pytest.raises(InputError, match="no utterance has split train"):
        fit_feature(
            CONFIG.fit_slice("units"), [read], splits(tmp_path / "fit.csv", [], ["c/0"]), tmp_path / "model.safetensors"
        )
    assert not (tmp_path / "model.safetensors").exists()


def test_fitting_what_needs_no_fit_is_refused(tmp_path: Path) -> None:
    made_by: Slice = {**CONFIG.feature_slice("contour", "mine"), "stage": "fit"}
    with pytest.raises(InputError, match="feature log_f0: nothing of it is fitted; run `vcpipe derive`"):
        fit_feature(made_by, [], tmp_path / "manifest.csv", tmp_path / "model")


def test_centres_that_were_fitted_under_other_settings_are_refused(tmp_path: Path) -> None:
    model, _ = fitted(tmp_path)
    read = written(tmp_path / "0.h5", "tiny", {"a/1": frames(0)})
    write_table(tmp_path / "manifest.csv", [utterance("a/1")], Utterance)
    made_by = CONFIG.feature_slice("units", "mine")
    made_by["model"]["feature"]["seed"] = 7
    with pytest.raises(InputError, match="model.safetensors: made under other settings: feature.seed is 0 in the file"):
        derive_shard(made_by, [read], tmp_path / "manifest.csv", tmp_path / "out.h5", model)


def test_a_parent_made_under_other_settings_is_refused(tmp_path: Path) -> None:
    read = written(tmp_path / "0.h5", "pitch_dio", PITCH)
    write_table(tmp_path / "manifest.csv", map(utterance, PITCH), Utterance)
    with pytest.raises(InputError, match="0.h5: made under other settings: feature.method is 'dio' in the file"):
        derive_shard(CONFIG.feature_slice("contour", "mine"), [read], tmp_path / "manifest.csv", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("feature", ["contour", "range", "centroid", "units"])
def test_an_utterance_that_a_parent_lacks_is_named(tmp_path: Path, feature: str) -> None:
    settings: Any = CONFIG.features[feature]
    (name,) = settings.names
    row = {"pitch": f0([100]), "voice": np.ones((1, 256)), "tiny": frames(0)}[name]
    model = fitted(tmp_path)[0] if feature == "units" else None
    read = written(tmp_path / "0.h5", name, {"a/1": row})
    write_table(tmp_path / "manifest.csv", map(utterance, ("a/1", "a/2")), Utterance)
    made_by = CONFIG.feature_slice(feature, "mine")
    with pytest.raises(InputError, match="0.h5: utterance a/2 is not in this shard; make it again"):
        derive_shard(made_by, [read], tmp_path / "manifest.csv", tmp_path / "out.h5", model)


@pytest.mark.parametrize("feature", ["contour", "range", "centroid", "units"])
def test_a_shard_without_utterances_becomes_one(tmp_path: Path, feature: str) -> None:
    assert derived(tmp_path, feature, {}, model=fitted(tmp_path)[0] if feature == "units" else None) == {}
