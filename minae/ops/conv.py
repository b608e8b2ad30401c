"""Convolution, features last, and its two adjoints: each one's gradients are the other two.

Of images ``x``, weights ``w`` and results ``y``, the sum of ``y * conv2d(x, w)`` is linear in each.
The three ops are its gradients in ``y``, ``x`` and ``w``. ``grid`` says where the filter is laid.
"""

from __future__ import annotations

from typing import NamedTuple

import minae.kernels as kernels

from ..engine import primitive


class Grid(NamedTuple):
    """Step, margin and spread of the filter, each as (vertical, horizontal); channel groups."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@primitive(
    x=lambda g, x_shape, weight, grid: conv2d_input(g, weight, size=x_shape[1:3], grid=grid),
    weight=lambda g, x, weight_shape, grid: conv2d_weight(x, g, size=weight_shape[:2], grid=grid),
    bias=lambda g: g.sum(axis=(0, 1, 2)),
)
def conv2d(x, weight, bias=None, *, grid):
    """Images (batch, height, width, in) under filters (kh, kw, in / groups, out), plus a bias."""
    return kernels.conv2d(x, weight, bias, **grid._asdict())


@primitive(
    y=lambda g, weight, grid: conv2d(g, weight, grid=grid),
    weight=lambda g, y, weight_shape, grid: conv2d_weight(g, y, size=weight_shape[:2], grid=grid),
)
def conv2d_input(y, weight, *, size, grid):
    """The transposed convolution: from results to images of ``size`` (height, width)."""
    return kernels.conv2d_input(y, weight, size=size, **grid._asdict())


@primitive(
    x=lambda g, x_shape, y, grid: conv2d_input(y, g, size=x_shape[1:3], grid=grid),
    y=lambda g, x, grid: conv2d(x, g, grid=grid),
)
def conv2d_weight(x, y, *, size, grid):
    """From images and results to filters of ``size`` (kh, kw)."""
    return kernels.conv2d_weight(x, y, size=size, **grid._asdict())
