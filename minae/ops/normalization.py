"""Standardization in one op: composed of others it would keep five arrays of the size of ``x``, and
this keeps ``x`` alone."""

from __future__ import annotations

import math

from ..backend import xp
from ..engine import primitive
from .elementwise import sqrt
from .reduction import sum


def _mean(x, axis):
    axes = axis if type(axis) is tuple else (axis,)
    count = max(math.prod(x.shape[a] for a in axes), 1)
    for a in axes:  # one by one: NumPy adds whole rows, unless it is given the last axis too
        x = sum(x, axis=a, keepdims=True)
    return x / count


def _standardize(g, x, axis, eps):
    deviation = x - _mean(x, axis)
    scale = 1 / sqrt(_mean(deviation * deviation, axis) + eps)
    out = deviation * scale
    return (g - _mean(g, axis) - out * _mean(g * out, axis)) * scale


@primitive(x=_standardize)
def standardize(x, *, axis, eps=1e-5):
    """``x`` with mean 0 and variance 1 over ``axis``; ``eps`` is added to the variance."""
    out = x - _mean(x, axis)
    out /= xp.sqrt(_mean(out * out, axis) + eps)
    return out
