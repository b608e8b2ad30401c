"""The built-in digits are repeatable, look like MNIST in numbers, and can be told apart."""

import numpy as np
import pytest

from minae.data import draw_digits, generated_digits, load_mnist
from minae.data.digits import _glyphs


@pytest.fixture(scope="module")
def digits():
    return generated_digits(train=6000, test=1000, seed=3)


def nearest(images, labels, queries):
    """The labels of the nearest of ``images``, in float32."""
    images, queries = (x.reshape(len(x), -1).astype("float32") / 255 for x in (images, queries))
    return labels[((images**2).sum(1) - 2 * queries @ images.T).argmin(1)]


def test_shapes_and_names(digits):
    assert digits.name == "digits" and "seed 3" in digits.source
    assert [array.shape for array in digits[2:]] == [
        (6000, 28, 28, 1), (6000,), (1000, 28, 28, 1), (1000,)
    ]  # fmt: skip
    assert all(array.dtype == "uint8" for array in digits[2:])
    assert np.bincount(digits.train_labels, minlength=10).min() > 500


def test_a_seed_determines_every_byte(digits):
    again = generated_digits(train=6000, test=1000, seed=3)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(digits[2:], again[2:]))
    other = generated_digits(train=6000, test=1000, seed=4)
    assert all(a.tobytes() != b.tobytes() for a, b in zip(digits[2:], other[2:]))
    fewer = generated_digits(train=10, test=1000, seed=3)
    np.testing.assert_array_equal(fewer.test_images, digits.test_images)
    assert not np.array_equal(digits.train_images[:1000], digits.test_images)


def test_the_generator_continues():
    rng = np.random.default_rng(0)
    first, second = draw_digits([5, 5], rng), draw_digits([5, 5], rng)
    np.testing.assert_array_equal(first, draw_digits([5, 5], np.random.default_rng(0)))
    assert len({image.tobytes() for image in (*first, *second)}) == 4


def test_their_pixels_are_spread_as_those_of_mnist(digits):
    x = digits.train_images / 255  # MNIST: mean 0.131, deviation 0.308, 81 % of 0, 7 % near 1
    assert abs(x.mean() - 0.131) < 0.01 and abs(x.std() - 0.308) < 0.02
    assert 0.78 < (x == 0).mean() < 0.84 and 0.05 < (x > 0.98).mean() < 0.12
    assert x.max(axis=(1, 2, 3)).min() > 0.9  # a bright stroke in each
    edge = np.concatenate([x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1]])
    assert edge.max(axis=1).mean() < 0.01  # the digit stays within


def test_they_stand_in_the_middle(digits):
    x = digits.train_images[..., 0].astype(float)
    mass = x.sum((1, 2))
    for axis in (1, 2):
        centre = (x.sum(axis) * np.arange(28)).sum(1) / mass
        assert abs(centre.mean() - 13.5) < 0.2 and abs(centre - 13.5).max() < 4


def test_every_way_to_write_a_digit_is_used():
    first, count, points, lengths = _glyphs()
    assert (count >= 1).all() and first[-1] + count[-1] == len(points) == len(lengths)
    assert points.min() > -0.15 and points.max() < 1.15
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2)
    assert (np.median(steps, axis=1) < lengths / 60).all()  # at equal distances


def test_digits_can_be_told_apart(digits):
    means = np.stack([digits.train_images[digits.train_labels == k].mean(0) for k in range(10)])
    found = nearest(means, np.arange(10), digits.test_images)
    assert (found == digits.test_labels).mean() > 0.8  # measured 0.88
    found = nearest(digits.train_images, digits.train_labels, digits.test_images)
    assert (found == digits.test_labels).mean() > 0.95  # measured 0.98


def test_real_digits_are_told_apart_by_built_in_ones(digits, real):
    mnist = load_mnist(real("mnist"))
    found = nearest(digits.train_images, digits.train_labels, mnist.test_images[:3000])
    right = found == mnist.test_labels[:3000]
    assert right.mean() > 0.72  # measured 0.80, where chance is 0.11
    assert min(right[mnist.test_labels[:3000] == k].mean() for k in range(10)) > 0.45


@pytest.mark.parametrize("labels", [[10], [-1], [0.5], [[1, 2]], 3, ["1"]])
def test_other_labels_are_refused(labels):
    with pytest.raises(ValueError, match="labels must be a list of integers from 0 to 9"):
        draw_digits(labels, np.random.default_rng(0))


def test_no_labels_no_digits():
    assert draw_digits(np.zeros(0, int), np.random.default_rng(0)).shape == (0, 28, 28, 1)
