"""k-means: centres are means, nothing is empty, and clusters are found."""

import numpy as np
import pytest

from minae import backend, vq


def blobs(clusters, each, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-50, 50, size=(clusters, 3))
    points = np.repeat(centres, each, axis=0) + rng.normal(size=(clusters * each, 3))
    return backend.asarray(points.astype("float32"))


def rng():
    return np.random.default_rng(4)


def test_centres_are_the_means_of_what_is_nearest(numpy):
    x = blobs(5, 40)
    centres, sizes = vq.kmeans(x, 5, iterations=50, rng=rng())
    points, centres = numpy(x), numpy(centres)
    codes = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert numpy(sizes).tolist() == np.bincount(codes, minlength=5).tolist()
    means = np.stack([points[codes == k].mean(axis=0) for k in range(5)])
    np.testing.assert_allclose(centres, means, rtol=1e-4, atol=1e-4)


def test_every_centre_serves_even_where_vectors_repeat(numpy):
    x = blobs(2, 50)
    x[:80] = x[0]  # a random start takes the same vector many times
    _, sizes = vq.kmeans(x, 16, iterations=20, rng=rng())
    assert (numpy(sizes) > 0).all()


def test_the_same_seed_gives_the_same_centres(numpy):
    x = blobs(4, 30)
    first, second = (numpy(vq.kmeans(x, 4, rng=rng())[0]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_as_many_centres_as_vectors(numpy):
    x = blobs(1, 6)
    centres, sizes = vq.kmeans(x, 6, rng=rng())
    assert sorted(numpy(centres).tolist()) == sorted(numpy(x).tolist())
    assert numpy(sizes).tolist() == [1] * 6


@pytest.mark.parametrize("count", [0, 7])
def test_too_many_or_no_centres_are_refused(count):
    with pytest.raises(ValueError, match=f"6 vectors do not make {count} clusters"):
        vq.kmeans(blobs(1, 6), count)


def test_sizes_belong_to_the_centres_that_are_returned(numpy):
    x = blobs(4, 50)
    centres, sizes = vq.kmeans(x, 12, iterations=1, rng=rng())
    codes = ((numpy(x)[:, None] - numpy(centres)) ** 2).sum(axis=2).argmin(axis=1)
    assert numpy(sizes).tolist() == np.bincount(codes, minlength=12).tolist()
