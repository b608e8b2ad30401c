"""Picks, masks and segments at their edges, and what they refuse."""

import math

import numpy as np
import pytest

import minae
from minae import Tensor

INF, NAN = math.inf, math.nan


@pytest.fixture
def leaf(array):
    return lambda values: Tensor(array(values, "float64"), requires_grad=True)


# --- The k largest -------------------------------------------------------------------------------


def test_of_equals_the_first_come_first_and_nan_counts_as_the_largest(array, numpy):
    values, indices = minae.top_k(array([1.0, 3.0, NAN, 3.0, -INF, NAN]), 5)
    assert numpy(indices).tolist() == [2, 5, 1, 3, 0]
    np.testing.assert_array_equal(numpy(values), [NAN, NAN, 3, 3, 1])


def test_the_gradient_goes_to_what_was_picked(leaf, array, numpy):
    x = leaf([[1.0, 5.0, 3.0], [2.0, 0.0, 4.0]])
    values, _ = minae.top_k(x, 2)
    gradient = minae.grad(values, x, array([[10.0, 20.0], [30.0, 40.0]]))
    assert numpy(gradient).tolist() == [[0, 10, 20], [40, 0, 30]]


@pytest.mark.parametrize("k", [-1, 4])
def test_there_are_only_so_many(k, array):
    with pytest.raises(ValueError, match=f"top_k of {k} entries, but the axis has 3"):
        minae.top_k(array([1.0, 2.0, 3.0]), k)


def test_unsigned_integers_are_ordered_too(array, numpy):
    values, _ = minae.top_k(array([3, 0, 255], "uint8"), 2)
    assert numpy(values).tolist() == [255, 3]


def test_a_few_of_many_are_found_as_if_all_were_sorted(array, numpy):
    rng = np.random.default_rng(0)
    for _ in range(300):
        shape, k = (rng.integers(3), rng.integers(16, 40), 2), int(rng.integers(1, 3))
        x = rng.integers(-2, 3, size=shape).astype("float32")  # with many ties
        x[rng.random(shape) < rng.choice([0, 0.1, 0.9])] = rng.choice([NAN, -INF, INF])
        values, indices = minae.top_k(array(x), k, axis=1)
        order = np.lexsort([-np.nan_to_num(x, nan=0), ~np.isnan(x)], axis=1)[:, :k]
        np.testing.assert_array_equal(numpy(indices), order)
        np.testing.assert_array_equal(numpy(values), np.take_along_axis(x, order, 1))


# --- Masks ---------------------------------------------------------------------------------------


def test_what_is_masked_gets_no_gradient(leaf, array, numpy):
    x = leaf([[1.0, NAN], [3.0, 4.0]])
    y = minae.masked_fill(x, array([[False, True], [False, False]]), -INF)
    assert numpy(y).tolist() == [[1, -INF], [3, 4]]
    gradient = minae.grad(minae.softmax(y).sum(), x)
    assert np.isfinite(numpy(gradient)).all()


def test_masks_are_boolean_and_not_larger(array):
    x = array(np.ones((2, 3)))
    with pytest.raises(TypeError, match="mask must be boolean, got int64"):
        minae.masked_fill(x, array([1, 0, 1], "int64"), 0.0)
    with pytest.raises(ValueError, match=r"Expect: a mask that broadcasts to \[2, 3\]"):
        minae.masked_fill(x, array(np.ones((4, 2, 3)), "bool"), 0.0)


# --- Segments ------------------------------------------------------------------------------------

SEGMENTS = ["segment_sum", "segment_mean", "segment_max", "segment_softmax"]


def test_an_empty_segment(array, numpy):
    x, where = array([[1.0], [2.0]]), [2, 2]
    assert numpy(minae.segment_sum(x, where, 4)).ravel().tolist() == [0, 0, 3, 0]
    assert numpy(minae.segment_mean(x, where, 4)).ravel().tolist() == [0, 0, 1.5, 0]
    assert numpy(minae.segment_max(x, where, 4)).ravel().tolist() == [-INF, -INF, 2, -INF]


@pytest.mark.parametrize("name", SEGMENTS)
def test_no_rows_at_all(name, leaf, numpy):
    x = leaf(np.zeros((0, 2)))
    y = getattr(minae, name)(x, np.zeros(0, int), 3)
    assert y.shape == ((0, 2) if name == "segment_softmax" else (3, 2))
    assert minae.grad(y.sum(), x).shape == (0, 2)


def test_entries_that_tie_share_the_gradient(leaf, array, numpy):
    x = leaf([3.0, 3.0, 1.0, -INF])
    y = minae.segment_max(x, [0, 0, 0, 1], 2)
    assert numpy(y).tolist() == [3, -INF]
    assert numpy(minae.grad(y, x, array([1.0, 1.0]))).tolist() == [0.5, 0.5, 0, 1]


def test_softmax_of_a_segment_survives_large_and_masked_scores(leaf, array, numpy):
    x = leaf([1000.0, 1001.0, -INF, -INF, 0.0])
    where = [0, 0, 0, 1, 2]
    y = minae.segment_softmax(x, where, 3)
    e = math.e
    np.testing.assert_allclose(numpy(y), [1 / (1 + e), e / (1 + e), 0, 0, 1], rtol=1e-12)
    gradient = numpy(minae.grad(y, x, array([1.0, 2.0, 3.0, 4.0, 5.0])))
    assert np.isfinite(gradient).all() and gradient[2:].tolist() == [0, 0, 0]


def test_nan_is_the_largest_of_a_segment(array, numpy):
    for values in ([1.0, math.nan], [math.nan, 1.0]):
        assert math.isnan(numpy(minae.segment_max(array(values), [0, 0], 1))[0])


def test_bytes_do_not_wrap(array, numpy):
    x = array([200, 200], "uint8")
    assert numpy(minae.segment_sum(x, [0, 0], 1)).tolist() == [400]
    assert numpy(minae.segment_mean(x, [0, 0], 1)).tolist() == [200]
    assert numpy(minae.segment_max(x, [0, 0], 1)).tolist() == [200]
    assert float(minae.norm(x)) == pytest.approx(200 * math.sqrt(2))
    black, white = array([0], "uint8"), array([255], "uint8")
    assert float(minae.mse_loss(black, white)) == 255**2
    assert float(minae.l1_loss(black, white)) == 255
    one = array([1], "uint8")
    assert float(minae.sigmoid(one)[0]) == pytest.approx(1 / (1 + math.exp(-1)), rel=1e-6)
    assert float(minae.softplus(one)[0]) == pytest.approx(math.log(1 + math.e), rel=1e-6)
    assert float(minae.log_sigmoid(one)[0]) == pytest.approx(-math.log(1 + math.exp(-1)), rel=1e-6)
    assert set(numpy(minae.dropout(array(np.ones(50, int)), 0.5)).tolist()) == {0, 2}


@pytest.mark.parametrize("index", [[0, 0], (0, [0, 0]), (slice(1), [0, 0])])
def test_whole_numbers_are_added_too(index, array, numpy):
    x = array([[1, 2]] if isinstance(index, tuple) else [1, 2], "int64")
    values = array([-5, 2**40], "int64")
    added = minae.index_add(x, index, values)
    assert added.dtype == "int64" and numpy(added).ravel().tolist() == [2**40 - 4, 2]


def test_a_value_to_fill_with_may_be_learned(leaf, array, numpy):
    x, value = leaf([1.0, 2.0, 3.0]), leaf(7.0)
    y = minae.masked_fill(x, array([True, False, True]), value)
    assert numpy(y).tolist() == [7, 2, 7]
    assert float(minae.grad(y.sum(), value)) == 2


def test_what_is_put_takes_the_dtype(array):
    x = Tensor(array([1.0, 2.0], "float32"))
    assert minae.index_update(x, [0], array([5], "int64")).dtype == "float32"
    assert minae.index_add(x, [0], array([5], "int64")).dtype == "float32"


def test_cuts_may_be_an_array(array, numpy):
    parts = minae.split(array([1.0, 2.0, 3.0]), np.array([1, 2]))
    assert [numpy(part).tolist() for part in parts] == [[1], [2], [3]]


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_that_do_not_fit(name, array):
    function, x = getattr(minae, name), array(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"segments must be in \[0, 2\), got 2"):
        function(x, [0, 1, 2], 2)
    with pytest.raises(TypeError, match="segments must be integers"):
        function(x, [0.0, 1.0, 0.0], 2)
    with pytest.raises(ValueError, match=r"segments \[2\] do not lead \[3, 2\]"):
        function(x, [0, 1], 2)
