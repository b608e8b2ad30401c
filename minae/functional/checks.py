"""What NumPy would let pass in silence: labels out of range, shapes that would broadcast."""

from __future__ import annotations

import operator
from typing import Any

from ..backend import Array, asarray, describe, expect, numpy, xp
from ..engine import entries
from ..faults import check


def integers(values: Any, count: int, name: str, besides: int | None = None) -> Array:
    """``values`` as an array of integers, each checked to be in [0, count), or ``besides``."""
    values = entries(values)
    if isinstance(values, (int, list, tuple)):  # of which asarray would make float32
        values = numpy.asarray(values, int if values in ([], ()) else None)
    array = asarray(values)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {describe(array)}: use astype(int)")
    outside = (array < 0) | (array >= count)
    if besides is not None:
        outside &= array != besides
    wanted = f"{name} must be in [0, {count})"
    check(outside, ValueError, wanted, lambda: f"{wanted}, got {int(array[outside][0])}")
    return array


def floats(x: Any) -> Any:
    """``x``, integers and booleans as float32: sums and squares of bytes would wrap."""
    dtype = getattr(x, "dtype", None)
    return x.astype("float32") if dtype is not None and dtype.kind in "biu" else x


def booleans(mask: Any, name: str) -> Array:
    """``mask`` as an array, checked to be boolean."""
    array = asarray(entries(mask))
    if array.dtype.kind != "b":
        raise TypeError(f"{name} must be boolean, got {describe(array)}: write x > 0, or x == 1")
    return array


def dropping(p: float) -> float:
    """``p``, checked to be a probability with which entries may be dropped: not all of them."""
    if not 0 <= p < 1:
        raise ValueError(f"dropout needs 0 <= p < 1, got {p}")
    return p


def same_shape(prediction: Any, target: Any) -> None:
    """Raise ValueError where the two would broadcast to a loss over other pairs of entries."""
    if xp.shape(entries(prediction)) != xp.shape(entries(target)):
        why = "the loss would broadcast, and be over other pairs of entries"
        raise ValueError(expect("prediction and target of one shape", prediction, target, why=why))


def steps(value: Any, name: str, axes: int) -> Any:
    """An integer for each of ``axes``, or one for all of them. Raises TypeError for others."""
    listed = value if isinstance(value, (tuple, list)) else (value,) * axes
    try:
        whole = tuple(map(operator.index, listed))
    except TypeError:
        whole = ()
    if len(whole) != axes:
        wanted = "an integer" if axes == 1 else "an integer or a pair (vertical, horizontal)"
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    return whole
