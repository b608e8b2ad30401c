"""Batches in an order that follows from (seed, epoch) alone: a resumed run needs no state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backend import Array, asarray, describe, numpy
from ..faults import check
from ..transfer import uploads


def batch_indices(
    count: int, size: int, *, seed: int, epoch: int, start: int = 0
) -> Iterator[numpy.ndarray]:
    """The numbers 0 to ``count - 1`` in the order of this epoch, ``size`` at a time.

    ``start`` batches are skipped, for a run that continues within an epoch; the last batch is
    smaller where ``size`` does not divide ``count``. Raises ValueError for no data, a size below 1
    or a negative ``seed``, ``epoch`` or ``start``.
    """
    if count < 1:
        raise ValueError("the data set is empty")
    if size < 1 or start < 0:
        raise ValueError(f"size must be at least 1 and start at least 0; got {size} and {start}")
    order = numpy.random.default_rng([seed, epoch]).permutation(count)
    return (order[i : i + size] for i in range(start * size, count, size))


def batches(images: Any, size: int, *, seed: int, epoch: int, start: int = 0) -> Iterator[Array]:
    """The ``images`` (n, ...), a host array, as batches of ``pixels``.

    ``size``, ``seed``, ``epoch`` and ``start`` are those of ``batch_indices``, and so is what is
    raised.
    """
    order = batch_indices(len(images), size, seed=seed, epoch=epoch, start=start)
    return map(pixels, uploads(images[chosen] for chosen in order))


def pixels(images: Any) -> Array:
    """``images`` as a float32 array of the backend within [0, 1]: uint8 is divided by 255.

    Floats must lie within [0, 1] already. Raises TypeError for another dtype, ValueError for NaN
    and for floats outside.
    """
    images = asarray(images)
    if images.dtype == "uint8":
        return images.astype("float32") / 255
    if images.dtype.kind != "f":
        raise TypeError(f"images must be uint8, or floats in [0, 1]; got {describe(images)}")
    outside = ~((images >= 0) & (images <= 1))  # so is NaN
    check(outside, ValueError, "images hold NaN or leave [0, 1]: divide by 255, or pass uint8")
    return images.astype("float32", copy=False)
