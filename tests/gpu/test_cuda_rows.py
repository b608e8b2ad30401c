"""CUDA's kernels over rows equal their definitions."""

import numpy as np
import pytest

from minae.kernels import reference

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Rows of a warp, with and without idle lanes, up to its longest; and of a block.
SHAPES = [
    (1, 1), (3, 1), (2, 2), (3, 31), (11, 32), (2, 3, 33), (9, 300), (2, 1024), (2, 1025), (5, 1500)
]  # fmt: skip
PAIRS = ["softmax", "log_softmax", "standardize"]
INF, NAN = np.inf, np.nan


def arguments(array, numpy, name, x, g, labels=None):
    """What the kernel and its gradient take."""
    if name == "standardize":
        return (x, 1e-5), (g, x, 1e-5)
    if name == "cross_entropy":
        return (x, labels), (g, x, labels)
    return (x,), (g, numpy(getattr(reference, name)(array(x))))


@np.errstate(all="ignore")
def check(cuda, array, numpy, name, x, g, dtype, labels=None):
    """The kernel and its gradient, against the reference on the same entries in float64.

    To 1e-6 in float32 and 1e-13 in float64: of the entry, and where it may be a difference, of 1,
    or of the largest gradient that comes in.
    """
    rows, tolerance = cuda("rows"), {"float32": 1e-6, "float64": 1e-13}[dtype]
    x, g = x.astype(dtype), g.astype(dtype)
    forward, back = arguments(array, numpy, name, x, g, labels)
    scale = abs(g).max()
    if name == "standardize":  # the gradient is as large as the inverse of the deviation
        scale /= np.sqrt(x.astype("float64").var(axis=-1, keepdims=True) + 1e-5)
    # What is denormal may be 0: CuPy compiles so.
    one = np.finfo(dtype).tiny / tolerance if name == "softmax" else 1
    for kernel, args, size in [(name, forward, one), (f"{name}_gradient", back, scale)]:
        wide = [a.astype("float64") if getattr(a, "dtype", "") == dtype else a for a in args]
        wide = [array(a) if isinstance(a, np.ndarray) else a for a in wide]
        want = numpy(getattr(reference, kernel)(*wide))
        given = [array(a) if isinstance(a, np.ndarray) else a for a in args]
        got = getattr(rows, kernel)(*given)
        assert got.dtype == dtype and got.shape == want.shape
        got = numpy(got).astype("float64")
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want), kernel)
        infinite = np.isinf(want)
        np.testing.assert_array_equal(got[infinite], want[infinite], kernel)
        finite = np.isfinite(want)
        error, limit = abs(got - want), tolerance * (abs(want) + size)
        assert (error[finite] <= np.broadcast_to(limit, want.shape)[finite]).all(), kernel
        for a, b in zip(given, args, strict=True):
            np.testing.assert_array_equal(numpy(a), b)


def draw(shape, scale=1.0, shift=0.0):
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape) * scale + shift, rng.standard_normal(shape)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", PAIRS)
def test_rows_of_any_length(cuda, array, numpy, name, shape, dtype):
    check(cuda, array, numpy, name, *draw(shape, 2.0, 0.5), dtype)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_of_rows_of_any_length(cuda, array, numpy, shape, dtype):
    """Of the labels some are no classes, just beside the first or the last, or far away."""
    x, g = draw(shape, 2.0)
    labels = np.resize([shape[-1] - 1, -1, shape[-1], 0, -100, 1 << 40], shape[:-1])
    check(cuda, array, numpy, "cross_entropy", x, g[..., 0], dtype, labels)


@DTYPES
def test_a_row_that_is_longer_than_65536(cuda, array, numpy, dtype):
    x, g = draw((1, 70001))
    for name in PAIRS:
        check(cuda, array, numpy, name, x, g, dtype)
    x[0, 69999] = 20
    check(cuda, array, numpy, "cross_entropy", x, g[:, 0], dtype, np.array([69999]))
    x[:], x[0, :256], g[:] = -0.1, 0, 0.1  # the roundings of a sum in float would all go one way
    for name in PAIRS[:2]:
        check(cuda, array, numpy, name, x, g, dtype)


EXTREME = {
    "large": [100, 100.5, -100], "huge": [1e4, 0, -1e4], "far below": [-3000, -1000, -2000],
    "-inf": [0.5, -INF, 1], "all -inf": [-INF, -INF, -INF], "inf": [1, INF, 2],
    "inf twice": [INF, 1, INF], "inf and -inf": [INF, -INF, 0], "NaN": [0, NAN, 1],
    "NaN first": [NAN, -INF, 1], "NaN and -inf": [-INF, NAN, -INF], "all NaN": [NAN, NAN, NAN],
    "NaN and inf": [INF, NAN, 1],
}  # fmt: skip


@DTYPES
@pytest.mark.parametrize("length", [3, 600, 1100])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_extreme_logits_stay_in_their_rows(cuda, array, numpy, name, length, dtype):
    """Each between rows of ordinary ones; its entries lie at the ends and in the middle."""
    x, g = draw((2 * len(EXTREME) + 1, length))
    for i, entries in enumerate(EXTREME.values()):
        if entries in ([-INF] * 3, [NAN] * 3):
            x[2 * i + 1] = entries[0]
        x[2 * i + 1, [0, length // 2, length - 1]] = entries
    labels = np.arange(len(x)) % 2 * (length // 2)
    g, given = (g[:, 0], labels) if name == "cross_entropy" else (g, None)
    check(cuda, array, numpy, name, x, g, dtype, given)


@DTYPES
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("length", [1000, 20000])
def test_logits_that_rise_all_along_are_scaled_without_loss(
    cuda, array, numpy, name, length, dtype
):
    x = np.linspace(0, 3, length)[None]
    check(cuda, array, numpy, name, x, np.ones_like(x), dtype)


@DTYPES
@pytest.mark.parametrize("length", [5, 1100])
def test_standardization_far_from_0_and_of_what_is_not_finite(cuda, array, numpy, length, dtype):
    far, g = draw((3, length), 1.0, {"float32": 1000.0, "float64": 10.0}[dtype])
    check(cuda, array, numpy, "standardize", far, g, dtype)
    odd, g = draw((6, length))
    odd[1, 2], odd[3, 0], odd[5] = NAN, INF, 7.0
    g[1:5:2] = 1
    check(cuda, array, numpy, "standardize", odd, g, dtype)


@DTYPES
def test_the_last_axes_are_rows_and_others_go_to_the_reference(cuda, array, numpy, dtype):
    rows = cuda("rows")
    x, g = (array(a, dtype) for a in draw((2, 3, 4, 5)))
    wide = [array(numpy(a).astype("float64")) for a in (x, g)]
    for axis in (-1, 3, 1, (-1,), (2, 3), (-1, 2), (1, 2, 3), (0, 1, 2, 3), (1, 3), (0,), ()):
        for name, count in [("standardize", 1), ("standardize_gradient", 2)]:
            got = getattr(rows, name)(*(g, x)[-count:], 0.1, axis)
            want = getattr(reference, name)(*wide[::-1][-count:], 0.1, axis)
            assert got.dtype == dtype
            np.testing.assert_allclose(numpy(got), numpy(want), rtol=0, atol=1e-5)
    for axis in (-1, 3, 0, 1, -2, None):
        for name, args in [("softmax", (x,)), ("log_softmax_gradient", (g, x))]:
            got = getattr(rows, name)(*args, axis)
            want = getattr(reference, name)(*args, axis)
            np.testing.assert_allclose(numpy(got), numpy(want), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="axis 4 is out of bounds"):
        rows.softmax(x, 4)
    assert float(rows.softmax(x[:1, 0, 0, 0].reshape(()))) == 1


def test_a_row_longer_than_32_bits_count_goes_to_the_reference(cuda, array):
    rows, one = cuda("rows"), array(np.zeros(1))
    for length in (2**31 - 4097, 2**31 - 1, 2**32 + 5):
        row = rows.xp.broadcast_to(one, (1, length))
        assert rows._length(-1, row) == (length if length < 2**31 - 4096 else 0)


@DTYPES
def test_any_layout_dtype_and_no_entries(cuda, array, numpy, dtype):
    rows = cuda("rows")
    x, g = (array(a, dtype) for a in draw((6, 8)))
    labels = array(np.arange(6) % 4, "int32")
    seed = array(np.broadcast_to(np.asarray(0.5, dtype), 6))
    for layout in (x[::2, ::2], x.T[:, :4].T, array(np.asfortranarray(numpy(x)))):
        some = labels[: len(layout)]
        for name, args in [
            ("softmax", (layout,)), ("cross_entropy", (layout, some)),
            ("standardize", (layout, 0.1)), ("softmax_gradient", (layout[:, ::-1], layout)),
            ("cross_entropy_gradient", (seed[: len(layout)], layout, some)),
        ]:  # fmt: skip
            got, want = (getattr(form, name)(*args) for form in (rows, reference))
            assert got.dtype == dtype and got.shape == want.shape
            np.testing.assert_allclose(numpy(got), numpy(want), rtol=1e-5, atol=1e-6)
    whole = array(np.arange(6).reshape(2, 3))
    for found in (rows.softmax(whole), rows.softmax_gradient(whole, rows.softmax(whole))):
        assert found.dtype == "float64"
    other = {"float32": "float64", "float64": "float32"}[dtype]
    for a, b in [(x, g.astype(other)), (x.astype(other), g)]:
        assert rows.softmax_gradient(a, b).dtype == "float64"
    args = g[:, 0].astype(other), x, labels
    got, want = (form.cross_entropy_gradient(*args) for form in (rows, reference))
    assert got.dtype == dtype
    np.testing.assert_allclose(numpy(got), numpy(want), rtol=1e-5, atol=1e-6)
    for shape in [(0, 3), (2, 0)]:
        empty = array(np.zeros(shape), dtype)
        assert rows.softmax(empty).shape == rows.standardize(empty, 0.1).shape == shape
    assert rows.cross_entropy(array(np.zeros((0, 3)), dtype), labels[:0]).shape == (0,)
