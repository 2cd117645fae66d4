"""What the slices of Soft-VC hold: what a stage depends on, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.systems.softvc.test_workflow import config
from vcpipe.config import Config, load
from vcpipe.systems.softvc.config import Settings, render_slice, run_slice, vocoder_slice
from vcpipe.systems.softvc.slices import STREAMS, acoustic_of_row, streams_of_row

PITCHED = {"units": "heard", "generator": "mel_source_filter_small", "training": {"preset": "cpu"}}


def given(pitch: dict[str, Any] | None = None, **softvc: Any) -> Config:
    raw = config(Path("x"))
    raw["features"]["heard"] = {"kind": "joined", "of": ["mel", "f0"]}
    raw["features"]["f0"] |= pitch or {}
    raw["softvc"] |= softvc
    return load(raw)


@pytest.mark.parametrize(
    ("vocoder", "names"), [({"training": {"preset": "cpu"}}, {"mel"}), (PITCHED, {"mel", "f0"})], ids=["mel", "pitched"]
)
def test_a_vocoder_knows_all_that_it_reads_as_the_acoustic_model_does(vocoder: dict[str, Any], names: set[str]) -> None:
    found = given(vocoder=vocoder)
    features = vocoder_slice(found)["features"]
    assert set(features) == names
    assert all(run_slice(found, "continuous")["features"][name] == content for name, content in features.items())


def test_a_resynthesis_depends_on_the_mel_and_the_vocoder_alone() -> None:
    row = "softvc_resynthesis"
    plain = render_slice(given(), row)
    assert set(plain) == {"stage", "revision", "row", "convert", "vocoder", "mel", "wav"}
    assert render_slice(given({"ceil_hz": 500}, units="tiny", condition="none", refine=None), row) == plain
    assert render_slice(given({"ceil_hz": 500}, vocoder=PITCHED), row) != render_slice(given(vocoder=PITCHED), row)


def test_a_conversion_is_made_of_all_streams_and_a_resynthesis_of_what_the_vocoder_reads() -> None:
    softvc: Settings = given().systems["softvc"]
    assert tuple(softvc.streams) == STREAMS == tuple(streams_of_row(softvc, "softvc"))
    assert streams_of_row(softvc, "softvc_resynthesis") == {"mel": "mel"}
    pitched: Settings = given(vocoder=PITCHED).systems["softvc"]
    assert streams_of_row(pitched, "softvc_resynthesis") == {"mel": "mel", "f0": "f0"}
    assert acoustic_of_row(softvc, "softvc") == ["results/runs/pitdyn_continuous_refined"]
    assert acoustic_of_row(softvc, "softvc_resynthesis") == []
