"""CUDA's sums by code: the same bits each time, whatever the threads do."""

import numpy as np
import pytest
from standin import emulator

from minae.kernels import reference


@pytest.fixture
def sums(cuda):
    return cuda("sums")


def codes_of(kind, seed, n, count):
    rng = np.random.default_rng(seed)
    return {
        "any": lambda: rng.integers(0, count, n),
        "sorted": lambda: np.sort(rng.integers(0, count, n)),
        "one": lambda: np.full(n, count // 2),
        "mostly one": lambda: np.where(rng.random(n) < 0.01, rng.integers(0, count, n), count - 1),
        "long runs": lambda: np.arange(n) // 50 % count,
    }[kind]()


@pytest.mark.parametrize("kind", ["any", "sorted", "one", "mostly one", "long runs"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_whole_numbers_are_added_exactly(sums, array, numpy, kind, dtype):
    for n, d, count in [
        (1, 1, 1), (63, 3, 2), (64, 3, 5), (65, 3, 5), (127, 32, 1), (129, 33, 9), (500, 70, 40),
        (1023, 2, 3), (1025, 2, 900), (2048, 1, 4), (4100, 4, 30), (9000, 3, 7), (300, 2, 70_000),
    ]:  # fmt: skip
        values = np.random.default_rng(n).integers(-99, 100, (n, d)).astype(dtype)
        codes = codes_of(kind, n, n, count)
        out = sums.scatter_sum(array(values), array(codes), count)
        expected = np.zeros((count, d), dtype)
        np.add.at(expected, codes, values)
        assert out.dtype == dtype
        np.testing.assert_array_equal(numpy(out), expected)


def by_pieces(values, codes, count, piece):
    """The sums in the order of sums.cu: row after row in pieces of the sorted rows, and so on with
    the sums of those codes that go on from piece to piece."""
    out = np.zeros((count, *values.shape[1:]), values.dtype)
    order = np.argsort(codes, kind="stable")
    rows = [(codes[m], n // piece, values[m]) for n, m in enumerate(order)]
    while rows:
        parts = {}
        for code, place, row in rows:
            key = code, place
            parts[key] = parts[key] + row if key in parts else row
        rows = []
        for (code, place), total in parts.items():
            goes_on = (code, place + 1) in parts
            if goes_on or (code, place - 1) in parts:  # the last of two rows of its piece, or first
                rows.append((code, (2 * place + goes_on) // piece, total))
            else:
                out[code] = total
    return out


@pytest.mark.parametrize("kind", ["any", "one", "long runs"])
def test_the_order_of_addition_follows_from_the_codes_alone(sums, array, numpy, kind):
    values = np.random.default_rng(0).standard_normal((5000, 3)).astype("f4")
    codes = codes_of(kind, 1, 5000, 11)
    out = numpy(sums.scatter_sum(array(values), array(codes), 11))
    np.testing.assert_array_equal(out, by_pieces(values, codes, 11, sums.PIECE))
    exact = numpy(reference.scatter_sum(array(values, "f8"), array(codes), 11))
    np.testing.assert_allclose(out, exact, rtol=0, atol=5000 * np.finfo("f4").eps)


def test_no_tiling_changes_a_bit(sums, array, numpy, monkeypatch):
    values = array(np.random.default_rng(2).standard_normal((3000, 3)), "f4")
    codes = array(codes_of("any", 3, 3000, 17))
    want = numpy(sums.scatter_sum(values, codes, 17))
    for name, size in [("TILE", 1), ("TILE", 33), ("TILE", 1 << 20), ("CELLS", 1), ("CELLS", 90)]:
        with monkeypatch.context() as patch:
            patch.setattr(sums, name, size)
            np.testing.assert_array_equal(numpy(sums.scatter_sum(values, codes, 17)), want)


def test_nan_stays_in_its_row_and_column(sums, array, numpy):
    values, codes = np.ones((600, 40), "f4"), np.arange(600) % 3
    values[301, 4] = np.nan
    out = numpy(sums.scatter_sum(array(values), array(codes), 4))
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 4]]
    assert np.nansum(out, axis=1).tolist() == [8000, 7800, 8000, 0]


def test_any_shape_layout_and_dtype(sums, array, numpy):
    values = np.random.default_rng(4).integers(-9, 9, (4, 6, 5)).astype("f8")
    codes = np.random.default_rng(5).integers(0, 3, (4, 6))
    want = numpy(reference.scatter_sum(array(values), array(codes), 3))
    for kind in ("i8", "i4", "u1", "u8", "i2"):
        given = array(codes, kind)
        for view in (array(values), array(np.repeat(values, 2, axis=2))[..., ::2],
                     array(values.transpose(2, 1, 0).copy()).T):  # fmt: skip
            out = numpy(sums.scatter_sum(view, given.T.copy().T, 3))
            np.testing.assert_array_equal(out, want)
    one = sums.scatter_sum(array([1.0, 2.0], "f4"), array(1, "i8"), 3)
    assert numpy(one).tolist() == [[0, 0], [1, 2], [0, 0]]
    half = sums.scatter_sum(array(np.ones((5, 2)), "f2"), array(np.zeros(5), "i8"), 1)
    assert half.dtype == "f2" and numpy(half).tolist() == [[5, 5]]
    for shape, count in [((0, 3), 2), ((4, 0), 2), ((0, 3), 0)]:
        out = sums.scatter_sum(array(np.zeros(shape), "f4"), array(np.zeros(shape[0]), "i8"), count)
        assert out.shape == (count, shape[1]) and not numpy(out).any()


def test_rows_of_millions_of_columns(sums, array, numpy):
    """Such as whole images: a grid has 65535 blocks at most along its second side."""
    values = np.arange(2 * 2_100_000, dtype="f4").reshape(2, -1) % 100
    out = sums.scatter_sum(array(values), array(np.array([1, 1])), 2)
    np.testing.assert_array_equal(numpy(out), [0 * values[0], values.sum(axis=0)])


def test_errors_are_those_of_the_reference(sums, array):
    values, outside = np.ones((2000, 2), "f4"), np.zeros(2000, int)
    outside[[-3, -2]] = 5, -1
    for codes, count in [
        (outside, 5), (outside[::-1], 5), (outside, 0), (outside[:-1], 9), (outside * 1.0, 9),
        (outside > 0, 9), (outside.reshape(2, -1), 9), (np.full(2000, 2**64 - 1, "u8"), 9),
        (np.full(2000, 2**62), 9), (outside * 0, -1),
    ]:  # fmt: skip
        with pytest.raises((IndexError, TypeError, ValueError)) as expected:
            reference.scatter_sum(array(values), array(codes), count)
        with pytest.raises(expected.type) as error:
            sums.scatter_sum(array(values), array(codes), count)
        assert str(error.value) == str(expected.value)


def test_a_code_outside_spoils_no_other_sum(sums, array, numpy, monkeypatch):
    """Nor is anything written outside of the result, whoever looks at the codes, and when."""
    monkeypatch.setattr(reference, "check_range", lambda *given: None)
    rng = np.random.default_rng(6)
    values, codes = rng.integers(-9, 9, (3000, 3)).astype("f4"), rng.integers(-3, 12, 3000)
    codes[::100] = rng.choice([-(2**63), 2**63 - 1, 2**31, -(2**31)], 30)
    inside = (codes >= 0) & (codes < 7)
    want = numpy(reference.scatter_sum(array(values[inside]), array(codes[inside]), 7))
    np.testing.assert_array_equal(numpy(sums.scatter_sum(array(values), array(codes), 7)), want)


def test_no_order_of_threads_changes_a_bit(sums, array, numpy, monkeypatch):
    values = array(np.random.default_rng(7).standard_normal((4000, 3)), "f4")
    codes, found = array(codes_of("mostly one", 8, 4000, 5)), set()
    for backwards in (False, True):
        monkeypatch.setattr(emulator, "backwards", backwards)
        found.add(numpy(sums.scatter_sum(values, codes, 5)).tobytes())
    assert len(found) == 1
