"""Batches of sequences of like length: little is padded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..backend import numpy

POOL = 100  # batches among which sequences are sorted


def batches_by_length(
    lengths: Any, size: int, *, seed: int, epoch: int, start: int = 0, pool: int = POOL
) -> Iterator[numpy.ndarray]:
    """The numbers of the sequences, ``size`` at a time, those of like length together.

    The order follows from ``seed`` and ``epoch``: sequences are shuffled, ``pool`` batches of them
    at a time are sorted by ``lengths`` (a list or a host array), and the batches shuffled.
    ``start`` batches are skipped, for a run that continues within an epoch; one batch is smaller
    where ``size`` does not divide how many there are. Raises ValueError for no sequences, a
    ``size`` or ``pool`` below 1 or a negative ``seed``, ``epoch`` or ``start``.
    """
    lengths = numpy.asarray(lengths)
    if lengths.ndim != 1 or not len(lengths):
        raise ValueError(f"lengths must be those of one or more sequences; got {lengths.shape}")
    if size < 1 or pool < 1 or start < 0:
        raise ValueError(
            f"size and pool must be at least 1 and start at least 0; got {size}, {pool}, {start}"
        )
    rng = numpy.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches = []
    for first in range(0, len(order), size * pool):
        near = order[first : first + size * pool]
        near = near[numpy.argsort(lengths[near], kind="stable")]
        batches += [near[i : i + size] for i in range(0, len(near), size)]
    return (batches[i] for i in rng.permutation(len(batches))[start:])
