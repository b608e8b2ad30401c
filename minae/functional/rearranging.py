"""Entries cut, sorted, picked, put and masked."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import minae.ops as ops

from .. import backend
from ..backend import Array, asarray, expect, numpy, put_last, quiet, xp
from ..engine import entries
from .checks import booleans, floats, integers


def split(x: Any, sections: Any, axis: int = 0) -> list[Any]:
    """Cut ``x`` along ``axis`` into equal ``sections``, or before each index of a list.

    Raises ValueError where the length is no multiple of the number of sections.
    """
    length = x.shape[axis]
    if hasattr(sections, "__len__"):
        cuts = [operator.index(cut) for cut in sections]
    else:
        sections = operator.index(sections)
        if sections < 1 or length % sections:
            raise ValueError(f"an axis of {length} does not split into {sections} equal sections")
        cuts = [length // sections * i for i in range(1, sections)]
    along = (slice(None),) * (axis % len(x.shape))
    edges = [0, *cuts, length]
    return [ops.getitem(x, index=(*along, slice(a, b))) for a, b in itertools.pairwise(edges)]


def take_along_axis(x: Any, indices: Array, axis: int = -1) -> Any:
    """The entries of ``x`` at ``indices`` along ``axis``; the other axes of the two must agree.

    PyTorch's ``gather``. Returns the shape of ``indices``. Raises TypeError for indices that are no
    integers, ValueError for one outside the axis, a negative one too.
    """
    return take(x, integers(indices, x.shape[axis], "indices"), axis)


def take(x: Any, indices: Array, axis: int) -> Any:
    """``take_along_axis`` of indices that need no check."""
    places = list(xp.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = indices
    return ops.getitem(x, index=tuple(places))


def sort(x: Any, axis: int = -1) -> Any:
    """``x`` in ascending order along ``axis``; equal entries keep their order."""
    return take(x, xp.argsort(entries(x), axis=operator.index(axis), kind="stable"), axis)


def top_k(x: Any, k: int, axis: int = -1) -> tuple[Any, Array]:
    """The ``k`` largest entries along ``axis``, the largest first, and their indices.

    Of equal entries the first come first; NaN counts as the largest. The indices are a plain array.
    Raises ValueError unless ``0 <= k <= x.shape[axis]``.
    """
    length = x.shape[axis]
    if not 0 <= k <= length:
        raise ValueError(f"top_k of {k} entries, but the axis has {length}")
    rows = xp.moveaxis(entries(x), axis, -1)
    order = _few(rows, k) if xp is numpy and 0 < 8 * k <= length else None
    order = _descending(rows)[..., :k] if order is None else order
    order = xp.moveaxis(order, -1, axis)
    return take(x, order, axis), order


def _descending(rows: Array) -> Array:
    """The order of each row from the largest to the smallest, of equal entries the first first."""
    backward = xp.argsort(xp.flip(rows, -1), axis=-1, kind="stable")
    return rows.shape[-1] - 1 - xp.flip(backward, -1)


def _few(rows: Array, k: int) -> Array | None:
    """The beginning of ``_descending``, k long, without sorting all; None if it is a NaN all along.

    Sorting is for the k entries that are above the k-th largest, or the first of its equals.
    """
    level = numpy.partition(rows, -k, axis=-1)[..., -k, None]
    if rows.dtype.kind == "f" and numpy.isnan(level).any():
        return None
    above, equal = ~(rows <= level), rows == level  # NaN is above
    spare = k - above.sum(axis=-1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=-1, dtype="int32") <= spare))
    places = numpy.flatnonzero(chosen).reshape(*rows.shape[:-1], k) % rows.shape[-1]
    order = _descending(numpy.take_along_axis(rows, places, -1))
    return numpy.take_along_axis(places, order, -1)


# --- Changed copies --------------------------------------------------------------------------


def index_add(x: Any, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` added at ``index``; at a place named twice, both are."""
    index = ops.plain_index(index)
    region = xp.empty(x.shape, bool)[index].shape
    return x + ops.scatter_add(_spread(values, region, x), index=index, shape=x.shape)


def index_update(x: Any, index: Any, values: Any) -> Any:
    """A copy of ``x`` with ``values`` put at ``index``; at a place named twice, the last stays.

    This is what ``x[index] = values`` would do to an array. Gradients reach ``values`` from where
    they stayed, and ``x`` from everywhere else.
    """
    index = ops.plain_index(index)
    origin = xp.full(x.shape, -1, "int32")  # which of the values each place holds
    region = origin[index].shape
    if math.prod(region) == 0:
        return x
    order = xp.arange(math.prod(region), dtype="int32").reshape(region)
    put_last(origin, index, order)
    values = ops.reshape(_spread(values, region, x), shape=(-1,))
    return ops.where(origin >= 0, ops.getitem(values, index=origin), x)


def _spread(values: Any, region: tuple[int, ...], x: Any) -> Any:
    """``values`` over the whole region; what is no Tensor in the dtype of ``x``."""
    if entries(values) is values:
        values = asarray(values, x.dtype)
    return ops.broadcast_to(values, shape=region)


def masked_fill(x: Any, mask: Any, value: float) -> Any:
    """``x`` with ``value`` wherever the boolean ``mask``, broadcast to it, is True.

    Raises TypeError for a mask that is not boolean, ValueError for one that is larger than ``x``.
    """
    mask = booleans(mask, "mask")
    try:
        mask = xp.broadcast_to(mask, x.shape)
    except ValueError as error:
        raise ValueError(expect(f"a mask that broadcasts to {list(x.shape)}", mask)) from error
    return ops.where(mask, value if entries(value) is not value else float(value), x)


# --- One-hot codes and segments --------------------------------------------------------------


def one_hot(codes: Any, count: int, dtype: Any = "float32") -> Array:
    """A plain array (..., count) of ``dtype`` with 1 at each of ``codes`` (...) and 0 elsewhere.

    Raises TypeError for codes that are no integers, ValueError for codes outside [0, count).
    """
    return (integers(codes, count, "codes")[..., None] == xp.arange(count)).astype(dtype)


def segment_sum(x: Any, segments: Any, count: int) -> Any:
    """Sum the rows of ``x`` (..., *features) that have the same of the ``segments`` (...).

    Segments are integers in [0, count), in any order. Returns (count, *features); an empty segment
    has the sum 0. Raises TypeError for segments that are no integers, ValueError for those outside.
    """
    x, segments = floats(x), _segments(x, segments, count)
    return ops.scatter_add(x, index=(segments,), shape=(count, *x.shape[segments.ndim :]))


def segment_mean(x: Any, segments: Any, count: int) -> Any:
    """The mean of each of ``count`` segments, 0 for an empty one.

    ``segments``, shapes and errors are those of ``segment_sum``.
    """
    x, segments = floats(x), _segments(x, segments, count)
    sizes = backend.count(segments.ravel(), count).astype(x.dtype)
    total = segment_sum(x, segments, count)
    return total / xp.maximum(sizes, 1).reshape(count, *(1,) * (len(total.shape) - 1))


def segment_max(x: Any, segments: Any, count: int) -> Any:
    """The largest entry of each of ``count`` segments, -inf for an empty one.

    Entries that tie share the gradient evenly. ``segments``, shapes and errors are those of
    ``segment_sum``.
    """
    x, segments = floats(x), _segments(x, segments, count)
    top = _largest(x, segments, count)
    chosen = ~(entries(x) < top[segments])  # all of a segment, where one is NaN
    ties = segment_sum(chosen.astype(x.dtype), segments, count)
    total = segment_sum(ops.where(chosen, x, 0.0), segments, count)
    return ops.where(ties > 0, total / xp.maximum(ties, 1), -math.inf)


def segment_softmax(x: Any, segments: Any, count: int) -> Any:
    """``exp(x)`` over its sum in each of ``count`` segments: the shape of ``x``.

    ``segments`` and errors are those of ``segment_sum``.
    """
    x, segments = floats(x), _segments(x, segments, count)
    top = _largest(x, segments, count)
    powers = ops.exp(x - xp.where(xp.isfinite(top), top, 0)[segments])
    total = segment_sum(powers, segments, count)
    return powers / ops.getitem(ops.where(total == 0, 1.0, total), index=segments)


def _segments(x: Any, segments: Any, count: int) -> Array:
    if count < 0:
        raise ValueError(f"there cannot be {count} segments")
    segments = integers(segments, count, "segments")
    if x.shape[: segments.ndim] != segments.shape:
        raise ValueError(f"segments {list(segments.shape)} do not lead {list(x.shape)}")
    return segments


def _largest(x: Any, segments: Array, count: int) -> Array:
    top = xp.full((count, *x.shape[segments.ndim :]), -math.inf, x.dtype)
    with quiet():  # NaN is the largest, in silence
        xp.maximum.at(top, segments, entries(x))
    return top
