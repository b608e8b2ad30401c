"""Standardization, and layer norm, in one op: composed of others they would keep five arrays of the
size of ``x``, and these keep ``x`` alone."""

from __future__ import annotations

import minae.kernels as kernels

from ..engine import entries, primitive
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


def _pull_layer_norm(g, x, weight, eps):
    if entries(g) is g:
        return kernels.layer_norm_gradient(g, x, weight, eps)
    over = tuple(range(x.ndim - 1))
    standard = standardize(x, axis=-1, eps=eps)
    to_x = standardize_gradient(g * weight, x, axis=-1, eps=eps)
    return to_x, (g * standard).sum(axis=over), g.sum(axis=over)


@primitive(joint=_pull_layer_norm)
def layer_norm(x, weight, bias, *, eps=1e-5):
    """``x`` (..., features) standardized over the features, times weight, plus bias (features)."""
    return kernels.layer_norm(x, weight, bias, eps)
