"""Windows that slide along one axis: their sums and largest entries, and the adjoints of both.

Window ``i`` begins at ``i * stride`` and holds ``size`` entries. All windows are walked at once:
what they hold at one offset is a strided slice.
"""

from __future__ import annotations

from ..backend import xp
from ..engine import primitive


def _slices(shape, axis, size, stride):
    """For each offset within a window, where the entries at that offset are."""
    count = (shape[axis] - size) // stride + 1
    before = (slice(None),) * axis
    return [
        (*before, slice(offset, offset + stride * (count - 1) + 1, stride))
        for offset in range(size)
    ]


# --- Sums ------------------------------------------------------------------------------------


def _sum_windows(g, x_shape, axis, size, stride):
    return spread_windows(g, axis=axis, size=size, stride=stride, length=x_shape[axis])


@primitive(x=_sum_windows)
def sum_windows(x, *, axis, size, stride):
    """The sum of each window along ``axis``."""
    first, *others = _slices(x.shape, axis, size, stride)
    out = x[first].copy()
    for where in others:
        out += x[where]
    return out


@primitive(x=lambda g, axis, size, stride: sum_windows(g, axis=axis, size=size, stride=stride))
def spread_windows(x, *, axis, size, stride, length):
    """Zeros of ``length`` along ``axis``, each entry of ``x`` added to its whole window."""
    out = xp.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)
    for where in _slices(out.shape, axis, size, stride):
        out[where] += x
    return out


# --- Largest entries -------------------------------------------------------------------------


def _max_windows(g, x, out, axis, size, stride):
    picks = _picks(x, out, axis, size, stride)
    return put_windows(g, picks=picks, axis=axis, size=size, stride=stride, length=x.shape[axis])


@primitive(x=_max_windows)
def max_windows(x, *, axis, size, stride):
    """The largest entry of each window along ``axis``; the first of equals takes the gradient."""
    first, *others = _slices(x.shape, axis, size, stride)
    out = x[first].copy()
    for where in others:
        xp.maximum(out, x[where], out=out)
    return out


def _picks(x, out, axis, size, stride):
    """The offset of the first entry in each window that is its largest, or NaN."""
    picks, before = (out < out).astype("int32"), True  # zeros: no window has passed an entry
    for where in _slices(x.shape, axis, size, stride)[:-1]:
        entry = x[where]
        before = before & (entry != out) & (entry == entry)  # NaN is the largest
        picks += before
    return picks


@primitive(
    x=lambda g, picks, axis, size, stride: take_windows(
        g, picks=picks, axis=axis, size=size, stride=stride
    )
)
def put_windows(x, *, picks, axis, size, stride, length):
    """Zeros of ``length`` along ``axis``, each entry of ``x`` added where its window's pick is."""
    out = xp.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)
    for offset, where in enumerate(_slices(out.shape, axis, size, stride)):
        out[where] += x * (picks == offset)
    return out


def _take_windows(g, x_shape, picks, axis, size, stride):
    return put_windows(
        g, picks=picks, axis=axis, size=size, stride=stride, length=x_shape[axis]
    )


@primitive(x=_take_windows)
def take_windows(x, *, picks, axis, size, stride):
    """The entry of each window along ``axis`` at the offset that ``picks`` names."""
    out = xp.zeros(picks.shape, x.dtype)
    for offset, where in enumerate(_slices(x.shape, axis, size, stride)):
        out += x[where] * (picks == offset)
    return out
