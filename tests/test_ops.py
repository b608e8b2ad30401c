"""Every op against its NumPy twin: one row each, and every proof for every row."""

import inspect
import itertools
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, mutually_broadcastable_shapes

import minae
from minae import backend, ops
from minae.engine import OPS
from minae.testing import check_grads

# --- How inputs are drawn --------------------------------------------------------------------
# A sampler draws a case: shapes of the inputs, and keyword arguments. Shapes have up to three axes
# of length 0 to 3, so that 0-d, empty and size-1 arrays come by themselves; half of them are large
# enough to tell one axis or entry from another.

rich = st.sampled_from([(2, 3), (3, 1, 2), (2, 3, 3)])


def shapes(count: int) -> st.SearchStrategy:
    """Shapes that broadcast together, and no keyword arguments."""
    drawn = mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=3, max_dims=3)
    equal = rich.map(lambda shape: ([shape] * count, {}))
    return equal | drawn.map(lambda d: (list(d.input_shapes), {}))


anyshape = rich | array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)
lined = rich | array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)
solid = rich | array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)


@st.composite
def reduction(draw, of=anyshape, tuples=True):
    """A shape, with an axis of it (or several, or none) and keepdims."""
    shape = draw(of)
    one = st.integers(-len(shape), len(shape) - 1) if shape else st.nothing()
    several = st.lists(st.sampled_from(range(len(shape))), unique=True) if shape else st.nothing()
    axis = draw(st.one_of(st.none(), one, several.map(tuple)) if tuples else one)
    return [shape], {"axis": axis, "keepdims": draw(st.booleans())}


@st.composite
def along(draw, of=lined):
    """A shape of at least one axis, and one of its axes."""
    shape = draw(of)
    return [shape], {"axis": draw(st.integers(-len(shape), len(shape) - 1))}


def doubled(sampler):
    """Two arrays of the shape."""
    return sampler.map(lambda drawn: (drawn[0] * 2, drawn[1]))


@st.composite
def reshaping(draw):
    shape = draw(anyshape)
    new = tuple(draw(st.permutations(shape)))
    return [shape], {"shape": (1, *new) if draw(st.booleans()) else new}


@st.composite
def permuting(draw):
    shape = draw(anyshape)
    axes = draw(st.none() | st.permutations(range(len(shape))).map(tuple))
    if axes:  # each counted from the front or from the back
        axes = tuple(draw(st.sampled_from([a, a - len(shape)])) for a in axes)
    return [shape], {"axes": axes}


@st.composite
def swapping(draw):
    shape = draw(solid)
    axis = st.integers(-len(shape), len(shape) - 1)
    return [shape], {"first": draw(axis), "second": draw(axis)}


@st.composite
def broadcasting(draw):
    pair = draw(mutually_broadcastable_shapes(num_shapes=1, base_shape=draw(anyshape), max_side=3))
    return [pair.input_shapes[0]], {"shape": pair.result_shape}


@st.composite
def unbroadcasting(draw):
    [shape], kwargs = draw(broadcasting())
    return [kwargs["shape"]], {"shape": shape}


INDEXES = [  # of an array (3, 4, 2); the lists become arrays of the backend
    1, slice(None, None, -1), (slice(1, 3), ..., 0), (None, 2, None), (), ...,
    [2, 0, 2, -1], [[0, 1], [1, 1]], [], ([0, 0, 2], [1, 1, -4]), (slice(None), [3, 3], 1),
    [True, False, True], (slice(None), [True, False, True, True]),
    [[True] * 4, [False] * 4, [True, False] * 2], (0, 0, 0),
]  # fmt: skip
indexes = st.sampled_from(INDEXES)


@st.composite
def padding(draw):
    shape = draw(anyshape)
    width = tuple(draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in shape)
    return [shape], {"width": width, "value": draw(st.sampled_from([0.0, -1.5]))}


@st.composite
def joining(draw):
    shape = draw(lined)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for length in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3)):
        part = list(shape)
        part[axis] = length
        parts.append(tuple(part))
    return parts, {"axis": axis}


@st.composite
def stacking(draw):
    shape = draw(anyshape)
    count = draw(st.integers(1, 3))
    return [shape] * count, {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


MATMULS = [  # one for each way through the rules
    [(2, 3), (3, 2)], [(3,), (3,)], [(3,), (3, 2)], [(2, 3), (3,)], [(2, 2, 3), (3,)],
    [(2, 2, 3), (3, 1)], [(3,), (2, 3, 2)], [(2, 3), (2, 3, 2)], [(2, 1, 2, 3), (3, 3, 2)],
]  # fmt: skip


@st.composite
def multiplying(draw):
    n, k, m = (draw(st.integers(0, 3)) for _ in range(3))
    batch = draw(mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=2, max_dims=2))
    left, right = batch.input_shapes
    x = draw(st.sampled_from([(*left, n, k), (n, k), (k,)]))
    y = draw(st.sampled_from([(*right, k, m), (k, m), (k,)]))
    return [x, y], {}


EINSUMS = [
    ("ij,jk->ik", [(2, 3), (3, 2)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]), ("ij", [(2, 3)]),
    ("bij,bjk", [(2, 2, 3), (2, 3, 1)]), ("...i,i->...", [(2, 2, 3), (3,)]), ("i,j", [(2,), (3,)]),
    ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("iji,j->j", [(2, 3, 2), (3,)]), (",i", [(), (2,)]),
    ("a,b,ab->", [(2,), (3,), (2, 3)]), ("...ij,...jk", [(2, 2, 3), (3, 2)]), ("i,i", [(0,), (0,)]),
    ("ij,ik->k", [(2, 1), (2, 3)]), ("...a,...a->...", [(1, 3), (2, 3)]),
]  # fmt: skip


@st.composite
def convolving(draw):
    """x, weight and bias of a small convolution, and its grid."""
    groups = draw(st.integers(1, 2))
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    grid = ops.Grid(draw(pair), draw(st.tuples(st.integers(0, 1), st.integers(0, 2))),
                    draw(pair), groups)
    kh, kw, inner, outer = (draw(st.integers(1, 2)) for _ in range(4))
    sizes = draw(st.tuples(st.integers(3, 5), st.integers(3, 4)))
    x, w = (draw(st.integers(0, 2)), *sizes, groups * inner), (kh, kw, inner, groups * outer)
    return x, w, grid


def out_shape(x, w, grid):
    height, width = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x[1:3], w[:2], *grid[:3], strict=True)
    )
    return x[0], height, width, w[3]


# --- The twins that NumPy lacks --------------------------------------------------------------


def np_conv2d(x, w, b, grid):
    """The sum over the taps of the filter, one product of matrices each."""
    x = np.pad(x, ((0, 0), *((p, p) for p in grid.padding), (0, 0)))
    _, height, width, _ = out = out_shape(x.shape, w.shape, grid._replace(padding=(0, 0)))
    total = np.zeros(out) + b
    inner, outer = w.shape[2], w.shape[3] // grid.groups
    for i, j, k in np.ndindex(*w.shape[:2], grid.groups):
        top, left = i * grid.dilation[0], j * grid.dilation[1]
        rows = slice(top, top + (height - 1) * grid.stride[0] + 1, grid.stride[0])
        columns = slice(left, left + (width - 1) * grid.stride[1] + 1, grid.stride[1])
        o = slice(k * outer, (k + 1) * outer)
        total[..., o] += x[:, rows, columns, k * inner : (k + 1) * inner] @ w[i, j, :, o]
    return total


def adjoint(linear, shape, y):
    """The adjoint of a linear map, entry by entry from its definition."""
    result = np.zeros(shape)
    for i in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[i] = 1
        result[i] = (linear(unit) * y).sum()
    return result


def np_conv2d_input(y, w, b, size, grid):
    shape = (y.shape[0], *size, w.shape[2] * grid.groups)
    return adjoint(lambda x: np_conv2d(x, w, 0, grid), shape, y) + b


def np_conv2d_weight(x, y, size, grid):
    shape = (*size, x.shape[3] // grid.groups, y.shape[3])
    return adjoint(lambda w: np_conv2d(x, w, 0, grid), shape, y)


def rectified(function):
    return lambda *xs, **kwargs: np.maximum(function(*xs, **kwargs), 0)


def np_scatter_add(x, index, shape):
    out = np.zeros(shape)
    np.add.at(out, index, x)
    return out


def np_sum_to(x, shape):
    return adjoint(lambda small: np.broadcast_to(small, x.shape), shape, x)


def np_erf(x):
    import math

    return np.vectorize(math.erf, otypes=[float])(x)


def np_softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis, keepdims=True)


# --- The table -------------------------------------------------------------------------------


class Row(NamedTuple):
    name: str  # of the op
    twin: Callable  # the same in NumPy
    sampler: Any  # draws the shapes of the inputs, and the keyword arguments
    domain: str = "real"  # or "positive", "negative"; "distinct" or "halves" away from kinks
    options: Any = MappingProxyType({})  # more keyword arguments


def conv_rows():
    @st.composite
    def forward(draw):
        x, w, grid = draw(convolving())
        return [x, w, (w[3],)], {"grid": grid}

    @st.composite
    def of_input(draw):
        x, w, grid = draw(convolving())
        return [out_shape(x, w, grid), w, (x[3],)], {"size": x[1:3], "grid": grid}

    @st.composite
    def of_weight(draw):
        x, w, grid = draw(convolving())
        return [x, out_shape(x, w, grid)], {"size": w[:2], "grid": grid}

    return [
        Row("conv2d", np_conv2d, forward()),
        Row("conv2d_relu", rectified(np_conv2d), forward(), "halves"),
        Row("conv2d_input", np_conv2d_input, of_input()),
        Row("conv2d_input_relu", rectified(np_conv2d_input), of_input(), "halves"),
        Row("conv2d_weight", np_conv2d_weight, of_weight()),
    ]


# --- Windows and recurrence: by NumPy's sliding windows, and step by step -----------------------


@st.composite
def sliding(draw):
    """A shape with windows along one of its axes, and how many there are."""
    shape = draw(array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
    axis = draw(st.integers(0, len(shape) - 1))
    size, stride = draw(st.integers(1, shape[axis])), draw(st.integers(1, 3))
    small = list(shape)
    small[axis] = (shape[axis] - size) // stride + 1
    return shape, tuple(small), {"axis": axis, "size": size, "stride": stride}


def picked(draw, small, how):
    count = int(np.prod(small))
    picks = draw(st.lists(st.integers(0, how["size"] - 1), min_size=count, max_size=count))
    return {"picks": np.reshape(picks, small)}


def window_rows():
    def windows(x, axis, size, stride):
        views = np.lib.stride_tricks.sliding_window_view(x, size, axis)
        return views[(slice(None),) * axis + (slice(None, None, stride),)]  # windows last

    def adjoint(x, shape, function):
        """By the definition: the function of each unit array, weighed by ``x``."""
        units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
        return np.array([(function(u) * x).sum() for u in units]).reshape(shape)

    def taken(x, picks, **how):
        return np.take_along_axis(windows(x, **how), picks[..., None], -1)[..., 0]

    def larger(x, axis, length):
        return (*x.shape[:axis], length, *x.shape[axis + 1 :])

    @st.composite
    def forward(draw):
        shape, _, how = draw(sliding())
        return [shape], how

    @st.composite
    def back(draw):
        shape, small, how = draw(sliding())
        return [small], how | {"length": shape[how["axis"]]}

    @st.composite
    def taking(draw):
        shape, small, how = draw(sliding())
        return [shape], how | picked(draw, small, how)

    @st.composite
    def putting(draw):
        shape, small, how = draw(sliding())
        return [small], how | picked(draw, small, how) | {"length": shape[how["axis"]]}

    return [
        Row("sum_windows", lambda x, **how: windows(x, **how).sum(-1), forward()),
        Row("max_windows", lambda x, **how: windows(x, **how).max(-1), forward(), "distinct"),
        Row("spread_windows", lambda x, length, **how: adjoint(
            x, larger(x, how["axis"], length), lambda u: windows(u, **how).sum(-1)), back()),
        Row("take_windows", taken, taking()),
        Row("put_windows", lambda x, length, **how: adjoint(
            x, larger(x, how["axis"], length), lambda u: taken(u, **how)), putting()),
    ]  # fmt: skip


@st.composite
def standardizing(draw):
    [shape], how = draw(reduction(solid))
    axis = tuple(range(len(shape))) if how["axis"] in (None, ()) else how["axis"]
    return [shape], {"axis": axis, "eps": draw(st.sampled_from([0.1, 1.0]))}


def np_standardize(x, axis, eps):
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def np_standardize_gradient(u, x, axis, eps):
    """By the derivative of the quotient, with that of the root of the variance."""
    over = {"axis": axis, "keepdims": True}
    deviation, root = x - x.mean(**over), np.sqrt(x.var(**over) + eps)
    slope = -(u * deviation).sum(**over) / root**2  # of root
    count = x.size / root.size
    out = u / root + slope * deviation / count / root
    return out - out.mean(**over)


@st.composite
def labelling(draw, gradient=False):
    """Rows of logits, and labels, of which some are none of the classes."""
    shape = draw(solid)
    count = int(np.prod(shape[:-1]))
    picks = draw(st.lists(st.integers(-1, shape[-1]), min_size=count, max_size=count))
    labels = np.reshape(np.array(picks, int), shape[:-1])
    return [shape[:-1], shape] if gradient else [shape], {"labels": labels}


def np_onehot(labels, classes):
    return (labels[..., None] == np.arange(classes)).astype(float)


def np_cross_entropy(x, labels):
    return -(np.log(np_softmax(x)) * np_onehot(labels, x.shape[-1])).sum(-1)


def np_cross_entropy_gradient(u, x, labels):
    onehot = np_onehot(labels, x.shape[-1])
    return u[..., None] * (np_softmax(x) * onehot.sum(-1, keepdims=True) - onehot)


def np_sigmoid(x):
    return 1 / (1 + np.exp(-x))


def np_lstm(projected, weight, hidden, cell):
    out = []
    for x in projected:
        i, f, c, o = np.split(x + hidden @ weight, 4, axis=-1)
        cell = np_sigmoid(f) * cell + np_sigmoid(i) * np.tanh(c)
        hidden = np_sigmoid(o) * np.tanh(cell)
        out.append(np.concatenate([hidden, cell], -1))
    return np.stack(out)


def np_gru(projected, weight, bias, hidden):
    out = []
    for x in projected:
        (r, z, n), (hr, hz, hn) = (np.split(a, 3, -1) for a in (x, hidden @ weight + bias))
        r, z = np_sigmoid(r + hr), np_sigmoid(z + hz)
        hidden = (1 - z) * np.tanh(n + r * hn) + z * hidden
        out.append(hidden)
    return np.stack(out)


def np_gelu_gradient(u, x):
    return u * (0.5 + 0.5 * np_erf(x / np.sqrt(2)) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


def np_gelu_tanh_gradient(u, x):
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return u * (1 + t + x * (1 - t * t) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)) / 2


@st.composite
def mapping(draw):
    """x, weight and bias of a linear map."""
    leading = draw(array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    inner, outer = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    bias = draw(st.sampled_from([(outer,), (1,), ()]))
    return [(*leading, inner), (inner, outer), bias], {}


@st.composite
def norming(draw):
    shape = draw(solid)
    return [shape, shape[-1:], shape[-1:]], {"eps": draw(st.sampled_from([0.1, 1.0]))}


def np_layer_norm(x, weight, bias, eps):
    return np_standardize(x, -1, eps) * weight + bias


@st.composite
def attending(draw):
    """Query, key and value, and what is hidden from whom."""
    batch, heads, queries, keys = sizes = [draw(st.integers(1, 3)) for _ in range(4)]
    part, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shapes = [(batch, heads, n, m) for n, m in ((queries, part), (keys, part), (keys, width))]
    return shapes, hiding(draw, sizes)


def hiding(draw, sizes):
    causal, masked = draw(st.booleans()), draw(st.booleans())
    shape = [draw(st.sampled_from([1, n])) for n in sizes]
    seed = draw(st.integers(0, 2**32 - 1))
    mask = np.random.default_rng(seed).random(shape) < 0.7 if masked else None
    return {"mask": mask, "causal": causal}


@st.composite
def self_attending(draw):
    batch, heads, time, part = (draw(st.integers(1, 3)) for _ in range(4))
    return [(batch, time, 3 * heads * part)], {
        "heads": heads, **hiding(draw, (batch, heads, time, time))
    }  # fmt: skip


def np_attention(query, key, value, mask, causal):
    """Query by query: the exponentials of those keys that it may see."""
    (*_, queries, part), keys = query.shape, key.shape[2]
    out = np.zeros((*query.shape[:3], value.shape[3]))
    mask = np.broadcast_to(True if mask is None else mask, (*query.shape[:3], keys))
    for b, h, i in np.ndindex(*query.shape[:3]):
        places = [j for j in range(keys) if mask[b, h, i, j]
                  and not (causal and j > i + keys - queries)]
        if places:
            scores = key[b, h, places] @ query[b, h, i] / np.sqrt(part)
            out[b, h, i] = np_softmax(scores) @ value[b, h, places]
    return out


def np_self_attention(projected, heads, mask, causal):
    parts = [np.stack(np.split(x, heads, -1), 1) for x in np.split(projected, 3, -1)]
    return np.concatenate(list(np_attention(*parts, mask, causal).swapaxes(0, 1)), -1)


@st.composite
def recurring(draw, gates, *more):
    steps, batch, size = (draw(st.integers(1, high)) for high in (3, 3, 5))
    named = {"bias": (gates * size,), "state": (batch, size)}
    wide = gates * size
    return [(steps, batch, wide), (size, wide), *(named[each] for each in more)], {}


one, two = shapes(1), shapes(2)
condition = np.array([True, False, True])
ROWS = [
    Row("add", np.add, two),
    Row("sub", np.subtract, two),
    Row("mul", np.multiply, two),
    Row("div", np.divide, two, "positive"),
    Row("neg", np.negative, one),
    Row("pow", np.power, two, "positive"),
    Row("exp", np.exp, one),
    Row("expm1", np.expm1, one),
    Row("log", np.log, one, "positive"),
    Row("log1p", np.log1p, one, "positive"),
    Row("log1mexp", lambda x: np.log(1 - np.exp(x)), one, "negative"),
    Row("sqrt", np.sqrt, one, "positive"),
    Row("sin", np.sin, one),
    Row("cos", np.cos, one),
    Row("tanh", np.tanh, one),
    Row("sigmoid", lambda x: 1 / (1 + np.exp(-x)), one),
    Row("softplus", lambda x: np.log(1 + np.exp(x)), one),
    Row("erf", np_erf, one),
    Row("relu", lambda x: np.maximum(x, 0), one, "distinct"),
    Row("gate", lambda x, by: np.where(by <= 0, 0, x), shapes(2), "distinct"),  # not of numbers
    Row("abs", np.abs, one, "distinct"),
    Row("sign", np.sign, one, "distinct"),
    Row("maximum", np.maximum, two, "distinct"),
    Row("minimum", np.minimum, two, "distinct"),
    Row("where", lambda c, x, y: np.where(c > 0, x, y), shapes(3), "distinct"),
    Row("clip", lambda x, low, high: np.clip(x, low, high), one, "distinct",
        {"low": -1.0, "high": 1.0}),
    Row("clip", lambda x, low: np.clip(x, low, None), one, "distinct", {"low": -1.0}),
    Row("astype", lambda x, dtype: x.astype(dtype), one, "real", {"dtype": "float64"}),
    Row("sum", np.sum, reduction()),
    Row("max", np.max, reduction(solid), "distinct"),
    Row("min", np.min, reduction(solid), "distinct"),
    Row("logsumexp", lambda x, axis, keepdims: np.log(np.exp(x).sum(axis, keepdims=keepdims)),
        reduction(solid)),
    Row("softmax", np_softmax, along(solid)),
    Row("log_softmax", lambda x, axis: np.log(np_softmax(x, axis)), along(solid)),
    Row("softmax_gradient", lambda u, p, axis: p * (u - (u * p).sum(axis, keepdims=True)),
        doubled(along(solid))),
    Row("log_softmax_gradient", lambda u, y, axis: u - np.exp(y) * u.sum(axis, keepdims=True),
        doubled(along(solid))),
    Row("cross_entropy", np_cross_entropy, labelling()),
    Row("cross_entropy_gradient", np_cross_entropy_gradient, labelling(gradient=True)),
    Row("cumsum", np.cumsum, along()),
    Row("reshape", lambda x, shape: x.reshape(shape), reshaping()),
    Row("transpose", np.transpose, permuting()),
    Row("swapaxes", lambda x, first, second: np.swapaxes(x, first, second), swapping()),
    Row("broadcast_to", np.broadcast_to, broadcasting()),
    Row("sum_to", np_sum_to, unbroadcasting()),
    Row("flip", np.flip, along()),
    Row("flip", np.flip, one),
    Row("getitem", lambda x, index: x[index], indexes.map(lambda i: ([(3, 4, 2)], {"index": i}))),
    Row("scatter_add", np_scatter_add, indexes.map(
        lambda i: ([np.empty((3, 4, 2))[i].shape], {"index": i, "shape": (3, 4, 2)}))),
    Row("pad", lambda x, width, value: np.pad(x, width, constant_values=value) if width else x,
        padding()),
    Row("concatenate", lambda *xs, axis: np.concatenate(xs, axis), joining()),
    Row("stack", lambda *xs, axis: np.stack(xs, axis), stacking()),
    Row("matmul", np.matmul, multiplying()),
    Row("einsum", lambda *xs, subscripts: np.einsum(subscripts, *xs),
        st.sampled_from(EINSUMS).map(lambda e: (e[1], {"subscripts": e[0]}))),
    Row("gelu", lambda x: x * (0.5 + 0.5 * np_erf(x / np.sqrt(2))), one),
    Row("gelu_tanh", lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        one),
    Row("gelu_gradient", np_gelu_gradient, shapes(2)),  # not of numbers
    Row("gelu_tanh_gradient", np_gelu_tanh_gradient, shapes(2)),
    Row("silu", lambda x: x / (1 + np.exp(-x)), one),
    Row("mish", lambda x: x * np.tanh(np.log(1 + np.exp(x))), one),
    Row("leaky_relu", lambda x, slope: np.where(x > 0, x, slope * x), one, "distinct",
        {"slope": 0.3}),
    Row("elu", lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(x) - 1)), one, "distinct",
        {"alpha": 0.7}),
    Row("standardize", np_standardize, standardizing()),
    Row("standardize_gradient", np_standardize_gradient, doubled(standardizing())),
    Row("affine", lambda x, weight, bias: x @ weight + bias, mapping()),
    Row("layer_norm", np_layer_norm, norming()),
    Row("attention", np_attention, attending()),
    Row("self_attention", np_self_attention, self_attending()),
    *conv_rows(),
    *window_rows(),
    Row("lstm", np_lstm, recurring(4, "state", "state")),
    Row("gru", np_gru, recurring(3, "bias", "state")),
]  # fmt: skip


def call(row, xs, kwargs):
    """The op of a row on Tensors or arrays."""
    if "index" in kwargs:
        kwargs = kwargs | {"index": ops.plain_index(kwargs["index"])}
    for name in {"picks", "labels", "mask"} & kwargs.keys():
        if kwargs[name] is not None:
            kwargs = kwargs | {name: backend.asarray(kwargs[name])}
    if row.name == "einsum":
        return minae.einsum(kwargs["subscripts"], *xs)
    if row.name == "where":
        return ops.where(minae.ops.sign(xs[0]) > 0, *xs[1:])
    if row.name.startswith("conv2d") and row.name.endswith("_relu"):
        return getattr(ops, row.name.removesuffix("_relu"))(*xs, **kwargs, relu=True)
    function = getattr(ops, row.name)
    return function(xs, **kwargs) if OPS[row.name].variadic else function(*xs, **kwargs)


def values(row, sizes, rng):
    """Inputs of the drawn shapes in the domain of the op, as float64."""
    total = sum(int(np.prod(s)) for s in sizes)
    if row.domain == "distinct":  # and none near -1, 0 or 1, where the piecewise ops have kinks
        pool = (rng.permutation(96)[:total] - 48 + 0.5) * 0.05
    elif row.domain == "positive":
        pool = rng.uniform(0.5, 2, total)
    elif row.domain == "negative":
        pool = -rng.uniform(0.1, 2, total)
    elif row.domain == "halves":  # integers, and a bias that keeps their sums away from 0
        pool = rng.integers(-2, 3, total) + 0.5 * (np.arange(total) >= total - sizes[-1][0])
    else:
        pool = rng.standard_normal(total)
    parts = np.split(pool, np.cumsum([int(np.prod(s)) for s in sizes])[:-1])
    return [part.reshape(s) for part, s in zip(parts, sizes, strict=True)]


LAYOUTS = {
    "contiguous": lambda x: x,
    "fortran": lambda x: x.copy(order="F"),
    "reversed": lambda x: x[(slice(None, None, -1),) * x.ndim].copy()[
        (slice(None, None, -1),) * x.ndim],
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x,
}  # fmt: skip

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
drawn = given(data=st.data(), seed=st.integers(0, 2**32 - 1))
few = settings(max_examples=25, deadline=None, derandomize=True)


def test_every_op_has_a_row():
    names = {name for name, op in OPS.items() if op.forward.__module__.startswith("minae.ops.")}
    assert {row.name for row in ROWS} == names


@every_row
@few
@drawn
def test_equals_its_twin(row, data, seed, array, numpy):
    sizes, kwargs = data.draw(row.sampler)
    kwargs = kwargs | row.options
    layout = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    xs = [layout(x) for x in values(row, sizes, np.random.default_rng(seed))]
    want = row.twin(*xs, **kwargs)
    arrays = [array(x) for x in xs]
    plain = call(row, arrays, kwargs)
    recorded = call(row, [minae.Tensor(x, requires_grad=True) for x in arrays], kwargs)
    assert type(plain) is not minae.Tensor and type(recorded) is minae.Tensor
    for got in (numpy(plain), numpy(recorded)):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    for x, before in zip(arrays, xs, strict=True):
        np.testing.assert_array_equal(numpy(x), before)
    slopes = []  # the layout changes no gradient
    for parts in (xs, [x.copy(order="C") for x in xs]):
        tensors = [minae.Tensor(array(x), requires_grad=True) for x in parts]
        y = call(row, tensors, kwargs)
        slopes.append(minae.grad(y, tensors, array(np.ones(y.shape))))
    for a, b, x in zip(*slopes, xs, strict=True):
        assert a.shape == x.shape
        np.testing.assert_allclose(numpy(a), numpy(b).reshape(x.shape), rtol=1e-12, atol=1e-12)


@every_row
@few
@drawn
def test_gradients(row, data, seed):
    sizes, kwargs = data.draw(row.sampler)
    xs = values(row, sizes, np.random.default_rng(seed))
    check_grads(lambda *ts: call(row, ts, kwargs | row.options), xs)


@every_row
@few
@drawn
def test_float32_stays_float32(row, data, seed, array):
    if row.name == "astype":
        return
    sizes, kwargs = data.draw(row.sampler)
    kwargs = kwargs | row.options
    xs = [x.astype("float32") for x in values(row, sizes, np.random.default_rng(seed))]
    tensors = [minae.Tensor(array(x), requires_grad=True) for x in xs]
    y = call(row, tensors, kwargs)
    assert y.dtype == "float32"
    if not y.requires_grad:  # sign has no gradient
        return
    gradients = minae.grad(y, tensors, array(np.ones(y.shape, "float32")), create_graph=True)
    assert all(g.dtype == "float32" for g in gradients)
    # ... as the rules return it, before the engine would mend it:
    with minae.debug():
        y = call(row, tensors, kwargs)
        minae.grad(y, tensors, array(np.ones(y.shape, "float32")))


TABLE = (3, 4, 2)
LISTED = {  # what a sampler takes from a list, and may leave out
    "getitem": [([TABLE], {"index": i}) for i in INDEXES],
    "scatter_add": [([np.empty(TABLE)[i].shape], {"index": i, "shape": TABLE}) for i in INDEXES],
    "transpose": [([(2, 3, 1)], {"axes": (-1, 0, 1)}), ([(2, 3, 1)], {"axes": (1, -1, 0)})],
    "matmul": [(sizes, {}) for sizes in MATMULS],
    "einsum": [(sizes, {"subscripts": subscripts}) for subscripts, sizes in EINSUMS],
}


@pytest.mark.parametrize("name", LISTED)
def test_gradients_of_every_listed_case(name):
    row = next(row for row in ROWS if row.name == name)
    for sizes, kwargs in LISTED[name]:
        xs = values(row, sizes, np.random.default_rng(0))
        check_grads(lambda *ts, kwargs=kwargs: call(row, ts, kwargs), xs)


def reads_needed(row):
    rule = OPS[row.name].joint
    return rule and "needed" in inspect.signature(rule.pull).parameters


@pytest.mark.parametrize("row", list(filter(reads_needed, ROWS)), ids=lambda row: row.name)
@settings(few, max_examples=5)
@drawn
def test_a_joint_rule_makes_what_is_needed_and_no_more(row, data, seed, array, numpy):
    sizes, kwargs = data.draw(row.sampler)
    xs = list(map(array, values(row, sizes, np.random.default_rng(seed))))
    rule, made = OPS[row.name].joint, []

    def gradients(needed):
        tensors = [minae.Tensor(x, requires_grad=n) for x, n in zip(xs, needed)]
        call(row, tensors, kwargs).sum().backward()
        return [t.grad for t in tensors]

    every = gradients([True] * len(xs))
    with pytest.MonkeyPatch.context() as patch:
        pull = rule.pull
        patch.setattr(rule, "pull", lambda *args: made.append(list(pull(*args))) or made[-1])
        for needed in itertools.product([True, False], repeat=len(xs)):
            if any(needed):
                for g, h, n in zip(gradients(needed), every, needed, strict=True):
                    assert g is None if not n else (numpy(g) == numpy(h)).all()
                assert [g is not None for g in made[-1]] == list(needed)


ALIASED = {row.name: (2, 2) for row in ROWS if row.sampler is two} | {
    "where": (2, 2), "matmul": (2, 2), "concatenate": (2, 2), "stack": (2, 2), "einsum": (2, 2),
    "conv2d": (2, 2, 2, 2), "conv2d_input": (1, 1, 1, 1), "conv2d_weight": (2, 2, 2, 2),
}  # fmt: skip
WITH = {
    "einsum": {"subscripts": "ij,jk->ik"}, "conv2d": {"grid": ops.Grid()},
    "conv2d_input": {"grid": ops.Grid(), "size": (1, 1)},
    "conv2d_weight": {"grid": ops.Grid(), "size": (1, 1)},
}  # fmt: skip


@pytest.mark.parametrize("name", ALIASED)
def test_aliased_arguments(name, array):
    """``f(x, x)`` has the sum of both gradients."""
    row = next(row for row in ROWS if row.name == name)
    (x,) = values(row, [ALIASED[name]], np.random.default_rng(0))
    count = 3 if name == "where" else 2
    if name in ("maximum", "minimum"):  # both are equal: each gets half, so the sum is 1
        t = minae.tensor(array(x), requires_grad=True)
        got = minae.grad(call(row, (t, t), {}).sum(), t)
        assert bool((got == 1).all())
    else:
        check_grads(lambda t: call(row, [t] * count, WITH.get(name, {})), [x])


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (0,), (2, 0), (0, 3)])
@pytest.mark.parametrize("row", [r for r in ROWS if r.sampler in (one, two)], ids=lambda r: r.name)
def test_no_dimensions_one_entry_or_none(row, shape, array, numpy):
    """Forward, gradient and type on the smallest arrays there are."""
    count = 1 if row.sampler is one else 2
    xs = values(row, [shape] * count, np.random.default_rng(0))
    tensors = [minae.Tensor(array(x), requires_grad=True) for x in xs]
    y = call(row, tensors, row.options)
    np.testing.assert_allclose(numpy(y), row.twin(*xs, **row.options), rtol=1e-12)
    if y.requires_grad:
        y.backward(array(np.ones(shape)))
        assert all(t.grad.shape == shape and t.grad.dtype == t.dtype for t in tensors)


@pytest.mark.parametrize("row", [r for r in ROWS if r.sampler is two], ids=lambda r: r.name)
@pytest.mark.parametrize("scalar", [2, 2.0, np.float64(2), np.float32(2), np.int64(2)])
def test_numbers_are_weak(row, scalar, array):
    """A number takes the dtype of the Tensor that it meets, and gets no gradient."""
    x = minae.Tensor(array([0.5, 1.5], "float32"), requires_grad=True)
    function = getattr(ops, row.name)
    with minae.debug():  # which sees the dtype that the rules return
        for y in (function(x, scalar), function(scalar, x)):
            assert y.dtype == "float32"
            y.sum().backward()
            assert x.grad.dtype == "float32"


@pytest.mark.parametrize("row", [r for r in ROWS if r.sampler is two], ids=lambda r: r.name)
@pytest.mark.parametrize("number", [0.3, 3])
def test_gradients_beside_a_number(row, number):
    function = getattr(ops, row.name)
    (x,) = values(row, [(2, 3)], np.random.default_rng(0))
    check_grads(lambda x: function(x, number), [x])
    check_grads(lambda x: function(number, x), [x])


@pytest.mark.parametrize("row", [r for r in ROWS if r.sampler is two], ids=lambda r: r.name)
def test_mixed_precision_promotes_and_gradients_return(row, array):
    x = minae.Tensor(array([0.5, 1.5], "float32"), requires_grad=True)
    y = minae.Tensor(array([0.75, 1.25], "float64"), requires_grad=True)
    out = getattr(ops, row.name)(x, y)
    assert out.dtype == "float64"
    out.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == ("float32", "float64")
