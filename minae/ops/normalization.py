"""Standardization in one op: composed of others it would keep five arrays of the size of ``x``, and
this keeps ``x`` alone."""

from __future__ import annotations

import minae.kernels as kernels

from ..engine import primitive
from ..kernels.rows import mean
from .elementwise import sqrt


@primitive(x=lambda g, x, axis, eps: standardize_gradient(g, x, axis=axis, eps=eps))
def standardize(x, *, axis, eps=1e-5):
    """``x`` with mean 0 and variance 1 over ``axis``; ``eps`` is added to the variance."""
    return kernels.standardize(x, eps, axis)


def _curvature(g, u, x, axis, eps):
    """Of ``s (cov(g, u) - cov(g, y) cov(u, y))`` with y, the result, and s = 1 / sqrt(var + eps).

    The gradient of s is ``-s s y / n``, and those of the last two are ``standardize_gradient``.
    """
    y = standardize(x, axis=axis, eps=eps)
    deviation = x - mean(x, axis)
    scale = 1 / sqrt(mean(deviation * deviation, axis) + eps)
    along_g, along_u = mean(g * y, axis), mean(u * y, axis)
    rest = mean(g * u, axis) - mean(g, axis) * mean(u, axis) - along_g * along_u
    turned_g = standardize_gradient(g, x, axis=axis, eps=eps) * along_u
    turned_u = standardize_gradient(u, x, axis=axis, eps=eps) * along_g
    return -scale * (scale * y * rest + turned_g + turned_u)


@primitive(
    u=lambda g, x, axis, eps: standardize_gradient(g, x, axis=axis, eps=eps), x=_curvature
)
def standardize_gradient(u, x, *, axis, eps=1e-5):
    """The gradient of ``standardize``, whose result has the gradient ``u``."""
    return kernels.standardize_gradient(u, x, eps, axis)
