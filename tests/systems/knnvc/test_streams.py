"""Content and pitch beside the matched frames, from the shards of a training to a converted recording."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import tone
from tests.systems.knnvc.test_prematch import FEATURE, GRID, Case
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard
from vcpipe.systems.knnvc.config import ConvertSettings
from vcpipe.systems.knnvc.converter import Converter
from vcpipe.systems.knnvc.frames import Frames, assemble, normalised
from vcpipe.systems.knnvc.hub import knn_vc
from vcpipe.systems.knnvc.match import match
from vcpipe.systems.knnvc.prematch import prematch_shard, unmatched_shard
from vcpipe.systems.knnvc.spectrum import long_term
from vcpipe.vocoders.synthesis import vocode

CPU = torch.device("cpu")
SLICES: Slice = {name: {"stage": "feature", "feature": {"kind": name}} for name in ("content", "pitch")}


class Assembled:
    """Shards of three utterances, those of the streams in another order than that of the frames."""

    def __init__(self, folder: Path):
        self.case = Case(folder, {f"a{i}": ("a", "", "train", 20 + i) for i in range(3)})
        rng = np.random.default_rng(1)
        self.content = {u: rng.normal(size=(len(f), 3)).astype(np.float16) for u, f in self.case.frames.items()}
        self.f0 = {u: np.float32([[100 + i, 1], [0, 0]] * 11)[: 20 + i] for i, u in enumerate(self.case.frames)}
        self.write("content", self.content)
        self.write("pitch", self.f0)
        self.made_by = {"stage": "prematch", "match": FEATURE, "synthesis": FEATURE, "streams": SLICES}
        self.made_by["settings"] = {"topk": 4, "pool": "speaker", "min_pool_s": 0.1, "small_pool": "drop"}

    @property
    def streams(self) -> dict[str, Path]:
        return {name: self.case.folder / f"{name}.h5" for name in SLICES}

    def write(self, name: str, rows: dict[str, np.ndarray], grid: Grid = GRID) -> None:
        backwards = [(u, rows[u]) for u in reversed(list(rows))]
        dim = backwards[0][1].shape[1]
        path, dtype = self.case.folder / f"{name}.h5", str(backwards[0][1].dtype)
        write_shard(path, backwards, made_by=SLICES[name], grid=grid, dim=dim, dtype=dtype)

    def prematched(self) -> dict[str, np.ndarray]:
        folder = self.case.folder
        tables = folder / "manifest.csv", folder / "splits.csv"
        prematch_shard(self.made_by, folder / "f.h5", folder / "f.h5", *tables, folder / "p.h5", CPU, self.streams)
        with Shard(folder / "p.h5", self.made_by) as shard:
            return dict(shard)

    def unmatched(self) -> dict[str, np.ndarray]:
        made_by = {"stage": "unmatched", "synthesis": FEATURE, "streams": SLICES}
        unmatched_shard(made_by, self.case.folder / "f.h5", self.case.folder / "u.h5", self.streams)
        with Shard(self.case.folder / "u.h5", made_by) as shard:
            return dict(shard)

    def expected(self, utt_id: str, frames: np.ndarray) -> np.ndarray:
        parts = (torch.from_numpy(part) for part in (frames, self.content[utt_id], self.f0[utt_id]))
        return assemble(*parts).half().numpy()


@pytest.fixture
def made(tmp_path: Path) -> Assembled:
    return Assembled(tmp_path)


def test_matched_frames_stand_between_the_utterances_own_content_and_pitch(made: Assembled) -> None:
    got, frames = made.prematched(), made.case.frames
    for utt_id in frames:
        pool = torch.from_numpy(np.concatenate([frames[u] for u in frames if u != utt_id]))
        np.testing.assert_array_equal(
            got[utt_id], made.expected(utt_id, match(torch.from_numpy(frames[utt_id]), pool).numpy())
        )
        assert got[utt_id].shape == (len(frames[utt_id]), 3 + 8 + 2)


def test_unmatched_units_have_the_same_columns_and_all_utterances(made: Assembled) -> None:
    made.made_by["settings"] |= {"min_pool_s": 100}
    assert made.prematched() == {}
    got = made.unmatched()
    assert list(got) == list(made.case.frames)
    for utt_id, frames in made.case.frames.items():
        np.testing.assert_array_equal(got[utt_id], made.expected(utt_id, frames))


def test_streams_that_do_not_fit_the_frames_are_refused(made: Assembled) -> None:
    made.write("pitch", {u: f0[:-1] for u, f0 in made.f0.items()})
    for make in (made.prematched, made.unmatched):
        with pytest.raises(InputError, match=r"pitch.h5: a0 has 19 frames, expected 20"):
            make()
    made.write("pitch", made.f0, Grid(16000, 160))
    for make in (made.prematched, made.unmatched):
        with pytest.raises(InputError, match=r"pitch.h5: grid 16000/160, expected 16000/320"):
            make()


@pytest.fixture(scope="module")
def converter(streams_run: Path) -> Converter:
    return Converter.load(streams_run)


def wave(seconds: float, hz: float = 150.0) -> torch.Tensor:
    return torch.from_numpy(tone(seconds, hz))


def heard_by(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    heard: list[torch.Tensor] = []
    monkeypatch.setattr(converter, "speak", lambda units, *_: heard.append(units))
    return heard


def test_a_converter_hears_the_sources_content_and_its_pitch_in_the_targets_register(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert converter.content is converter.matcher and converter.synthesizer is not converter.matcher
    assert set(converter.revisions()) == {"match", "synthesis", "content", "pitch"}
    source, pool = converter.frames(wave(1.0, 120)), converter.pool([wave(1.0, 240), wave(0.7, 240)], trim=False)
    assert source.f0 is not None and pool.f0 is not None and len(pool.f0) == len(pool)
    torch.testing.assert_close(pool.content, normalised(pool.match).half())
    heard = heard_by(converter, monkeypatch)
    for options in ({}, {"transpose": 12.0}, {"alpha": 1.0}):
        converter.convert(source, pool, ConvertSettings(**options))
    plain, higher, own = heard
    matched = match(source.match, pool.match, pool.synthesis)
    assert torch.equal(plain[:, :-2], assemble(matched, source.content))
    voiced = source.f0[:, 1] > 0
    assert plain[voiced, -2].median() == pytest.approx(240, rel=0.02) and voiced.float().mean() > 0.5
    torch.testing.assert_close(higher[:, -2], plain[:, -2] * 2)
    torch.testing.assert_close(own, assemble(source.synthesis, source.content, source.f0))


def test_the_neighbours_give_their_share_of_the_content(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    source, pool = converter.frames(wave(1.0, 120)), converter.pool([wave(1.0, 240)], trim=False)
    heard = heard_by(converter, monkeypatch)
    for share in (1.0, 0.4, 0.0):
        converter.convert(source, pool, ConvertSettings(own_content=share))
    assert source.content is not None and pool.content is not None
    theirs = match(source.match, pool.match, pool.content)
    for units, share in zip(heard, (1.0, 0.4, 0.0), strict=True):
        content = torch.lerp(theirs, normalised(source.content), share)
        torch.testing.assert_close(units[:, : content.shape[1]], normalised(content), atol=1e-3, rtol=1e-3)
        assert torch.equal(units[:, content.shape[1] :], heard[0][:, content.shape[1] :])
    with pytest.raises(InputError, match="own_content: the pool has no content"):
        converter.convert(source, Frames(pool.match, pool.synthesis, f0=pool.f0), ConvertSettings(own_content=0.5))


def test_a_conversion_with_streams_is_sound_of_the_sources_length(converter: Converter) -> None:
    out = converter(wave(1.01, 120), [wave(1.0, 240)])
    assert len(out) == 16000 and np.isfinite(out).all()
    source, pool = converter.frames(wave(1.0, 120)), converter.pool([wave(1.0, 240)], trim=False)
    assert len(converter.convert(source, pool, target_duration_s=1.7)) == round(1.7 * 50) * 320
    units = assemble(source.synthesis, source.content, source.f0)
    expected = vocode(converter.vocoder, units, 320).numpy()
    np.testing.assert_allclose(
        converter.convert(source, pool, ConvertSettings(alpha=1.0, loudness_lufs=None)), expected, atol=1e-5
    )


def test_a_run_with_streams_is_refused_under_the_published_names(streams_run: Path) -> None:
    with pytest.raises(InputError, match="hears content or pitch beside it: use .*Converter"):
        knn_vc(device="cpu", run=streams_run)


def test_without_pitch_there_is_nothing_to_transpose(tiny_run: Path) -> None:
    plain = Converter.load(tiny_run)
    assert (plain.content, plain.pitch) == (None, None) and set(plain.revisions()) == {"match", "synthesis"}
    source = plain.frames(wave(0.5))
    with pytest.raises(InputError, match="transpose 2: the vocoder of this run hears no F0"):
        plain.convert(source, Frames(source.match, source.synthesis), ConvertSettings(transpose=2.0))
    with pytest.raises(InputError, match="own_content 0.5: the vocoder of this run hears no content"):
        plain.convert(source, Frames(source.match, source.synthesis), ConvertSettings(own_content=0.5))


def test_the_output_is_brought_to_the_spectrum_of_the_references(converter: Converter) -> None:
    source, pool = converter.frames(wave(1.0, 120)), converter.pool([wave(1.0, 240)], trim=False)
    plain, brought = (converter.convert(source, pool, ConvertSettings(match_spectrum=on)) for on in (False, True))
    assert pool.spectrum is not None
    distance = [np.abs(long_term([w], converter.grid.rate).mean - pool.spectrum.mean).mean() for w in (plain, brought)]
    assert distance[1] < 0.5 * distance[0]
    with pytest.raises(InputError, match=r"match_spectrum: the pool has no spectrum; make it with Converter.pool"):
        converter.convert(source, Frames(pool.match, pool.synthesis, f0=pool.f0), ConvertSettings(match_spectrum=True))


def test_frames_are_compared_without_the_mean_and_spread_of_each_voice(
    converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pool = converter.frames(wave(1.0, 120)), converter.pool([wave(1.0, 240)], trim=False)
    other = Frames(3 * pool.match.float() + 5, pool.synthesis, f0=pool.f0)  # the same words of a voice far away
    heard = heard_by(converter, monkeypatch)
    for normalise in (False, True):
        monkeypatch.setattr(converter, "normalise", normalise)
        for frames in (pool, other):
            converter.convert(source, frames)
    assert not torch.equal(heard[0], heard[1])
    assert torch.equal(heard[2], heard[3])
