"""Pooling, padding and pixel shuffle by hand, and what they refuse; PyTorch's are in oracles."""

import math

import numpy as np
import pytest

import minae
from minae import Tensor


def line(array, values):
    return array(np.reshape(values, (1, -1, 1)), "float64")


def test_a_window_that_hangs_over_the_end(array, numpy):
    x = line(array, [1.0, 2.0, 3.0, 4.0, 6.0])
    assert numpy(minae.avg_pool1d(x, 2)).ravel().tolist() == [1.5, 3.5]
    assert numpy(minae.avg_pool1d(x, 2, ceil_mode=True)).ravel().tolist() == [1.5, 3.5, 6]
    assert numpy(minae.max_pool1d(x, 2, ceil_mode=True)).ravel().tolist() == [2, 4, 6]


def test_padding_counts_in_a_mean_or_not_but_is_never_the_largest(array, numpy):
    x = line(array, [-2.0, -4.0])
    assert numpy(minae.avg_pool1d(x, 2, 2, 1)).ravel().tolist() == [-1, -2]
    apart = minae.avg_pool1d(x, 2, 2, 1, count_include_pad=False)
    assert numpy(apart).ravel().tolist() == [-2, -4]
    assert numpy(minae.max_pool1d(x, 2, 2, 1)).ravel().tolist() == [-2, -4]


def test_nan_is_the_largest(array, numpy):
    x = line(array, [1.0, math.nan, 3.0, 4.0])
    np.testing.assert_array_equal(numpy(minae.max_pool1d(x, 2)).ravel(), [math.nan, 4])


def test_the_gradient_goes_to_nan_where_there_is_one(array, numpy):
    for values in ([math.nan, 1.0, 2.0], [1.0, math.nan, 2.0], [1.0, 2.0, math.nan], [math.nan]):
        x = Tensor(line(array, values), requires_grad=True)
        y = minae.max_pool1d(x, len(values))
        assert numpy(minae.grad(y.sum(), x)).ravel().tolist() == np.isnan(values).tolist()


def test_integers(array, numpy):
    x = array(np.full((1, 4, 1), 200), "uint8")
    for ours in (x, Tensor(x)):
        assert numpy(minae.avg_pool1d(ours, 2)).ravel().tolist() == [200, 200]
        assert numpy(minae.adaptive_avg_pool1d(ours, 2)).ravel().tolist() == [200, 200]
        assert numpy(minae.max_pool1d(ours, 3, 2, 1)).ravel().tolist() == [200, 200]


def test_windows_of_nearly_equal_length(array, numpy):
    x = line(array, [0.0, 1.0, 2.0, 3.0, 4.0])
    assert numpy(minae.adaptive_avg_pool1d(x, 3)).ravel().tolist() == [0.5, 2, 3.5]
    assert numpy(minae.adaptive_max_pool1d(x, 3)).ravel().tolist() == [1, 3, 4]


def test_the_mirror_does_not_repeat_the_edge(array, numpy):
    x = line(array, [0.0, 1.0, 2.0, 3.0])
    y = minae.reflect_pad(x, [(0, 0), (2, 3), (0, 0)])
    assert numpy(y).ravel().tolist() == [2, 1, 0, 1, 2, 3, 2, 1, 0]


def test_pixel_shuffle_interleaves_channels(array, numpy):
    x = array(np.arange(8.0).reshape(1, 2, 4))
    assert numpy(minae.pixel_shuffle(x, 2))[0].tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_an_empty_batch_passes(array):
    images = array(np.zeros((0, 4, 4, 3), "float32"))
    assert minae.max_pool2d(images, 2).shape == (0, 2, 2, 3)
    assert minae.avg_pool2d(images, 2).shape == (0, 2, 2, 3)
    assert minae.upsample_nearest(images, 2).shape == (0, 8, 8, 3)
    assert minae.reflect_pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)]).shape == (0, 6, 6, 3)


@pytest.mark.parametrize("pool", [minae.avg_pool2d, minae.max_pool2d])
def test_pools_that_cannot_be(pool, array):
    x = Tensor(array(np.ones((1, 4, 4, 1))))
    with pytest.raises(ValueError, match=r"Expect: \(batch, height, width, channels\)"):
        pool(x[0], 2)
    for wrong in ((0,), (2, 0), (2, 2, 2), (3, 1, -1)):
        with pytest.raises(ValueError, match="no pooling has kernel"):
            pool(x, *wrong)
    with pytest.raises(ValueError, match="a window of 5 is larger than an axis of 4"):
        pool(x, 5)
    with pytest.raises(TypeError, match="kernel must be an integer or a pair"):
        pool(x, 2.0)
    with pytest.raises(TypeError, match="stride must be an integer or a pair"):
        pool(x, 2, (1, 2, 3))


def test_what_else_is_refused(array):
    x = array(np.ones((1, 4, 4, 6)))
    with pytest.raises(ValueError, match="cannot be pooled to 0"):
        minae.adaptive_avg_pool2d(x, (2, 0))
    with pytest.raises(ValueError, match="factor must be at least 1"):
        minae.upsample_nearest(x, 0)
    with pytest.raises(ValueError, match=r"Expect: \(batch, time, channels\) or"):
        minae.upsample_nearest(x[0, 0], 2)
    with pytest.raises(ValueError, match="channels divisible by 4"):
        minae.pixel_shuffle(x, 2)
    for width in ([(0, 0), (4, 0), (0, 0), (0, 0)], [(0, 0), (-1, 0), (0, 0), (0, 0)]):
        with pytest.raises(ValueError, match="an axis of 4 cannot be reflected by"):
            minae.reflect_pad(x, width)
    with pytest.raises(ValueError, match=r"needs 4 pairs \(before, after\)"):
        minae.reflect_pad(x, 1)
    with pytest.raises(ValueError, match=r"Expect: sequences \(batch, time, in = 6\)"):
        minae.conv1d(x, np.ones((2, 6, 3)))
    with pytest.raises(TypeError, match="stride must be an integer"):
        minae.conv1d(x[0], np.ones((2, 6, 3)), stride=(1, 1))
