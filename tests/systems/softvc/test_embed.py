"""Embeddings beside units: by the function that was trained, from the run folders alone."""

import numpy as np
import pytest
import torch

from tests.systems.softvc import literal
from vcpipe.errors import InputError
from vcpipe.grid import Grid
from vcpipe.store import Shard, write_shard
from vcpipe.systems.softvc import classifier_task as task
from vcpipe.systems.softvc.classifier_train import train_classifier
from vcpipe.systems.softvc.embed import REVISION, embed_shard, load

UNITS = {"stage": "units"}


@pytest.fixture(scope="module", params=["whisper", "hubert_soft"])
def case(request, tmp_path_factory):
    """A corpus with the runs `pits` and `dyns` of it, whose encoder's file is gone, and the validation's scores."""
    folder = tmp_path_factory.mktemp("literal")
    content = literal.encoder(folder, request.param)
    waves = literal.write_corpus(folder, count=4, seconds=0.5)
    units = ((k, np.full((len(w) // 320, 3), n, np.float16)) for n, (k, w) in enumerate(waves.items()))
    write_shard(folder / "units.h5", units, made_by=UNITS, grid=Grid(16000, 320), dim=3, dtype="float16")
    slices, heard = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        export = task.export

        def kept(state):
            """At the end, what the validation hears of every recording."""
            found = {}
            for utt_id, wave in waves.items():
                sizes = torch.tensor([len(wave)])
                with torch.no_grad():
                    found[utt_id] = state.modules["model"].eval()(torch.from_numpy(wave)[None], sizes)[0][0]
            heard[state.cfg.embds] = found
            return export(state)

        patch.setattr(task, "export", kept)
        for embds in ("pits", "dyns"):
            slices[embds] = literal.made_by(content, embds, steps=3, mask_share=0.5, keep="last")
            folders = [folder / name for name in ("manifest.csv", "wav", embds, f"state_{embds}", f"run_{embds}")]
            train_classifier(slices[embds], *folders, literal.CPU)
    (folder / f"{request.param}.pt").unlink()
    made_by = {"stage": "embed", "revision": REVISION, "units": UNITS, "wav": literal.WAV, **slices}
    return folder, waves, made_by, heard


def embed(case, made_by=None, pits="run_pits", dyns="run_dyns", units="units.h5", audio="wav/000.h5"):
    folder, _, usual, _ = case
    made_by = made_by or usual
    out = folder / "out.h5"
    embed_shard(made_by, folder / units, folder / audio, folder / pits, folder / dyns, out, literal.CPU)
    with Shard(out, made_by) as shard:
        assert shard.grid == Grid(16000, 320)
        return dict(shard)


def test_encoding_is_the_function_that_was_trained(case):
    """Whole recordings as the validation hears them, and as they are encoded: the same bits."""
    folder, waves, made_by, heard = case
    for embds, expected in heard.items():
        extractor = load(folder / f"run_{embds}", literal.CPU, made_by[embds], embds)
        for utt_id, wave in waves.items():
            assert torch.equal(extractor(wave), expected[utt_id])


def test_a_row_is_units_then_pitch_then_dynamics(case):
    _, waves, _, heard = case
    found = embed(case)
    assert list(found) == list(waves)
    for number, utt_id in enumerate(waves):
        rows = found[utt_id]
        assert rows.shape == (len(waves[utt_id]) // 320, 3 + 512) and rows.dtype == np.float16
        assert (rows[:, :3] == number).all()
        np.testing.assert_array_equal(rows[:, 3:259], heard["pits"][utt_id].half().numpy())
        np.testing.assert_array_equal(rows[:, 259:], heard["dyns"][utt_id].half().numpy())


def test_of_a_changed_copy_pitch_and_dynamics_are_its_own(case):
    """What the copy has rejected is left out."""
    folder, waves, _, _ = case
    usual, (first, *kept) = embed(case), waves
    rows = ((k, 0.25 * waves[k][:, None]) for k in kept)
    write_shard(folder / "moved.h5", rows, made_by=literal.WAV, grid=Grid(16000, 1), dim=1, dtype="float32")
    found = embed(case, audio="moved.h5")
    assert list(found) == kept and first not in found
    for utt_id in kept:
        np.testing.assert_array_equal(found[utt_id][:, :3], usual[utt_id][:, :3])
        assert not np.array_equal(found[utt_id][:, 3:], usual[utt_id][:, 3:])


def test_recordings_in_a_batch_are_as_alone(case):
    folder, waves, made_by, _ = case
    extractor = load(folder / "run_pits", literal.CPU, made_by["pits"], "pits")
    for found, wave in zip(extractor.batch(list(waves.values())), waves.values(), strict=True):
        torch.testing.assert_close(found, extractor(wave), rtol=1e-4, atol=1e-4)


def test_a_long_recording_is_encoded_in_windows(case):
    folder, _, made_by, _ = case
    extractor = load(folder / "run_pits", literal.CPU, None, "pits")
    assert made_by["pits"]["encoder"]["window_s"] in (28, 30)
    assert extractor(literal.buzz(61, 150)).shape == (61 * 50, 256)


def test_what_does_not_belong_together_is_refused(case):
    folder, waves, made_by, _ = case
    with pytest.raises(InputError, match=r"run_dyns: made under other settings: embds is 'dyns' in the file"):
        embed(case, pits="run_dyns")
    with pytest.raises(InputError, match="tells dyns apart, expected pits"):
        load(folder / "run_dyns", literal.CPU, None, "pits")
    with pytest.raises(InputError, match="not a run folder"):
        embed(case, dyns="run_nothing")
    for grid, count, words in (
        (Grid(16000, 160), 50, "grid 16000/160, expected"),
        (Grid(16000, 320), 7, "has 7 frames"),
    ):
        rows = [(utt_id, np.zeros((count, 3), np.float16)) for utt_id in waves]
        write_shard(folder / "odd.h5", rows, made_by=UNITS, grid=grid, dim=3, dtype="float16")
        with pytest.raises(InputError, match=words):
            embed(case, made_by, units="odd.h5")
