"""The reference kernels against oracles that share no code with them."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minae.kernels import patches, reference
from minae.kernels.reference import conv2d, conv2d_input, conv2d_weight, erf, nearest, scatter_sum


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="torch is the oracle of this row")


# --- nearest ------------------------------------------------------------------------------------


def definition(vectors, codebook):
    """The contract, literally: a float64 sum in the order of the dimensions."""
    vectors = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
    total = np.zeros((len(vectors), len(codebook)))
    with np.errstate(all="ignore"):
        for d in range(vectors.shape[1]):
            difference = vectors[:, d, None] - codebook[:, d].astype(np.float64)
            total += difference * difference
    codes = total.argmin(axis=1)
    return codes, total[np.arange(len(codes)), codes]


def check_definition(array, numpy, vectors, codebook):
    codes, distances = (numpy(a) for a in nearest(array(vectors), array(codebook)))
    expected, total = definition(np.asarray(vectors), np.asarray(codebook))
    assert codes.dtype == np.int64 and codes.shape == vectors.shape[:-1]
    assert distances.dtype == np.result_type(vectors, codebook)
    np.testing.assert_array_equal(codes.ravel(), expected)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(distances.ravel(), total.astype(distances.dtype))


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 70), d=st.integers(1, 20), k=st.integers(1, 40),
    top=st.sampled_from([1, 3, 64]), dtype=st.sampled_from([np.float32, np.float64]),
    block=st.sampled_from([1, 100, 1 << 19]), seed=st.integers(0, 2**32 - 1),
)
def test_nearest_is_exact_on_integers(array, numpy, n, d, k, top, dtype, block, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-top, top + 1, (n, d))
    codebook = rng.integers(-top, top + 1, (k, d))  # duplicates and ties abound at top = 1
    squared = ((vectors[:, None] - codebook) ** 2).sum(axis=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_SCORES", block)
        patch.setattr(reference, "_ROWS", block)
        codes, distances = nearest(array(vectors, dtype), array(codebook, dtype))
    np.testing.assert_array_equal(numpy(codes), squared.argmin(axis=1))
    np.testing.assert_array_equal(numpy(distances), squared.min(axis=1))


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f8", "f8"), ("f4", "f8"), ("f8", "f4")])
@pytest.mark.parametrize("offset", [0, 1e3, 1e4])
def test_nearest_far_from_the_origin(array, numpy, dtypes, offset):
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal((3, 100, 24)) + offset).astype(dtypes[0])
    codebook = (rng.standard_normal((130, 24)) + offset).astype(dtypes[1])
    check_definition(array, numpy, vectors, codebook)


@pytest.mark.parametrize(
    "dtype, scale",
    [("f4", s) for s in (1e-45, 1e-40, 1e-30, 3e-23, 1e-22, 1e-21, 1e-20)]
    + [("f4", s) for s in (1e-10, 1e10, 1e18, 1e20, 1e30, 1e37)]
    + [("f8", s) for s in (5e-324, 1e-310, 1e-200, 1e-162, 1e-161, 1e-160, 1e-30)]
    + [("f8", s) for s in (1e30, 1e153, 1e154, 1e200, 3e307)],
)
def test_nearest_at_any_scale(array, numpy, dtype, scale):
    rng = np.random.default_rng(1)
    vectors = (rng.standard_normal((60, 5)) * scale).astype(dtype)
    codebook = (rng.standard_normal((33, 5)) * scale).astype(dtype)
    check_definition(array, numpy, vectors, codebook)
    check_definition(array, numpy, np.concatenate([vectors, np.ones((4, 5), dtype)]), codebook)
    codebook[7] = np.finfo(dtype).max  # a stray codeword
    check_definition(array, numpy, vectors, codebook)
    vectors[3] = -np.finfo(dtype).max
    check_definition(array, numpy, vectors, codebook)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("nudge", [0, 1e-7, 1e-15])
@pytest.mark.parametrize("offset", [0, 1e3])
def test_nearest_at_midpoints(array, numpy, dtype, nudge, offset):
    rng = np.random.default_rng(2)
    codebook = (rng.standard_normal((64, 16)) + offset).astype(dtype)
    codebook = np.concatenate([codebook, codebook[::-1]])
    pairs = rng.integers(0, 128, (2, 500))
    middle = (codebook[pairs[0]] / 2 + codebook[pairs[1]] / 2).astype(dtype)
    check_definition(array, numpy, (middle * (1 + nudge)).astype(dtype), codebook)
    flat = np.tile(codebook[:2], (40, 1))  # only two distinct codewords: all midpoints tie
    check_definition(array, numpy, ((flat[:1] + flat[1:2]) / 2).repeat(9, axis=0), flat)


def test_nearest_with_a_stray_codeword_screens_the_others(array, monkeypatch):
    rng = np.random.default_rng(3)
    codebook = rng.standard_normal((256, 16)).astype("f4")
    codebook[0] = 1e4
    pairs = []
    distances = reference._distances
    monkeypatch.setattr(
        reference, "_distances", lambda *a: (pairs.append(len(a[3])), distances(*a))[1]
    )
    nearest(array(rng.standard_normal((1000, 16)), "f4"), array(codebook))
    assert sum(pairs) < 20_000  # survivors and 1000 results; all pairs would be 256,000


def test_nearest_equal_codewords_give_the_first(array, numpy):
    codes, distances = nearest(array(np.full((5, 3), 2.0)), array(np.ones((70, 3))))
    assert numpy(codes).tolist() == [0] * 5 and numpy(distances).tolist() == [3.0] * 5


def test_nearest_does_not_depend_on_the_batch(array, numpy, monkeypatch):
    rng = np.random.default_rng(4)
    vectors = (rng.standard_normal((300, 8)) + 1000).astype("f4")
    codebook = array((rng.standard_normal((512, 8)) * 0.01 + 1000).astype("f4"))
    codes, distances = (numpy(a) for a in nearest(array(vectors), codebook))
    for size in (1, 7, 299):
        parts = [nearest(array(vectors[i : i + size]), codebook) for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate([numpy(c) for c, _ in parts]), codes)
        np.testing.assert_array_equal(np.concatenate([numpy(d) for _, d in parts]), distances)


def test_nearest_reads_any_view_and_writes_none(array, numpy):
    rng = np.random.default_rng(5)
    vectors, codebook = rng.standard_normal((6, 10, 8)), rng.standard_normal((30, 8))
    expected = numpy(nearest(array(vectors), array(codebook))[0])
    wide = np.zeros((12, 10, 16))
    wide[::2, :, ::2] = vectors
    still = array(vectors)
    if hasattr(still, "setflags"):
        still.setflags(write=False)
    views = [array(wide)[::2, :, ::2], array(np.asfortranarray(vectors)), still]
    for view in views:
        np.testing.assert_array_equal(numpy(nearest(view, array(np.asfortranarray(codebook)))[0]),
                                      expected)
    np.testing.assert_array_equal(numpy(views[0]), vectors)


def test_nearest_shapes(array, numpy):
    codebook = array(np.eye(3))
    codes, distances = nearest(array(np.zeros((2, 0, 3))), codebook)
    assert codes.shape == distances.shape == (2, 0)
    code, distance = nearest(array([0.0, 1.0, 0.0]), codebook)
    assert code.shape == () and int(code) == 1 and float(distance) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nearest_refuses_or_masks_nonfinite(array, numpy, value):
    vectors = np.zeros((2, 3, 4), "f4")
    vectors[1, 0, 2] = vectors[1, 2, 3] = value
    codebook = array(np.ones((5, 4)), "f4")
    with pytest.raises(ValueError, match=r"\[1, 0\]"):
        nearest(array(vectors), codebook)
    codes, distances = (numpy(a) for a in nearest(array(vectors), codebook, nonfinite="mask"))
    assert codes.tolist() == [[0, 0, 0], [-1, 0, -1]]
    np.testing.assert_array_equal(distances, [[4, 4, 4], [np.nan, 4, np.nan]])
    bad = np.ones((5, 4), "f4")
    bad[3, 1] = value
    for how in ("raise", "mask"):
        with pytest.raises(ValueError, match="codeword 3"):
            nearest(array(np.zeros((2, 4)), "f4"), array(bad), nonfinite=how)
    with pytest.raises(ValueError, match="not finite"):
        nearest(array(np.full(4, value, "f4")), codebook)


def test_nearest_errors(array):
    def ones(*shape, dtype="f4"):
        return array(np.ones(shape), dtype)

    for vectors, codebook in [((5, 3), (2, 4)), ((5, 3), (3,)), ((5, 3), (1, 2, 3)), ((), (2, 3))]:
        with pytest.raises(ValueError) as error:
            nearest(ones(*vectors), ones(*codebook))
        assert str(vectors) in str(error.value) and str(codebook) in str(error.value)
    for dims in ((0, 3), (4, 0)):
        with pytest.raises(ValueError, match="empty"):
            nearest(ones(5, dims[1]), ones(*dims))
    for dtypes in (("i8", "f4"), ("f4", "i4"), ("f2", "f4")):
        with pytest.raises(TypeError, match="float32 or float64"):
            nearest(ones(5, 3, dtype=dtypes[0]), ones(2, 3, dtype=dtypes[1]))
    with pytest.raises(ValueError, match="nonfinite"):
        nearest(ones(5, 3), ones(2, 3), nonfinite="ignore")


# --- scatter_sum --------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 200), d=st.integers(0, 6), count=st.sampled_from([1, 5, 300, 70_000]),
    dtype=st.sampled_from(["f4", "f8"]), kind=st.sampled_from(["i8", "i4", "u1", "u8"]),
    block=st.sampled_from([1, 30, 1 << 18]), seed=st.integers(0, 2**32 - 1),
)
def test_scatter_sum_adds_at(array, numpy, n, d, count, dtype, kind, block, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-9, 10, (n, d)).astype(dtype)  # integers: exact in any order
    codes = rng.integers(0, min(count, 256), n).astype(kind)
    expected = np.zeros((count, d), dtype)
    np.add.at(expected, codes, values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_ROWS", block)
        out = numpy(scatter_sum(array(values), array(codes), count))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out, expected)


def test_scatter_sum_of_reals(array, numpy):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((9, 500, 16))
    codes = rng.choice([0, 1, 777, 65_535, 65_536, 65_537], (9, 500))  # equal in 16 bits, some
    values[3, 3] = np.nan
    codes[3, 3] = 69_999
    expected = np.zeros((70_000, 16))
    np.add.at(expected, codes, values)
    out = numpy(scatter_sum(array(values), array(codes), 70_000))
    np.testing.assert_allclose(out, expected, rtol=1e-12)  # NaN stays in its own row
    again = numpy(scatter_sum(array(values), array(codes), 70_000))
    assert out.tobytes() == again.tobytes()


def test_scatter_sum_errors(array):
    values = array(np.ones((4, 2)))
    for codes, name in (([0, 1, 5, -1], "code 5 at position 2"), ([0, -1, 9, 0], "code -1 at")):
        with pytest.raises(IndexError, match=name):
            scatter_sum(values, array(codes), 5)
    for codes in ([0.0, 1.0, 2.0, 3.0], [True, False, True, True]):
        with pytest.raises(TypeError, match="integers"):
            scatter_sum(values, array(codes), 5)
    with pytest.raises(ValueError, match=r"\(4, 2\), \(3,\)"):
        scatter_sum(values, array([0, 1, 2]), 5)


# --- convolution --------------------------------------------------------------------------------


def naive_conv2d(x, weight, stride, padding, dilation, groups):
    """Six nested loops over the definition."""
    x = np.pad(x, [(0, 0), *[(p, p) for p in padding], (0, 0)])
    kh, kw, within, channels = weight.shape
    oh, ow = ((n - d * (k - 1) - 1) // s + 1
              for n, k, s, d in zip(x.shape[1:3], (kh, kw), stride, dilation))
    out = np.zeros((len(x), oh, ow, channels))
    for y, u, i, j, o in product(*map(range, (oh, ow, kh, kw, channels))):
        first = o // (channels // groups) * within
        pixel = x[:, y * stride[0] + i * dilation[0], u * stride[1] + j * dilation[1]]
        out[:, y, u, o] += pixel[:, first : first + within] @ weight[i, j, :, o]
    return out


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    kernel, stride, dilation, groups = draw(pair), draw(pair), draw(pair), draw(st.integers(1, 3))
    padding = draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, d, p in zip(kernel, dilation, padding)]
    size = [n + draw(st.integers(0, 5)) for n in least]
    within, each = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.standard_normal((draw(st.integers(0, 4)), *size, within * groups))
    weight = rng.standard_normal((*kernel, within, each * groups))
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return x, weight, settings, draw(st.sampled_from([1, 150, 1 << 20])), rng


@settings(max_examples=250, deadline=None)
@given(convolutions())
def test_conv2d_trio_against_loops(array, numpy, case):
    """The gradients are the adjoints: <g, conv(x, w)> = <dx, x> = <dw, w>, for every x, w and g."""
    x, weight, how, block, rng = case
    expected = naive_conv2d(x, weight, **how)
    g = rng.standard_normal(expected.shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patches, "_COLUMNS", block)
        out = numpy(conv2d(array(x), array(weight), **how))
        dx = numpy(conv2d_input(array(g), array(weight), size=x.shape[1:3], **how))
        dw = numpy(conv2d_weight(array(x), array(g), size=weight.shape[:2], **how))
    np.testing.assert_allclose(out, expected, atol=1e-11)
    assert dx.shape == x.shape and dw.shape == weight.shape
    inner = (g * expected).sum()
    np.testing.assert_allclose([(dx * x).sum(), (dw * weight).sum()], inner, atol=1e-9)
    other_x, other_weight = rng.standard_normal(x.shape), rng.standard_normal(weight.shape)
    np.testing.assert_allclose(
        (dx * other_x).sum(), (g * naive_conv2d(other_x, weight, **how)).sum(), atol=1e-9
    )
    np.testing.assert_allclose(
        (dw * other_weight).sum(), (g * naive_conv2d(x, other_weight, **how)).sum(), atol=1e-9
    )


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_conv2d_trio_against_torch(array, numpy, torch, case):
    x, weight, how, _, rng = case
    bias = rng.standard_normal(weight.shape[3])
    # C order, since torch refuses some strided weights in its backward pass
    tx = torch.tensor(x.transpose(0, 3, 1, 2).copy(order="C")).requires_grad_()
    tw = torch.tensor(weight.transpose(3, 2, 0, 1).copy(order="C")).requires_grad_()
    ty = torch.nn.functional.conv2d(tx, tw, torch.tensor(bias), **how)
    g = rng.standard_normal(ty.permute(0, 2, 3, 1).shape)
    ty.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
    out = conv2d(array(x), array(weight), array(bias), **how)
    dx = conv2d_input(array(g), array(weight), size=x.shape[1:3], **how)
    dw = conv2d_weight(array(x), array(g), size=weight.shape[:2], **how)
    np.testing.assert_allclose(numpy(out), ty.detach().numpy().transpose(0, 2, 3, 1), atol=1e-11)
    np.testing.assert_allclose(numpy(dx), tx.grad.numpy().transpose(0, 2, 3, 1), atol=1e-11)
    np.testing.assert_allclose(numpy(dw), tw.grad.numpy().transpose(2, 3, 1, 0), atol=1e-11)


@pytest.mark.parametrize("kernel, stride", [((1, 1), (1, 1)), ((4, 4), (2, 2)), ((3, 3), (1, 1))])
def test_conv2d_trio_keeps_float32_and_its_inputs(array, numpy, kernel, stride):
    rng = np.random.default_rng(0)
    x = array(rng.standard_normal((5, 9, 8, 4)), "f4")
    weight = array(rng.standard_normal((*kernel, 2, 6)), "f4")
    before = numpy(x).copy(), numpy(weight).copy()
    out = conv2d(x, weight, array(np.ones(6), "f4"), stride=stride, groups=2)
    dx = conv2d_input(out, weight, size=(9, 8), stride=stride, groups=2)
    dw = conv2d_weight(x, out, size=kernel, stride=stride, groups=2)
    assert out.dtype == dx.dtype == dw.dtype == np.float32
    exact = naive_conv2d(before[0], before[1], stride, (0, 0), (1, 1), 2) + 1
    np.testing.assert_allclose(numpy(out), exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(numpy(x), before[0])
    np.testing.assert_array_equal(numpy(weight), before[1])


def test_conv2d_trio_reads_strided_views(array, numpy):
    rng = np.random.default_rng(1)
    wide = array(rng.standard_normal((6, 14, 14, 6)))
    weight = array(rng.standard_normal((3, 3, 3, 4)))
    view, copy = wide[::2, ::2, ::2, ::2], array(numpy(wide)[::2, ::2, ::2, ::2].copy())
    g = array(rng.standard_normal((4, 5, 5, 3))).transpose(3, 1, 2, 0)
    whole = array(numpy(g).copy())
    for mine, theirs in [
        (conv2d(view, weight), conv2d(copy, weight)),
        (conv2d_input(g, weight, size=(7, 7)), conv2d_input(whole, weight, size=(7, 7))),
        (conv2d_weight(view, g, size=(3, 3)), conv2d_weight(copy, whole, size=(3, 3))),
    ]:
        np.testing.assert_array_equal(numpy(mine), numpy(theirs))


def test_conv2d_errors(array):
    def ones(*shape):
        return array(np.ones(shape))

    x, weight = ones(2, 5, 5, 4), ones(3, 3, 4, 6)
    bad = [
        (lambda: conv2d(x, ones(3, 3, 3, 6)), r"Expect: x with 3 channels"),
        (lambda: conv2d(x, ones(3, 3, 2, 6), groups=4), "4 groups do not divide"),
        (lambda: conv2d(x, weight, groups=3), "3 groups do not divide"),
        (lambda: conv2d(x, weight, groups=0), "groups"),
        (lambda: conv2d(x, ones(6, 3, 4, 6)), r"kernel \(6, 3\).*does not fit"),
        (lambda: conv2d(x, weight, dilation=(1, 3)), "does not fit"),
        (lambda: conv2d(x, ones(0, 3, 4, 6)), "does not fit"),
        (lambda: conv2d(x, weight, ones(5)), "bias"),
        (lambda: conv2d(x, weight, stride=(0, 1)), "impossible"),
        (lambda: conv2d(x, weight, padding=(0, -1)), "impossible"),
        (lambda: conv2d(ones(5, 5, 4), weight), r"Expect: x \(batch, height, width, in\)"),
        (lambda: conv2d_input(ones(2, 3, 3, 6), weight, size=(6, 5)), "size"),
        (lambda: conv2d_input(ones(2, 3, 3, 5), weight, size=(5, 5)), "size"),
        (lambda: conv2d_input(ones(2, 3, 3, 6), weight, size=(2, 5)), "does not fit"),
        (lambda: conv2d_weight(x, ones(2, 3, 3, 6), size=(2, 3)), "size"),
        (lambda: conv2d_weight(x, ones(3, 3, 3, 6), size=(3, 3)), "size"),
        (lambda: conv2d_weight(x, ones(2, 3, 3, 6), size=(3, 3), groups=3), "do not divide"),
    ]
    for call, message in bad:
        with pytest.raises(ValueError, match=message):
            call()


# --- erf ----------------------------------------------------------------------------------------


def test_erf_to_two_units_in_the_last_place(array, numpy):
    x = np.concatenate([
        np.linspace(-7, 7, 40_001), np.nextafter([1.0, -1.0, 6.0], 0), [1.0, -1.0, 6.0, 1e300],
        10.0 ** np.linspace(-323, 2, 5_000), -(10.0 ** np.linspace(-323, 2, 5_000)),
    ])
    exact = np.array([math.erf(v) for v in x])
    error = np.abs(numpy(erf(array(x))) - exact) / np.spacing(np.abs(exact))
    assert error.max() <= 2


def test_erf_in_float32(array, numpy):
    x = np.concatenate([np.linspace(-5, 5, 40_001), 10.0 ** np.linspace(-45, 2, 3_000)])
    x = x.astype("f4")
    exact = np.array([math.erf(v) for v in x])
    out = numpy(erf(array(x)))
    assert out.dtype == np.float32
    assert (np.abs(out - exact) / np.spacing(np.abs(exact.astype("f4")))).max() <= 2


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_erf_of_the_special_values(array, numpy, dtype):
    x = np.array([[np.inf, -np.inf, np.nan], [0.0, -0.0, np.finfo(dtype).max]], dtype)
    out = numpy(erf(array(x)))
    np.testing.assert_array_equal(out, [[1, -1, np.nan], [0, 0, 1]])
    assert np.signbit(out[1]).tolist() == [False, True, False]
    assert erf(array([], dtype)).shape == (0,) and float(erf(array(np.inf, dtype))) == 1


def test_erf_reads_views_and_refuses_integers(array, numpy):
    x = np.linspace(-2, 2, 60_000).reshape(200, 300)
    np.testing.assert_array_equal(numpy(erf(array(x).T)), numpy(erf(array(x))).T)
    with pytest.raises(TypeError, match="int64"):
        erf(array([1, 2]))


# --- GELU, layer norm, attention, LSTM ------------------------------------------------------------


def their_attention(torch, query, key, value, mask, causal):
    assert causal
    before = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool)
    seen = torch.tensor(mask) & before.tril(key.shape[2] - query.shape[2])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, seen)


def their_self_attention(torch, projected, heads, mask, causal):
    parts = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in projected.chunk(3, -1)]
    return their_attention(torch, *parts, mask, causal).transpose(1, 2).flatten(2)


def their_lstm(torch, projected, weight, hidden, cell):
    out, same = [], torch.eye(projected.shape[2], dtype=projected.dtype)
    for x in projected:
        hidden, cell = torch.lstm_cell(x, (hidden, cell), same, weight.T)
        out.append(torch.cat([hidden, cell], -1))
    return torch.stack(out)


MASK = np.random.default_rng(1).random((2, 1, 4, 6)) < 0.7
MASK[..., 0] = True
FUSED = {  # the shapes of what has gradients, the other arguments, and the same in PyTorch
    "gelu": ([(3, 50)], (), lambda torch, x: torch.nn.functional.gelu(x)),
    "gelu_tanh": ([(3, 50)], (), lambda torch, x: torch.nn.functional.gelu(x, approximate="tanh")),
    "layer_norm": ([(3, 2, 5), (5,), (5,)], (0.1,),
        lambda torch, x, w, b, eps: torch.nn.functional.layer_norm(x, (5,), w, b, eps)),
    "attention": ([(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)], (MASK, True), their_attention),
    "self_attention": ([(2, 6, 18)], (2, MASK[:, :, :1], True), their_self_attention),
    "lstm": ([(3, 4, 20), (5, 20), (4, 5), (4, 5)], (), their_lstm),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", FUSED)
def test_the_fused_kernels_and_their_gradients_against_torch(array, numpy, torch, name, dtype):
    shapes, more, theirs = FUSED[name]
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    zs = [torch.tensor(x.astype("f8"), requires_grad=True) for x in xs]
    z = theirs(torch, *zs, *more)
    g = rng.standard_normal(z.shape).astype(dtype)
    z.backward(torch.tensor(g.astype("f8")))
    more = [array(each) if type(each) is np.ndarray else each for each in more]
    given = [*map(array, xs), *more]
    out = getattr(reference, name)(*given)
    # Of a norm's bias the gradient follows from g alone; an LSTM's is told what the states were.
    read = given[:2] + more if name == "layer_norm" else [*given, out] if name == "lstm" else given
    gradients = getattr(reference, f"{name}_gradient")(array(g), *read)
    gradients = gradients if type(gradients) is tuple else (gradients,)
    for found, want in zip((out, *gradients), (z, *(z.grad for z in zs)), strict=True):
        assert found.dtype == dtype
        want = want.detach().numpy()
        scale = 50 * np.finfo(dtype).eps * (1 + abs(want).max())
        np.testing.assert_allclose(numpy(found), want, rtol=0, atol=scale)
