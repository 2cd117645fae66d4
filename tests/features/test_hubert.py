"""The features `hubert`, `contentvec`, `hubert_soft` and `hubert_discrete`, and what they share with `wavlm`."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.nn import encoder_files as files
from vcpipe.errors import InputError
from vcpipe.features import contentvec, hubert, hubert_discrete, hubert_soft, wavlm
from vcpipe.settings import canonical, check

CPU = torch.device("cpu")


def noise(n, seed=0):
    return 0.1 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One tiny file of each kind."""
    path = tmp_path_factory.mktemp("weights")
    torch.save(files.torchaudio_hubert("base").state_dict(), path / "base.pth")
    torch.save(files.torchaudio_hubert("large").state_dict(), path / "large.pth")
    head = {f"final_proj.{k}": v for k, v in files.head().items()}
    torch.save({"model": files.fairseq(files.torchaudio_hubert()) | head}, path / "contentvec.pt")
    torch.save(files.SoftVC().released(), path / "soft.pt")
    generator = torch.Generator().manual_seed(0)
    frames = files.SoftVC().layer(noise(320 * 100)[None], 7)[0]
    centers = frames[torch.randperm(100, generator=generator)[:20]]
    torch.save({"n_features_in_": 128, "_n_threads": 4, "cluster_centers_": centers}, path / "kmeans.pt")
    return path


def extractor(folder, name):
    """Made as a config makes it."""
    module, values = {
        "base": (hubert, {"weights": "base.pth", "layer": 3, "width": 128}),
        "large": (hubert, {"weights": "large.pth", "layers": {1: 0.5, 3: 0.5}, "width": 128, "normalize": True}),
        "contentvec": (contentvec, {"weights": "contentvec.pt", "layer": 2, "width": 128}),
        "projected": (contentvec, {"weights": "contentvec.pt", "layer": 2, "width": 32, "projected": True}),
        "soft": (hubert_soft, {"weights": "soft.pt"}),
        "discrete": (hubert_discrete, {"weights": "soft.pt", "centers": str(folder / "kmeans.pt")}),
    }[name]
    values = {**values, "weights": str(folder / values["weights"]), "window_s": 6.0}
    return module.load(check(module.Settings, values, "features.x"), CPU)


NAMES = ["base", "large", "contentvec", "projected", "soft", "discrete"]


@pytest.mark.parametrize("name", NAMES)
def test_there_is_a_finite_frame_for_every_hop(folder, name):
    made = extractor(folder, name)
    for n in (320, 321, 400, 639, 640, 24030, 32000):
        frames = made(noise(n))
        assert frames.shape == (made.grid.frames(n), made.settings.dim), n
        assert torch.isfinite(frames).all()
    assert torch.isfinite(made(torch.zeros(3200))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_as_single_and_a_second_call_as_the_first(folder, name):
    made = extractor(folder, name)
    waves = [noise(n, n) for n in (16000, 320, 15900, 15680, 16000, 15999, 15360)]
    for wave, frames in zip(waves, made.batch(waves), strict=True):
        alone = made(wave)
        assert torch.equal(made(wave), alone)
        assert (frames - alone).abs().max() <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_long_recordings_come_in_windows(folder, name):
    made = extractor(folder, name)
    wave = noise(16000 * 13 + 99)
    rows = []
    encode = made.encode
    made.encode = lambda w, n: rows.append(w.shape[1]) or encode(w, n)
    frames = made(wave)
    assert frames.shape == (650, made.settings.dim)
    assert max(rows) == 96000 and len(rows) > 2
    first = extractor(folder, name)(wave[:96000])
    assert torch.equal(frames[:200], first[:200])


def test_soft_units_are_those_of_soft_vcs_own_network(folder):
    wave = noise(24030)
    network = files.SoftVC()
    expected = network.proj(network.layer(wave[None], 12))[0]
    assert (extractor(folder, "soft")(wave) - expected).abs().max() <= 1e-4


def test_discrete_units_are_the_nearest_centres_of_the_seventh_layer(folder):
    wave = noise(24030)
    centers = torch.load(folder / "kmeans.pt", weights_only=True)["cluster_centers_"]
    distances = torch.cdist(files.SoftVC().layer(wave[None], 7)[0], centers)
    units = extractor(folder, "discrete")(wave)[:, 0]
    assert torch.equal(units, distances.argmin(1).float())
    assert len(units.unique()) > 3
    settings = hubert_discrete.Settings()
    assert (settings.dtype, settings.dim) == ("int16", 1)
    assert np.array_equal(units.numpy().astype(settings.dtype), units.numpy())


def test_a_frame_sees_forty_samples_more_on_each_side(folder):
    """Frame 4 sees samples 320 * 4 - 40 to 320 * 5 + 40, so that it is centred on its own 320."""
    made = hubert.load(hubert.Settings(weights=str(folder / "large.pth"), layer=0, width=128), CPU)
    seen = []
    made.model.projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 4].clone()))
    before = noise(320 * 9 + 5)
    made(before)
    changed = []
    for sample in (1239, 1240, 1639, 1640):
        after = before.clone()
        after[sample] += 1.0
        made(after)
        changed.append(not torch.equal(seen[-1], seen[0]))
    assert changed == [False, True, True, False]


def test_the_projection_is_that_of_the_file(folder):
    wave, head = noise(16000), files.head()
    expected = extractor(folder, "contentvec")(wave) @ head["weight"].T + head["bias"]
    assert (extractor(folder, "projected")(wave) - expected).abs().max() <= 1e-4


def test_layers_are_averaged_or_weighted(folder):
    wave = noise(16000)

    def frames(**values):
        settings = check(hubert.Settings, {"weights": str(folder / "large.pth"), "width": 128, **values}, "features.x")
        return hubert.load(settings, CPU)(wave)

    one, three = frames(layer=1), frames(layer=3)
    assert torch.allclose(frames(layers=[1, 3]), (one + three) / 2, atol=1e-5)
    assert torch.allclose(frames(layers={1: 2.0, 3: -1.5}), 2 * one - 1.5 * three, atol=1e-5)
    assert torch.equal(frames(layers={3: 1}), three)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"layer": 3, "layers": [1, 2]}, "`layer` and `layers` are both given"),
        ({"layers": {}}, "expected weights that are numbers other than 0, for one layer at least"),
        ({"layers": []}, "features.x.layers"),
        ({"layers": {1: 0}}, "numbers other than 0"),
        ({"layers": {1: float("nan")}}, "numbers other than 0"),
        ({"layers": [1, 1]}, "a layer is named twice"),
        ({"layers": {-1: 1}}, "greater than or equal to 0"),
        ({"layers": "6"}, "features.x.layers"),
    ],
)
@pytest.mark.parametrize("module", [wavlm, hubert, contentvec])
def test_a_wrong_choice_of_layers_is_refused(module, values, words):
    with pytest.raises(InputError, match=words):
        check(module.Settings, values, "features.x")


def test_a_slice_without_layers_is_what_it_always_was():
    """Shards made before `layers` existed must not become stale."""
    assert wavlm.Settings().content() == {
        "kind": "wavlm",
        "dtype": "float16",
        "weights": "WavLM-Large.pt",
        "sha256": "6fb4b3c3e6aa567f0a997b30855859cb81528ee8078802af439f7b2da0bf100f",
        "layer": 6,
        "width": 1024,
        "window_s": 30.0,
        "margin_s": 1.5,
        "normalize": False,
        "precision": "float32",
        "revision": 1,
    }


@pytest.mark.parametrize("module", [wavlm, hubert, contentvec, hubert_soft, hubert_discrete])
def test_settings_come_back_from_their_slice(module):
    cases = [{}]
    if "layers" in module.Settings.model_fields:
        cases += [{"layers": [6, 10]}, {"layers": {10: 0.25, 6: 0.75}}]
    for values in cases:
        settings = check(module.Settings, values, "features.x")
        content = json.loads(canonical(settings.content()))
        assert content.pop("revision") == 1
        again = check(module.Settings, content, "features.x")
        assert canonical(again.content()) == canonical(settings.content())
        assert again.dim == settings.dim
    assert ("layer" in content) == ("layers" not in content) or module is hubert_soft


def test_weights_that_do_not_fit_are_refused(folder):
    with pytest.raises(InputError, match="feature hubert: width is 768, the weights have 128"):
        hubert.load(hubert.Settings(weights=str(folder / "base.pth"), layer=1), CPU)
    with pytest.raises(InputError, match="has layers 0 to 3, not 6"):
        hubert.load(hubert.Settings(weights=str(folder / "base.pth")), CPU)
    with pytest.raises(InputError, match="width is 256, the weights have 32"):
        settings = contentvec.Settings(weights=str(folder / "contentvec.pt"), layer=2, projected=True, width=256)
        contentvec.load(settings, CPU)
    with pytest.raises(InputError, match="has no projection; use a file of ContentVec or HuBERT-Soft"):
        contentvec.load(contentvec.Settings(weights=str(folder / "base.pth"), layer=2, projected=True), CPU)
    with pytest.raises(InputError, match="precision float16 needs a CUDA device"):
        hubert_soft.load(hubert_soft.Settings(weights=str(folder / "soft.pt"), precision="float16"), CPU)
    centers = folder / "other.npy"
    np.save(centers, np.zeros((5, 64), np.float32))
    values = {"weights": str(folder / "soft.pt"), "centers": str(centers)}
    with pytest.raises(InputError, match=r"other\.npy: expected at most 32768 centres of 128 columns, found \(5, 64\)"):
        hubert_discrete.load(hubert_discrete.Settings(**values), CPU)
    digest = hashlib.sha256(centers.read_bytes()).hexdigest()
    with pytest.raises(InputError, match=f"expected sha256 00.*found {digest}"):
        hubert_discrete.load(hubert_discrete.Settings(**values, centers_sha256="00" * 32), CPU)


def test_settings_are_free_of_torch():
    modules = ", ".join(f"vcpipe.features.{m}" for m in ("hubert", "contentvec", "hubert_soft", "hubert_discrete"))
    code = f"import sys, {modules}; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
