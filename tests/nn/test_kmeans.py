import numpy as np
import pytest
import torch

from vcpipe.errors import InputError
from vcpipe.nn import kmeans


def blobs(clusters=6, each=400, dim=5, seed=0):
    """Points around well separated centres, shuffled, with the number of each point's centre."""
    random = np.random.default_rng(seed)
    centers = 10 * random.standard_normal((clusters, dim))
    numbers = random.permutation(np.repeat(np.arange(clusters), each))
    return (centers[numbers] + random.standard_normal((len(numbers), dim))).astype(np.float32), numbers


def blocks(points, sizes=(7, 300, 1, 900)):
    at = 0
    while at < len(points):
        size = sizes[at % len(sizes)]
        yield points[at : at + size]
        at += size


def test_clusters_that_are_there_are_found():
    points, numbers = blobs()
    centers = kmeans.train(blocks(points), 6, seed=1)
    assert centers.shape == (6, 5) and centers.dtype == np.float32
    found = kmeans.assign(points, centers)
    means = np.stack([points[numbers == n].mean(0) for n in range(6)])
    for n in range(6):
        assert len(set(found[numbers == n])) == 1
        assert np.abs(centers[found[numbers == n][0]] - means[n]).max() < 0.3


def test_the_seed_decides_and_blocks_do_not():
    points, _ = blobs()
    first = kmeans.train(blocks(points), 20, seed=1)
    assert np.array_equal(kmeans.train([points], 20, seed=1), first)
    assert not np.array_equal(kmeans.train([points], 20, seed=2), first)


def test_a_sample_is_of_all_frames_and_no_larger_than_asked():
    rows = np.arange(20_000, dtype=np.float32)[:, None]
    sample = kmeans._sample(blocks(rows), 500, np.random.default_rng(0))
    assert sample.shape == (500, 1)
    assert len(np.unique(sample)) == 500
    assert np.histogram(sample, 4, (0, 20_000))[0] == pytest.approx([125] * 4, abs=40)


def test_half_precision_frames_are_taken():
    points, _ = blobs()
    assert kmeans.train([points.astype(np.float16)], 6, seed=1).dtype == np.float32


@pytest.mark.parametrize(
    ("frames", "clusters", "words"),
    [
        ([np.zeros((3, 2))], 4, "3 frames for 4 clusters"),
        ([], 4, "0 frames for 4 clusters"),
        ([np.zeros((3, 2)), np.zeros((3, 3))], 2, r"expected frames \(T, 2\), found an array \(3, 3\)"),
        ([np.zeros(3)], 2, r"expected frames \(T, D\), found an array \(3,\)"),
        ([np.full((3, 2), np.nan)], 2, "not finite"),
        ([np.zeros((3, 2))], 0, "expected 1 to 200000 .* clusters, found 0"),
    ],
)
def test_what_cannot_be_clustered_is_refused(frames, clusters, words):
    with pytest.raises(InputError, match=words):
        kmeans.train(frames, clusters, seed=0)


def test_each_frame_gets_its_nearest_centre_in_bshalls_layout(tmp_path):
    """`kmeans100-*.pt` is a dictionary of a fitted model's attributes."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(100, 768, generator=generator)
    torch.save({"n_features_in_": 768, "_n_threads": 4, "cluster_centers_": centers}, tmp_path / "kmeans100.pt")
    frames = torch.randn(9000, 768, generator=generator)
    found = kmeans.assign(frames.numpy(), kmeans.load(tmp_path / "kmeans100.pt"))
    assert found.shape == (9000,)
    for start in range(0, 9000, 1000):
        distances = torch.cdist(frames[start : start + 1000].double(), centers.double())
        chosen = distances.gather(1, torch.from_numpy(found[start : start + 1000])[:, None])[:, 0]
        assert bool((chosen <= distances.min(1).values + 1e-4).all())
    assert np.array_equal(kmeans.assign(centers.numpy(), centers.numpy()), np.arange(100))
    assert kmeans.assign(np.empty((0, 768), np.float16), centers.numpy()).shape == (0,)


def test_centres_come_back_from_files(tmp_path):
    centers = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    kmeans.save(tmp_path / "units.safetensors", centers)
    np.save(tmp_path / "units.npy", centers.astype(np.float64))
    for name in ("units.safetensors", "units.npy"):
        found = kmeans.load(tmp_path / name)
        assert np.array_equal(found, centers) and found.dtype == np.float32


def test_other_files_are_refused_in_words(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    torch.save({"generator": {}}, tmp_path / "g.pt")
    (tmp_path / "model.km").write_bytes(b"\x80")
    for name, words in [
        ("flat.npy", r"expected k-means centres \(K, D\).*found \(3,\)"),
        ("objects.npy", "cannot be read as an array"),
        ("g.pt", "expected k-means centres.*found NoneType"),
        ("model.km", r"a pickled object, which is not read; .*numpy\.save"),
    ]:
        with pytest.raises(InputError, match=words):
            kmeans.load(tmp_path / name)
    with pytest.raises(InputError, match=r"expected frames \(T, 3\) like the centres, found \(4, 2\)"):
        kmeans.assign(np.zeros((4, 2)), np.zeros((5, 3), np.float32))
