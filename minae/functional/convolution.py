"""Convolution of images and of sequences, its adjoint, and padding by reflection."""

from __future__ import annotations

from typing import Any

import minae.ops as ops

from ..backend import expect
from ..ops import Grid
from .checks import steps


def conv2d(
    x: Any, weight: Any, bias: Any = None, *,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, relu: bool = False,
) -> Any:
    """Cross-correlate images (batch, height, width, in) with filters (kh, kw, in / groups, out).

    The filters are ``weight``; ``bias`` (out,), if any, is added to each pixel. ``stride``,
    ``padding`` (zeros on both sides) and ``dilation`` are integers or pairs (vertical, horizontal).
    Returns (batch, height', width', out) with
    ``height' = (height + 2 padding - dilation (kh - 1) - 1) // stride + 1`` (Dumoulin & Visin 2016,
    relationship 6); with ``relu``, what is below 0 becomes 0 on the way. Raises ValueError where
    channels, groups or sizes do not fit, TypeError where a step is no integer.
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
    ``height' = (height - 1) stride - 2 padding + dilation (kh - 1) + 1 + output_padding``. ``bias``
    (out,) and ``relu`` are those of ``conv2d``, which says what is raised.
    """
    grid = _grid(stride, padding, dilation, groups)
    extra = steps(output_padding, "output_padding", 2)
    if len(x.shape) != 4 or len(weight.shape) != 4 or x.shape[3] != weight.shape[3]:
        wanted = "images (batch, height, width, in) and weight (kh, kw, out / groups, in)"
        raise ValueError(expect(wanted, x, weight))
    if any(not 0 <= e < s for e, s in zip(extra, grid.stride)):
        raise ValueError(f"output_padding {extra} must be smaller than the stride {grid.stride}")
    height, width = (
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for n, k, s, p, d, e in zip(x.shape[1:3], weight.shape, *grid[:3], extra)
    )
    return ops.conv2d_input(x, weight, bias, size=(height, width), grid=grid, relu=relu)


def _grid(stride: Any, padding: Any, dilation: Any, groups: int) -> Grid:
    return Grid(
        steps(stride, "stride", 2), steps(padding, "padding", 2),
        steps(dilation, "dilation", 2), groups,
    )


# --- Sequences: images of one row ------------------------------------------------------------


def conv1d(
    x: Any, weight: Any, bias: Any = None, *,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1, relu: bool = False,
) -> Any:
    """``conv2d`` along time: sequences (batch, time, in) under ``weight`` (k, in / groups, out).

    Returns (batch, time', out). ``bias``, ``stride``, ``padding``, ``dilation`` (integers),
    ``relu`` and errors are those of ``conv2d``.
    """
    _check1d(x, weight, "in / groups, out", weight.shape[1] * groups)
    options = _row(stride=stride, padding=padding, dilation=dilation)
    out = conv2d(_image(x), _filters(weight), bias, **options, groups=groups, relu=relu)
    return ops.reshape(out, shape=(*out.shape[:1], *out.shape[2:]))


def conv_transpose1d(
    x: Any, weight: Any, bias: Any = None, *,
    stride: Any = 1, padding: Any = 0, output_padding: Any = 0, dilation: Any = 1, groups: int = 1,
    relu: bool = False,
) -> Any:
    """``conv_transpose2d`` along time: (batch, time, in) under ``weight`` (k, out / groups, in).

    Returns (batch, time', out). ``bias``, ``stride``, ``padding``, ``output_padding``, ``dilation``
    (integers), ``relu`` and errors are those of ``conv_transpose2d``.
    """
    _check1d(x, weight, "out / groups, in", weight.shape[-1])
    options = _row(
        stride=stride, padding=padding, dilation=dilation, output_padding=output_padding
    )
    out = conv_transpose2d(_image(x), _filters(weight), bias, **options, groups=groups, relu=relu)
    return ops.reshape(out, shape=(*out.shape[:1], *out.shape[2:]))


def _check1d(x: Any, weight: Any, filters: str, channels: int) -> None:
    if len(x.shape) != 3 or len(weight.shape) != 3 or x.shape[2] != channels:
        wanted = f"sequences (batch, time, in = {channels}), weight (k, {filters})"
        raise ValueError(expect(wanted, x, weight))


def _row(**options: Any) -> dict[str, tuple[int, int]]:
    """The options of a convolution along a row: nothing happens from row to row."""
    still = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    return {name: (still[name], *steps(value, name, 1)) for name, value in options.items()}


def _image(x: Any) -> Any:
    return ops.reshape(x, shape=(x.shape[0], 1, *x.shape[1:]))


def _filters(weight: Any) -> Any:
    return ops.reshape(weight, shape=(1, *weight.shape))


# --- Padding ---------------------------------------------------------------------------------


def reflect_pad(x: Any, width: Any) -> Any:
    """``x`` continued by its mirror image; ``width`` is a pair (before, after) for each axis.

    The entry at the edge is not repeated. Raises ValueError where a width is negative, or not
    smaller than its axis.
    """
    if isinstance(width, int) or len(width) != len(x.shape):
        raise ValueError(f"reflect_pad needs {len(x.shape)} pairs (before, after), got {width}")
    for axis, (before, after) in enumerate(width):
        length = x.shape[axis]
        if min(before, after) < 0 or max(before, after, 0) >= max(length, 1):
            raise ValueError(f"an axis of {length} cannot be reflected by {before} and {after}")
        if before or after:
            along = (slice(None),) * axis
            left = ops.getitem(x, index=(*along, slice(1, before + 1)))
            right = ops.getitem(x, index=(*along, slice(length - 1 - after, length - 1)))
            parts = ops.flip(left, axis=axis), x, ops.flip(right, axis=axis)
            x = ops.concatenate(parts, axis=axis)
    return x
