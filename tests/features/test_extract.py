"""From audio shards to feature shards."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import RATE, tone
from vcpipe.config import load
from vcpipe.errors import InputError
from vcpipe.features import extract
from vcpipe.features.extract import extract_shard, load_extractor
from vcpipe.features.f0 import F0
from vcpipe.grid import Grid
from vcpipe.settings import Slice
from vcpipe.store import Shard, write_shard

CPU = torch.device("cpu")
RAW = {
    "corpora": {"mine": {"kind": "folder", "root": "x"}},
    "audio": {"16k": {"rate": 16000}, "8k": {"rate": 8000}},
    "features": {
        "tiny": {"kind": "tiny_random", "window_s": 4.0},
        "mel": {"kind": "mel"},
        "slow": {"kind": "mel", "rate": 8000},
        "pitch": {"kind": "f0", "method": "praat"},
        "voice": {"kind": "ge2e"},
    },
}
CONFIG = load(RAW)


def audio_shard(path: Path, seconds: list[float]) -> dict[str, np.ndarray]:
    waves = {f"u{i}": tone(s, 100 + 10 * i, seed=i) for i, s in enumerate(seconds)}
    rows = ((utt_id, wave[:, None]) for utt_id, wave in waves.items())
    write_shard(path, rows, made_by=CONFIG.audio_slice("16k", "mine"), grid=Grid(RATE, 1), dim=1, dtype="float32")
    return waves


@pytest.mark.parametrize("feature", ["tiny", "mel"])
def test_every_utterance_has_the_frames_of_a_single_call(
    tmp_path: Path, feature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = audio_shard(tmp_path / "a.h5", [1.0, 0.6, 2.3, 9.0, 1.1])
    monkeypatch.setattr(extract, "BATCH_S", 5.0)
    made_by: Slice = CONFIG.feature_slice(feature, "mine")
    extract_shard(made_by, tmp_path / "a.h5", tmp_path / "f.h5", CPU)
    extractor = load_extractor(made_by["feature"], CPU)
    with Shard(tmp_path / "f.h5", made_by) as shard:
        shard.verify()
        assert shard.utt_ids == list(waves)
        for utt_id, wave in waves.items():
            expected = extractor(torch.from_numpy(wave)).numpy()
            assert shard.length(utt_id) == len(wave) // extractor.grid.hop
            np.testing.assert_allclose(shard.read(utt_id).astype(np.float32), expected, atol=2e-3, rtol=2e-3)


def test_audio_made_under_other_settings_is_refused(tmp_path: Path) -> None:
    audio_shard(tmp_path / "a.h5", [1.0])
    other = load({**RAW, "audio": {"16k": {"min_s": 0.1}, "8k": {"rate": 8000}}})
    with pytest.raises(InputError, match="audio.min_s is 0.5 in the file, the config says 0.1"):
        extract_shard(other.feature_slice("tiny", "mine"), tmp_path / "a.h5", tmp_path / "f.h5", CPU)
    assert not (tmp_path / "f.h5").exists()


def test_a_feature_of_another_rate_is_refused(tmp_path: Path) -> None:
    audio_shard(tmp_path / "a.h5", [1.0])
    with pytest.raises(InputError, match="audio.rate is 16000 in the file, the config says 8000"):
        extract_shard(CONFIG.feature_slice("slow", "mine"), tmp_path / "a.h5", tmp_path / "f.h5", CPU)


def test_a_feature_slice_of_other_code_is_refused(tmp_path: Path) -> None:
    audio_shard(tmp_path / "a.h5", [1.0])
    made_by = CONFIG.feature_slice("tiny", "mine")
    made_by["feature"]["revision"] = 0
    with pytest.raises(InputError, match="made by revision 0"):
        extract_shard(made_by, tmp_path / "a.h5", tmp_path / "f.h5", CPU)


SECONDS = [1.0, 0.6, 2.3, 0.5, 1.1, 0.7, 3.1, 0.9, 0.8, 1.3, 0.55, 1.05]


def test_processes_that_share_the_work_make_the_very_same_file(tmp_path: Path) -> None:
    waves = audio_shard(tmp_path / "a.h5", SECONDS)
    made_by = CONFIG.feature_slice("pitch", "mine")
    for threads in (0, 1, 3, 20):
        extract_shard(made_by, tmp_path / "a.h5", tmp_path / f"{threads}.h5", None, threads)
    first = (tmp_path / "0.h5").read_bytes()
    assert all((tmp_path / f"{threads}.h5").read_bytes() == first for threads in (1, 3, 20))
    with Shard(tmp_path / "3.h5", made_by) as shard:
        assert shard.utt_ids == list(waves)
        assert all(shard.length(utt_id) == len(wave) // 160 for utt_id, wave in waves.items())
        assert all((shard.read(utt_id)[:, 1] > 0).any() for utt_id in waves)


def test_an_utterance_level_feature_has_one_row_each_whether_alone_or_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = audio_shard(tmp_path / "a.h5", [1.0, 2.3, 0.6, 1.1])
    made_by = CONFIG.feature_slice("voice", "mine")
    monkeypatch.setattr(extract, "BATCH_S", 3.5)
    extract_shard(made_by, tmp_path / "a.h5", tmp_path / "f.h5", CPU)
    extractor = load_extractor(made_by["feature"], CPU)
    with Shard(tmp_path / "f.h5", made_by) as shard:
        shard.verify()
        assert (shard.row, shard.dim, shard.utt_ids) == ("utterance", 256, list(waves))
        for utt_id, wave in waves.items():
            np.testing.assert_allclose(shard.read(utt_id), extractor(torch.from_numpy(wave)).numpy(), atol=1e-5)


def dies_of(utt_number: int, how: Any) -> Any:
    """`F0.frames`, but one recording, known by its length, ends as `how` says."""
    samples = round(SECONDS[utt_number] * RATE)
    frames = F0.frames

    def wrapped(self: F0, wave: np.ndarray) -> np.ndarray:
        if len(wave) == samples:
            how()
        return frames(self, wave)

    return wrapped


def refuse() -> None:
    raise InputError("feature f0: it does not like this; give it another")


def fail() -> None:
    raise ZeroDivisionError("a fault")


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_crash_in_a_worker_names_the_utterance_and_leaves_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio_shard(tmp_path / "a.h5", SECONDS)
    monkeypatch.setattr(F0, "frames", dies_of(4, crash))
    words = "a.h5: u4: feature f0: expected frames, found a process killed by SIGSEGV; run it again with fewer"
    with pytest.raises(InputError, match=words) as caught:
        extract_shard(CONFIG.feature_slice("pitch", "mine"), tmp_path / "a.h5", tmp_path / "f.h5", None, 3)
    assert "\n" not in str(caught.value) and not (tmp_path / "f.h5").exists()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_a_method_refuses_is_one_line_that_names_the_utterance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    audio_shard(tmp_path / "a.h5", SECONDS)
    monkeypatch.setattr(F0, "frames", dies_of(6, refuse))
    with pytest.raises(InputError, match="a.h5: u6: feature f0: it does not like this; give it another$") as caught:
        extract_shard(CONFIG.feature_slice("pitch", "mine"), tmp_path / "a.h5", tmp_path / "f.h5", None, threads)
    assert "\n" not in str(caught.value)


def test_a_fault_of_the_code_in_a_worker_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio_shard(tmp_path / "a.h5", SECONDS)
    monkeypatch.setattr(F0, "frames", dies_of(2, fail))
    with pytest.raises(RuntimeError, match="(?s)a.h5: u2: feature f0: Traceback.*ZeroDivisionError: a fault"):
        extract_shard(CONFIG.feature_slice("pitch", "mine"), tmp_path / "a.h5", tmp_path / "f.h5", None, 2)


def test_an_audio_shard_without_utterances_becomes_a_feature_shard_without(tmp_path: Path) -> None:
    audio_shard(tmp_path / "a.h5", [])
    for feature, threads in (("pitch", 1), ("pitch", 4), ("tiny", 1), ("voice", 1)):
        made_by = CONFIG.feature_slice(feature, "mine")
        extract_shard(made_by, tmp_path / "a.h5", tmp_path / "f.h5", CPU, threads)
        with Shard(tmp_path / "f.h5", made_by) as shard:
            assert shard.utt_ids == [] and shard.dim == CONFIG.features[feature].dim


def test_a_method_of_f0_that_needs_torch_is_extracted_too(tmp_path: Path) -> None:
    config = load({**RAW, "features": {"f0": {"kind": "f0", "method": "crepe", "model": "tiny", "audio": "16k"}}})
    waves = audio_shard(tmp_path / "a.h5", [0.6, 0.7])
    made_by = config.feature_slice("f0", "mine")
    extract_shard(made_by, tmp_path / "a.h5", tmp_path / "f.h5", CPU)
    with Shard(tmp_path / "f.h5", made_by) as shard:
        assert [shard.length(utt_id) for utt_id in shard.utt_ids] == [len(wave) // 160 for wave in waves.values()]
        assert shard.read("u1")[:, 1].any()
