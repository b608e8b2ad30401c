"""The compiled sums by code: those of the reference, in the order of the rows, however shared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minae.kernels import reference

pytestmark = pytest.mark.kernels


@pytest.fixture(scope="session")
def fast(compiled):
    return compiled("scattering")


@settings(max_examples=150)
@given(
    n=st.integers(0, 200), d=st.integers(0, 40), count=st.sampled_from([1, 5, 300, 70_000]),
    dtype=st.sampled_from(["f4", "f8"]), kind=st.sampled_from(["i8", "i4", "u1", "u8"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_it_adds_row_after_row(fast, n, d, count, dtype, kind, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n, d)).astype(dtype)
    codes = rng.integers(0, min(count, 256), n).astype(kind)
    expected = np.zeros((count, d), dtype)
    for code, row in zip(codes, values):
        expected[code] += row
    out = fast.scatter_sum(values, codes, count)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("columns", [1, 8, 15, 16, 33, 64])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype, columns):
    rng = np.random.default_rng(0)
    rows = fast.SMALL // columns + 1  # enough to be shared
    values = rng.standard_normal((rows, columns)).astype(dtype)
    codes = rng.integers(0, 9, rows)
    found = set()
    for count in (1, 2, 3, 4):
        threads(count)
        found.add(fast.scatter_sum(values, codes, 9).tobytes())
    assert len(found) == 1
    exact = reference.scatter_sum(values.astype("f8"), codes, 9)
    out = fast.scatter_sum(values, codes, 9)
    np.testing.assert_allclose(out, exact, atol=rows * np.finfo(dtype).eps)


def test_nan_stays_in_its_row_and_column(fast):
    values = np.ones((6, 20), "f4")
    values[3, 4] = np.nan
    out = fast.scatter_sum(values, np.array([0, 1, 1, 2, 0, 1]), 4)
    assert np.argwhere(np.isnan(out)).tolist() == [[2, 4]]
    assert np.nansum(out, axis=1).tolist() == [40, 60, 19, 0]


def test_any_shape_and_layout(fast):
    rng = np.random.default_rng(1)
    values, codes = rng.standard_normal((4, 6, 5)), rng.integers(0, 3, (4, 6))
    want = fast.scatter_sum(values, codes, 3)
    np.testing.assert_allclose(want, reference.scatter_sum(values, codes, 3), rtol=1e-12)
    wide = np.repeat(values, 2, axis=-1)[..., ::2]
    for view in (wide, np.asfortranarray(values)):
        out = fast.scatter_sum(view, np.asfortranarray(codes), 3)
        np.testing.assert_array_equal(out, want)
    one = fast.scatter_sum(np.array([1.0, 2.0]), np.array(1), 3)
    assert one.tolist() == [[0, 0], [1, 2], [0, 0]]
    half = fast.scatter_sum(np.ones((5, 2), "f2"), np.zeros(5, int), 1)
    assert half.dtype == "f2" and half.tolist() == [[5, 5]]


@pytest.mark.parametrize("columns", [2, 64])
def test_errors_are_those_of_the_reference(fast, columns):
    rows = 2 * fast.SMALL // 64  # so that 64 columns are shared between threads
    values, outside = np.ones((rows, columns)), np.zeros(rows, int)
    outside[[-3, -2]] = 5, -1
    for codes, count in [
        (outside, 5), (outside[::-1], 5), (outside, 0), (outside[:-1], 9), (outside * 1.0, 9),
        (outside > 0, 9), (outside.reshape(2, -1), 9),
        (np.full(rows, 2**64 - 1, "u8"), 9),
    ]:  # fmt: skip
        with pytest.raises((IndexError, TypeError, ValueError)) as expected:
            reference.scatter_sum(values, codes, count)
        with pytest.raises(expected.type) as error:
            fast.scatter_sum(values, codes, count)
        assert str(error.value) == str(expected.value)


def test_a_negative_count_is_an_error(fast):
    for count in (-1, -2):
        with pytest.raises(ValueError, match="negative"):
            fast.scatter_sum(np.zeros((0, 3), "f4"), np.zeros(0, int), count)
