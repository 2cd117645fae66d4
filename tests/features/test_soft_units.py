"""Soft units of a corpus: what is fitted on which frames, what comes out, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vcpipe.config import Config, load
from vcpipe.errors import InputError
from vcpipe.features.derive import derive_shard, fit_feature
from vcpipe.manifest import Utterance, write_table
from vcpipe.nn import soft_units
from vcpipe.store import Shard, write_shard

Array = NDArray[Any]
DIM, UNITS = 16, 3
PLACES = 2 * np.random.default_rng(99).standard_normal((UNITS, DIM))
OF: dict[str, Any] = {"of": ["tiny", "units"]}


def config(**options: Any) -> Config:
    soft = {"kind": "soft_units", **OF, "corpus": "fitting", "width": 8, "hidden": 32, "steps": 150, "batch": 64}
    return load(
        {
            "corpora": {"mine": {"kind": "folder", "root": "x"}, "fitting": {"kind": "folder", "root": "y"}},
            "audio": {"16k": {}},
            "features": {
                "tiny": {"kind": "tiny_random", "width": DIM},
                "units": {"kind": "kmeans", "of": "tiny", "corpus": "fitting", "clusters": UNITS},
                "pitch": {"kind": "f0", "hop": 320},
                "mel": {"kind": "mel", "hop": 160},
                "voice": {"kind": "ge2e"},
                "soft": {**soft, **options},
            },
        }
    )


def recording(seed: int, n: int = 200) -> tuple[Array, Array]:
    """Frames `(n, DIM)` of a voice that shifts all of them, and their units `(n, 1)`."""
    random = np.random.default_rng(seed)
    units = random.integers(0, UNITS, n)
    frames = PLACES[units] + 0.5 * random.standard_normal((n, DIM)) + 5 * random.standard_normal(DIM)
    return frames.astype(np.float16), units[:, None].astype(np.int16)


def shards(
    folder: Path, checked: Config, corpus: str, name: str, rows: Mapping[str, tuple[Array, Array]]
) -> list[Path]:
    """A shard of each of the two parents."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for i, feature in enumerate(("tiny", "units")):
        settings, path = checked.features[feature], folder / f"{feature}-{corpus}-{name}.h5"
        made_by = checked.feature_slice(feature, corpus)
        values = ((utt_id, pair[i]) for utt_id, pair in rows.items())
        write_shard(path, values, made_by=made_by, grid=settings.grid, dim=settings.dim, dtype=settings.dtype)
        out.append(path)
    return out


def manifest(path: Path, splits: Mapping[str, str]) -> Path:
    rows = (Utterance(i, i.partition("/")[0], f"{i}.wav", 16000, 16000, split=split) for i, split in splits.items())
    write_table(path, rows, Utterance)
    return path


def fitted(folder: Path, checked: Config, spoilt: int = 0) -> Path:
    """Fitted on three recordings of two shards; a fourth is of the test split, and its units are `spoilt`."""
    a, b, c, held = (recording(i) for i in range(4))
    first = shards(folder, checked, "fitting", "000", {"c/0": a, "c/far": (held[0], held[1] * 0 + spoilt)})
    second = shards(folder, checked, "fitting", "001", {"d/0": b, "d/1": c})
    splits = {"c/0": "train", "c/far": "test", "d/0": "train", "d/1": "train"}
    reads = [first[0], second[0], first[1], second[1]]
    fit_feature(checked.fit_slice("soft"), reads, manifest(folder / "fit.csv", splits), folder / "model.safetensors")
    return folder / "model.safetensors"


def derived(folder: Path, checked: Config, model: Path, rows: Mapping[str, tuple[Array, Array]]) -> dict[str, Array]:
    reads = shards(folder, checked, "mine", "000", rows)
    made_by = checked.feature_slice("soft", "mine")
    table = manifest(folder / "manifest.csv", dict.fromkeys(rows, "train"))
    derive_shard(made_by, reads, table, folder / "out.h5", model)
    with Shard(folder / "out.h5", made_by) as shard:
        shard.verify()
        assert (shard.dim, str(shard.grid), str(shard.values.dtype)) == (8, "16000/320", "float16")
        return dict(shard)


def test_soft_units_of_another_corpus_tell_their_unit_and_are_what_the_network_answers(tmp_path: Path) -> None:
    checked = config()
    model = fitted(tmp_path, checked)
    rows = {f"a/{i}": recording(10 + i) for i in range(3)}
    found = derived(tmp_path, checked, model, rows)
    network = soft_units.load(model)
    for utt_id, (frames, units) in rows.items():
        told = network.logits(torch.from_numpy(found[utt_id]).float()).argmax(1).numpy()
        assert np.mean(told == units[:, 0]) > 0.95
        np.testing.assert_allclose(found[utt_id], network(torch.from_numpy(frames)).numpy(), atol=0.02)


def test_it_learns_from_the_training_utterances_alone_and_the_same_each_time(tmp_path: Path) -> None:
    checked = config(steps=5)
    first = fitted(tmp_path / "a", checked).read_bytes()
    assert fitted(tmp_path / "b", checked, spoilt=2).read_bytes() == first
    assert fitted(tmp_path / "c", config(steps=5, seed=1)).read_bytes() != first


def test_a_sample_is_of_recordings_that_were_normalised_whole(tmp_path: Path) -> None:
    from vcpipe.features.soft_units import Settings, _sample

    checked, rows = config(max_frames=50), {"c/0": recording(0), "c/1": recording(1)}
    settings = checked.features["soft"]
    assert isinstance(settings, Settings)
    paths = shards(tmp_path, checked, "fitting", "000", rows)
    with Shard(paths[0], None) as vectors, Shard(paths[1], None) as units:
        frames, labels = _sample(settings, [(vectors, units, utt_id) for utt_id in rows])
    assert (frames.shape, labels.shape) == ((50, DIM), (50,))
    whole = np.concatenate([soft_units.normalised(torch.from_numpy(f)).numpy() for f, _ in rows.values()])
    of = np.concatenate([u[:, 0] for _, u in rows.values()])
    places = [int(np.flatnonzero((whole == row).all(1))[0]) for row in frames]
    assert places == sorted(set(places)) and places[0] < 200 < places[-1]
    assert labels.tolist() == of[places].tolist()


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    checked = config()
    frames, units = recording(0)
    a = shards(tmp_path, checked, "fitting", "000", {"c/0": (frames, units)})
    b = shards(tmp_path, checked, "fitting", "001", {"d/0": (frames, units)})
    short = shards(tmp_path, checked, "fitting", "002", {"c/0": (frames, units[:-1])})
    table, out, made_by = manifest(tmp_path / "fit.csv", {"c/0": "train", "d/0": "train"}), tmp_path / "m", "soft"
    for reads, words in [
        ([a[0], b[0], a[1]], "expected the same number of shards of each of its 2 parents, found 3 in all"),
        ([a[0], a[1], b[0], b[1]], "made under other settings"),
        ([a[0], b[0], b[1], a[1]], "utterance c/0 is not in this shard"),
        ([a[0], short[1]], "units-fitting-002.h5: expected 200 units of c/0, as many as .* has frames, found 199"),
    ]:
        with pytest.raises(InputError, match=words):
            fit_feature(checked.fit_slice(made_by), reads, table, out)
    assert not out.exists()


def test_a_network_of_other_settings_is_refused(tmp_path: Path) -> None:
    model = fitted(tmp_path, config(steps=5))
    with pytest.raises(InputError, match="made under other settings: feature.steps is 5 in the file, .* says 6"):
        derived(tmp_path, config(steps=6), model, {"a/1": recording(0)})


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (["tiny"], "soft_units is made of 2 features, found 1"),
        (
            ["units", "tiny"],
            "expected a feature of frames and one of discrete units .* found kmeans .* and tiny_random",
        ),
        (["tiny", "pitch"], "found tiny_random .* and f0"),
        (["voice", "units"], "found ge2e .vectors, a row for each utterance. and kmeans"),
        (["mel", "units"], "mel lies on 16000/160, kmeans on 16000/320; name features on one grid"),
    ],
    ids=["one", "turned", "vectors", "utterance", "grid"],
)
def test_what_it_cannot_be_made_of_is_refused_with_the_config(of: list[str], words: str) -> None:
    with pytest.raises(InputError, match=f"'features.soft.of': .*{words}"):
        config(of=of)


def test_its_corpus_must_be_there() -> None:
    with pytest.raises(InputError, match=r"'features.soft.corpus': 'fit' .*did you mean 'fitting'"):
        config(corpus="fit")
