"""The compiled softmax, cross-entropy and layer norm: their definition, but for rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import FORMS, laid

from minae.kernels import reference

pytestmark = pytest.mark.kernels

DTYPES = pytest.mark.parametrize("dtype", ["f4", "f8"])
EPS = 1e-5


@pytest.fixture(scope="module")
def fast(compiled):
    return compiled("rowwise")


def every(form, g, x, labels, weight, bias):
    """What each of them gives, by name; ``g`` and ``x`` of one shape, ``labels`` one shorter."""
    shorter = g[..., 0]
    gradients = form.layer_norm_gradient(g, x, weight, EPS)
    return {
        "softmax": form.softmax(x), "softmax_gradient": form.softmax_gradient(g, x),
        "log_softmax": form.log_softmax(x), "log_softmax_gradient": form.log_softmax_gradient(g, x),
        "cross_entropy": form.cross_entropy(x, labels),
        "cross_entropy_gradient": form.cross_entropy_gradient(shorter, x, labels),
        "standardize": form.standardize(x, EPS),
        "standardize_gradient": form.standardize_gradient(g, x, EPS),
        "layer_norm": form.layer_norm(x, weight, bias, EPS),
        **dict(zip(("to x", "to weight", "to bias"), gradients, strict=True)),
    }  # fmt: skip


def draw(seed, shape, dtype):
    rng = np.random.default_rng(seed)
    g, x = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[-1:]).astype(dtype) for _ in range(2))
    return g, x, rng.integers(-1, shape[-1] + 1, shape[:-1]), weight, bias


def close(found, want, dtype, units):
    """Equal up to so many roundings of the largest numbers that there are in a row, or of 1."""
    assert found.keys() == want.keys()
    for name, b in want.items():
        a = found[name]
        assert (a.dtype, a.shape) == (np.dtype(dtype), b.shape), name
        scale = 1 + np.max(abs(b), axis=-1, keepdims=True, initial=0) if b.ndim else 1 + abs(b)
        assert (abs(a - b) <= units * np.finfo(dtype).eps * scale).all(), name


@settings(max_examples=80)
@given(
    leading=st.sampled_from([(), (1,), (7,), (3, 5), (0,), (2, 0)]),
    length=st.sampled_from([1, 2, 3, 8, 15, 16, 17, 33, 64, 100]),
    dtype=st.sampled_from(["f4", "f8"]), layout=st.sampled_from(sorted(FORMS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_equal_the_reference(fast, leading, length, dtype, layout, seed):
    arrays = draw(seed, (*leading, length), dtype)
    wide = [a.astype("f8") if a.dtype == dtype else a for a in arrays]
    found = every(fast, *(laid(a, layout) if a.ndim else a for a in arrays))
    if length == 1:  # of one entry the standardized is 0, and no more than a rounding is left
        found = {name: a for name, a in found.items() if name not in ("to x", "to weight")}
    want = {name: a for name, a in every(reference, *wide).items() if name in found}
    close(found, want, dtype, 40)


@DTYPES
def test_rows_of_all_kinds_of_entries(fast, dtype):
    inf, nan = np.inf, np.nan
    rows = [
        [-inf] * 20, [inf] * 20, [nan] * 20, [0.0] * 20, [1e4] * 20, [-1e4] * 19 + [1e4],
        [*range(19), -inf], [inf, *range(19)], [*range(18), inf, -inf], [nan, *range(19)],
        [*range(19), nan], [-inf] * 19 + [3.0], [-inf] * 19 + [nan], [1e4, 1e4, *range(18)],
    ]  # fmt: skip
    x = np.array(rows, dtype)
    labels = np.full(len(x), 19)
    g, _, _, weight, bias = draw(0, x.shape, dtype)
    with np.errstate(all="ignore"):
        found, want = (every(form, g, x, labels, weight, bias) for form in (fast, reference))
    for name, b in want.items():
        a = found[name]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * (name != "softmax"), err_msg=name)


@DTYPES
def test_an_emptied_row_has_softmax_0_and_gradient_0(fast, dtype):
    x = np.full((3, 17), -np.inf, dtype)
    assert not fast.softmax(x).any() and (fast.log_softmax(x) == -np.inf).all()
    assert not fast.softmax_gradient(np.ones_like(x), fast.softmax(x)).any()


@DTYPES
def test_a_softmax_far_from_0_is_as_exact_as_one_near_it(fast, dtype):
    x = np.random.default_rng(0).integers(-20, 21, (40, 33)).astype(dtype)
    far = x + np.dtype(dtype).type(1e4)
    np.testing.assert_array_equal(fast.softmax(far), fast.softmax(x))
    np.testing.assert_allclose(fast.softmax(x).sum(axis=1), 1, rtol=8 * np.finfo(dtype).eps)
    shifted = fast.layer_norm(far, np.ones(33, dtype), np.zeros(33, dtype), EPS)
    want = reference.standardize(x.astype("f8"), EPS)
    np.testing.assert_allclose(shifted, want, atol=40 * 33 * np.finfo(dtype).eps)


@DTYPES
def test_no_number_of_threads_changes_a_bit(fast, threads, dtype):
    rows = 3 * fast.PIECE // 100 + 5  # several pieces whose sums are added
    arrays = draw(0, (rows, 100), dtype)
    found = set()
    for count in (1, 2, 3):
        threads(count)
        found.add(b"".join(a.tobytes() for a in every(fast, *arrays).values()))
    assert len(found) == 1
    close(every(fast, *arrays), every(reference, *arrays), dtype, 1000)


def test_a_piece_is_a_row_at_least(fast, monkeypatch):
    """Of few long rows there are no more sums than rows."""
    made = []
    monkeypatch.setattr(fast, "share", lambda work, pieces: made.append(pieces))
    g = np.ones((2, 5 * fast.PIECE), "f4")
    fast.layer_norm_gradient(g, g, g[0], EPS)
    assert made == [2]


def test_other_axes_dtypes_and_shapes_go_to_the_reference(fast):
    g, x, labels, weight, bias = draw(1, (4, 5), "f4")
    calls = [
        ("softmax", x, 0), ("log_softmax", x, 0), ("softmax_gradient", g, x, 0),
        ("log_softmax_gradient", g, x, 0), ("standardize", x, EPS, 0),
        ("standardize", x, EPS, (0, 1)), ("standardize_gradient", g, x, EPS, 0),
        ("softmax", x.astype("f2")), ("softmax_gradient", g.astype("f8"), x),
        ("softmax_gradient", g[:1], x), ("standardize_gradient", g[0], x, EPS),
        ("cross_entropy", x.astype("f2"), labels), ("standardize", x.astype("f2"), EPS),
        ("cross_entropy_gradient", g[:, 0].astype("f8"), x, labels),
        ("layer_norm", x, weight.astype("f8"), bias, EPS), ("layer_norm", x, 2.0, bias, EPS),
        ("layer_norm", x, weight[:1], bias[:1], EPS), ("layer_norm", x, weight, g, EPS),
        ("layer_norm_gradient", g, x, weight.astype("f8"), EPS),
        ("layer_norm_gradient", g.astype("f8"), x, weight, EPS),
        ("layer_norm_gradient", g, x, weight[:1], EPS), ("softmax", x[:0]), ("softmax", x[:, :0]),
    ]  # fmt: skip
    for name, *arrays in calls:
        found, want = (getattr(form, name)(*arrays) for form in (fast, reference))
        for a, b in zip(*((r if type(r) is tuple else (r,)) for r in (found, want)), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape), (name, arrays)
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["i4", "u1", "u8"])
def test_labels_of_any_integer(fast, kind):
    g, x, labels, *_ = draw(3, (9, 5), "f4")
    labels = abs(labels)
    for name, arrays in [("cross_entropy", (x,)), ("cross_entropy_gradient", (g[:, 0], x))]:
        function = getattr(fast, name)
        np.testing.assert_array_equal(
            function(*arrays, labels.astype(kind)), function(*arrays, labels)
        )
