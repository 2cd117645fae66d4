"""Features of two copies of a corpus, extracted and derived, and the pages of numbers: what an edit makes stale."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workflow.project import Jobs, Project
from vcpipe.config import load
from vcpipe.manifest import Utterance, read_table, shard_names
from vcpipe.store import Shard

pytestmark = [pytest.mark.slow, pytest.mark.workflow]

SHARDS = 2
EXTRACTED = ("pitch", "pitch_dio", "mel", "tiny", "voice")
DERIVED = ("units", "contour", "range", "agreement", "centroid")


def config(root: Path) -> dict[str, Any]:
    return {
        "corpora": {"mine": {"kind": "folder", "root": str(root), "shards": SHARDS, "valid_share": 0.3}},
        "audio": {
            "16k": {"min_s": 0.5},
            "24k": {"rate": 24000, "min_s": 0.5, "loudness": {"kind": "rms", "level": -26}},
        },
        "features": {
            "pitch": {"kind": "f0", "method": "praat"},
            "pitch_dio": {"kind": "f0", "method": "dio"},
            "mel": {"kind": "mel", "rate": 24000, "hop": 480},
            "tiny": {"kind": "tiny_random"},
            "voice": {"kind": "ge2e"},
            "units": {"kind": "kmeans", "of": "tiny", "corpus": "mine", "clusters": 5},
            "contour": {"kind": "log_f0", "of": "pitch"},
            "range": {"kind": "speaker_f0", "of": "pitch"},
            "agreement": {"kind": "f0_agreement", "of": ["pitch", "pitch_dio"]},
            "centroid": {"kind": "speaker_mean", "of": "voice"},
        },
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("features"), config, speakers=4)
    project.snakemake("features", "stats")
    return project


@pytest.fixture
def project(finished: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The finished project, whose config a test may edit."""
    monkeypatch.setattr(finished, "config", copy.deepcopy(finished.config))
    return finished


def planned(project: Project) -> Jobs:
    """(rule, "copy feature shard") of what would run, but for the two targets that only collect."""
    jobs = project.planned("features", "stats", keys=("audio", "feature", "shard"))
    return {job for job in jobs if job[0] not in ("features", "stats")}


def every_shard(rule: str, *of: str) -> Jobs:
    return {(rule, f"{name} {shard}") for name in of for shard in shard_names(SHARDS)}


def test_every_feature_is_there_under_its_slice_with_the_rows_that_it_promises(finished: Project) -> None:
    checked = load(finished.config)
    for name in (*EXTRACTED, *DERIVED):
        settings, rows = checked.features[name], 0
        utterances = read_table(finished.folder / f"results/audio/{checked.copy_of(name)}/mine/manifest.csv", Utterance)
        samples = {u.utt_id: u.n_samples for u in utterances}
        for stem in shard_names(SHARDS):
            path = finished.folder / f"results/features/{name}/mine/{stem}.h5"
            with Shard(path, checked.feature_slice(name, "mine")) as shard:
                shard.verify()
                assert (shard.row, shard.dim, str(shard.values.dtype)) == (settings.ROWS, settings.dim, settings.dtype)
                for utt_id, values in shard:
                    rows += 1
                    frames = settings.grid.frames(samples[utt_id]) if settings.ROWS == "frame" else 1
                    assert values.shape == (frames, settings.dim), (name, utt_id)
        assert rows == (4 if settings.ROWS == "speaker" else len(utterances) == 12 and 12), name


def test_derived_numbers_follow_from_their_parents(finished: Project) -> None:
    checked, names = load(finished.config), shard_names(SHARDS)

    def rows(feature: str) -> dict[str, np.ndarray]:
        out: dict[str, np.ndarray] = {}
        for stem in names:
            path = finished.folder / f"results/features/{feature}/mine/{stem}.h5"
            with Shard(path, checked.feature_slice(feature, "mine")) as shard:
                out |= dict(shard)
        return out

    pitch, contour, voice, units = rows("pitch"), rows("contour"), rows("voice"), rows("units")
    for utt_id, values in pitch.items():
        on = values[:, 1] > 0.5
        assert on.any()
        np.testing.assert_allclose(contour[utt_id][on, 0], np.log(values[on, 0]), rtol=1e-6)
    assert set(np.concatenate(list(units.values())).ravel()) == set(range(5))
    for speaker, (mean,) in rows("centroid").items():
        own = np.concatenate([v for utt_id, v in voice.items() if utt_id.startswith(f"{speaker}/")]).mean(axis=0)
        np.testing.assert_allclose(mean, own / np.linalg.norm(own), atol=1e-6)


def test_the_pages_show_each_copy_with_the_f0_that_reads_it(finished: Project) -> None:
    for name, has_f0 in (("16k", True), ("24k", False)):
        folder = finished.folder / f"results/stats/{name}/mine"
        total = json.loads((folder / "corpus.json").read_text())
        assert (total["utterances"], total["speakers"], "f0_median_hz" in total["quantiles"]) == (12, 4, has_f0)
        assert ("Pitch of speakers" in (folder / "index.html").read_text()) == has_f0


def test_a_second_run_does_nothing(project: Project) -> None:
    assert planned(project) == set()


def test_a_changed_mel_makes_the_mel_alone_again(project: Project) -> None:
    project.config["features"]["mel"]["mels"] = 64
    assert planned(project) == every_shard("extract", "mel")


def test_a_changed_loudness_reaches_only_what_reads_that_copy(project: Project) -> None:
    project.config["audio"]["24k"]["loudness"]["level"] = -20
    stale = every_shard("prepare_audio", "24k") | every_shard("extract", "mel")
    assert planned(project) == stale | {("manifest", "24k"), ("stats_page", "24k")}


def test_a_changed_f0_makes_what_is_derived_from_it_and_its_page_again(project: Project) -> None:
    project.config["features"]["pitch"]["floor_hz"] = 60
    stale = every_shard("extract", "pitch") | every_shard("derive", "contour", "range", "agreement")
    assert planned(project) == stale | {("stats_page", "16k")}


def test_a_changed_second_f0_reaches_the_agreement_alone(project: Project) -> None:
    project.config["features"]["pitch_dio"]["floor_hz"] = 60
    assert planned(project) == every_shard("extract", "pitch_dio") | every_shard("derive", "agreement")


def test_a_changed_number_of_clusters_fits_again_but_extracts_nothing(project: Project) -> None:
    project.config["features"]["units"]["clusters"] = 4
    assert planned(project) == {("fit", "units")} | every_shard("derive", "units")


@pytest.mark.parametrize(
    ("feature", "settings", "words"),
    [
        ("contour", {"kind": "log_f0", "of": "pich"}, "'features.contour.of': 'pich' is not under features"),
        ("contour", {"kind": "log_f0", "of": "mel"}, "'features.contour.of': expected a feature of kind f0, found mel"),
        ("mel", {"kind": "mel", "rate": 32000}, "'features.mel': it reads 32000 samples/s, but no copy under audio"),
    ],
)
def test_a_wrong_feature_stops_before_any_job(
    project: Project, feature: str, settings: dict[str, Any], words: str
) -> None:
    project.config["features"][feature] = settings
    output = project.snakemake("-n", "features", check=False)
    assert words in output and "Traceback" not in output and "rule " not in output


def test_a_changed_mel_is_made_again_for_real_and_leaves_f0_as_it_was(finished: Project) -> None:
    """Last, because the project is another one afterwards."""
    files = [finished.folder / f"results/features/pitch/mine/{stem}.h5" for stem in shard_names(SHARDS)]
    before = [path.stat().st_mtime_ns for path in files]
    finished.config["features"]["mel"]["mels"] = 64
    finished.snakemake("features", "stats")
    with Shard(finished.folder / "results/features/mel/mine/000.h5", None) as shard:
        assert shard.dim == 64
    assert [path.stat().st_mtime_ns for path in files] == before
    assert planned(finished) == set()
