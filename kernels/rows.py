"""Softmax, its logarithm and loss, and standardization: each along an axis, with its gradient."""

from __future__ import annotations

import math
from typing import Any

from minae.backend import Array, xp

# --- Softmax ----------------------------------------------------------------------------------
# The largest entry is subtracted first, so its exponential is 1 and a sum is at least 1. A row of
# -inf, one that a mask has emptied, has the sum 0: log-sum -inf, softmax 0, and gradient 0 of both.


def finite(x: Array) -> Array:
    """``x``, but 0 where it is infinite."""
    return xp.where((x == math.inf) | (x == -math.inf), 0.0, x)


def largest(x: Array, axis: Any) -> Array:
    """The largest entry over ``axis``, which stays; -inf of none."""
    return x.max(axis=axis, keepdims=True) if x.size else x.sum(axis=axis, keepdims=True) - math.inf


def softmax(x: Array, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along ``axis``; 0 where all entries are -inf."""
    powers = xp.exp(x - finite(largest(x, axis)))
    return powers / xp.maximum(powers.sum(axis=axis, keepdims=True), 1)


def softmax_gradient(g: Array, p: Array, axis: int = -1) -> Array:
    """That of ``softmax`` along ``axis``, whose result is ``p`` and has the gradient ``g``."""
    return p * (g - (g * p).sum(axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> Array:
    """``log(softmax(x))`` along ``axis``, without the loss of small probabilities."""
    shifted = x - finite(largest(x, axis))
    return shifted - xp.log(xp.maximum(xp.exp(shifted).sum(axis=axis, keepdims=True), 1))


def log_softmax_gradient(g: Array, y: Array, axis: int = -1) -> Array:
    """That of ``log_softmax`` along ``axis``, whose result is ``y`` and has the gradient ``g``."""
    return g - xp.exp(y) * g.sum(axis=axis, keepdims=True)


# --- Its loss ---------------------------------------------------------------------------------


def cross_entropy(x: Array, labels: Array) -> Array:
    """``-log_softmax(x)[label]`` of each row of x (..., classes), with integer ``labels`` (...).

    A label outside of [0, classes) is not refused here: its row has the loss 0.
    """
    inside = (labels >= 0) & (labels < x.shape[-1])
    shifted = x - finite(largest(x, -1))
    total = xp.log(xp.maximum(xp.exp(shifted).sum(axis=-1), 1))
    places = xp.where(inside, labels, 0)[..., None]
    return xp.where(inside, total - xp.take_along_axis(shifted, places, axis=-1)[..., 0], 0.0)


def cross_entropy_gradient(g: Array, x: Array, labels: Array) -> Array:
    """The gradient in ``x`` of ``cross_entropy``, whose result has the gradient ``g``.

    That is ``g (softmax(x) - onehot(labels))``, and 0 where a label is outside.
    """
    g, labels, rows = g.reshape(-1), labels.reshape(-1), x.reshape(-1, x.shape[-1])
    inside = (labels >= 0) & (labels < x.shape[-1])
    out = xp.exp(rows - finite(largest(rows, -1)))
    out *= (g / xp.maximum(out.sum(axis=-1), 1))[:, None]
    out[xp.arange(len(rows)), xp.where(inside, labels, 0)] -= g
    return xp.where(inside[:, None], out, 0).reshape(x.shape)


# --- Standardization --------------------------------------------------------------------------


def mean(x: Any, axis: Any) -> Any:
    """The mean over one axis or several, which stay; of a Tensor, too."""
    axes = axis if type(axis) is tuple else (axis,)
    count = max(math.prod(x.shape[a] for a in axes), 1)
    for a in axes:  # one by one: NumPy adds whole rows, unless it is given the last axis too
        x = x.sum(axis=a, keepdims=True)
    return x / count


def standardize(x: Array, eps: float, axis: Any = -1) -> Array:
    """``x`` with mean 0 and variance 1 over ``axis``; ``eps`` is added to the variance."""
    out = x - mean(x, axis)
    out /= xp.sqrt(mean(out * out, axis) + eps)
    return out


def standardize_gradient(g: Array, x: Array, eps: float, axis: Any = -1) -> Array:
    """That of ``standardize(x, eps, axis)``, whose result has the gradient ``g``."""
    deviation = x - mean(x, axis)
    scale = 1 / xp.sqrt(mean(deviation * deviation, axis) + eps)
    out = deviation * scale
    return (g - mean(g, axis) - out * mean(g * out, axis)) * scale


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """``standardize(x, eps) weight + bias`` over the last axis, as long as weight and bias are."""
    return standardize(x, eps) * weight + bias


def layer_norm_gradient(
    g: Array, x: Array, weight: Array, eps: float
) -> tuple[Array, Array, Array]:
    """Those of ``layer_norm``, with its ``eps``, in x, weight and bias; its result has the gradient
    ``g``."""
    y, over = standardize(x, eps), tuple(range(x.ndim - 1))
    return (
        standardize_gradient(g * weight, x, eps), (g * y).sum(axis=over), g.sum(axis=over)
    )
