"""The `softvc:` section: what is refused before hours are lost, and what depends on what."""

import copy
from typing import Any

import pytest

from vcpipe import packing
from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.systems.softvc.config import (
    AcousticTraining,
    base_of,
    classifier_slice,
    classifiers,
    counted_by,
    coverage_slice,
    data_options,
    embed_slice,
    fitted,
    render_slice,
    run_slice,
    vocoder_slice,
)

RAW: dict[str, Any] = {
    "corpora": {"large": {"kind": "folder", "root": "x"}, "small": {"kind": "folder", "root": "y", "shards": 1}},
    "audio": {
        "16k": {},
        "16k_moved": {"rate": 16000, "augment": {"pitch": [-12, 12]}},
        "16k_louder": {"rate": 16000, "augment": {"gain_db": [0, 6]}},
        "16k_levelled": {"rate": 16000, "loudness": {"kind": "rms", "level": -20}},
    },
    "features": {
        "tiny": {"kind": "tiny_random", "audio": "16k"},
        "units": {"kind": "kmeans", "of": "tiny", "corpus": "large"},
        "soft": {"kind": "soft_units", "of": ["tiny", "units"], "corpus": "large"},
        "whisper": {"kind": "whisper_tiny_en", "audio": "16k"},
        "bottom": {"kind": "whisper_tiny_en", "layer": 0, "audio": "16k"},
        "energy_20ms": {"kind": "energy", "hop": 320, "audio": "16k"},
        "voice": {"kind": "ge2e", "audio": "16k"},
        "mel": {"kind": "mel", "preset": "softvc", "audio": "16k"},
        "mel_20ms": {"kind": "mel", "hop": 320, "audio": "16k"},
        "f0": {"kind": "f0", "method": "praat", "audio": "16k"},
        "f0_20ms": {"kind": "f0", "method": "praat", "hop": 320, "audio": "16k"},
        "energy": {"kind": "energy", "hop": 160, "audio": "16k"},
        "rms": {"kind": "energy", "hop": 160, "measure": "rms", "audio": "16k"},
        "mel_f0": {"kind": "joined", "of": ["mel", "f0"]},
        "f0_mel": {"kind": "joined", "of": ["f0", "mel"]},
        "mel_units": {"kind": "joined", "of": ["mel_20ms", "f0_20ms"]},
        "of_joined": {"kind": "kmeans", "of": "mel_units", "corpus": "large"},
        "soft_of_joined": {"kind": "soft_units", "of": ["mel_units", "of_joined"], "corpus": "large"},
        "log_f0": {"kind": "log_f0", "of": "f0_20ms"},
        "moved_tiny": {"kind": "tiny_random", "audio": "16k_moved"},
        "moved_units": {"kind": "kmeans", "of": "moved_tiny", "corpus": "large"},
        "moved_whisper": {"kind": "whisper_tiny_en", "audio": "16k_moved"},
        "moved_f0_20ms": {"kind": "f0", "method": "praat", "hop": 320, "audio": "16k_moved"},
        "moved_energy_20ms": {"kind": "energy", "hop": 320, "audio": "16k_moved"},
        "louder_energy": {"kind": "energy", "hop": 160, "audio": "16k_louder"},
        "moved_mel": {"kind": "mel", "preset": "softvc", "audio": "16k_moved"},
        "moved_f0": {"kind": "f0", "method": "praat", "audio": "16k_moved"},
        "moved_energy": {"kind": "energy", "hop": 160, "audio": "16k_moved"},
    },
    "softvc": {
        "corpus": "large",
        "units": "tiny",
        "mel": "mel",
        "f0": "f0",
        "energy": "energy",
        "vocoder": {"training": {"preset": "cpu"}},
    },
    "evaluate": {"corpus": "large", "audio": "16k"},
}
MOVED = {"mel": "moved_mel", "f0": "moved_f0", "energy": "moved_energy"}
LITERAL = {"encoder": "whisper", "pits": "f0_20ms", "dyns": "energy_20ms"}
PITCHED = {"units": "mel_f0", "generator": "mel_source_filter_small", "training": {"preset": "cpu"}}


def config(**softvc: Any) -> Any:
    raw = copy.deepcopy(RAW)
    raw["softvc"] |= softvc
    return load(raw)


@pytest.mark.parametrize(
    ("softvc", "words"),
    [
        ({"corpus": "larg"}, "softvc.corpus.*did you mean 'large'"),
        ({"units": "voice"}, "softvc.units.*has a row for every utterance"),
        ({"mel": "mel_20ms", "f0": "f0_20ms"}, "softvc.energy.*must be on the same"),
        ({"mel": "f0"}, "softvc.mel.*expected a feature of kind mel, f0 is of kind f0"),
        ({"f0": "f0_20ms"}, "softvc.f0.*grid 16000/320, softvc.mel on 16000/160"),
        ({"energy": "rms"}, "softvc.energy.*measure rms_db, rms has rms"),
        ({"variants": [{**MOVED, "f0": "energy"}]}, "softvc.variants.0.f0.*kind f0"),
        (
            {"variants": [{**MOVED, "energy": "louder_energy"}]},
            "'softvc.variants.0': .* of one copy .* found 16k_louder and 16k_moved",
        ),
        ({"variants": [MOVED, {**MOVED, "f0": "f0"}]}, "'softvc.variants.1': .* found 16k and 16k_moved"),
        (
            {"variants": [{"mel": "mel", "f0": "f0", "energy": "energy"}]},
            "'softvc.variants.0': .* another copy than softvc.mel's, found 16k",
        ),
        (
            {"refine": {"corpus": "small", "variants": [{**MOVED, "mel": "mel"}]}},
            "'softvc.refine.variants.0': .* found 16k and 16k_moved",
        ),
        ({"units": "moved_tiny"}, "'softvc.units': .* augment .* found 16k_moved and 16k"),
        ({"units": "moved_units"}, "'softvc.units': .* augment .* found 16k_moved and 16k"),
        ({"f0": "moved_f0"}, "'softvc.f0': .* augment .* found 16k_moved and 16k"),
        ({"energy": "louder_energy"}, "'softvc.energy': .* augment .* found 16k_louder and 16k"),
        ({"literal": {**LITERAL, "encoder": "moved_whisper"}}, "'softvc.literal.encoder': .* augment"),
        ({"literal": {**LITERAL, "pits": "moved_f0_20ms"}}, "'softvc.literal.pits': .* augment"),
        ({"literal": {**LITERAL, "dyns": "moved_energy_20ms"}}, "'softvc.literal.dyns': .* augment"),
        ({"units": "mel_units"}, "'softvc.units': .* found mel_units of kind joined, made of mel_20ms and f0_20ms"),
        ({"units": "log_f0"}, "'softvc.units': .* found log_f0 of kind log_f0, made of f0_20ms"),
        ({"units": "of_joined"}, "'softvc.units': .* found of_joined of kind kmeans, made of mel_units"),
        ({"units": "soft_of_joined"}, "'softvc.units': .* found soft_of_joined of kind soft_units, made of mel_units"),
        ({"refine": {"corpus": "large"}}, "'softvc.refine.corpus': expected another corpus than softvc.corpus"),
        (
            {"refine": {"corpus": "small", "training": {"preset": "refine", "init": "bshall.pt"}}},
            "'softvc.refine.training.init': .* goes on from the run .* found bshall.pt",
        ),
        ({"refine": {"corpus": "smal"}}, "softvc.refine.corpus.*did you mean 'small'"),
        ({"refine": {"corpus": "small", "mix": 1.0}}, "softvc.refine.mix"),
        ({"model": {"preset": "smal"}}, "no preset 'smal'.*small"),
        ({"model": {"kernel": 4}}, "kernel 4: must be odd"),
        ({"training": {"preset": "fast"}}, "no preset 'fast'"),
        ({"vocoder": {**PITCHED, "units": ""}}, "softvc.vocoder.units.*kind joined of mel and f0, found mel"),
        ({"vocoder": {**PITCHED, "units": "f0_mel"}}, "softvc.vocoder.units.*found f0_mel"),
        ({"vocoder": {**PITCHED, "generator": "hifigan_softvc"}}, "hifigan reads mel, found mel_f0"),
        ({"vocoder": {**PITCHED, "generator": "source_filter_small"}}, "mel_source_filter_small"),
        (
            {"vocoder": {"generator": "hifigan_v1", "training": {}}},
            "320 samples per frame, but the units have a hop of 160",
        ),
        ({"rows": {"softvc": {}}}, "the system has a row of this name"),
        ({"rows": {"other": {"refined": True}}}, "softvc.rows.other.refined.*expected softvc.refine"),
        (
            {"rows": {"p": {"condition": "none", "convert": {"transpose": 2}}}},
            "softvc.rows.p.convert.transpose.*found 2",
        ),
        (
            {"condition": "none", "convert": {"range": "keep"}},
            "softvc.convert.range.*expected match without a condition",
        ),
        ({"convert": {"tranpose": 1}}, "did you mean 'transpose'"),
        ({"condition": "literal"}, "'softvc.condition': literal expects softvc.literal .* found none; add"),
        ({"rows": {"l": {"condition": "literal"}}}, "'softvc.rows.l.condition': literal expects softvc.literal"),
        ({"literal": {"encoder": "whisper"}}, "softvc.literal.pits.*is missing"),
        ({"literal": {**LITERAL, "encoder": "wisper"}}, "softvc.literal.encoder.*did you mean 'whisper'"),
        ({"literal": {**LITERAL, "encoder": "tiny"}}, "softvc.literal.encoder.*of kind whisper.*found 'tiny_random'"),
        ({"literal": {**LITERAL, "encoder": "bottom"}}, "softvc.literal.encoder.*one layer of Whisper, from 1 on"),
        ({"literal": {**LITERAL, "pits": "f0"}}, "softvc.literal.pits.*grid 16000/160, softvc.units on 16000/320"),
        ({"literal": {**LITERAL, "dyns": "f0_20ms"}}, "softvc.literal.dyns.*expected a feature of kind energy"),
        ({"literal": {**LITERAL, "training": {"preset": "fast"}}}, "no preset 'fast'"),
        ({"literal": LITERAL, "units": "units"}, "softvc.units.*beside soft units .* found discrete units"),
        (
            {"literal": LITERAL, "condition": "literal", "convert": {"transpose": 2}},
            "softvc.convert.transpose.*expected 0.0 without a condition that can be moved, found 2",
        ),
        (
            {"literal": LITERAL, "rows": {"l": {"condition": "literal", "convert": {"dynamics": False}}}},
            "softvc.rows.l.convert.dynamics.*found False",
        ),
    ],
)
def test_what_would_fail_later_is_refused_by_name(softvc: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        config(**softvc)


def test_a_variant_is_measured_as_what_it_is_a_variant_of() -> None:
    raw = copy.deepcopy(RAW)
    raw["features"]["moved_mel"]["fmax"] = 7000.0
    raw["softvc"]["variants"] = [MOVED]
    with pytest.raises(InputError, match=r"softvc.variants.0.mel.*measured as mel is, found fmax 7000.0 and 8000.0"):
        load(raw)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("centre", "start"),
        ("pad", "zeros"),
        ("power", 2),
        ("log", "none"),
        ("pre_emphasis", 0.5),
        ("epsilon", 1e-9),
        ("fmin", 50.0),
        ("win", 800),
        ("fmax", 7000.0),
        ("mels", 63),
    ],
)
def test_a_mel_that_griffin_lim_and_pulses_would_hear_otherwise_is_refused(key: str, found: object) -> None:
    raw = copy.deepcopy(RAW)
    raw["features"]["mel"][key] = found
    load(raw)  # a vocoder without a source reads any mel
    raw["softvc"]["vocoder"] = PITCHED
    with pytest.raises(InputError, match=rf"'softvc\.mel': .* {key} .*, found {found} .* features\.mel\.{key}"):
        load(raw)


def test_a_vocoder_with_a_source_reads_every_mel_of_that_definition() -> None:
    raw = copy.deepcopy(RAW)
    raw["softvc"]["vocoder"] = PITCHED
    for fmax, mels in ((8000.0, 128), (None, 64)):
        raw["features"]["mel"] |= {"fmax": fmax, "mels": mels}
        assert load(raw).features["mel"].dim == mels


def test_the_parts_may_be_of_copies_that_differ_in_what_is_done_to_the_sound() -> None:
    raw = copy.deepcopy(RAW)
    raw["features"]["tiny"]["audio"] = "16k_levelled"
    assert load(raw).copy_of("units") == "16k_levelled"


def test_a_run_depends_on_its_own_settings_and_no_other() -> None:
    plain = run_slice(config(), "continuous")
    assert plain == run_slice(config(convert={"transpose": 1}, rows={"x": {}}, vocoder=PITCHED), "continuous")
    assert plain == run_slice(config(training={"workers": 3}), "continuous")
    assert plain != run_slice(config(training={"steps": 7}), "continuous")
    assert plain != run_slice(config(), "quantised")
    assert vocoder_slice(config()) == vocoder_slice(config(training={"steps": 7}, condition="none"))


def test_a_row_depends_on_its_condition_alone_where_it_has_one() -> None:
    rows = {"plain": {"condition": "none"}}
    found = render_slice(config(rows=rows), "plain")
    assert found["run"]["condition"] == "none" and set(found["convert"]) == {"loudness_lufs"}
    assert render_slice(config(), "softvc")["run"]["condition"] == "continuous"
    assert "run" not in render_slice(config(), "softvc_resynthesis")
    assert render_slice(config(training={"steps": 7}), "softvc_resynthesis") == render_slice(
        config(), "softvc_resynthesis"
    )


def test_a_refined_run_draws_of_both_corpora_and_goes_on_from_the_first() -> None:
    found = config(refine={"corpus": "small", "mix": 0.25, "variants": [MOVED]})
    made_by = run_slice(found, "continuous", refined=True)
    assert [part["share"] for part in made_by["data"]] == [0.75, 0.25]
    assert [len(part["mel"]) for part in made_by["data"]] == [2, 1]
    assert [len(part["units"]) for part in made_by["data"]] == [1, 1]
    assert [part["shards"] for part in made_by["data"]] == [1, 4]
    assert made_by["from"] == run_slice(config(), "continuous")
    assert made_by["training"]["lr"] == AcousticTraining.model_validate({"preset": "refine"}).lr == 1e-5
    softvc = found.systems["softvc"]
    assert set(softvc.acoustics) == {
        f"{name}{end}"
        for name in ("soft_acoustic", "pitdyn_continuous", "pitdyn_quantised")
        for end in ("", "_refined")
    }
    assert softvc.run_of("softvc") == "results/runs/pitdyn_continuous_refined"
    assert base_of(softvc, "pitdyn_continuous_refined")[1] == "results/runs/pitdyn_continuous/config.json"
    assert base_of(softvc, "pitdyn_continuous") == []
    assert [text.count("moved") for text in data_options(found, "pitdyn_continuous_refined")[1::2]] == [3, 0]


def test_units_that_were_fitted_bring_their_model() -> None:
    assert fitted(config()) == []
    found = config(units="units")
    assert fitted(found) == ["results/runs/units/model.safetensors"]
    assert run_slice(found, "none")["units"] == {"grid": "16000/320", "dim": 1, "n": 100}
    assert run_slice(found, "none")["features"]["units"]["of"][0]["kind"] == "tiny_random"


def test_the_literal_variant_reads_units_with_columns_of_two_classifiers() -> None:
    found = config(literal=LITERAL, rows={"literal": {"condition": "literal"}})
    softvc = found.systems["softvc"]
    assert softvc.run_of("literal") == "results/runs/pitdyn_literal"
    assert list(classifiers(softvc, "pitdyn_literal")) == ["pits", "dyns"]
    assert classifiers(softvc, "pitdyn_continuous") == {}
    made_by, embedded = run_slice(found, "literal"), embed_slice(found, "large")
    assert made_by["units"] == {"grid": "16000/320", "dim": 64 + 512, "n": 0}
    assert made_by["data"][0]["units"] == [embedded]
    assert made_by["features"]["units"]["kind"] == "tiny_random"
    for role, labels in (("pits", "f0_20ms"), ("dyns", "energy_20ms")):
        made = classifier_slice(found, role)  # type: ignore[arg-type]
        assert (made["embds"], made["labels"]) == (role, found.feature_slice(labels, "large"))
        assert made == embedded[role] == made_by["literal"][role]
    assert render_slice(found, "literal")["units"] == embedded
    assert set(render_slice(found, "literal")["convert"]) == {"loudness_lufs"}
    assert "results/features/units_pitdyn/large" in data_options(found, "pitdyn_literal")[1]
    assert softvc.read_by("pitdyn_literal") == {"large": ["units_pitdyn", "mel", "f0", "energy"]}


def test_the_literal_variant_changes_no_other() -> None:
    found = config(literal=LITERAL)
    for condition in ("none", "continuous", "quantised"):
        assert run_slice(found, condition) == run_slice(config(), condition)
    assert render_slice(found, "softvc") == render_slice(config(), "softvc")
    assert set(found.systems["softvc"].acoustics) - set(config().systems["softvc"].acoustics) == {"pitdyn_literal"}
    slower = config(literal={**LITERAL, "training": {"workers": 3}})
    assert classifier_slice(slower, "pits") == classifier_slice(found, "pits")
    longer = config(literal={**LITERAL, "training": {"steps": 7}})
    assert classifier_slice(longer, "pits") != classifier_slice(found, "pits")


def test_of_a_changed_copy_the_literal_units_have_its_pitch_and_the_content_of_the_recordings() -> None:
    found = config(literal=LITERAL, variants=[MOVED])
    assert {len(names) for names in found.systems["softvc"].columns("none", (MOVED,)).values()} == {1}
    assert found.systems["softvc"].columns("literal", found.systems["softvc"].variants) == {
        "units": ["units_pitdyn", "units_pitdyn_moved_mel"],
        "mel": ["mel", "moved_mel"],
        "f0": ["f0", "moved_f0"],
        "energy": ["energy", "moved_energy"],
    }
    plain, moved = run_slice(found, "literal")["data"][0]["units"]
    assert plain == embed_slice(found, "large")
    assert moved == {**plain, "wav": found.audio_slice("16k_moved", "large")}
    assert len(run_slice(found, "continuous")["data"][0]["units"]) == 1
    assert render_slice(config(literal=LITERAL, condition="literal", variants=[MOVED]), "softvc")["units"] == plain


def test_the_literal_shards_can_be_packed_and_their_name_is_kept() -> None:
    raw = copy.deepcopy(RAW)
    raw["packs"] = {"p": {"corpus": "large", "columns": {"units": "units_pitdyn", "mel": "mel"}}}
    with pytest.raises(InputError, match="packs.p.columns.*'units_pitdyn' is neither"):
        packing.check(load(raw))
    raw["softvc"]["literal"] = LITERAL
    found = load(raw)
    packing.check(found)
    assert packing.pack_slice(found, "p")["columns"]["units"] == [embed_slice(found, "large")]
    raw["features"]["units_pitdyn"] = {"kind": "tiny_random", "audio": "16k"}
    with pytest.raises(InputError, match=r"features\.units_pitdyn': names with units_pitdyn are kept for units"):
        load(raw)


def test_coverage_depends_on_the_units_of_both_corpora() -> None:
    found = config(units="soft")
    made_by = coverage_slice(found, "small")
    assert made_by["target"] == {"units": found.feature_slice("soft", "small"), "shards": 1}
    assert made_by["reference"] == {"units": found.feature_slice("soft", "large"), "shards": 4}
    assert counted_by(found) == ["results/runs/soft/model.safetensors"]
    assert counted_by(config(units="units")) == []


def test_the_same_speaker_is_judged_unless_the_sources_are_no_voices() -> None:
    assert "softvc_same_speaker" in config().systems["softvc"].all_rows
    assert set(config(same_speaker=False).systems["softvc"].all_rows) == {"softvc", "softvc_resynthesis"}
