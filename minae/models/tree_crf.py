"""A parser: a distribution over the binary trees of a sentence, learned from trees.

The scores of spans are those of the inference network of Kim et al. 2019, "Unsupervised recurrent
neural network grammars". One LSTM reads from each side; a span is what both have read in it, which
is a difference of two of their states (Wang & Chang 2016). Trees of a treebank are not binary: what
is made likely is all binary trees together that have their spans.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import minae.ops as ops

from ..backend import Array, asnumpy, expect, numpy, xp
from ..engine import no_grad
from ..functional.checks import dropping, integers
from ..nn import LSTM, Dropout, Embedding, LayerNorm, Linear, Sequential
from ..random import uniform_noise
from ..seq.constituents import tree_over
from ..seq.structure import BinaryTrees
from ..seq.trees import Tree
from .saving import Saved

UNKNOWN = 1  # the id of a symbol that is not known


class TreeCRF(Saved):
    """Sentences to distributions over their binary trees, ``seq.BinaryTrees``.

    A sentence is a ``seq.Padded`` (batch, words, symbols): each word is several symbols, integers
    in [0, symbols), as of ``seq.spelling_ids``, whose vectors of ``features`` are added. A
    bidirectional LSTM of ``layers`` with ``hidden`` features in each direction reads them; its
    differences become scores by an MLP with ``inner`` features. ``dropout`` is that before, within
    and behind the LSTM and in the MLP; ``forgotten`` the share of symbols that training replaces
    by the unknown one, 1.
    """

    def __init__(
        self, symbols: int, features: int = 100, hidden: int = 100, layers: int = 2,
        inner: int = 100, dropout: float = 0.3, forgotten: float = 0.2, *, rng: Any = None,
    ) -> None:
        self.config = {
            "symbols": symbols, "features": features, "hidden": hidden, "layers": layers,
            "inner": inner, "dropout": dropout, "forgotten": forgotten,
        }  # fmt: skip
        self.symbols, self.forgotten, self.rng = symbols, dropping(forgotten), rng
        self.table = Embedding(symbols, features, rng=rng)
        self.table.weight.data *= 0.3  # as several are added
        self.dropout = Dropout(dropout, rng=rng)
        between = dropout if layers > 1 else 0.0
        self.reader = LSTM(features, hidden, layers, dropout=between, bidirectional=True, rng=rng)
        self.project = Linear(2 * hidden, inner, rng=rng)
        self.score = Sequential(
            ops.relu, LayerNorm(inner), Dropout(dropout, rng=rng), Linear(inner, 1, rng=rng)
        )

    def forward(self, sentences: Any) -> BinaryTrees:
        """The distribution over the trees of each of the ``sentences``."""
        return BinaryTrees(self.scores(sentences), sentences.lengths)

    def loss(self, sentences: Any, spans: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise: the mean of ``-log p`` of the ``spans`` of each of the ``sentences``,
        which is that of all binary trees that have them.

        Spans are a ``seq.Padded`` (batch, count, 2): from a word to before another.
        """
        scores = self.scores(sentences)
        crossed = crossing(spans.values, scores.shape[1])
        every = BinaryTrees(scores, sentences.lengths)
        right = BinaryTrees(ops.where(crossed, -math.inf, scores), sentences.lengths)
        return (every.log_partition() - right.log_partition()).mean(), {}

    def scores(self, sentences: Any) -> Any:
        """The score of the span from each word to each, (batch, words, words), of ``sentences``."""
        ids = integers(sentences.values, self.symbols, "symbols")
        if ids.ndim != 3:
            raise ValueError(expect("sentences (batch, words, symbols)", ids))
        if self.training and self.forgotten:
            forgotten = uniform_noise(ids.shape, "float32", self.rng) < self.forgotten
            ids = xp.where(forgotten, UNKNOWN, ids)
        x = ops.sum(ops.getitem(self.table.weight, index=ids), axis=2)
        states = self.dropout(self.reader(self.dropout(x), lengths=sentences.lengths)[0])
        half = states.shape[2] // 2
        forward, backward = states[:, :, :half], states[:, :, half:]
        gaps = ops.concatenate(  # what was read at each of the n + 1 places between words
            ops.pad(forward, width=((0, 0), (1, 0), (0, 0))),
            ops.pad(backward, width=((0, 0), (0, 1), (0, 0))), axis=2,
        )
        gaps = ops.matmul(gaps, self.project.weight)  # before the difference: n products, not n^2
        spans = gaps[:, None, 1:] - gaps[:, :-1, None] + self.project.bias
        return ops.reshape(self.score(spans), shape=spans.shape[:3])

    def parse(self, sentences: Any) -> list[Tree]:
        """The likeliest binary tree of each of the ``sentences``, without words."""
        with no_grad():
            _, spans = self(sentences).best()
        found = []
        for tree in asnumpy(spans):
            first, last = numpy.nonzero(tree)
            found.append(tree_over(numpy.stack([first, last + 1], 1)))
        return found

    @staticmethod
    def _shapes(
        symbols: int, features: int, hidden: int, layers: int, inner: int, **others: Any
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "table.weight", (symbols, features)
        yield "project.weight", (2 * hidden, inner)
        for layer in range(layers):
            yield f"reader.weight_hh_l{layer}", (hidden, 4 * hidden)


def crossing(spans: Array, words: int) -> Array:
    """(batch, words, words): whether the span from word i to word j crosses one of ``spans``
    (batch, count, 2), hence is in no tree with it. Of (0, 0), which pads them, none does."""
    first, last = spans[:, :, 0, None, None], spans[:, :, 1, None, None] - 1
    i, j = xp.arange(words)[:, None], xp.arange(words)
    before = (i < first) & (first <= j) & (j < last)
    behind = (first < i) & (i <= last) & (last < j)
    return (before | behind).any(axis=1)
