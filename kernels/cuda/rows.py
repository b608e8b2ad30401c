"""Softmax and its kin, and standardization, on the device: over the last axis, or the last few."""

from __future__ import annotations

import math
from typing import Any

import numpy

from minae.backend import Array, xp

from .. import reference
from . import THREADS, module, suffix

SHORT = 1024  # entries of a row that is one warp's
LONGEST = 2**31 - 4096  # that the kernels count in 32 bits, up to a step too far


def softmax(x: Array, axis: int = -1) -> Array:
    """See ``reference.softmax``."""
    return _along("softmax", axis, x)


def softmax_gradient(g: Array, p: Array, axis: int = -1) -> Array:
    """See ``reference.softmax_gradient``."""
    return _along("softmax_gradient", axis, g, p)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """See ``reference.log_softmax``."""
    return _along("log_softmax", axis, x)


def log_softmax_gradient(g: Array, y: Array, axis: int = -1) -> Array:
    """See ``reference.log_softmax_gradient``."""
    return _along("log_softmax_gradient", axis, g, y)


def _along(name: str, axis: Any, *arrays: Array, numbers: tuple = ()) -> Array:
    """The kernel of this name, or its definition where the rows are not the kernel's."""
    length = _length(axis, *arrays)
    if not length:
        return getattr(reference, name)(*arrays, *numbers, axis)
    return _rows(name, length, *arrays, numbers=tuple(map(float, numbers)))


def cross_entropy(x: Array, labels: Array) -> Array:
    """See ``reference.cross_entropy``."""
    length = _length(-1, x)
    if not length:
        return reference.cross_entropy(x, labels)
    out = xp.empty(labels.shape, x.dtype)
    return _rows("cross_entropy", length, x, labels.astype("int64", copy=False), out=out)


def cross_entropy_gradient(g: Array, x: Array, labels: Array) -> Array:
    """See ``reference.cross_entropy_gradient``."""
    length = _length(-1, x)
    if not length:
        return reference.cross_entropy_gradient(g, x, labels)
    g, labels = g.astype(x.dtype, copy=False), labels.astype("int64", copy=False)
    out = xp.empty(x.shape, x.dtype)
    return _rows("cross_entropy_gradient", length, g, x, labels, out=out)


def standardize(x: Array, eps: float, axis: Any = -1) -> Array:
    """See ``reference.standardize``."""
    return _along("standardize", axis, x, numbers=(eps,))


def standardize_gradient(g: Array, x: Array, eps: float, axis: Any = -1) -> Array:
    """See ``reference.standardize_gradient``."""
    return _along("standardize_gradient", axis, g, x, numbers=(eps,))


def layer_norm(x: Array, weight: Array, bias: Array, eps: float) -> Array:
    """See ``reference.layer_norm``."""
    return standardize(x, eps) * weight + bias


def layer_norm_gradient(
    g: Array, x: Array, weight: Array, eps: float
) -> tuple[Array, Array, Array]:
    """See ``reference.layer_norm_gradient``."""
    over = tuple(range(x.ndim - 1))
    to_weight = (g * standardize(x, eps)).sum(axis=over)
    return standardize_gradient(g * weight, x, eps), to_weight, g.sum(axis=over)


def _length(axis: Any, *arrays: Array) -> int:
    """The entries of a row that lies in memory along ``axis``; 0 for what no kernel takes."""
    first, axes = arrays[0], axis if type(axis) is tuple else (axis,)
    if None in axes or not all(
        isinstance(a, xp.ndarray) and a.dtype in ("float32", "float64") and a.dtype == first.dtype
        and a.shape == first.shape and a.size
        for a in arrays
    ):  # fmt: skip
        return 0
    last = range(first.ndim - len(axes), first.ndim)
    if last.start < 0 or sorted(a + first.ndim * (a < 0) for a in axes) != list(last):
        return 0
    length = math.prod(first.shape[a] for a in last)
    return length if length <= LONGEST else 0


def _rows(
    name: str, length: int, *arrays: Array, out: Array | None = None, numbers: tuple = ()
) -> Array:
    """Launch the kernel of this name, by default into an array like the first."""
    if out is None:
        out = xp.empty(arrays[0].shape, arrays[0].dtype)
    whole = max(a.size for a in arrays)
    rows, team = whole // length, "warp" if length <= SHORT else "block"
    blocks = -(-rows // (THREADS // 32)) if team == "warp" else rows
    kernel = module("rows").get_function(f"{name}_{team}_{suffix(out.dtype)}")
    args = *map(xp.ascontiguousarray, arrays), out, rows, numpy.int32(length), *numbers
    kernel((blocks,), (THREADS,), args)
    return out
