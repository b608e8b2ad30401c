"""A label for each node of a tree, by a TreeLSTM (Tai et al. 2015); and from the bag of its words,
beside which it is seen what the tree adds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import minae.ops as ops

from ..backend import Array, asarray, expect, xp
from ..engine import entries, no_grad
from ..functional import cross_entropy
from ..functional.checks import dropping, integers
from ..nn import Dropout, Embedding, Linear
from ..random import uniform_noise
from ..seq.tree_lstm import ChildSumTreeLSTM, NaryTreeLSTM
from ..seq.trees import Forest
from ..tensor import tensor
from .saving import Saved

UNKNOWN = 1  # the id of a symbol that is not known


class _NodeClassifier(Saved):
    """What gives each node of a forest logits, and takes ids below ``symbols``."""

    symbols: int

    def loss(self, forest: Forest, ids: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise, the mean of ``-log p`` of the ``labels`` (nodes,) of all nodes but
        those of -100, and the share of roots that are right.

        ``forest`` and ``ids`` are those of a call.
        """
        logits = self(forest, ids)
        roots = asarray(forest.roots)
        right = entries(logits)[roots].argmax(axis=1) == labels[roots]
        return cross_entropy(logits, labels), {"accuracy": right.mean()}

    def predict(self, forest: Forest, ids: Any) -> Array:
        """The probabilities (nodes, classes); ``forest`` and ``ids`` are those of a call."""
        with no_grad():
            return entries(ops.softmax(self(forest, ids)))

    def _checked(self, forest: Forest, ids: Any) -> Array:
        """The ids (leaves, symbols of each)."""
        ids = integers(ids, self.symbols, "symbols")
        if len(ids) != len(forest.leaves):
            raise ValueError(expect(f"the ids of {len(forest.leaves)} leaves", ids))
        return ids.reshape(len(ids), -1)


class TreeClassifier(_NodeClassifier):
    """A ``seq.Forest`` and the ids of its leaves to the logits of ``classes`` at every node.

    Ids are integers in [0, symbols), one or several for each leaf, as of ``seq.spelling_ids``,
    whose vectors of ``features`` are added. They are read by a TreeLSTM with ``hidden`` features,
    N-ary for at most ``arity`` children, child-sum where that is 0. ``dropout`` is that of words
    and of states; ``forgotten`` the share of symbols that training replaces by the unknown one, 1.
    """

    def __init__(
        self, symbols: int, classes: int, features: int = 100, hidden: int = 100, arity: int = 2,
        dropout: float = 0.5, forgotten: float = 0.1, *, rng: Any = None,
    ) -> None:
        self.config = {
            "symbols": symbols, "classes": classes, "features": features, "hidden": hidden,
            "arity": arity, "dropout": dropout, "forgotten": forgotten,
        }  # fmt: skip
        self.symbols, self.forgotten, self.rng = symbols, dropping(forgotten), rng
        self.table = Embedding(symbols, features, rng=rng)
        self.table.weight.data *= 0.1
        self.dropout = Dropout(dropout, rng=rng)
        self.climb = (NaryTreeLSTM(features, hidden, arity, rng=rng) if arity
                      else ChildSumTreeLSTM(features, hidden, rng=rng))
        self.output = Linear(hidden, classes, rng=rng)

    def forward(self, forest: Forest, ids: Any) -> Any:
        """The logits (nodes, classes) of ``forest``, of which ``ids`` (leaves, ...) has the words.
        """
        ids = self._checked(forest, ids)
        if self.training and self.forgotten:
            forgotten = uniform_noise(ids.shape, "float32", self.rng) < self.forgotten
            ids = xp.where(forgotten, UNKNOWN, ids)
        x = ops.sum(ops.getitem(self.table.weight, index=ids), axis=1)
        hidden, _ = self.climb(forest, self.dropout(x), forest.leaves)
        return self.output(self.dropout(hidden))

    @staticmethod
    def _shapes(
        symbols: int, classes: int, features: int, hidden: int, arity: int, **others: Any
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "table.weight", (symbols, features)
        yield "output.weight", (hidden, classes)
        children = max(arity, 1)
        yield "climb.weight_hh", (children * hidden, (3 + children) * hidden)


class BagOfWords(_NodeClassifier):
    """Logistic regression on the counts of words: their order and the tree do not count.

    The logits of a node are a bias and the sum of those of the ids below it, integers in
    [0, symbols), for each of the ``classes``. All begin at 0.
    """

    def __init__(self, symbols: int, classes: int) -> None:
        self.config = {"symbols": symbols, "classes": classes}
        self.symbols = symbols
        self.weight = tensor(xp.zeros((symbols, classes), "float32"), requires_grad=True)
        self.bias = tensor(xp.zeros(classes, "float32"), requires_grad=True)

    def forward(self, forest: Forest, ids: Any) -> Any:
        """The logits (nodes, classes) of ``forest``, of which ``ids`` (leaves, ...) has the words.
        """
        words = ops.sum(ops.getitem(self.weight, index=self._checked(forest, ids)), axis=1)
        before = ops.pad(ops.cumsum(words, axis=0), width=((1, 0), (0, 0)))
        start, end = asarray(forest.spans.T)
        return ops.getitem(before, index=end) - ops.getitem(before, index=start) + self.bias

    @staticmethod
    def _shapes(symbols: int, classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "weight", (symbols, classes)
        yield "bias", (classes,)
