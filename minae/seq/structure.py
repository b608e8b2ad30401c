"""Distributions over structures: label sequences and binary trees.

The probability of a structure is proportional to exp(score), where its score is the sum of the
scores of its parts. Everything about it is a sum over all structures, in one semiring or another,
computed from the bottom up and the top down (``chart.py``). So each family says no more than which
cells its chart has and which of them a structure meets.
"""

from __future__ import annotations

import math
from typing import Any

import minae.kernels as kernels

from .. import ops, random
from ..backend import Array, asarray, concatenate, expect, numpy, xp
from ..engine import entries
from ..faults import check
from ..functional.checks import booleans, floats, integers
from ..kernels.levels import Level
from . import chart
from .semirings import Count, Sample


class _Structures:
    """What all families have in common; make a ``LinearChain`` or ``BinaryTrees``.

    Methods compute when they are called and keep nothing; losses of one distribution share its
    graph, so add them before ``backward``. All but ``best``'s structure, ``sample``
    and ``count`` can be differentiated, to any order, where the scores are Tensors. Parts whose
    score is -inf are in no structure; where that leaves none at all, the log-partition is -inf,
    gradients, marginals and entropy are 0, and what is drawn or best has no parts. Computed in
    float64, results are in the dtype of the scores.
    """

    cells: Any  # (batch, cells): the scores, with cell 0 for nothing and the last for the root
    levels: tuple[Level, ...]
    lengths: Array

    def log_partition(self) -> Any:
        """``log(sum of exp(score) over all structures)``, (batch,)."""
        return chart.log_partition(self.cells, levels=self.levels)

    def marginals(self) -> Any:
        """The probability of each part, in the shape of its score."""
        return self._scores(chart.marginals(self.cells, levels=self.levels))

    def entropy(self) -> Any:
        """``-sum of p log(p) over all structures``, (batch,)."""
        return chart.entropy(self.cells, levels=self.levels)

    def best(self) -> tuple[Any, Array]:
        """The largest score (batch,) and a structure that has it (Viterbi).

        Of several the one whose first choices are the lowest: the first label from the end, or the
        lowest split from the top.
        """
        parts = entries(chart.best_parts(self.cells, levels=self.levels))
        return chart.best_score(self.cells, levels=self.levels), self._structure(parts)

    def sample(self, count: int = 1, rng: Any = None) -> Array:
        """``count`` structures of each, drawn by their probability: (count, batch, ...).

        ``rng`` is a ``numpy.random.Generator``; without one the default generator draws.
        """
        cells = entries(self.cells)
        items = sum(level.size for level in self.levels)
        uniforms = random.uniform_noise((count, len(cells), items), "float64", rng)
        return self._structure(kernels.chart_parts(cells, self.levels, Sample(uniforms)))

    def score(self, structure: Any) -> Any:
        """The score of a ``structure`` of each, (batch,); of samples (count, batch, ...) too."""
        raise NotImplementedError

    def log_prob(self, structure: Any) -> Any:
        """The logarithm of the probability of a ``structure`` of each, as in ``score``."""
        return self.score(structure) - self.log_partition()

    def kl(self, other: _Structures) -> Any:
        """``sum of p log(p / q)``, (batch,), where q is an ``other`` of the same family and shape.

        inf where a structure that has probability here is impossible there.
        """
        same = type(other) is type(self) and other.levels == self.levels
        if not same or other.cells.shape != self.cells.shape:
            raise ValueError("kl needs two distributions of one family and one shape")
        parts = chart.marginals(self.cells, levels=self.levels)
        possible = entries(other.cells) > -math.inf
        mean = (parts * ops.where(possible, other.cells, 0.0)).sum(axis=1)
        lost = (~possible & (entries(parts) > 0)).any(axis=1)
        return ops.where(lost, math.inf, other.log_partition() - mean - self.entropy())

    def count(self) -> Array:
        """How many structures there are, (batch,) in float64: exact up to 2**53."""
        return self.total(Count())

    def total(self, semiring: Any) -> Array:
        """The sum over all structures in a ``semiring`` of ``minae.seq.semirings``, or your own.

        An array in float64, (batch,).
        """
        cells = entries(self.cells).astype("float64")
        return kernels.chart_total(cells, self.levels, semiring)

    def _scores(self, parts: Any) -> Any:
        """What the cells have, in the shape of the scores."""
        raise NotImplementedError

    def _structure(self, parts: Array) -> Array:
        """The structure whose parts (..., batch, cells) are."""
        raise NotImplementedError


class BinaryTrees(_Structures):
    """The binary trees over a sequence: p(tree) is proportional to exp(sum of its spans' scores).

    ``scores`` (batch, n, n) has at [i, j] the score of a constituent from word i to word j, both
    inclusive; what stands below the diagonal is not used. Single words are constituents, too: a
    score [i, i] is added to every tree, and cancels in probabilities. ``lengths`` (batch,) says how
    many words there are, n by default; what lies beyond is not used. With no words there is one
    tree, without spans.

    A tree is a boolean array (batch, n, n), True at its spans, those of single words among them.
    Losses of one distribution share its graph: add them before ``backward``, or make another.
    (The inside algorithm: Baker 1979; PyTorch-Struct calls this ``TreeCRF``.)

    Raises ValueError for other shapes, for lengths outside [0, n], and for scores that are NaN or
    +inf.
    """

    def __init__(self, scores: Any, lengths: Any = None) -> None:
        scores = _floats(scores)
        if scores.ndim != 3 or scores.shape[1] != scores.shape[2]:
            raise ValueError(expect("scores (batch, n, n)", scores))
        batch, n, _ = scores.shape
        self.lengths = _lengths(lengths, batch, n)
        i = xp.arange(n)
        self.spans = (i[:, None] <= i) & (i < self.lengths[:, None, None])
        scores = _possible(self.spans, scores, "a span")
        ends = _constant(xp.arange(n + 1) == self.lengths[:, None], scores)
        nothing = _constant(xp.ones((batch, 1), bool), scores)
        self.cells = ops.concatenate(
            nothing, scores.reshape(batch, n * n), ends, nothing, axis=1
        )
        self.levels = (
            *(
                Level(n - w, w, (1 + w, n + 1), (1, n + 1, 1), (1 + n + w, n + 1, n))
                for w in range(1, n)
            ),
            Level(1, n + 1, (2 + n + n * n, 0), (0, 0, 1), (1 + n * n, 0, 1)),
        )

    def score(self, structure: Any) -> Any:
        """The score of a tree of each, spans (batch, n, n); of samples (count, batch, n, n) too.

        Raises ValueError unless it has 2 length - 1 spans, all within the length.
        """
        spans = booleans(structure, "spans")
        if spans.shape[-3:] != self.spans.shape:
            raise ValueError(expect("spans (batch, n, n)", spans))
        wrong = (spans & ~self.spans).any(axis=(-2, -1))
        wrong |= spans.sum(axis=(-2, -1)) != xp.maximum(2 * self.lengths - 1, 0)
        check(wrong, ValueError, "a binary tree of n words has 2n - 1 spans, words among them")
        return ops.where(spans, self._scores(self.cells), 0.0).sum(axis=(-2, -1))

    def _scores(self, parts: Any) -> Any:
        n = self.spans.shape[-1]
        return parts[..., 1 : 1 + n * n].reshape(*parts.shape[:-1], n, n)

    def _structure(self, parts: Array) -> Array:
        return self._scores(parts) > 0


class LinearChain(_Structures):
    """The label sequences of a linear-chain CRF: p(labels) is proportional to exp(score), and

        score = start[y_0] + sum of emissions[t, y_t] + sum of transitions[t, y_t, y_t+1] + end[y_T]

    ``emissions`` are (batch, time, labels). ``transitions`` are (labels, labels), from one label to
    the next, or (batch, time - 1, labels, labels) where they depend on the position. ``start`` and
    ``end`` (labels,) are left out where there is nothing to add. ``lengths`` (batch,) says how many
    labels there are, time by default; what lies beyond is not used. Of length 0 there is one
    sequence.

    A structure is an integer array (batch, time), 0 beyond the length. ``marginals`` are a pair:
    the probability of each label (batch, time, labels), and of each transition, in the shape of
    ``transitions`` behind a batch; where these are (labels, labels), how often each is expected.
    Losses of one distribution share its graph: add them before ``backward``, or make another.
    (Lafferty et al. 2001. Transitions are torchcrf's; the potentials of PyTorch-Struct's
    ``LinearChainCRF`` have the next label first.)

    Raises ValueError for other shapes, for lengths outside [0, time], and for scores that are NaN
    or +inf.
    """

    def __init__(
        self, emissions: Any, transitions: Any, start: Any = None, end: Any = None,
        lengths: Any = None,
    ) -> None:
        emissions, transitions = _floats(emissions), _floats(transitions)
        if emissions.ndim != 3 or 0 in emissions.shape[2:]:
            raise ValueError(expect("emissions (batch, time, labels)", emissions))
        batch, time, labels = emissions.shape
        each = (batch, max(time - 1, 0), labels, labels)
        if transitions.shape not in (each, each[2:]):
            wanted = f"transitions {list(each[2:])} or {list(each)}"
            raise ValueError(expect(wanted, transitions, why=f"emissions are {emissions.shape}"))
        self.lengths = _lengths(lengths, batch, time)
        self.shape, self.shared = emissions.shape, transitions.ndim == 2
        t, long = xp.arange(time), self.lengths[:, None]
        if start is not None:
            emissions = emissions + ops.where((t == 0)[:, None], _row(start, labels), 0.0)
        emissions = _possible((t < long)[:, :, None], emissions, "an emission")
        within = (t[1:] < long)[:, :, None, None] if not self.shared else xp.ones(1, bool)
        transitions = _possible(within, transitions, "a transition")
        end = xp.zeros(labels, emissions.dtype) if end is None else _row(end, labels)
        ends = _possible((t == long - 1)[:, :, None], end, "an end")
        nothing = _constant(xp.ones((batch, 1), bool), emissions)
        count, moves = time * labels, math.prod(each[2:] if self.shared else each[1:])
        if self.shared:
            transitions = ops.broadcast_to(transitions, shape=(batch, labels, labels))
        self.cells = ops.concatenate(
            nothing, emissions.reshape(batch, count), transitions.reshape(batch, moves),
            _constant(long == 0, emissions), ends.reshape(batch, count), nothing, axis=1,
        )
        self.levels = (
            *(
                Level(
                    labels, labels, (1 + t * labels, 1), (1 + (t - 1) * labels, 0, 1),
                    (1 + count + (0 if self.shared else (t - 1) * labels**2), 1, labels),
                )
                for t in range(1, time)
            ),
            Level(1, count + 1, (2 + 2 * count + moves, 0), (0, 0, 1), (1 + count + moves, 0, 1)),
        )

    def score(self, structure: Any) -> Any:
        """The score of labels (batch, time) of each; of samples (count, batch, time) too.

        What lies beyond the length is not used. Raises ValueError for labels outside.
        """
        batch, time, labels = self.shape
        count = time * labels
        structure = asarray(structure if hasattr(structure, "dtype") else numpy.asarray(structure))
        if structure.shape[-2:] != (batch, time):
            raise ValueError(expect(f"labels [{batch}, {time}]", structure))
        t, long = xp.arange(time), self.lengths[:, None]
        y = integers(xp.where(t < long, structure, 0), labels, "labels")
        emitted = 1 + t * labels + y
        places = 0 if self.shared else t[: time - 1] * labels**2
        moved = 1 + count + places + y[..., :-1] * labels + y[..., 1:]
        ended = xp.where(t == long - 1, self.cells.shape[1] - 1 - count + t * labels + y, 0)
        used = [xp.where(t < long, emitted, 0), xp.where(t[1:] < long, moved, 0), ended]
        used = concatenate(used, axis=-1)  # cell 0 beyond the length
        return ops.getitem(self.cells, index=(xp.arange(batch)[:, None], used)).sum(axis=-1)

    def _scores(self, parts: Any) -> Any:
        batch, time, labels = self.shape
        count = 1 + time * labels
        ends = parts.shape[1] - 1 - count
        moves = (labels, labels) if self.shared else (max(time - 1, 0), labels, labels)
        return (
            parts[:, 1:count].reshape(self.shape), parts[:, count:ends].reshape(batch, *moves)
        )

    def _structure(self, parts: Array) -> Array:
        _, time, labels = self.shape
        return parts[..., 1 : 1 + time * labels].reshape(
            *parts.shape[:-1], time, labels
        ).argmax(axis=-1)


def _floats(scores: Any) -> Any:
    return floats(scores if hasattr(scores, "dtype") else asarray(scores))


def _lengths(lengths: Any, batch: int, most: int) -> Array:
    if lengths is None:
        return xp.full(batch, most, "int64")
    lengths = integers(lengths, most + 1, "lengths")
    if lengths.shape != (batch,):
        raise ValueError(expect(f"lengths [{batch}]", lengths))
    return lengths


def _row(scores: Any, labels: int) -> Any:
    scores = _floats(scores)
    if scores.shape != (labels,):
        raise ValueError(expect(f"start and end [{labels}]", scores))
    return scores


def _possible(within: Array, scores: Any, what: str) -> Any:
    """The scores, -inf where they are not ``within`` a structure."""
    scores = ops.where(within, scores, -math.inf)
    wrong = f"the score of {what} is NaN or +inf; -inf forbids it, and no other is infinite"
    check(~(entries(scores) < math.inf), ValueError, wrong)
    return scores


def _constant(possible: Array, like: Any) -> Any:
    """Scores of 0, -inf where not ``possible``."""
    return xp.where(possible, 0.0, -math.inf).astype(like.dtype)
