import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from vcpipe.config import canonical, feature_settings, load
from vcpipe.errors import InputError
from vcpipe.systems.knnvc.config import prematch_slice, render_slice, run_slice

ROOT = Path(__file__).parents[1]
DEFAULT: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())


def changed(path: str, value: object) -> dict[str, Any]:
    """The default config with one key set; `value` of `...` deletes it."""
    raw = copy.deepcopy(DEFAULT)
    *parents, key = path.split(".")
    section = raw
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value
    return raw


def slices(raw: dict[str, Any]) -> dict[str, str]:
    config = load(raw)
    return {
        "audio": canonical(config.audio_slice("16k", "demo")),
        "feature": canonical(config.feature_slice("whisper_l2", "demo")),
        "prematch": canonical(prematch_slice(config, "demo")),
        "train": canonical(run_slice(config, prematched=True)),
        "render": canonical(render_slice(config, prematched=True)),
        "judge": canonical(config.judge_slice("16k", "demo")),
    }


@pytest.mark.parametrize(
    ("key", "value", "stale"),
    [
        ("audio.16k.min_s", 0.75, {"audio", "feature", "prematch", "train", "render", "judge"}),
        ("features.whisper_l2.layer", 3, {"feature", "prematch", "train", "render"}),
        ("knnvc.prematch.topk", 5, {"prematch", "train", "render"}),
        ("knnvc.training.lr", 1e-4, {"train", "render"}),
        ("knnvc.generator", {"preset": "vocos_small", "depth": 5}, {"train", "render"}),
        ("knnvc.convert.alpha", 0.5, {"render"}),
        ("judge.enrolment", 3, {"judge"}),
        ("corpora.demo.max_reject_share", 0.5, set()),
        ("corpora.demo.splits", "elsewhere", set()),
        ("features.other", {"kind": "mel"}, set()),
        ("audio.24k", {"rate": 24000}, set()),
        ("knnvc.training.workers", 3, set()),
        ("knnvc.training.checkpoint_every", 10, set()),
    ],
)
def test_an_edit_changes_the_slices_of_what_depends_on_it_and_no_others(
    key: str, value: object, stale: set[str]
) -> None:
    before, after = slices(DEFAULT), slices(changed(key, value))
    assert {name for name in before if before[name] != after[name]} == stale


def test_equal_meanings_are_equal_strings() -> None:
    reordered = {key: DEFAULT[key] for key in reversed(DEFAULT)}
    copy = DEFAULT["audio"]["16k"]
    reordered["audio"] = {"16k": {**{k: copy[k] for k in reversed(copy)}, "max_s": 60}}
    assert slices(reordered) == slices(DEFAULT)
    assert slices(changed("knnvc.demo.seed", 0)) == slices(DEFAULT)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("corpra", {}, "'corpra' is unknown; did you mean 'corpora'"),
        ("audio.16k.rat", 16000, "'audio.16k.rat' is unknown; did you mean 'rate'"),
        ("audio.16k.rate", "fast", "'audio.16k.rate'.*found 'fast'"),
        ("audio.rate", 16000, "'audio.rate': settings belong to a named copy.*16k: {rate: 16000}"),
        ("audio", {}, "'audio': expected named copies"),
        ("features.whisper_l2.audio", "24k", "'features.whisper_l2.audio': '24k' is not under audio"),
        ("features.whisper_l2.laier", 2, "'features.whisper_l2.laier' is unknown; did you mean 'layer'"),
        ("features.whisper_l2.layer", 9, "'features.whisper_l2.layer'.*found 9"),
        ("features.whisper_l2.kind", "whisper_tiny", "features.whisper_l2.kind.*did you mean 'whisper_tiny_en'"),
        ("features.whisper_l2", 3, "'features.whisper_l2': expected a mapping with a `kind`"),
        ("corpora.demo.kind", "libri", "corpora.demo.kind.*'libri'"),
        ("knnvc.match", "whisper_l3", "'knnvc.match'.*did you mean 'whisper_l2'"),
        ("knnvc.corpus", "dem", "'knnvc.corpus'.*did you mean 'demo'"),
        ("knnvc.training.stepz", 5, "'knnvc.training.stepz' is unknown; did you mean 'steps'"),
        ("knnvc.prematch.topk", 0, "'knnvc.prematch.topk'.*found 0"),
        ("knnvc.generator", "hifigan_v4", "knnvc.generator.*did you mean 'hifigan_v"),
        ("knnvc.generator", {"preset": "hifigan_v1", "rates": [10, 8, 2, 3], "kernels": [20, 16, 4, 7]}, "480.*320"),
        ("features.my mel", {"kind": "mel"}, "'features.my mel': a name has letters"),
        ("features.prematched", {"kind": "mel"}, "'features.prematched': the name is kept"),
        ("audio.16k.rate", 24000, "'features.whisper_l2': it reads 16000 samples/s.*`16k: {rate: 16000}`"),
        ("audio.again", {"rate": 16000}, "'features.whisper_l2.audio': 16k and again have 16000.*name one"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path_and_the_nearest_right_one(
    key: str, value: object, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        load(changed(key, value))


def test_features_that_do_not_zip_are_refused() -> None:
    raw = changed("features.mel_10ms", {"kind": "mel", "hop": 160})
    raw["knnvc"]["synthesis"] = "mel_10ms"
    with pytest.raises(InputError, match="'knnvc.synthesis': mel_10ms lies on grid 16000/160"):
        load(raw)


def test_a_feature_of_another_revision_is_refused() -> None:
    content = load(DEFAULT).features["whisper_l2"].content()
    assert feature_settings(content).content() == content
    with pytest.raises(InputError, match="made by revision 99"):
        feature_settings({**content, "revision": 99})


@pytest.mark.parametrize("preset", sorted((ROOT / "workflow" / "presets").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_preset_over_the_default_is_valid(preset: Path) -> None:
    def laid_over(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
        out = dict(base)
        for key, value in top.items():
            out[key] = (
                laid_over(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
            )
        return out

    config = load(laid_over(DEFAULT, yaml.safe_load(preset.read_text())))
    assert config.systems["knnvc"].corpus == "librispeech"


def test_the_paper_preset_is_the_papers_recipe() -> None:
    config = load({**DEFAULT, **yaml.safe_load((ROOT / "workflow" / "presets" / "knnvc-paper.yaml").read_text())})
    made_by = run_slice(config, prematched=True)
    training, generator = made_by["training"], made_by["generator"]
    assert (generator["rates"], generator["channels"], made_by["units"]["dim"]) == ([10, 8, 2, 2], 512, 1024)
    assert (training["batch"], training["segment_frames"], training["lr"], training["steps"]) == (
        16,
        22,
        2e-4,
        2_500_000,
    )
    assert (training["betas"], training["lr_decay"]) == ([0.8, 0.99], 0.999)
    assert (training["weights"]["mel"], training["weights"]["feature"]) == (45.0, 2.0)
    assert training["discriminators"] == "hifigan" and training["adversarial_from"] == 0
    assert [v["stage"] for v in made_by["variants"]] == ["prematch"]
