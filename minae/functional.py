"""Functions composed of ops: their gradients, of any order, follow by themselves.

They take Tensors or plain arrays. Features are the last axis: images are (batch, height, width,
channels), sequences (batch, time, features).
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import minae.ops as ops

from .backend import Array, asarray, describe, numpy, put_last, xp
from .engine import entries
from .ops import Grid
from .random import uniform

# --- Statistics ------------------------------------------------------------------------------


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over ``axis`` (all axes by default)."""
    total = ops.sum(x, axis=axis, keepdims=keepdims)
    return total / _count(x, axis)


def var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The variance over ``axis``: squared deviations, divided by their number less ``correction``.

    The correction 0 is NumPy's default; 1 gives the unbiased estimate, PyTorch's default.
    """
    deviation = x - mean(x, axis, keepdims=True)
    total = ops.sum(deviation * deviation, axis=axis, keepdims=keepdims)
    return total / max(_count(x, axis) - correction, 0)


def std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The square root of ``var``; its gradient where all entries are equal is 0."""
    return ops.sqrt(var(x, axis, keepdims, correction))


def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm over ``axis``; its gradient at 0 is 0."""
    return ops.sqrt(ops.sum(x * x, axis=axis, keepdims=keepdims))


def _count(x: Any, axis: Any) -> int:
    axes = range(len(x.shape)) if axis is None else axis if type(axis) is tuple else (axis,)
    return math.prod(x.shape[a] for a in axes)


# --- Rearranging -----------------------------------------------------------------------------


def split(x: Any, sections: int | list[int], axis: int = 0) -> list[Any]:
    """Cut ``x`` along ``axis`` into equal ``sections``, or before each index of a list.

    Raises ValueError where the length is no multiple of the number of sections.
    """
    length = x.shape[axis]
    if hasattr(sections, "__index__"):
        sections = operator.index(sections)
        if sections < 1 or length % sections:
            raise ValueError(f"an axis of {length} does not split into {sections} equal sections")
        sections = [length // sections * i for i in range(1, sections)]
    along = (slice(None),) * (axis % len(x.shape))
    edges = [0, *sections, length]
    return [ops.getitem(x, index=(*along, slice(a, b))) for a, b in itertools.pairwise(edges)]


def take_along_axis(x: Any, indices: Array, axis: int = -1) -> Any:
    """The entries of ``x`` at ``indices`` along ``axis``; the other axes of the two must agree."""
    return _take(x, integers(indices, x.shape[axis], "indices"), axis)


def _take(x: Any, indices: Array, axis: int) -> Any:
    places = list(xp.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = indices
    return ops.getitem(x, index=tuple(places))


def sort(x: Any, axis: int = -1) -> Any:
    """``x`` in ascending order along ``axis``; equal entries keep their order."""
    return _take(x, xp.argsort(entries(x), axis=operator.index(axis), kind="stable"), axis)


def index_add(x: Any, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` added at ``index``; at a place named twice, both are."""
    index = ops.plain_index(index)
    region = xp.empty(x.shape, bool)[index].shape
    return x + ops.scatter_add(_spread(values, region, x), index=index, shape=x.shape)


def index_update(x: Any, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` put at ``index``; at a place named twice, the last stays.

    This is what ``x[index] = values`` would do to an array. Gradients reach ``values`` from where
    they stayed, and ``x`` from everywhere else.
    """
    index = ops.plain_index(index)
    origin = xp.full(x.shape, -1, "int32")  # which of the values each place holds
    region = origin[index].shape
    if math.prod(region) == 0:
        return x
    order = xp.arange(math.prod(region), dtype="int32").reshape(region)
    put_last(origin, index, order)
    values = ops.reshape(_spread(values, region, x), shape=(-1,))
    return ops.where(origin >= 0, ops.getitem(values, index=origin), x)


def _spread(values: Any, region: tuple[int, ...], x: Any) -> Any:
    """``values`` over the whole region; numbers and lists in the dtype of ``x``."""
    if not hasattr(values, "dtype") or isinstance(values, numpy.generic):
        values = asarray(values, x.dtype)
    return ops.broadcast_to(values, shape=region)


def one_hot(codes: Any, count: int, dtype: Any = "float32") -> Array:
    """A plain array (..., count) with 1 at each code and 0 elsewhere. Raises for codes outside."""
    return (integers(codes, count, "codes")[..., None] == xp.arange(count)).astype(dtype)


# --- Linear maps -----------------------------------------------------------------------------


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight + bias`` with weight (in, out)."""
    return x @ weight if bias is None else x @ weight + bias


def embedding(table: Any, codes: Any) -> Any:
    """The rows of ``table`` (count, features) for codes (...): (..., features).

    Raises TypeError for codes that are no integers, ValueError for codes outside [0, count).
    """
    return ops.getitem(table, index=integers(codes, table.shape[0], "codes"))


def conv2d(
    x: Any, weight: Any, bias: Any = None, *,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, relu: bool = False,
) -> Any:
    """Cross-correlate images (batch, height, width, in) with filters (kh, kw, in / groups, out).

    ``stride``, ``padding`` (zeros on both sides) and ``dilation`` are integers or pairs (vertical,
    horizontal). Returns (batch, height', width', out) with
    ``height' = (height + 2 padding - dilation (kh - 1) - 1) // stride + 1``; with ``relu``, what is
    below 0 becomes 0 on the way. Raises ValueError where channels, groups or sizes do not fit,
    TypeError where a step is no integer.
    """
    return ops.conv2d(x, weight, bias, grid=_grid(stride, padding, dilation, groups), relu=relu)


def conv_transpose2d(
    x: Any, weight: Any, bias: Any = None, *,
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, dilation: Any = 1, groups: int = 1,
    relu: bool = False,
) -> Any:
    """The adjoint of ``conv2d``: images (batch, height, width, in) to larger ones.

    ``weight`` is that of the convolution this is the adjoint of: (kh, kw, out / groups, in). Where
    a stride leaves several sizes possible, ``output_padding`` (below the stride) picks the larger.
    Returns (batch, height', width', out) with
    ``height' = (height - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding``. Raises
    as ``conv2d`` does.
    """
    grid = _grid(stride, padding, dilation, groups)
    extra = pair(output_padding, "output_padding")
    if len(x.shape) != 4 or len(weight.shape) != 4 or x.shape[3] != weight.shape[3]:
        raise ValueError(
            f"conv_transpose2d takes images (batch, height, width, in) and weight (kh, kw, "
            f"out / groups, in); got {describe(x)} and {describe(weight)}"
        )
    if any(not 0 <= e < s for e, s in zip(extra, grid.stride)):
        raise ValueError(f"output_padding {extra} must be smaller than the stride {grid.stride}")
    height, width = (
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for n, k, s, p, d, e in zip(x.shape[1:3], weight.shape, *grid[:3], extra)
    )
    return ops.conv2d_input(x, weight, bias, size=(height, width), grid=grid, relu=relu)


def _grid(stride: Any, padding: Any, dilation: Any, groups: int) -> Grid:
    return Grid(
        pair(stride, "stride"), pair(padding, "padding"), pair(dilation, "dilation"), groups
    )


def pair(value: Any, name: str) -> tuple[int, int]:
    """An integer twice, or two integers, (vertical, horizontal). Raises TypeError for others."""
    both = value if isinstance(value, (tuple, list)) else (value, value)
    try:
        vertical, horizontal = map(operator.index, both)
    except (TypeError, ValueError):
        wanted = "an integer or a pair (vertical, horizontal)"
        raise TypeError(f"{name} must be {wanted}, got {value!r}") from None
    return vertical, horizontal


# --- Activations -----------------------------------------------------------------------------


def gelu(x: Any) -> Any:
    """``x`` times the normal distribution's cumulative probability (Hendrycks & Gimpel 2016)."""
    return x * 0.5 * (1 + ops.erf(x * math.sqrt(0.5)))


def gelu_tanh(x: Any) -> Any:
    """The approximation of ``gelu`` by a tanh, as in GPT-2 (Hendrycks & Gimpel 2016)."""
    return x * 0.5 * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def silu(x: Any) -> Any:
    """``x * sigmoid(x)``, also called swish."""
    return x * ops.sigmoid(x)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """``x`` where positive, else ``slope * x``."""
    return ops.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return ops.where(x > 0, x, alpha * ops.expm1(ops.where(x > 0, 0.0, x)))


# --- Losses: shapes must be equal, nothing broadcasts ------------------------------------------


def mse_loss(prediction: Any, target: Any) -> Any:
    """The mean squared error. Raises ValueError unless both shapes are equal."""
    _same_shape(prediction, target)
    return mean((prediction - target) ** 2)


def l1_loss(prediction: Any, target: Any) -> Any:
    """The mean absolute error. Raises ValueError unless both shapes are equal."""
    _same_shape(prediction, target)
    return mean(ops.abs(prediction - target))


def binary_cross_entropy_with_logits(logits: Any, target: Any) -> Any:
    """The mean of ``-target log p - (1 - target) log(1 - p)`` with ``p = sigmoid(logits)``.

    Computed from the logits, so that it stays finite. Raises ValueError unless both shapes are
    equal.
    """
    _same_shape(logits, target)
    return mean(ops.softplus(logits) - logits * target)


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean of ``-log softmax(logits)[label]``, in nats.

    Logits (..., classes) and integer labels (...). Raises ValueError where the shapes do not agree
    or a label is not in [0, classes), TypeError where labels are no integers.
    """
    labels = integers(labels, logits.shape[-1], "labels")
    if labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"logits {describe(logits)} need labels of shape {list(logits.shape[:-1])}, "
            f"got {describe(labels)}"
        )
    return -mean(_take(ops.log_softmax(logits), labels[..., None], -1))


def _same_shape(prediction: Any, target: Any) -> None:
    if xp.shape(entries(prediction)) != xp.shape(entries(target)):
        raise ValueError(
            f"prediction {describe(prediction)} and target {describe(target)} would broadcast to a "
            "loss over other pairs of entries; give both the same shape"
        )


# --- Normalisation ---------------------------------------------------------------------------


def standardize(x: Any, axis: Any, eps: float = 1e-5) -> Any:
    """``x`` with mean 0 and variance 1 over ``axis``; ``eps`` is added to the variance."""
    deviation = x - mean(x, axis, keepdims=True)
    return deviation / ops.sqrt(mean(deviation * deviation, axis, keepdims=True) + eps)


def layer_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardize over the features, then scale and shift them (Ba et al. 2016)."""
    return _affine(standardize(x, -1, eps), weight, bias)


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """Standardize each of ``groups`` groups of channels over space (Wu & He 2018).

    ``x`` is (batch, ..., channels); with as many groups as channels this is instance norm. Raises
    ValueError where the channels do not divide into the groups.
    """
    batch, *space, channels = x.shape
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not form {groups} equal groups")
    grouped = ops.reshape(x, shape=(batch, math.prod(space), groups, channels // groups))
    return _affine(ops.reshape(standardize(grouped, (1, 3), eps), shape=x.shape), weight, bias)


def batch_norm(
    x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise the features by a given mean and variance (Ioffe & Szegedy 2015)."""
    return _affine((x - mean) / ops.sqrt(var + eps), weight, bias)


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


# --- Attention and dropout -------------------------------------------------------------------


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1).

    ``query`` (..., queries, features), ``key`` (..., keys, features), ``value`` (..., keys, out);
    the axes before broadcast. ``mask`` (..., queries, keys) is True where a query may look; a
    query that may look nowhere gets 0. Returns (..., queries, out). Raises TypeError for a mask
    that is not boolean.
    """
    scores = query @ ops.swapaxes(key, first=-1, second=-2) * (query.shape[-1] ** -0.5)
    if mask is not None:
        mask = asarray(entries(mask))
        if mask.dtype.kind != "b":
            raise TypeError(f"mask must be boolean, True where to look; got {describe(mask)}")
        scores = ops.where(mask, scores, -math.inf)
    return ops.softmax(scores) @ value


def causal_mask(length: int) -> Array:
    """The mask (length, length) under which each position sees itself and what came before."""
    return xp.tri(length, dtype=bool)


def dropout(x: Any, p: float = 0.5, rng: Any = None) -> Any:
    """Set each entry to 0 with probability ``p``, and divide the others by ``1 - p``.

    For training: in evaluation, do not call it (Srivastava et al. 2014). Raises ValueError unless
    ``0 <= p < 1``.
    """
    if not 0 <= p < 1:
        raise ValueError(f"dropout needs 0 <= p < 1, got {p}")
    kept = uniform(x.shape, rng=rng) >= p
    return x * (kept * xp.asarray(1 / (1 - p), x.dtype))


# --- Checks ----------------------------------------------------------------------------------


def integers(values: Any, count: int, name: str) -> Array:
    """``values`` as an array of integers, each checked to be in [0, count)."""
    values = entries(values)
    if isinstance(values, (int, list, tuple)):  # of which asarray would make float32
        values = numpy.asarray(values, int if values in ([], ()) else None)
    array = asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {describe(array)}: use astype(int)")
    outside = (array < 0) | (array >= count)
    if outside.any():
        raise ValueError(f"{name} must be in [0, {count}), got {int(array[outside][0])}")
    return array
