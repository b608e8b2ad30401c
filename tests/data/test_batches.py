"""Batches hold each image once, in an order that (seed, epoch) gives, as floats from 0 to 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.data import batch_indices, batches, pixels

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 1), "uint8")


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**40), st.integers(0, 99))
def test_each_image_comes_once(count, size, seed, epoch):
    order = list(batch_indices(count, size, seed=seed, epoch=epoch))
    assert sorted(np.concatenate(order)) == list(range(count))
    assert [len(part) for part in order[:-1]] == [size] * (len(order) - 1)
    assert 1 <= len(order[-1]) <= size


def test_the_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(list(batch_indices(1000, 64, seed=seed, epoch=epoch))).tolist()

    assert order(1, 2) == order(1, 2)
    orders = [order(seed, epoch) for seed in (1, 2) for epoch in (1, 2)]
    assert all(a != b for i, a in enumerate(orders) for b in [list(range(1000)), *orders[:i]])


def test_the_order_of_today_is_the_order_of_tomorrow():
    (first,) = batch_indices(8, 8, seed=0, epoch=0)  # a run resumes with another version
    assert first.tolist() == np.random.default_rng([0, 0]).permutation(8).tolist()


@pytest.mark.parametrize("start", range(8))
def test_a_resumed_epoch_goes_on_where_it_was(numpy, start):
    whole = [numpy(b) for b in batches(IMAGES, 4, seed=5, epoch=3)]
    rest = [numpy(b) for b in batches(IMAGES, 4, seed=5, epoch=3, start=start)]
    assert [len(b) for b in whole] == [4, 4, 4, 4, 4, 3] and len(rest) == max(6 - start, 0)
    for a, b in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batches_are_pixels_of_the_images(numpy, array):
    order = np.concatenate(list(batch_indices(23, 10, seed=1, epoch=0)))
    parts = list(batches(IMAGES, 10, seed=1, epoch=0))
    assert all(type(part) is type(array([1.0])) and part.dtype == "float32" for part in parts)
    np.testing.assert_array_equal(
        np.concatenate([numpy(part) for part in parts]), (IMAGES[order] / 255).astype("float32")
    )


@pytest.mark.parametrize(
    ("count", "options", "reason"),
    [
        (0, {}, "the data set is empty"),
        (5, {"size": 0}, "size must be at least 1"),
        (5, {"size": -3}, "size must be at least 1"),
        (5, {"start": -1}, "start at least 0"),
        (5, {"seed": -1}, "expected non-negative integer"),
        (5, {"epoch": -1}, "expected non-negative integer"),
    ],
)
def test_what_makes_no_batches_is_refused_at_once(count, options, reason):
    with pytest.raises(ValueError, match=reason):
        batches(IMAGES[:count], **({"size": 2, "seed": 0, "epoch": 0} | options))


def test_bytes_become_floats_from_0_to_1(numpy):
    found = numpy(pixels(np.arange(256, dtype="uint8")))
    assert found.dtype == "float32" and found[0] == 0 and found[255] == 1
    np.testing.assert_array_equal(found, np.arange(256, dtype="float32") / np.float32(255))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_pass_unchanged(numpy, array, dtype):
    x = np.array([0, 0.25, 1], dtype)
    for images in (x, array(x)):
        found = numpy(pixels(images))
        assert found.dtype == "float32"
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e-3, 1.001, 255.0])
def test_floats_outside_are_refused_with_the_cure(bad):
    with pytest.raises(ValueError, match=r"leave \[0, 1\]: divide by 255, or pass uint8"):
        pixels(np.array([0.5, bad], "float32"))


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint16"])
def test_other_dtypes_are_refused_with_the_cure(dtype):
    with pytest.raises(TypeError, match=rf"must be uint8, or floats in \[0, 1\]; got {dtype}\[3\]"):
        pixels(np.zeros(3, dtype))
