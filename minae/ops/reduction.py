"""Reductions and running sums. ``axis`` is None (all axes), an integer or a tuple of them."""

from __future__ import annotations

import math
from operator import index

import minae.kernels as kernels

from ..backend import xp
from ..engine import primitive
from ..kernels.rows import finite, largest
from .elementwise import exp, where
from .shape import broadcast_to, flip, reshape


def restore(reduced, shape, axis, keepdims):
    """Give the result of a reduction of ``shape`` its lost axes back, so that it broadcasts."""
    if keepdims or axis is None:
        return reduced
    axes = axis if type(axis) is tuple else (axis,)
    lost = {a % len(shape) for a in axes}
    return reshape(reduced, shape=tuple(1 if i in lost else n for i, n in enumerate(shape)))


def _sum(g, x_shape, axis, keepdims):
    return broadcast_to(restore(g, x_shape, axis, keepdims), shape=x_shape)


@primitive(x=_sum)
def sum(x, *, axis=None, keepdims=False):
    """The sum over ``axis`` (all axes by default); floats keep their dtype."""
    return x.sum(axis=axis, keepdims=keepdims)


def _extremum(g, x, out, axis, keepdims):
    """Entries that tie share the gradient evenly."""
    chosen = x == restore(out, x.shape, axis, keepdims)
    ties = chosen.sum(axis=axis, keepdims=True, dtype=g.dtype)
    return restore(g, x.shape, axis, keepdims) / ties * chosen


@primitive(x=_extremum)
def max(x, *, axis=None, keepdims=False):
    """The largest entry over ``axis``; entries that tie share the gradient evenly."""
    return x.max(axis=axis, keepdims=keepdims)


@primitive(x=_extremum)
def min(x, *, axis=None, keepdims=False):
    """The smallest entry over ``axis``; entries that tie share the gradient evenly."""
    return x.min(axis=axis, keepdims=keepdims)


def _cumsum(g, axis):
    return flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)


@primitive(x=_cumsum)
def cumsum(x, *, axis=-1):
    """The running sum along ``axis``, in the dtype of ``x``."""
    return x.cumsum(axis=index(axis), dtype=x.dtype)


# --- Sums of exponentials --------------------------------------------------------------------
# The largest entry is subtracted first, so its exponential is 1 and a sum is at least 1. A row of
# -inf, one that a mask has emptied, has the sum 0: log-sum -inf, softmax 0, and gradient 0 of both.


def _logsumexp(g, x, out, axis, keepdims):
    g, out = restore(g, x.shape, axis, keepdims), restore(out, x.shape, axis, keepdims)
    return g * exp(x - where(out == -math.inf, 0.0, out))


@primitive(x=_logsumexp)
def logsumexp(x, *, axis=None, keepdims=False):
    """``log(sum(exp(x)))`` over ``axis``, without overflow; -inf where all entries are -inf."""
    top = largest(x, axis)
    total = xp.exp(x - finite(top)).sum(axis=axis, keepdims=keepdims)
    return xp.log(xp.maximum(total, 1)) + top.reshape(total.shape)


@primitive(x=lambda g, out, axis: softmax_gradient(g, out, axis=axis))
def softmax(x, *, axis=-1):
    """``exp(x) / sum(exp(x))`` along ``axis``; 0 where all entries are -inf."""
    return kernels.softmax(x, axis)


def _dot(x, y, axis):
    return (x * y).sum(axis=axis, keepdims=True)


@primitive(
    u=lambda g, p, axis: softmax_gradient(g, p, axis=axis),
    p=lambda g, u, p, axis: g * (u - _dot(u, p, axis)) - u * _dot(g, p, axis),
)
def softmax_gradient(u, p, *, axis=-1):
    """The gradient of ``softmax``, whose result is ``p`` and has the gradient ``u``."""
    return kernels.softmax_gradient(u, p, axis)


@primitive(x=lambda g, out, axis: log_softmax_gradient(g, out, axis=axis))
def log_softmax(x, *, axis=-1):
    """``log(softmax(x))`` along ``axis``, without the loss of small probabilities."""
    return kernels.log_softmax(x, axis)


@primitive(
    u=lambda g, y, axis: g - _dot(g, exp(y), axis),
    y=lambda g, u, y, axis: -g * exp(y) * u.sum(axis=axis, keepdims=True),
)
def log_softmax_gradient(u, y, *, axis=-1):
    """The gradient of ``log_softmax``, whose result is ``y`` and has the gradient ``u``."""
    return kernels.log_softmax_gradient(u, y, axis)


# --- Cross-entropy: of rows (..., classes) with integer labels (...), a loss for each row --------


@primitive(x=lambda g, x, labels: cross_entropy_gradient(g, x, labels=labels))
def cross_entropy(x, *, labels):
    """``-log_softmax(x)[label]`` of each row; 0, and no gradient, where a label is no class."""
    return kernels.cross_entropy(x, labels)


def _weights(g, x, labels):
    ones = where(False, labels, 1.0)  # one for each row
    return (g * cross_entropy_gradient(ones, x, labels=labels)).sum(axis=-1)


def _logits(g, u, x, labels):
    counted = (labels >= 0) & (labels < x.shape[-1])
    return softmax_gradient(g, softmax(x)) * (u * counted)[..., None]


@primitive(u=_weights, x=_logits)
def cross_entropy_gradient(u, x, *, labels):
    """The gradient of ``cross_entropy``, whose result has the gradient ``u``."""
    return kernels.cross_entropy_gradient(u, x, labels)
