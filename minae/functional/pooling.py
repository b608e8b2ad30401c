"""Pooling over windows, and its reverse: larger sequences and images from smaller ones.

Sequences are (batch, time, channels), images (batch, height, width, channels). Windows are products
of intervals, so each axis is pooled by itself.
"""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from ..backend import asarray, expect, numpy, xp
from .checks import floats, steps


def avg_pool1d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, *,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Any:
    """The mean of each window of ``kernel`` entries, one every ``stride`` (default: ``kernel``).

    ``padding`` zeros stand on both sides, at most half a window; they count in the mean unless
    ``count_include_pad`` is False. ``ceil_mode`` adds a last window that hangs over the end.
    Returns (batch, time', channels) with ``time' = (time + 2 padding - kernel) // stride + 1``, or
    the ceiling of that division. Raises ValueError where a window is larger than what it slides
    over.
    """
    return _average(x, 1, kernel, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, *,
    ceil_mode: bool = False, count_include_pad: bool = True,
) -> Any:
    """As ``avg_pool1d``, of images (batch, height, width, channels).

    ``kernel``, ``stride`` and ``padding`` are integers or pairs (vertical, horizontal);
    ``ceil_mode`` and ``count_include_pad`` hold for both.
    """
    return _average(x, 2, kernel, stride, padding, ceil_mode, count_include_pad)


def max_pool1d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, *, ceil_mode: bool = False
) -> Any:
    """The largest entry of each window of ``kernel`` entries, one every ``stride``.

    Otherwise as ``avg_pool1d``, with its ``ceil_mode``, but ``padding`` is never the largest. The
    gradient goes to the first of equal entries.
    """
    return _largest(x, 1, kernel, stride, padding, ceil_mode)


def max_pool2d(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, *, ceil_mode: bool = False
) -> Any:
    """As ``max_pool1d``, of images (batch, height, width, channels).

    ``kernel``, ``stride`` and ``padding`` are integers or pairs (vertical, horizontal);
    ``ceil_mode`` holds for both.
    """
    return _largest(x, 2, kernel, stride, padding, ceil_mode)


def _average(
    x: Any, axes: int, kernel: Any, stride: Any, padding: Any, ceil: bool, include: bool
) -> Any:
    windows, x = _windows(x, axes, kernel, stride, padding), floats(x)
    for axis, (size, step, margin) in enumerate(windows, 1):
        length = x.shape[axis]
        count, end = _extent(length, size, step, margin, ceil)
        first = step * numpy.arange(count) - margin  # where each window begins and ends in x
        last = numpy.minimum(first + size, length + margin if include else length)
        sizes = last - (first if include else numpy.maximum(first, 0))
        padded = _padded(x, axis, margin, end, 0.0)
        total = ops.sum_windows(padded, axis=axis, size=size, stride=step)
        if (sizes == size).all():
            x = total / size
        else:
            share = asarray(1 / sizes, x.dtype)
            x = total * share.reshape(count, *(1,) * (len(x.shape) - 1 - axis))
    return x


def _largest(x: Any, axes: int, kernel: Any, stride: Any, padding: Any, ceil: bool) -> Any:
    windows = _windows(x, axes, kernel, stride, padding)
    for axis, (size, step, margin) in reversed(list(enumerate(windows, 1))):
        _, end = _extent(x.shape[axis], size, step, margin, ceil)
        lowest = -math.inf if x.dtype.kind == "f" else xp.iinfo(x.dtype).min
        padded = _padded(x, axis, margin, end, lowest)
        x = ops.max_windows(padded, axis=axis, size=size, stride=step)
    return x


def _windows(x: Any, axes: int, kernel: Any, stride: Any, padding: Any) -> list[tuple]:
    """Kernel, stride and padding of each axis, checked."""
    _check(x, axes)
    kernel = steps(kernel, "kernel", axes)
    stride = kernel if stride is None else steps(stride, "stride", axes)
    padding = steps(padding, "padding", axes)
    for size, step, margin in zip(kernel, stride, padding):
        if size < 1 or step < 1 or not 0 <= 2 * margin <= size:
            raise ValueError(f"no pooling has {kernel=}, {stride=}, {padding=}")
    return list(zip(kernel, stride, padding))


def _extent(length: int, size: int, step: int, margin: int, ceil: bool) -> tuple[int, int]:
    """How many windows there are along an axis, and how far the last ends behind the entries."""
    room = length + 2 * margin - size
    count = (-(-room // step) if ceil else room // step) + 1
    if ceil and (count - 1) * step >= length + margin:
        count -= 1  # the last window would begin behind the end
    if count < 1:
        raise ValueError(f"a window of {size} is larger than an axis of {length + 2 * margin}")
    return count, max((count - 1) * step + size - margin - length, 0)


def _padded(x: Any, axis: int, before: int, after: int, value: float) -> Any:
    if not before and not after:
        return x
    width = [(before, after) if a == axis else (0, 0) for a in range(len(x.shape))]
    return ops.pad(x, width=width, value=value)


def _check(x: Any, axes: int) -> None:
    if len(x.shape) != axes + 2:
        space = "time" if axes == 1 else "height, width"
        raise ValueError(expect(f"(batch, {space}, channels)", x))


# --- To a given size -------------------------------------------------------------------------


def adaptive_avg_pool1d(x: Any, size: int) -> Any:
    """The means of ``size`` windows of nearly equal length that cover the sequence.

    Window ``i`` is from ``floor(i time / size)`` to ``ceil((i + 1) time / size)``.
    """
    return _adapt(x, 1, size, ops.sum, mean=True)


def adaptive_avg_pool2d(x: Any, size: Any) -> Any:
    """As ``adaptive_avg_pool1d``, of images; ``size`` is an integer or (height, width)."""
    return _adapt(x, 2, size, ops.sum, mean=True)


def adaptive_max_pool1d(x: Any, size: int) -> Any:
    """The largest entry of each of the ``size`` windows of ``adaptive_avg_pool1d``.

    Entries that tie share the gradient evenly.
    """
    return _adapt(x, 1, size, ops.max)


def adaptive_max_pool2d(x: Any, size: Any) -> Any:
    """As ``adaptive_max_pool1d``, of images; ``size`` is an integer or (height, width)."""
    return _adapt(x, 2, size, ops.max)


def _adapt(x: Any, axes: int, target: Any, reduce: Any, mean: bool = False) -> Any:
    _check(x, axes)
    for axis, count in enumerate(steps(target, "size", axes), 1):
        length = x.shape[axis]
        if count < 1 or length < 1:
            raise ValueError(f"an axis of {length} cannot be pooled to {count}")
        if mean and length % count == 0:
            size = length // count
            x = ops.sum_windows(floats(x), axis=axis, size=size, stride=size) * (1 / size)
            continue
        parts = []
        for i in range(count):
            first, last = i * length // count, -(-(i + 1) * length // count)
            window = ops.getitem(x, index=(*(slice(None),) * axis, slice(first, last)))
            part = reduce(window, axis=axis)
            parts.append(part * (1 / (last - first)) if mean else part)
        x = ops.stack(parts, axis=axis)
    return x


# --- Larger ----------------------------------------------------------------------------------


def upsample_nearest(x: Any, factor: Any) -> Any:
    """Each entry ``factor`` times along time, or along height and width (an integer or a pair)."""
    axes = len(x.shape) - 2
    if axes not in (1, 2):
        raise ValueError(expect("(batch, time, channels) or (batch, height, width, channels)", x))
    factors = steps(factor, "factor", axes)
    if min(factors) < 1:
        raise ValueError(f"factor must be at least 1, got {factor}")
    batch, *space, channels = x.shape
    split = [n for length in space for n in (length, 1)]
    repeated = [n for pair in zip(space, factors) for n in pair]
    x = ops.reshape(x, shape=(batch, *split, channels))
    x = ops.broadcast_to(x, shape=(batch, *repeated, channels))
    larger = (length * times for length, times in zip(space, factors))
    return ops.reshape(x, shape=(batch, *larger, channels))


def pixel_shuffle(x: Any, factor: int) -> Any:
    """Channels to space: ``factor`` times the size in each axis (Shi et al. 2016, equation 4).

    (batch, time, channels * factor) to (batch, time * factor, channels), or
    (batch, height, width, channels * factor ** 2) to
    (batch, height * factor, width * factor, channels). Raises ValueError where the channels do not
    divide.
    """
    batch, *space, channels = x.shape
    axes = len(space)
    if axes not in (1, 2) or factor < 1 or channels % factor**axes:
        wanted = "(batch, time, channels) or (batch, height, width, channels)"
        divisor = "" if axes not in (1, 2) else f", channels divisible by {factor**axes}"
        raise ValueError(expect(wanted + divisor, x))
    out = channels // factor**axes
    x = ops.reshape(x, shape=(batch, *space, out, *(factor,) * axes))
    woven = [n for axis in range(axes) for n in (1 + axis, 2 + axes + axis)]
    x = ops.transpose(x, axes=(0, *woven, 1 + axes))
    return ops.reshape(x, shape=(batch, *(length * factor for length in space), out))
