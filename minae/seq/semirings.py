"""Semirings: what to compute over all structures of a chart, each said by its sum and product.

The algorithm is the same for all (``minae/kernels/levels.py``): upwards, a cell is worth its score
times the sum of its terms; downwards, it gives what it has to its terms. Goodman 1999 has the
first half, Eisner 2016 the second: to give is the gradient of the sum.

Scores are logarithms, (cells, batch) in float64. Terms have the axes (cells, terms, ..., batch), so
a sum is over axis 1.
"""

from __future__ import annotations

import math

from ..backend import Array, xp
from ..kernels.rows import finite, largest


class Log:
    """Sums of probabilities as logarithms: the log-partition; a part is its probability.

    Also what the others share. ``name`` says by which kernel it may be computed.
    """

    name = "log"

    def lift(self, scores: Array) -> Array:
        """What cells without terms are worth."""
        return scores

    def times(self, x: Array, y: Array) -> Array:
        """The product of what two cells are worth."""
        return x + y

    def plus(self, terms: Array) -> Array:
        """The sum of terms, over axis 1."""
        powers, top = _powers(terms)
        return (xp.log(xp.maximum(powers.sum(axis=1, keepdims=True), 1)) + top)[:, 0]

    def total(self, root: Array) -> Array:
        """What the root tells, (batch,)."""
        return root

    def start(self, chart: Array) -> Array:
        """What cells have before anything is given: the root alone has something."""
        parts = xp.zeros(chart.shape)
        parts[-1] = 1
        return parts

    def give(self, parts: Array, terms: Array, items: slice) -> Array:
        """What cells that have ``parts`` give to each of their terms.

        They are cells ``items`` of all that have terms, in the order of the levels.
        """
        return parts[:, None] * _softmax(terms)

    def parts(self, parts: Array) -> Array:
        """What cells (cells, ..., batch) have in the end, as rows (..., batch, cells)."""
        return xp.moveaxis(parts, 0, -1)


class Max(Log):
    """The largest score of a structure; its parts, with 1 for each time that it has one.

    Where terms tie, the first is chosen. Where the largest is -inf there is none, and no parts.
    """

    name = "max"

    def plus(self, terms: Array) -> Array:
        return terms.max(axis=1)

    def give(self, parts: Array, terms: Array, items: slice) -> Array:
        return _chosen(parts, terms, terms.argmax(axis=1))


class Sample(Log):
    """The log-partition; the parts are those of structures drawn by their probability.

    ``uniforms`` (count, batch, items), evenly spread over [0, 1), has a number for each structure
    to be drawn and each cell that has terms, in the order of the levels. The parts are
    (count, batch, cells).
    """

    name = "sample"

    def __init__(self, uniforms: Array) -> None:
        self.uniforms = uniforms

    def start(self, chart: Array) -> Array:
        parts = xp.zeros((len(chart), *self.uniforms.shape[:2]))
        parts[-1] = 1
        return parts

    def give(self, parts: Array, terms: Array, items: slice) -> Array:
        uniforms = xp.moveaxis(self.uniforms[..., items], -1, 0)[:, None]
        running = _powers(terms)[0].cumsum(axis=1)[:, :, None]  # (cells, terms, 1, batch)
        every = running[:, -1:]
        last = (running < every).sum(axis=1)  # with a probability above 0
        chosen = xp.minimum((running <= uniforms * every).sum(axis=1), last)
        return _chosen(parts, terms[:, :, None], chosen)


class Expectation(Log):
    """The mean over all structures of a second score, which adds up over their parts too.

    ``values`` (batch, cells) are the second scores. A part is the covariance of its being there
    with the second score of the structure: the derivative of its probability, if all scores move
    along the second. (Li & Eisner 2009, the first-order expectation semiring.) Cells are worth two
    numbers, on an axis before the batch.
    """

    name = "expectation"

    def __init__(self, values: Array) -> None:
        self.values = values

    def lift(self, scores: Array) -> Array:
        return xp.stack([scores, self.values.T.astype("float64")], axis=1)

    def plus(self, terms: Array) -> Array:
        mean = (_softmax(terms[:, :, 0]) * terms[:, :, 1]).sum(axis=1)
        return xp.stack([super().plus(terms[:, :, 0]), mean], axis=1)

    def total(self, root: Array) -> Array:
        return root[1]

    def start(self, chart: Array) -> Array:
        parts = xp.zeros(chart.shape)
        parts[-1, 0] = 1
        return parts

    def give(self, parts: Array, terms: Array, items: slice) -> Array:
        share, value = _softmax(terms[:, :, 0]), terms[:, :, 1]
        moved = share * (value - (share * value).sum(axis=1, keepdims=True))
        parts = parts[:, None]
        second = parts[:, :, 1] * share + parts[:, :, 0] * moved
        return xp.stack([parts[:, :, 0] * share, second], axis=2)

    def parts(self, parts: Array) -> Array:
        return parts[:, 1].T


class Entropy(Expectation):
    """The entropy: the log-partition minus the mean score, of which the parts are no part."""

    name = "entropy"

    def __init__(self) -> None:
        pass

    def lift(self, scores: Array) -> Array:
        return xp.stack([scores, finite(scores)], axis=1)

    def total(self, root: Array) -> Array:
        return xp.where(root[0] == -math.inf, 0.0, root[0] - root[1])


class Count(Log):
    """How many structures there are whose score is above -inf; of each part, how many have it."""

    name = "count"

    def lift(self, scores: Array) -> Array:
        return (scores > -math.inf).astype("float64")

    def times(self, x: Array, y: Array) -> Array:
        return x * y

    def plus(self, terms: Array) -> Array:
        return terms.sum(axis=1)

    def start(self, chart: Array) -> Array:
        parts = xp.zeros(chart.shape)
        parts[-1] = chart[-1]
        return parts

    def give(self, parts: Array, terms: Array, items: slice) -> Array:
        return parts[:, None] * terms / xp.maximum(terms.sum(axis=1, keepdims=True), 1)


def _powers(terms: Array) -> tuple[Array, Array]:
    """The exponentials of terms, the largest made 1, and the logarithm of that.

    Where all are -inf they are 0.
    """
    top = largest(terms, 1)
    return xp.exp(terms - finite(top)), top


def _softmax(terms: Array) -> Array:
    powers, _ = _powers(terms)
    return powers / xp.maximum(powers.sum(axis=1, keepdims=True), 1)


def _chosen(parts: Array, terms: Array, choice: Array) -> Array:
    """Everything to one term of each cell, unless that is -inf."""
    numbers = xp.arange(terms.shape[1]).reshape(1, -1, *[1] * (choice.ndim - 1))
    return parts[:, None] * ((numbers == choice[:, None]) & (terms > -math.inf))
