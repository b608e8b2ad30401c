"""Softmax, its logarithm and loss, and layer norm, row by row: all passes over a row are in cache.

Rows are shared among the threads. Sums over rows, of which the gradients of a layer norm's weights
are made, are taken in pieces that follow from the number of rows alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from . import reference
from .compiler import array, associative, flat, inline, kernel
from .threads import share, threads
from .transcendental import exp
from .vectors import WIDTH, higher, largest, vector

SMALL = 1 << 14  # entries that are not worth a second thread
PIECE = 1 << 15  # entries whose rows are summed up by themselves


def _suits(axis: Any, *arrays: Any) -> bool:
    """Whether rows are the last axis, and all arrays of one dtype that is compiled for."""
    x = arrays[0]
    return (
        x.ndim > 0 and x.size > 0 and axis in (-1, x.ndim - 1)
        and x.dtype in (np.float32, np.float64)
        and all(isinstance(a, np.ndarray) and a.dtype == x.dtype for a in arrays)
    )  # fmt: skip


def _share(work: Callable[[int, int], None], rows: int, length: int) -> None:
    """Call ``work(first, last)`` for ranges of the rows, in several threads."""
    parts = min(threads() if rows * length > SMALL else 1, rows)
    share(lambda part: work(rows * part // parts, rows * (part + 1) // parts), parts)


def _map(name: str, function: Any, axis: int, *arrays: Any) -> Any:
    """The function of each row of arrays of one shape."""
    if not (_suits(axis, *arrays) and all(a.shape == arrays[0].shape for a in arrays)):
        return getattr(reference, name)(*arrays, axis)
    out = np.empty(arrays[0].shape, arrays[0].dtype)
    length = out.shape[-1]
    lines, compute = [*map(flat, arrays), out.reshape(-1)], function[out.dtype]
    _share(lambda first, last: compute(*lines, length, first, last), out.size // length, length)
    return out


# --- Softmax ----------------------------------------------------------------------------------


def softmax(x: Any, axis: int = -1) -> Any:
    """See ``reference.softmax``."""
    return _map("softmax", _softmax, axis, x)


def softmax_gradient(g: Any, p: Any, axis: int = -1) -> Any:
    """See ``reference.softmax_gradient``."""
    return _map("softmax_gradient", _softmax_gradient, axis, g, p)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """See ``reference.log_softmax``."""
    return _map("log_softmax", _log_softmax, axis, x)


def log_softmax_gradient(g: Any, y: Any, axis: int = -1) -> Any:
    """See ``reference.log_softmax_gradient``."""
    return _map("log_softmax_gradient", _log_softmax_gradient, axis, g, y)


# In the loops below each row is a slice, counted from 0: of an index that might be negative, every
# use would be checked, and nothing be vectorized.


@associative
def _sum(x):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total


@associative
def _dot(x, y):
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@inline
def _top(x):
    """The largest entry of a row; 0 where that is infinite, so that no inf - inf is taken."""
    width = WIDTH // x.itemsize
    whole = x.size - x.size % width
    top = x.dtype.type(-np.inf)
    if whole:
        lanes = vector(x, 0)
        for i in range(width, whole, width):
            lanes = higher(vector(x, i), lanes)
        top = largest(lanes)
    for i in range(whole, x.size):
        top = x[i] if x[i] > top else top
    return top if abs(top) < np.inf else x.dtype.type(0)


@inline
def _powers(x, out):
    """``exp(x - top)`` of a row; their sum, at least 1, and what was subtracted."""
    top = _top(x)
    for i in range(x.size):
        out[i] = exp(x[i] - top)
    total, one = _sum(out), x.dtype.type(1)
    return (one if total < one else total), top


@inline
def _row(x, n, length):
    return x[n * length : (n + 1) * length]


@kernel(lambda f: (array(f), f[::1], *[types.intp] * 3))
def _softmax(x, out, length, first, last):
    for n in range(first, last):
        y = _row(out, n, length)
        total, _ = _powers(_row(x, n, length), y)
        scale = x.dtype.type(1) / total
        for i in range(y.size):
            y[i] *= scale


@kernel(lambda f: (array(f), array(f), f[::1], *[types.intp] * 3))
def _softmax_gradient(g, p, out, length, first, last):
    for n in range(first, last):
        u, q, y = _row(g, n, length), _row(p, n, length), _row(out, n, length)
        along = _dot(u, q)
        for i in range(y.size):
            y[i] = q[i] * (u[i] - along)


@kernel(lambda f: (array(f), f[::1], *[types.intp] * 3))
def _log_softmax(x, out, length, first, last):
    for n in range(first, last):
        z, y = _row(x, n, length), _row(out, n, length)
        total, top = _powers(z, y)
        log = np.log(total)
        for i in range(y.size):
            y[i] = z[i] - top - log


@kernel(lambda f: (array(f), array(f), f[::1], *[types.intp] * 3))
def _log_softmax_gradient(g, y, out, length, first, last):
    for n in range(first, last):
        u, z, v = _row(g, n, length), _row(y, n, length), _row(out, n, length)
        total = _sum(u)
        for i in range(v.size):
            v[i] = u[i] - exp(z[i]) * total


# --- Its loss ---------------------------------------------------------------------------------


def cross_entropy(x: Any, labels: Any) -> Any:
    """See ``reference.cross_entropy``."""
    if not _suits(-1, x) or labels.shape != x.shape[:-1]:
        return reference.cross_entropy(x, labels)
    out, length, compute = np.empty(labels.shape, x.dtype), x.shape[-1], _cross_entropy[x.dtype]
    arrays = flat(x), flat(labels.astype(np.int64, copy=False)), out.reshape(-1)
    _share(lambda first, last: compute(*arrays, length, first, last), out.size, length)
    return out


def cross_entropy_gradient(g: Any, x: Any, labels: Any) -> Any:
    """See ``reference.cross_entropy_gradient``."""
    if not _suits(-1, x, g) or not g.shape == labels.shape == x.shape[:-1]:
        return reference.cross_entropy_gradient(g, x, labels)
    out, length, compute = np.empty(x.shape, x.dtype), x.shape[-1], _label_gradient[x.dtype]
    arrays = flat(g), flat(x), flat(labels.astype(np.int64, copy=False)), out.reshape(-1)
    _share(lambda first, last: compute(*arrays, length, first, last), g.size, length)
    return out


@kernel(lambda f: (array(f), array(types.int64), f[::1], *[types.intp] * 3))
def _cross_entropy(x, labels, out, length, first, last):
    powers = np.empty(length, x.dtype)
    for n in range(first, last):
        z = _row(x, n, length)
        total, top = _powers(z, powers)
        inside = 0 <= labels[n] < length
        out[n] = np.log(total) - (z[labels[n]] - top) if inside else 0


@kernel(lambda f: (array(f), array(f), array(types.int64), f[::1], *[types.intp] * 3))
def _label_gradient(g, x, labels, out, length, first, last):
    for n in range(first, last):
        y = _row(out, n, length)
        if 0 <= labels[n] < length:
            total, _ = _powers(_row(x, n, length), y)
            scale = g[n] / total
            for i in range(y.size):
                y[i] *= scale
            y[labels[n]] -= g[n]
        else:
            y[:] = 0


# --- Standardization --------------------------------------------------------------------------


def standardize(x: Any, eps: float, axis: Any = -1) -> Any:
    """See ``reference.standardize``."""
    if not _suits(axis, x):
        return reference.standardize(x, eps, axis)
    weight, bias = np.ones(x.shape[-1], x.dtype), np.zeros(x.shape[-1], x.dtype)
    return layer_norm(x, weight, bias, eps)


def standardize_gradient(g: Any, x: Any, eps: float, axis: Any = -1) -> Any:
    """See ``reference.standardize_gradient``."""
    if not _suits(axis, x, g) or g.shape != x.shape:
        return reference.standardize_gradient(g, x, eps, axis)
    return layer_norm_gradient(g, x, np.ones(x.shape[-1], x.dtype), eps)[0]


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """See ``reference.layer_norm``."""
    if not (_suits(-1, x, weight, bias) and weight.shape == bias.shape == x.shape[-1:]):
        return reference.layer_norm(x, weight, bias, eps)
    out, length, compute = np.empty(x.shape, x.dtype), x.shape[-1], _layer_norm[x.dtype]
    arrays = flat(x), flat(weight), flat(bias), out.reshape(-1)
    _share(lambda first, last: compute(*arrays, eps, first, last), out.size // length, length)
    return out


def layer_norm_gradient(g: Any, x: Any, weight: Any, eps: float) -> tuple[Any, Any, Any]:
    """See ``reference.layer_norm_gradient``."""
    if not (_suits(-1, x, g, weight) and g.shape == x.shape and weight.shape == x.shape[-1:]):
        return reference.layer_norm_gradient(g, x, weight, eps)
    out, length, compute = np.empty(x.shape, x.dtype), x.shape[-1], _layer_norm_gradient[x.dtype]
    rows = x.size // length
    pieces = min(rows, math.ceil(x.size / PIECE))
    sums = np.zeros((2, pieces, length), x.dtype)
    arrays = flat(g), flat(x), flat(weight), out.reshape(-1)

    def work(piece: int) -> None:
        first, last = rows * piece // pieces, rows * (piece + 1) // pieces
        compute(*arrays, sums[0, piece], sums[1, piece], eps, first, last)

    share(work, pieces)
    return out, *sums.sum(axis=1)


@associative
def _moments(x):
    """The mean of a row, and the mean square of what is left without it."""
    mean = x.dtype.type(_sum(x) / x.size)
    total = x.dtype.type(0)
    for i in range(x.size):
        total += (x[i] - mean) * (x[i] - mean)
    return mean, x.dtype.type(total / x.size)


@kernel(lambda f: (array(f), array(f), array(f), f[::1], f, types.intp, types.intp))
def _layer_norm(x, weight, bias, out, eps, first, last):
    for n in range(first, last):
        z, y = _row(x, n, weight.size), _row(out, n, weight.size)
        mean, variance = _moments(z)
        scale = x.dtype.type(1) / np.sqrt(variance + eps)
        for i in range(y.size):
            y[i] = (z[i] - mean) * scale * weight[i] + bias[i]


@associative
def _along(g, x, weight, mean, scale):
    """The mean of ``g weight``, and of that times the standardized row."""
    plain, turned = x.dtype.type(0), x.dtype.type(0)
    for i in range(x.size):
        u = g[i] * weight[i]
        plain += u
        turned += u * ((x[i] - mean) * scale)
    return x.dtype.type(plain / x.size), x.dtype.type(turned / x.size)


@kernel(lambda f: (array(f), array(f), array(f), *[f[::1]] * 3, f, types.intp, types.intp))
def _layer_norm_gradient(g, x, weight, out, to_weight, to_bias, eps, first, last):
    for n in range(first, last):
        u, z, y = _row(g, n, weight.size), _row(x, n, weight.size), _row(out, n, weight.size)
        mean, variance = _moments(z)
        scale = x.dtype.type(1) / np.sqrt(variance + eps)
        plain, turned = _along(u, z, weight, mean, scale)
        for i in range(y.size):
            standard = (z[i] - mean) * scale
            to_weight[i] += u[i] * standard
            to_bias[i] += u[i]
            y[i] = (u[i] * weight[i] - plain - standard * turned) * scale
