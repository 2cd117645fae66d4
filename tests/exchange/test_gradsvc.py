from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.exchange import shards
from vcpipe.columns import Column, Variant
from vcpipe.data import Crops
from vcpipe.errors import InputError
from vcpipe.exchange import gradsvc, gradsvc_tree
from vcpipe.exchange.tree import Options, write_import
from vcpipe.grid import Grid
from vcpipe.manifest import Utterance, read_table

PITCH = Grid(16000, 160)


def loader_items(root: Path, split: str) -> list[dict[str, np.ndarray]]:
    """What the trainer's loader would give, by the facts of its code: filter, repetition, lengths, crop, collate."""
    out = []
    for line in (root / "files" / f"{split}.txt").read_text(encoding="utf-8").splitlines():
        mel_path, vec_path, pit_path, spk_path = (root / part for part in line.split("|"))
        usable = len(np.load(pit_path, allow_pickle=False)) - 1
        if usable < 250:
            continue
        usable = min(usable, 500)
        mel = torch.load(mel_path, weights_only=True)
        vec = np.repeat(np.load(vec_path, allow_pickle=False), 2, axis=0)
        pit, spk = np.load(pit_path, allow_pickle=False), np.load(spk_path, allow_pickle=False)
        assert mel.dtype == torch.float32 and mel.shape[0] == 100 and vec.shape[1] == 256
        assert pit.ndim == 1 and spk.shape == (256,)
        length = min(len(pit), len(vec) - 2)
        mel, vec, pit = mel[:, :length], vec[:length], pit[:length]
        assert mel.shape[1] == len(vec) == len(pit) == length, "collate would leave zeros in the middle of an item"
        if length > usable:
            start = random.Random(0).randint(0, length - usable - 1)
            mel, vec, pit = mel[:, start : start + usable], vec[start : start + usable], pit[start : start + usable]
        assert mel.shape[1] >= 200, "the decoder trains on 200 frames"
        out.append({"mel": mel.numpy(), "vec": vec, "pit": pit, "spk": spk})
    return out


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[list[Utterance], Path, list[str]]:
    us = shards.utterances(3.0)
    who = shards.of(us)
    rng = np.random.default_rng(3)
    f0 = {i: np.stack([a[:, 0] * 100 + 150, np.ones(len(a))], 1).astype("f4") for i, a in make(us, PITCH, 1).items()}
    shards.column(tmp_path / "mel", make(us, Grid(32000, 320), 100), who, Grid(32000, 320), shards.MEL_GRADSVC)
    shards.column(tmp_path / "hubert", make(us, Grid(16000, 320), 256), who, Grid(16000, 320), {"kind": "hubert_soft"})
    shards.column(tmp_path / "pitch", f0, who, PITCH, {"kind": "f0"})
    vectors = {u.utt_id: rng.uniform(0, 1, (1, 256)).astype("f4") for u in us}
    shards.column(tmp_path / "speaker", vectors, who, PITCH, {"kind": "ge2e"}, "utterance")
    for name, rate in (("wav_16k", 16000), ("wav_32k", 32000)):
        shards.column(tmp_path / name, make(us, Grid(rate, 1), 1), who, Grid(rate, 1))
    names = ["mel", "hubert", "pitch", "speaker", "wav_16k", "wav_32k"]
    return us, shards.manifest(tmp_path, us), [f"{name}={tmp_path / name}" for name in names]


make = shards.frames


def test_the_trainers_loader_takes_every_item(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    assert gradsvc.export(manifest, given, tmp_path / "out") == len(us)
    train, valid = loader_items(tmp_path / "out", "train"), loader_items(tmp_path / "out", "valid")
    assert (len(train), len(valid)) == (4, 2)


def test_the_folders_are_those_of_the_original(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    gradsvc.export(manifest, given, tmp_path / "out")
    files = set(shards.tree(tmp_path / "out"))
    for u in us:
        place = f"{u.speaker}/{u.utt_id.removeprefix(u.speaker + '/')}"
        for folder, suffix in zip(
            ("mel", "pitch", "hubert", "speaker", "waves-16k", "waves-32k"),
            (".mel.pt", ".pit.npy", ".vec.npy", ".spk.npy", ".wav", ".wav"),
            strict=True,
        ):
            assert f"data_gvc/{folder}/{place}{suffix}" in files
    assert {f"data_gvc/singer/{s}.spk.npy" for s in shards.SPEAKERS} < files
    wav, rate = soundfile.read(tmp_path / "out/data_gvc/waves-32k/lone/take 0 é.wav", dtype="float32")
    stored = shards.read(tmp_path / "wav_32k")["lone/take 0 é"][:, 0]
    assert rate == 32000 and len(wav) == len(stored) and np.abs(wav - stored).max() <= 2**-14


def test_a_singer_is_the_plain_mean_unless_a_column_says_otherwise(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    gradsvc.export(manifest, given, tmp_path / "out")
    vectors = shards.read(tmp_path / "speaker")
    mean = np.mean([vectors[u.utt_id][0] for u in us if u.speaker == "ana"], axis=0)
    found = np.load(tmp_path / "out/data_gvc/singer/ana.spk.npy", allow_pickle=False)
    assert np.allclose(found, mean, atol=1e-6)
    voices = {s: np.full((1, 256), i, np.float32) for i, s in enumerate(shards.SPEAKERS)}
    shards.column(tmp_path / "voices", voices, shards.of(us), PITCH, {"kind": "speaker_mean"}, "speaker")
    gradsvc.export(manifest, [*given, f"singer={tmp_path / 'voices'}"], tmp_path / "out2")
    found = np.load(tmp_path / "out2/data_gvc/singer/Zoë B.spk.npy", allow_pickle=False)
    assert np.array_equal(found, voices["Zoë B"][0])


def test_export_then_import_gives_the_same_arrays(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    gradsvc.export(manifest, given, tmp_path / "out")
    write_import(gradsvc_tree.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    for name in ("mel", "hubert", "speaker"):
        before, after = shards.read(tmp_path / name), shards.read(tmp_path / "back" / name)
        assert before.keys() == after.keys() and all(np.array_equal(before[i], after[i]) for i in before)
    pitch, back = shards.read(tmp_path / "pitch"), shards.read(tmp_path / "back" / "pitch")
    assert all(
        np.array_equal(pitch[i][: len(back[i]), :1], back[i]) and len(pitch[i]) - len(back[i]) < 2 for i in pitch
    )
    for name in ("wav_16k", "wav_32k"):
        before, after = shards.read(tmp_path / name), shards.read(tmp_path / "back" / name)
        assert all(np.abs(before[i] - after[i]).max() <= 2**-14 for i in before)
    rows = {u.utt_id: u for u in read_table(tmp_path / "back" / "manifest.csv", Utterance)}
    assert {i: (u.speaker, u.split) for i, u in rows.items()} == {u.utt_id: (u.speaker, u.split) for u in us}
    singers = shards.read(tmp_path / "back" / "singer")
    assert singers.keys() == set(shards.SPEAKERS)


def test_the_loaders_of_vcpipe_read_what_the_original_wrote_itself(corpus, tmp_path: Path) -> None:
    """Its pitch files have three frames more than its mels."""
    us, manifest, given = corpus
    gradsvc.export(manifest, given[:4], tmp_path / "out")
    for path in (tmp_path / "out" / "data_gvc" / "pitch").rglob("*.npy"):
        np.save(path, np.pad(np.load(path, allow_pickle=False), (0, 3)))
    write_import(gradsvc_tree.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    ids = [u.utt_id for u in us]

    def column(name: str) -> Column:
        return Column(name, [Variant(tuple(sorted((tmp_path / "back" / name).glob("*.h5"))), None)], ids)

    batch = Crops([column("mel"), column("hubert"), column("pitch")], ids, frames=50, batch=4, seed=0)[0]
    assert batch["mel"].shape == (4, 100, 100) and batch["pitch"].shape == (4, 100, 1)


def test_lengths_that_the_loader_would_trip_over_are_refused(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    units = {i: np.pad(a, ((0, 4), (0, 0))) for i, a in shards.read(tmp_path / "hubert").items()}
    shards.column(tmp_path / "hubert", units, shards.of(us), Grid(16000, 320), {"kind": "hubert_soft"})
    with pytest.raises(InputError, match="expected T, T/2 and T"):
        gradsvc.export(manifest, given, tmp_path / "out")
    assert not [p for p in tmp_path.iterdir() if "out" in p.name]


def test_a_pitch_that_is_one_frame_short_gets_an_unvoiced_one(corpus, tmp_path: Path) -> None:
    us, manifest, given = corpus
    f0 = {i: a[: len(shards.read(tmp_path / "mel")[i]) - 1] for i, a in shards.read(tmp_path / "pitch").items()}
    shards.column(tmp_path / "pitch", f0, shards.of(us), PITCH, {"kind": "f0"})
    gradsvc.export(manifest, given, tmp_path / "out")
    hz = np.load(tmp_path / "out/data_gvc/pitch/lone/take 0 é.pit.npy", allow_pickle=False)
    assert hz[-1] == 0 and hz[-2] > 0 and len(hz) == len(shards.read(tmp_path / "mel")["lone/take 0 é"])


def test_names_that_would_fall_together_are_refused(tmp_path: Path, corpus) -> None:
    us, _, given = corpus
    twins = [replace(us[0], utt_id="ana/take 0 é"), replace(us[1], utt_id="ana/take 1 é", speaker="Ana")]
    with pytest.raises(InputError, match="would both be written as"):
        gradsvc.export(shards.manifest(tmp_path, twins), given[:4], tmp_path / "out")


def test_an_utterance_without_one_of_its_files_is_left_out(corpus, tmp_path: Path, caplog) -> None:
    _, manifest, given = corpus
    gradsvc.export(manifest, given[:4], tmp_path / "out")
    (tmp_path / "out/data_gvc/hubert/lone/take 0 é.vec.npy").unlink()
    write_import(gradsvc_tree.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    assert "lone/take 0 é" not in shards.read(tmp_path / "back" / "mel") and "1 utterances lack" in caplog.text


@pytest.mark.parametrize(("folder", "expected"), [("pitch", r"\(T,\)"), ("hubert", r"\(U, 256\)"), ("speaker", "256")])
def test_arrays_of_another_shape_are_refused(corpus, tmp_path: Path, folder: str, expected: str) -> None:
    _, manifest, given = corpus
    gradsvc.export(manifest, given[:4], tmp_path / "out")
    path = next((tmp_path / "out" / "data_gvc" / folder).rglob("*.npy"))
    np.save(path, np.zeros((3, 300, 7), np.float32))
    with pytest.raises(InputError, match=f"{folder}.*expected {expected}" if folder != "speaker" else "256"):
        write_import(gradsvc_tree.read(Options(tmp_path / "out")), tmp_path / "back", 2)
    assert not (tmp_path / "back").exists()


def test_lists_that_lead_outside_are_refused(corpus, tmp_path: Path) -> None:
    _, manifest, given = corpus
    gradsvc.export(manifest, given[:4], tmp_path / "out")
    (tmp_path / "out" / "files" / "train.txt").write_text("/etc/passwd|a|b|c\n")
    with pytest.raises(InputError, match=r"train.txt:1: expected a path inside"):
        gradsvc_tree.read(Options(tmp_path / "out"))


def test_real_speech_at_two_rates_passes_the_loader(real_data: Path, tmp_path: Path) -> None:
    """The copies at 16 and 32 kHz, and what our features make of them: their lengths are those of the real pipeline."""
    from vcpipe import audio
    from vcpipe.features import f0, mel
    from vcpipe.settings import check

    folder = real_data / "corpora" / "LibriSpeech" / "test-other"
    paths = [p for p in sorted(folder.rglob("*.flac")) if 3 < soundfile.info(p).duration < 7][:3]
    listen = mel.load(check(mel.Settings, {"kind": "mel", "preset": "gradsvc"}, "mel"), torch.device("cpu"))
    track = f0.load(check(f0.Settings, {"kind": "f0", "method": "praat", "hop": 160}, "f0"))
    us, mels, pitch, units = [], {}, {}, {}
    for path in paths:
        at_16k, at_32k = audio.load(path, 16000), audio.load(path, 32000)
        us.append(Utterance(path.stem, path.stem.split("-")[0], path.name, len(at_16k), 16000, split="train"))
        mels[path.stem], pitch[path.stem] = listen(at_32k).numpy(), np.asarray(track(at_16k))
        units[path.stem] = np.zeros((len(at_16k) // 320, 256), np.float32)
    who = shards.of(us)
    shards.column(tmp_path / "mel", mels, who, Grid(32000, 320), listen.settings.content())
    shards.column(tmp_path / "hubert", units, who, Grid(16000, 320), {"kind": "hubert_soft"})
    shards.column(tmp_path / "pitch", pitch, who, PITCH, track.settings.content())
    vectors = {u.utt_id: np.ones((1, 256), np.float32) for u in us}
    shards.column(tmp_path / "speaker", vectors, who, PITCH, {"kind": "ge2e"}, "utterance")
    given = [f"{name}={tmp_path / name}" for name in ("mel", "hubert", "pitch", "speaker")]
    gradsvc.export(shards.manifest(tmp_path, us), given, tmp_path / "out")
    items = loader_items(tmp_path / "out", "train")
    assert len(items) == 3
    for item in items:
        loud = item["mel"].mean(axis=0) > np.median(item["mel"].mean(axis=0))
        assert (item["pit"][loud] > 0).mean() > (item["pit"][~loud] > 0).mean() + 0.2, "voices are where it is loud"
