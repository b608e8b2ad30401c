"""The compiled LSTM: its definition step by step, but for rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import FORMS, laid

from minae.kernels import reference

pytestmark = pytest.mark.kernels

DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])


@pytest.fixture(scope="module")
def fast(compiled):
    return compiled("recurrence")


def draw(seed, steps, batch, size, dtype, spread=1.0):
    """The gradient of the result; inputs, weight, first state and cell."""
    rng = np.random.default_rng(seed)
    shapes = (steps, batch, 2 * size), (steps, batch, 4 * size), (size, 4 * size)
    scales = 1, spread, size**-0.5, 1, 1
    return [
        (scale * rng.standard_normal(shape)).astype(dtype)
        for scale, shape in zip(scales, (*shapes, (batch, size), (batch, size)))
    ]


def every(form, g, *arrays):
    out = form.lstm(*arrays)
    return [out, *form.lstm_gradient(g, *arrays, out)]


def close(found, want, dtype, units):
    """Equal up to so many roundings of a number of the size of the largest."""
    for a, b in zip(found, want, strict=True):
        assert (a.dtype, a.shape) == (np.dtype(dtype), b.shape)
        scale = 1 + abs(b).max(initial=0)
        np.testing.assert_allclose(a, b, rtol=0, atol=units * np.finfo(dtype).eps * scale)


@settings(max_examples=80)
@given(
    steps=st.sampled_from([1, 2, 5]), batch=st.sampled_from([1, 2, 3, 4, 5, 7, 13]),
    size=st.sampled_from([1, 2, 3, 7, 8, 16, 17, 33]), dtype=st.sampled_from(["f4", "f8"]),
    layout=st.sampled_from(sorted(FORMS)), seed=st.integers(0, 2**32 - 1),
)
def test_it_equals_the_reference(fast, steps, batch, size, dtype, layout, seed):
    arrays = draw(seed, steps, batch, size, dtype)
    found = every(fast, *(laid(a, layout) for a in arrays))
    close(found, every(reference, *(a.astype("f8") for a in arrays)), dtype, 40 * steps)


@DTYPES
def test_gates_that_are_shut_or_open_for_good(fast, dtype):
    """Where the exponentials of a logistic function overflow, and tanh is 1."""
    arrays = draw(0, 4, 6, 9, dtype, spread=1e4)
    arrays[4] *= 100
    found = every(fast, *arrays)
    close(found, every(reference, *(a.astype("f8") for a in arrays)), dtype, 100)


@DTYPES
def test_what_is_no_number_stays_with_its_sequence(fast, dtype):
    arrays = draw(1, 3, 5, 7, dtype)
    arrays[1][1, 2, 3] = np.nan
    out, to_projected, to_weight, to_hidden, to_cell = every(fast, *arrays)
    clean = [0, 1, 3, 4]
    for a in (out[:, clean], to_projected[:, clean], to_hidden[clean], to_cell[clean], out[0]):
        assert np.isfinite(a).all()
    assert np.isnan(out[2, 2]).all() and np.isnan(to_weight).any()


@DTYPES
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype, batch):
    arrays = draw(2, 6, batch, 128, dtype)
    assert fast.SMALL < 4 * 5 * 128 * 128  # so that those of 5 or more are shared
    found = set()
    for count in (1, 2, 3):
        threads(count)
        found.add(b"".join(a.tobytes() for a in every(fast, *arrays)))
    assert len(found) == 1


def test_a_sequence_is_the_same_alone(fast):
    """Whichever others are beside it in the tile."""
    arrays = draw(3, 4, 9, 11, "f4")
    _, projected, weight, hidden, cell = arrays
    for n in (0, 4, 8):
        one = slice(n, n + 1)
        alone = fast.lstm(projected[:, one], weight, hidden[one], cell[one])
        np.testing.assert_array_equal(alone, fast.lstm(*arrays[1:])[:, one])


def test_what_no_kernel_is_compiled_for_goes_to_the_reference(fast):
    g, projected, weight, hidden, cell = draw(4, 3, 2, 5, "f4")
    half = [a.astype("f2") for a in (g, projected, weight, hidden, cell)]
    mixed = [g, projected, weight.astype("f8"), hidden, cell]
    none = [g[:, :0], projected[:, :0], weight, hidden[:0], cell[:0]]
    for arrays in (half, mixed, none):
        for a, b in zip(every(fast, *arrays), every(reference, *arrays), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [
    lambda x: np.empty(x.shape[::-1], x.dtype).T, lambda x: np.empty(x.shape, "f8"),
])  # fmt: skip
def test_gates_are_kept_in_any_array_like_the_inputs(fast, make):
    g, *arrays = draw(5, 3, 2, 5, "f4")
    want, gates = np.empty_like(arrays[0]), make(arrays[0])
    out = reference.lstm(*arrays, want)
    close([fast.lstm(*arrays, gates)], [out], "f4", 40)
    np.testing.assert_allclose(gates, want, rtol=1e-5)
    found, expected = (form.lstm_gradient(g, *arrays, out, kept)
                       for form, kept in ((fast, gates), (reference, want)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gates_of_another_shape_are_refused(fast):
    g, *arrays = draw(5, 3, 2, 5, "f4")
    small = np.empty((1, 2, 3), "f4")
    with pytest.raises(ValueError):
        fast.lstm(*arrays, small)
    with pytest.raises((ValueError, IndexError)):
        fast.lstm_gradient(g, *arrays, fast.lstm(*arrays), small)


def test_what_does_not_fit_is_an_error_as_in_the_reference(fast):
    _, projected, weight, hidden, cell = draw(5, 3, 2, 5, "f4")
    for arrays in [
        (projected[..., :19], weight, hidden, cell), (projected, weight[:, :16], hidden, cell),
        (projected, weight[:4], hidden, cell), (projected, weight, hidden[:, :4], cell),
    ]:  # fmt: skip
        for form in (fast, reference):
            with pytest.raises(ValueError):
                form.lstm(*arrays)
