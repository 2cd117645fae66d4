from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.exchange import shards
from vcpipe.errors import InputError
from vcpipe.exchange import fastersvc
from vcpipe.grid import Grid


@pytest.fixture
def corpus(tmp_path: Path):
    us = shards.utterances(1.2)
    grid = Grid(24000, 480)
    f0 = {
        i: np.stack([np.arange(len(a)) + 100.0, np.ones(len(a))], 1).astype("f4")
        for i, a in shards.frames(us, grid, 1).items()
    }
    shards.column(tmp_path / "wav", shards.frames(us, Grid(24000, 1), 1), shards.of(us), Grid(24000, 1))
    shards.column(tmp_path / "f0", f0, shards.of(us), grid, {"kind": "f0"})
    return us, shards.manifest(tmp_path, us), [f"wav={tmp_path / 'wav'}", f"f0={tmp_path / 'f0'}"]


def test_items_of_one_second_with_their_f0_and_speaker(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    count = fastersvc.export(manifest, given, tmp_path / "out")
    names = json.loads((tmp_path / "out" / "speaker_infomation.json").read_text(encoding="utf-8"))
    waves, pitch = shards.read(tmp_path / "wav"), shards.read(tmp_path / "f0")
    at = 0
    for u in sorted(us, key=lambda u: (u.speaker, u.utt_id)):
        wave, hz = waves[u.utt_id][:, 0], pitch[u.utt_id][:, 0]
        for start in range(0, len(wave), 24000):
            item, rate = soundfile.read(tmp_path / "out" / "dataset_cache" / f"{at}.wav", dtype="float32")
            found, speaker = torch.load(tmp_path / "out" / "dataset_cache" / f"{at}.pt", weights_only=True)
            part, heard = wave[start : start + 24000], hz[start // 480 : start // 480 + 50]
            assert rate == 24000 and len(item) == 24000 and np.abs(item[: len(part)] - part).max() <= 2**-14
            assert not item[len(part) :].any(), "the rest of the last item is silence"
            assert found.shape == (1, 50) and found.dtype == torch.float32
            assert np.array_equal(found[0, : len(heard)].numpy(), heard) and not found[0, len(heard) :].any()
            assert names[str(speaker)] == u.speaker
            at += 1
    assert count == at == len(list((tmp_path / "out" / "dataset_cache").glob("*.pt")))


def test_f0_of_another_length_is_refused(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    short = {i: a[:-5] for i, a in shards.read(tmp_path / "f0").items()}
    shards.column(tmp_path / "f0", short, shards.of(us), Grid(24000, 480), {"kind": "f0"})
    with pytest.raises(InputError, match="frames of f0, expected"):
        fastersvc.export(manifest, given, tmp_path / "out")
    assert not (tmp_path / "out").exists()
