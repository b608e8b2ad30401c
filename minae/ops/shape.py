"""Ops that move entries and compute nothing, in pairs that are each other's gradient:
reshape and itself, broadcast_to and sum_to, getitem and scatter_add, concatenate and slices."""

from __future__ import annotations

import itertools
import math
import operator

import minae.backend as backend
import minae.engine as engine
import minae.kernels as kernels

from ..backend import add_at, capturing, ndarray, not_captured, operand, xp
from ..engine import primitive


@primitive(x=lambda g, x_shape: g.reshape(x_shape))
def reshape(x, *, shape):
    """``x`` with its entries, in row-major order, in another shape; one length may be -1."""
    return x.reshape(shape)


def _transpose(g, axes):
    if axes is None:
        return g.transpose()
    inverse = sorted(range(len(axes)), key=lambda i: axes[i] % len(axes))
    return g.transpose(inverse)


@primitive(x=_transpose)
def transpose(x, *, axes=None):
    """``x`` with its axes in the order of ``axes``; reversed by default."""
    return x.transpose(axes)


@primitive(x=lambda g, first, second: g.swapaxes(first, second))
def swapaxes(x, *, first, second):
    """``x`` with the axes ``first`` and ``second`` exchanged."""
    return x.swapaxes(first, second)


@primitive(x=lambda g, x_shape: sum_to(g, shape=x_shape))
def broadcast_to(x, *, shape):
    """``x`` repeated along new axes and axes of length 1 until it has ``shape`` (a view)."""
    return xp.broadcast_to(x, shape)


@primitive(x=lambda g, x_shape: broadcast_to(g, shape=x_shape))
def sum_to(x, *, shape):
    """The adjoint of broadcasting: sums over the axes that ``shape`` would be broadcast along."""
    return engine.sum_to(x, shape=shape)


@primitive(x=lambda g, axis: flip(g, axis=axis))
def flip(x, *, axis=None):
    """``x`` in reverse order along ``axis`` (all axes by default)."""
    return xp.flip(x, axis)


# --- Indexing --------------------------------------------------------------------------------


def plain_index(index):
    """An index with its Tensors and lists as arrays, as the ops below expect it."""
    if type(index) is tuple:
        return tuple(plain_index(list(p) if type(p) is tuple else p) for p in index)
    if type(index) is list:
        not_captured("index by a list (make it an array of the device before)")
        return xp.asarray(index, dtype=None if index else int)
    index = engine.entries(index)
    return operand(index) if hasattr(index, "shape") and type(index) is not ndarray else index


@primitive(x=lambda g, x_shape, index: scatter_add(g, index=index, shape=x_shape))
def getitem(x, *, index):
    """``x[index]``, for any index that NumPy takes, arrays of this backend in it."""
    return x[index]


@primitive(x=lambda g, index: getitem(g, index=index))
def scatter_add(x, *, index, shape):
    """Zeros of ``shape`` with ``x`` added at ``index``: what meets at one place is summed."""
    picks = index if type(index) is tuple else (index,)
    if picks and all(map(_picks, picks)):  # rows of a table, as an embedding picks them
        places, lengths = 0, shape[: len(picks)]
        for pick, length in zip(picks, lengths):
            places = places * length + pick + length * (pick < 0)
        rows = x.reshape(*places.shape, math.prod(shape[len(picks) :]))
        return kernels.scatter_sum(rows, places, math.prod(lengths)).reshape(shape)
    out = xp.zeros(shape, x.dtype)
    if all(map(_once, index if type(index) is tuple else (index,))):
        out[index] = x
    else:
        add_at(out, index, x)
    return out


def _picks(index):
    return type(index) is ndarray and index.dtype.kind != "b"


def _once(part):
    """Whether this part of an index can name no place twice: all but arrays of integers can."""
    if type(part) is ndarray:
        return part.dtype.kind == "b"
    return part is None or part is ... or isinstance(part, (int, slice))


def _unpad(g, x_shape, width):
    return getitem(g, index=tuple(slice(w[0], w[0] + n) for w, n in zip(width, x_shape)))


@primitive(x=_unpad)
def pad(x, *, width, value=0.0):
    """``x`` between margins of ``value``; ``width`` is a pair (before, after) for each axis.

    Raises ValueError where there are more pairs or fewer.
    """
    if isinstance(width, int) or len(width) != x.ndim:
        raise ValueError(f"pad needs {x.ndim} pairs (before, after), got {width}")
    sizes = [before + n + after for (before, after), n in zip(width, x.shape)]
    out = xp.full(sizes, value, x.dtype)
    out[tuple(slice(w[0], w[0] + n) for w, n in zip(width, x.shape))] = x
    return out


# --- Joining ---------------------------------------------------------------------------------


def _slices(g, shapes, axis):
    along = (slice(None),) * (axis % g.ndim)
    ends = list(itertools.accumulate(shape[axis] for shape in shapes))
    return [getitem(g, index=(*along, slice(a, b))) for a, b in zip([0, *ends], ends)]


@primitive(joint=_slices)
def concatenate(*arrays, axis=0):
    """A sequence of arrays, one after the other along ``axis``."""
    return backend.concatenate(arrays, operator.index(axis))


def _layers(g, shapes, axis):
    along = (slice(None),) * (axis % g.ndim)
    return [getitem(g, index=(*along, i)) for i in range(len(shapes))]


@primitive(joint=_layers)
def stack(*arrays, axis=0):
    """A sequence of arrays of one shape, along a new ``axis``."""
    if capturing.get() is None:
        return xp.stack(arrays, axis)
    return backend.concatenate([xp.expand_dims(a, axis) for a in arrays], axis)
