"""k-means and the moving-average codebook against scikit-learn's k-means, on real digits."""

import numpy as np
import pytest

import minae
from minae import backend, vq

cluster = pytest.importorskip("sklearn.cluster", reason="scikit-learn is not installed")
datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")


@pytest.fixture(scope="module")
def digits():
    """1,797 digits of 8 x 8 pixels in [0, 1], as vectors."""
    return (datasets.load_digits().data / 16).astype("float32")


def inertia(x, centres):
    return ((x[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1).sum()


def test_lloyd_from_the_same_start(digits, numpy):
    start = np.random.default_rng(5).choice(len(digits), 10, replace=False)
    theirs = cluster.KMeans(10, init=digits[start], n_init=1, max_iter=25, tol=0,
                            algorithm="lloyd").fit(digits)
    ours, _ = vq.kmeans(backend.asarray(digits), 10, iterations=25, rng=np.random.default_rng(5))
    np.testing.assert_allclose(numpy(ours), theirs.cluster_centers_, atol=1e-5)


def test_a_moving_average_codebook_is_mini_batch_k_means(digits, numpy):
    """With nothing before and behind it, it ends where k-means does."""
    best = min(cluster.KMeans(16, n_init=1, random_state=s).fit(digits).inertia_ for s in range(5))
    minae.seed(0)
    q = vq.VectorQuantizerEMA(16, 64)
    rng = np.random.default_rng(0)
    for _ in range(600):
        q(backend.asarray(digits[rng.integers(len(digits), size=256)]))
    assert inertia(digits, numpy(q.codebook)) < 1.03 * best
