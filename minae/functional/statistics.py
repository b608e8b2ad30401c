"""Mean, variance, deviation and norm over axes."""

from __future__ import annotations

import math
from typing import Any

import minae.ops as ops

from .checks import floats


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The mean over ``axis`` (all axes by default)."""
    total = ops.sum(x, axis=axis, keepdims=keepdims)
    return total / _count(x, axis)


def var(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The variance over ``axis``: squared deviations, divided by their number less ``correction``.

    The correction 0 is NumPy's default; 1 gives the unbiased estimate, PyTorch's default.
    """
    deviation = x - mean(x, axis, keepdims=True)
    total = ops.sum(deviation * deviation, axis=axis, keepdims=keepdims)
    return total / max(_count(x, axis) - correction, 0)


def std(x: Any, axis: Any = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The square root of ``var`` over ``axis``, with its ``correction``.

    Its gradient where all entries are equal is 0.
    """
    return ops.sqrt(var(x, axis, keepdims, correction))


def norm(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """The Euclidean norm over ``axis``; its gradient at 0 is 0."""
    x = floats(x)
    return ops.sqrt(ops.sum(x * x, axis=axis, keepdims=keepdims))


def _count(x: Any, axis: Any) -> int:
    axes = range(len(x.shape)) if axis is None else axis if type(axis) is tuple else (axis,)
    return math.prod(x.shape[a] for a in axes)
