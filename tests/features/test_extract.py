"""From audio shards to feature shards."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import RATE, tone
from vcpipe.config import Slice, load
from vcpipe.errors import InputError
from vcpipe.features import extract
from vcpipe.features.extract import extract_shard, load_extractor
from vcpipe.grid import Grid
from vcpipe.store import Shard, write_shard

CPU = torch.device("cpu")
RAW = {
    "corpora": {"mine": {"kind": "folder", "root": "x"}},
    "audio": {"16k": {"rate": 16000}, "8k": {"rate": 8000}},
    "features": {
        "tiny": {"kind": "tiny_random", "window_s": 4.0},
        "mel": {"kind": "mel"},
        "slow": {"kind": "mel", "rate": 8000},
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
