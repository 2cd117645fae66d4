import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from vcpipe import evaluated, packing
from vcpipe.config import Config, derived_settings, feature_settings, load
from vcpipe.errors import InputError
from vcpipe.settings import Slice, canonical
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
        "render": canonical(render_slice(config, "knnvc")),
        "linear": canonical(render_slice(config, "linear")),
        "noise": canonical(evaluated.reference_slice(config, "noise")),
        "judge": canonical(evaluated.judge_slice(config)),
    }


@pytest.mark.parametrize(
    ("key", "value", "stale"),
    [
        (
            "audio",
            {name: {**copy, "min_s": 0.75} for name, copy in DEFAULT["audio"].items()},
            {"audio", "feature", "prematch", "train", "render", "linear", "noise", "judge"},
        ),
        ("features.whisper_l2.layer", 3, {"feature", "prematch", "train", "render", "linear"}),
        ("knnvc.prematch.topk", 5, {"prematch", "train", "render", "linear"}),
        ("knnvc.training.lr", 1e-4, {"train", "render", "linear"}),
        ("knnvc.generator", {"preset": "source_filter_small", "depth": 5}, {"train", "render", "linear"}),
        ("knnvc.convert.alpha", 0.5, {"render", "linear"}),
        ("knnvc.rows.linear.convert.ridge", 0.5, {"linear"}),
        ("evaluate.enrolment", 3, {"judge"}),
        ("evaluate.asr", "whisper_base", {"judge"}),
        ("evaluate.pairs", 3, set()),
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
    reordered["audio"] = {**DEFAULT["audio"], "16k": {**{k: copy[k] for k in reversed(copy)}, "max_s": 60}}
    assert slices(reordered) == slices(DEFAULT)
    assert slices(changed("evaluate.seed", 0)) == slices(DEFAULT)


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
        ("knnvc.match", "whisper_2", "'knnvc.match'.*did you mean 'whisper_l2'"),
        ("knnvc.corpus", "dem", "'knnvc.corpus'.*did you mean 'demo'"),
        ("knnvc.training.stepz", 5, "'knnvc.training.stepz' is unknown; did you mean 'steps'"),
        ("knnvc.prematch.topk", 0, "'knnvc.prematch.topk'.*found 0"),
        ("knnvc.rows.linear.convert.ridg", 1, "'knnvc.rows.linear.convert.ridg' is unknown; did you mean 'ridge'"),
        ("knnvc.rows.linear.vocoder", "plane", "'knnvc.rows.linear.vocoder'.*found 'plane'"),
        ("knnvc.rows.knnvc", {}, "'knnvc.rows.knnvc': the system has a row of this name"),
        ("knnvc.rows.noise", {}, "'knnvc.rows.noise': the evaluation has a row of this name"),
        ("evaluate.corpus", "dem", "'evaluate.corpus'.*did you mean 'demo'"),
        ("evaluate.audio", "24k", "'evaluate.audio': '24k' is not under audio"),
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
    assert {settings.corpus for settings in config.systems.values()} == {"librispeech"}


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


COPIES: dict[str, Any] = {
    "corpora": {"mine": {"kind": "folder", "root": "x"}, "other": {"kind": "folder", "root": "y"}},
    "audio": {"16k": {}, "24k": {"rate": 24000}},
    "features": {
        "pitch": {"kind": "f0", "method": "praat"},
        "pitch_dio": {"kind": "f0", "method": "dio"},
        "pitch_24k": {"kind": "f0", "method": "praat", "rate": 24000, "hop": 240},
        "mel": {"kind": "mel", "rate": 24000},
        "tiny": {"kind": "tiny_random"},
        "voice": {"kind": "ge2e"},
        "contour": {"kind": "log_f0", "of": "pitch"},
        "range": {"kind": "speaker_f0", "of": "pitch"},
        "agreement": {"kind": "f0_agreement", "of": ["pitch", "pitch_dio"]},
        "units": {"kind": "kmeans", "of": "tiny", "corpus": "other"},
        "centroid": {"kind": "speaker_mean", "of": "voice"},
        "melody": {"kind": "speaker_mean", "of": "contour"},
    },
}


def copies(path: str = "", value: object = None) -> dict[str, Any]:
    """`COPIES` with one key set, or as it is."""
    raw = copy.deepcopy(COPIES)
    *parents, key = path.split(".")
    section = raw
    for parent in parents:
        section = section[parent]
    if key:
        section[key] = value
    return raw


def of_everything(config: Config) -> dict[str, str]:
    """The slice of every copy and feature of `mine`, and of the fitted model, by name."""
    made: dict[str, Slice] = {name: config.audio_slice(name, "mine") for name in config.audio}
    made |= {name: config.feature_slice(name, "mine") for name in config.features}
    return {name: canonical(slice_) for name, slice_ in {**made, "model": config.fit_slice("units")}.items()}


AT_24K = {"24k", "mel", "pitch_24k"}
OF_PITCH = {"contour", "range", "agreement", "melody"}
AT_16K = {"16k", "pitch", "pitch_dio", "tiny", "voice", "units", "model", "centroid"} | OF_PITCH


@pytest.mark.parametrize(
    ("key", "value", "stale"),
    [
        ("audio.24k.loudness", {"kind": "rms", "level": -20}, AT_24K),
        ("audio.24k.gates", {"min_snr_db": 10}, AT_24K),
        ("audio.16k.trim", {}, AT_16K),
        ("features.mel.mels", 100, {"mel"}),
        ("features.pitch.floor_hz", 60, {"pitch"} | OF_PITCH),
        ("features.pitch_dio.floor_hz", 60, {"pitch_dio", "agreement"}),
        ("features.tiny.seed", 1, {"tiny", "units", "model"}),
        ("features.units.clusters", 50, {"units", "model"}),
        ("features.contour.dtype", "float16", {"contour", "melody"}),
        ("features.voice.rate_per_s", 2.0, {"voice", "centroid"}),
        ("features.centroid.normalize", False, {"centroid"}),
        ("features.contour.of", ["pitch"], set()),
        ("features.mel.audio", "24k", set()),
        ("corpora.mine.root", "moved", set()),
        ("corpora.other.shards", 5, {"units", "model"}),
        ("corpora.mine.language", "cy", (AT_16K | AT_24K) - {"model"}),
    ],
)
def test_an_edit_reaches_the_copy_and_what_is_made_of_it_in_any_number_of_steps(
    key: str, value: object, stale: set[str]
) -> None:
    before, after = of_everything(load(copies())), of_everything(load(copies(key, value)))
    assert {name for name in before if before[name] != after[name]} == stale


def test_a_feature_has_one_slice_whatever_it_is_called() -> None:
    raw = copies()
    raw["features"] = {f"{name}_2": {**values} for name, values in raw["features"].items()}
    for values in raw["features"].values():
        if "of" in values:
            of = values["of"]
            values["of"] = f"{of}_2" if isinstance(of, str) else [f"{name}_2" for name in of]
    before, after = load(copies()), load(raw)
    for name in before.features:
        assert before.feature_slice(name, "mine") == after.feature_slice(f"{name}_2", "mine")


def test_a_derived_slice_contains_its_parents_and_rebuilds_its_settings() -> None:
    config = load(copies())
    made_by = config.feature_slice("agreement", "mine")
    assert made_by["reads"] == [config.feature_slice(name, "mine") for name in ("pitch", "pitch_dio")]
    twice = config.feature_slice("melody", "mine")
    assert twice["reads"][0]["reads"] == [config.feature_slice("pitch", "mine")]
    assert config.feature_slice("units", "mine")["model"]["reads"] == [config.feature_slice("tiny", "other")]
    for name in ("contour", "range", "agreement", "units", "centroid", "melody"):
        settings, again = config.features[name], derived_settings(config.feature_slice(name, "mine"))
        assert (again.content(), again.dim, again.grid) == (settings.content(), settings.dim, settings.grid), name


def test_copy_of_follows_the_rate_the_key_and_the_parents() -> None:
    config = load(copies())
    assert {name: config.copy_of(name) for name in ("pitch", "mel", "agreement", "melody")} == {
        "pitch": "16k",
        "mel": "24k",
        "agreement": "16k",
        "melody": "16k",
    }
    raw = copies("audio.loud", {"rate": 24000, "loudness": {"kind": "peak", "level": 0.9}})
    raw["features"]["mel"]["audio"] = raw["features"]["pitch_24k"]["audio"] = "loud"
    assert load(raw).copy_of("mel") == "loud"


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        ({"kind": "log_f0", "of": "pich"}, "'features.x.of': 'pich' is not under features; did you mean 'pitch'"),
        ({"kind": "log_f0", "of": "mel"}, "'features.x.of': expected a feature of kind f0, found mel"),
        ({"kind": "speaker_f0", "of": "contour"}, "'features.x.of': expected a feature of kind f0, found log_f0"),
        ({"kind": "log_f0", "of": ["pitch", "pitch_dio"]}, "made of 1 feature, found 2"),
        ({"kind": "log_f0", "of": []}, "made of 1 feature, found 0"),
        ({"kind": "f0_agreement", "of": "pitch"}, "made of 2 features, found 1"),
        ({"kind": "f0_agreement", "of": ["pitch", "tiny"]}, "two features of kind f0 on one grid.*tiny_random"),
        ({"kind": "f0_agreement", "of": ["pitch", "pitch_24k"]}, "16000/160 and f0 on 24000/240"),
        ({"kind": "log_f0", "of": 3}, "'features.x.of': expected the name of a feature.*; found 3$"),
        ({"kind": "log_f0"}, r"'features.x.of' \(the features that it is made of\) is missing; add `of: ...`"),
        ({"kind": "log_f0", "off": "pitch"}, "'features.x.off' is unknown; did you mean 'of'"),
        ({"kind": "log_f0", "of": "x"}, "'features.x.of': x -> x is a circle"),
        ({"kind": "log_f0", "of": "pitch", "audio": "16k"}, "'features.x.audio': log_f0 reads features"),
        ({"kind": "log_f0", "of": "pitch", "dtype": "int16"}, "'features.x.dtype': expected float16 or float32"),
        ({"kind": "tiny_random", "dtype": "int16"}, "'features.x.dtype': expected float16 or float32; found 'int16'"),
        ({"kind": "kmeans", "of": "tiny", "corpus": "mien"}, "'features.x.corpus': 'mien' .* did you mean 'mine'"),
        ({"kind": "kmeans", "of": "tiny"}, "'features.x.corpus' .*is missing; add `corpus: ...`"),
        ({"kind": "kmeans", "of": "tiny", "corpus": "mine", "max_frames": 50}, r"max_frames \(50\) is below clusters"),
        ({"kind": "kmeans", "of": "tiny", "corpus": "mine", "dtype": "float16"}, "'features.x.dtype': expected int16"),
        ({"kind": "kmeans", "of": "units", "corpus": "mine"}, "kmeans is discrete already"),
        ({"kind": "kmeans", "of": "voice", "corpus": "mine"}, "ge2e has one row for a whole utterance"),
        ({"kind": "speaker_mean", "of": "units"}, "kmeans has no mean over a speaker"),
        ({"kind": "speaker_mean", "of": "range"}, "speaker_f0 has no mean over a speaker"),
        ({"kind": "mel", "audio": "16k", "rate": 24000}, "'features.x.audio': 16k has 16000 samples/s, .* reads 24000"),
        ({"kind": "mel", "rate": 22050, "hop": 256}, "no copy under audio has that rate; add `22k: {rate: 22050}`"),
    ],
)
def test_a_wrong_feature_is_refused_in_one_line_that_says_what_to_write(feature: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load(copies("features.x", feature))
    assert "\n" not in str(caught.value)


def test_circles_are_refused_wherever_they_begin() -> None:
    raw = copies("features.a", {"kind": "speaker_mean", "of": "b"})
    raw["features"] |= {"b": {"kind": "kmeans", "of": "c", "corpus": "mine"}, "c": {"kind": "log_f0", "of": "a"}}
    with pytest.raises(InputError, match="'features.a.of': a -> b -> c -> a is a circle; name another feature"):
        load(raw)


def test_parents_of_two_copies_at_one_rate_are_refused() -> None:
    raw = copies("audio.trimmed", {"trim": {}})
    for name in ("tiny", "voice", "pitch"):
        raw["features"].setdefault(name, {})["audio"] = "16k"
    raw["features"]["pitch_dio"]["audio"] = "trimmed"
    with pytest.raises(InputError, match="'features.agreement.of': .* copies 16k and trimmed; name features of one"):
        load(raw)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({5: {}}, "'5' is unknown"),
        ({True: {}}, "'True' is unknown"),
        ({"audio": {5: {}}}, "'audio.5': expected a name, found the YAML value 5; put it in quotes"),
        ({"audio": {"16k": []}}, r"'audio.16k': expected keys with values, found \[\]"),
        ({"audio": []}, r"'audio': expected named copies.*found \[\]"),
        ({"features": []}, r"'features': expected named entries, found \[\]"),
        ({"evaluate": 0}, "'evaluate': expected keys with values, found 0"),
    ],
)
def test_what_yaml_makes_of_slips_is_refused_not_taken_for_nothing(raw: dict[Any, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load({**copies(), **raw})


def test_no_audio_block_is_one_copy_at_16_khz_and_an_empty_entry_is_its_defaults() -> None:
    bare = load({"corpora": COPIES["corpora"], "features": {"tiny": {"kind": "tiny_random"}}})
    empty = load({"corpora": COPIES["corpora"], "audio": {"16k": None}, "evaluate": None})
    assert list(bare.audio) == ["16k"] and bare.audio == empty.audio


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"Units": "whisper_l2"}, "'packs.p.columns.Units': a column is named by small letters"),
        ({"x": "whisper_2"}, "'whisper_2' is neither a feature nor a copy.*did you mean 'whisper_l2'"),
        ({"x": "average"}, "'packs.p.columns.x': average has rows of speakers"),
        ({"units": "whisper_l2", "mel": "odd"}, "'packs.p.columns.mel': grid 16000/320.*cannot be zipped"),
        ({"units": "whisper_l2", "wav": "cut"}, "the copies 16k and cut differ in max_s, trim"),
        ({"one": "ge2e"}, "'packs.p.columns': expected a column of frames or samples"),
    ],
)
def test_packs_that_cannot_be_made_are_refused_before_any_job(columns: dict[str, str], words: str) -> None:
    raw = changed("packs", {"p": {"corpus": "demo", "columns": columns}})
    raw["audio"] |= {"cut": {"rate": 24000, "trim": {}}, "22k": {"rate": 22050, "max_s": 60.0}}
    raw["features"] |= {
        "average": {"kind": "speaker_mean", "of": "whisper_l2"},
        "odd": {"kind": "mel", "preset": "ljspeech_22k"},
        "ge2e": {"kind": "ge2e"},
    }
    with pytest.raises(InputError, match=words):
        packing.check(load(raw))


def test_packs_depend_on_what_they_hold_and_not_on_their_neighbours() -> None:
    raw = changed("packs", {"p": {"corpus": "demo", "columns": {"units": ["prematched", "whisper_l2"], "wav": "16k"}}})
    before = canonical(packing.pack_slice(load(raw), "p"))
    raw["packs"]["q"] = {"corpus": "demo", "columns": {"wav": "16k"}}
    assert canonical(packing.pack_slice(load(raw), "p")) == before
    raw["knnvc"]["prematch"]["topk"] = 9
    assert canonical(packing.pack_slice(load(raw), "p")) != before


def test_a_feature_and_a_copy_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="'features.16k': a copy under audio has this name too"):
        load(changed("features.16k", {"kind": "mel"}))
