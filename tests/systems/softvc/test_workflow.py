"""What the rules of Soft-VC plan, by dry runs of the real Snakefile."""

from pathlib import Path
from typing import Any

import pytest

from tests.workflow.project import CORPUS, SHARDS, Project


def config(root: Path) -> dict[str, Any]:
    return {
        "corpora": {
            CORPUS: {"kind": "folder", "root": str(root), "shards": SHARDS, "valid_share": 0.3},
            "small": {"kind": "folder", "root": str(root), "shards": 1, "valid_share": 0.3},
        },
        "audio": {"16k": {"min_s": 0.3}},
        "features": {
            "tiny": {"kind": "tiny_random"},
            "whisper": {"kind": "whisper_tiny_en"},
            "mel": {"kind": "mel", "preset": "softvc"},
            "f0": {"kind": "f0", "method": "praat"},
            "energy": {"kind": "energy", "hop": 160},
            "f0_20ms": {"kind": "f0", "method": "praat", "hop": 320},
            "energy_20ms": {"kind": "energy", "hop": 320},
            "numbers": {"kind": "kmeans", "of": "tiny", "corpus": CORPUS, "clusters": 5},
            "soft": {"kind": "soft_units", "of": ["tiny", "numbers"], "corpus": CORPUS},
        },
        "softvc": {
            "corpus": CORPUS,
            "units": "soft",
            "mel": "mel",
            "f0": "f0",
            "energy": "energy",
            "training": {"preset": "cpu"},
            "vocoder": {"training": {"preset": "cpu"}},
            "refine": {"corpus": "small"},
            "literal": {"encoder": "whisper", "pits": "f0_20ms", "dyns": "energy_20ms"},
            "rows": {"literal": {"condition": "literal", "refined": False}},
        },
        "evaluate": {"corpus": CORPUS, "pairs": 2, "quality": []},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("softvc"), config)


def test_a_row_of_condition_literal_makes_both_classifiers_and_its_shards(project: Project) -> None:
    jobs = project.planned("results/demo/literal/pairs.jsonl", keys=("acoustic", "corpus", "shard"))
    embedded = {(rule, names) for rule, names in jobs if rule == "embed_pitdyn"}
    assert embedded == {("embed_pitdyn", f"{CORPUS} {shard:03d}") for shard in range(SHARDS)}
    assert {("train_hubert_pits", ""), ("train_hubert_dyns", "")} < jobs
    assert {names for rule, names in jobs if rule == "train_acoustic"} == {"pitdyn_literal"}


def test_a_resynthesis_asks_for_the_vocoder_and_the_mel_alone(project: Project) -> None:
    jobs = project.planned("results/demo/softvc_resynthesis/pairs.jsonl", keys=("feature",))
    assert {("train_soft_vocoder", ""), ("extract", "mel")} < jobs
    assert {feature for rule, feature in jobs if rule == "extract"} == {"mel"}
    assert not {rule for rule, _ in jobs} & {"train_acoustic", "soft_statistics", "derive", "fit"}


def test_without_a_condition_there_is_no_pitdyn(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    softvc = {**project.config["softvc"], "condition": "none"}
    monkeypatch.setattr(project, "config", {**project.config, "softvc": softvc})
    for target in ("train_pitdyn", "refine_pitdyn"):
        assert "MissingRuleException" in project.snakemake("--dry-run", target, check=False)
    assert ("train_acoustic", "soft_acoustic") in project.planned("train_soft_acoustic", keys=("acoustic",))


def test_no_other_condition_makes_them(project: Project) -> None:
    rules = {rule for rule, _ in project.planned("train_pitdyn", "train_soft_acoustic", "refine_pitdyn")}
    assert "train_acoustic" in rules
    assert not rules & {"train_hubert_pits", "train_hubert_dyns", "embed_pitdyn"}


def test_coverage_counts_the_voice_against_the_corpus(project: Project) -> None:
    jobs = project.planned("softvc_coverage", keys=("corpus", "feature", "shard"))
    assert ("check_coverage", "small") in jobs and ("fit", "soft") in jobs
    assert ("derive", "small soft 000") in jobs and ("derive", f"{CORPUS} soft {SHARDS - 1:03d}") in jobs
    assert "train_acoustic" not in {rule for rule, _ in jobs}
