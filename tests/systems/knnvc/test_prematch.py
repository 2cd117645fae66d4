"""Pre-matching, on made-up frames and against the published procedure's numbers."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.manifest import Split, Utterance, write_table
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard
from vcpipe.systems.knnvc.match import match
from vcpipe.systems.knnvc.prematch import prematch_shard

GRID = Grid(16000, 320)
HALVES = ((slice(0, 15), slice(15, 30)), (slice(15, 30), slice(0, 15)))
FEATURE: Slice = {"stage": "feature", "feature": {"kind": "made-up"}}


class Case:
    """A shard of made-up frames: `{utt_id: (speaker, group, split, frames)}`."""

    def __init__(self, folder: Path, utterances: dict[str, tuple[str, str, str, int]], dim: int = 8):
        rng = np.random.default_rng(0)
        self.folder, self.dim = folder, dim
        self.frames = {u: rng.normal(size=(row[3], dim)).astype(np.float16) for u, row in utterances.items()}
        rows = [
            Utterance(u, s, f"{u}.wav", n * 320, 16000, group=g, recording=u) for u, (s, g, _, n) in utterances.items()
        ]
        write_table(folder / "manifest.csv", rows, Utterance)
        write_table(folder / "splits.csv", [Split(u, row[2]) for u, row in utterances.items()], Split)
        write_shard(folder / "f.h5", self.frames.items(), made_by=FEATURE, grid=GRID, dim=dim, dtype="float16")

    def run(self, **settings: object) -> dict[str, np.ndarray]:
        values = {"topk": 4, "pool": "speaker", "min_pool_s": 0.1, "small_pool": "drop", **settings}
        made_by = {"stage": "prematch", "settings": values, "match": FEATURE, "synthesis": FEATURE}
        f, out = self.folder / "f.h5", self.folder / "out.h5"
        tables = self.folder / "manifest.csv", self.folder / "splits.csv"
        prematch_shard(made_by, f, f, *tables, out, torch.device("cpu"))
        with Shard(out, made_by) as shard:
            return dict(shard)

    def expected(self, utt_id: str, pool: list[str]) -> np.ndarray:
        stacked = torch.from_numpy(np.concatenate([self.frames[u] for u in pool]))
        return match(torch.from_numpy(self.frames[utt_id]), stacked).half().numpy()


def test_every_utterance_is_matched_against_the_speakers_other_training_utterances(tmp_path: Path) -> None:
    case = Case(
        tmp_path,
        {
            "a1": ("a", "x", "train", 30),
            "a2": ("a", "y", "train", 20),
            "a3": ("a", "y", "train", 25),
            "a4": ("a", "y", "test", 10),
            "b1": ("b", "z", "valid", 30),
            "b2": ("b", "z", "valid", 20),
        },
    )
    got = case.run()
    np.testing.assert_array_equal(got["a1"], case.expected("a1", ["a2", "a3"]))
    np.testing.assert_array_equal(got["a4"], case.expected("a4", ["a1", "a2", "a3"]))
    np.testing.assert_array_equal(got["b1"], case.expected("b1", ["b2"]))
    grouped = case.run(pool="group")
    np.testing.assert_array_equal(grouped["a2"], case.expected("a2", ["a3"]))


def test_too_small_a_pool_is_dropped_kept_plain_matched_by_halves_or_an_error(tmp_path: Path) -> None:
    case = Case(tmp_path, {"a1": ("a", "", "train", 30), "b1": ("b", "", "train", 30), "b2": ("b", "", "train", 30)})
    assert list(case.run(small_pool="drop")) == ["b1", "b2"]
    np.testing.assert_array_equal(case.run(small_pool="plain")["a1"], case.frames["a1"])
    halves = [match(torch.from_numpy(case.frames["a1"][a]), torch.from_numpy(case.frames["a1"][b])) for a, b in HALVES]
    np.testing.assert_array_equal(case.run(small_pool="halves")["a1"], torch.cat(halves).half().numpy())
    with pytest.raises(InputError, match=r"a1: its pool has 0\.0 s, prematch\.min_pool_s is 0\.1"):
        case.run(small_pool="error")


def test_the_published_procedure_is_met(real_data: Path) -> None:
    """Chapter 533-1066 of test-other, tiny WavLM layer 2, query in float32 and pool in float16, k = 4."""
    from vcpipe.features import wavlm
    from vcpipe.settings import check

    values = {"kind": "wavlm", "weights": str(real_data / "golden" / "wavlm_tiny_random.pt"), "layer": 2, "width": 64}
    extractor = wavlm.load(check(wavlm.Settings, values, "features.tiny"), torch.device("cpu"))
    folder = real_data / "corpora" / "LibriSpeech" / "test-other" / "533" / "1066"
    frames = {
        path.stem: extractor(torch.from_numpy(soundfile.read(path, dtype="float32")[0]))
        for path in sorted(folder.glob("*.flac"))
    }
    golden = np.load(real_data / "golden" / "prematch_533_layer2_k4.npz")
    assert len(golden.files) == 4
    for utt_id in golden.files:
        pool = torch.cat([f.half() for u, f in frames.items() if u != utt_id])
        got = match(frames[utt_id], pool, None, 4).half().float().numpy()
        assert got.shape == golden[utt_id].shape
        difference = np.abs(got - golden[utt_id].astype(np.float32)).max()
        print(utt_id, difference)
        assert difference <= 2e-3
