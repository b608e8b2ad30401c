"""Convolution, features last, and its two adjoints: each one's gradients are the other two.

Of images ``x``, weights ``w`` and results ``y``, the sum of ``y * conv2d(x, w)`` is linear in each.
The three ops are its gradients in ``y``, ``x`` and ``w``. ``grid`` says where the filter is laid.
"""

from __future__ import annotations

import minae.kernels as kernels

from ..engine import primitive
from ..kernels.patches import Grid  # noqa: F401  (a public name of ops)
from .elementwise import gate
from .linalg import _einsum


def _sum(g):
    """The gradient of a bias: over pixels, then over images, since shorter sums round less."""
    images = g.reshape(g.shape[0], g.shape[1] * g.shape[2], g.shape[3])
    return _einsum([images], inputs=["npc"], output="nc").sum(axis=0)


def conv2d(x, weight, bias=None, *, grid, relu=False):
    """Images (batch, height, width, in) under filters (kh, kw, in / groups, out), plus a bias.

    With ``relu``, what is below 0 becomes 0 on the way out, at no cost.
    """
    return (_conv2d_relu if relu else _conv2d)(x, weight, bias, grid=grid)


@primitive(
    x=lambda g, x_shape, weight, grid: conv2d_input(g, weight, size=x_shape[1:3], grid=grid),
    weight=lambda g, x, weight_shape, grid: conv2d_weight(x, g, size=weight_shape[:2], grid=grid),
    bias=_sum,
)
def _conv2d(x, weight, bias=None, *, grid):
    """``conv2d`` without an activation."""
    return kernels.conv2d(x, weight, bias, **grid._asdict())


def _pull(g, needed, x, weight, out, grid):
    g = gate(g, out)
    return (
        conv2d_input(g, weight, size=x.shape[1:3], grid=grid) if needed[0] else None,
        conv2d_weight(x, g, size=weight.shape[:2], grid=grid) if needed[1] else None,
        _sum(g) if needed[2] else None,
    )


@primitive(joint=_pull)
def _conv2d_relu(x, weight, bias=None, *, grid):
    """``relu(conv2d(x, weight, bias))``, of which only the result is kept."""
    return kernels.conv2d(x, weight, bias, **grid._asdict(), relu=True)


def conv2d_input(y, weight, bias=None, *, size, grid, relu=False):
    """The transposed convolution: from results to images of ``size`` (height, width)."""
    op = _conv2d_input_relu if relu else _conv2d_input
    return op(y, weight, bias, size=size, grid=grid)


@primitive(
    y=lambda g, weight, grid: _conv2d(g, weight, grid=grid),
    weight=lambda g, y, weight_shape, grid: conv2d_weight(g, y, size=weight_shape[:2], grid=grid),
    bias=_sum,
)
def _conv2d_input(y, weight, bias=None, *, size, grid):
    """``conv2d_input`` without an activation."""
    return kernels.conv2d_input(y, weight, bias, size=size, **grid._asdict())


def _pull_input(g, needed, y, weight, out, grid):
    g = gate(g, out)
    return (
        _conv2d(g, weight, grid=grid) if needed[0] else None,
        conv2d_weight(g, y, size=weight.shape[:2], grid=grid) if needed[1] else None,
        _sum(g) if needed[2] else None,
    )


@primitive(joint=_pull_input)
def _conv2d_input_relu(y, weight, bias=None, *, size, grid):
    """``relu(conv2d_input(y, weight, bias))``, of which only the result is kept."""
    return kernels.conv2d_input(y, weight, bias, size=size, **grid._asdict(), relu=True)


@primitive(
    x=lambda g, x_shape, y, grid: conv2d_input(y, g, size=x_shape[1:3], grid=grid),
    y=lambda g, x, grid: conv2d(x, g, grid=grid),
)
def conv2d_weight(x, y, *, size, grid):
    """From images and results to filters of ``size`` (kh, kw)."""
    return kernels.conv2d_weight(x, y, size=size, **grid._asdict())
