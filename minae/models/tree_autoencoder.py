"""Text to tree to text: a latent binary tree, learned without having seen one.

An encoder (``ChartReader``) reads a sentence x and gives a distribution over all binary trees z on
it, q(z | x), proportional to the exponential of the scores of z's spans. A decoder
(``StackWriter``), a recurrent neural network grammar (Dyer et al. 2016), writes tree and sentence
together: at each step it either shifts a new word onto a stack, or reduces the two cells on its top
to one; a reduction where there is one cell alone ends the text. With c1 and c2 the two topmost
cells, "nothing" where there is none,

    h = tanh(W [c2; c1] + b)
    p(reduce) = sigmoid(v h)          0 on an empty stack
    p(word | shift) = softmax(U h)
    shift: a leaf of a TreeLSTM       reduce: its composition of c2 and c1

and log p(x, z) is the sum over all steps: exactly normalised over trees and texts of any length.
Both are trained on the bound (Kim et al. 2019, "Unsupervised recurrent neural network grammars")

    log p(x) >= E_q[log p(x, z)] + H(q)

from K trees of each sentence. The entropy H and its gradient are exact, that of the decoder passes
through, and that of q is by score function, each tree against the mean of the others. For q, the
probability of the actions and H have a weight that grows from 0 to 1 in ``warm_up`` steps (together
they are what a KL divergence is to other auto-encoders): trees are first chosen for what they tell
of the words, and later also for being foretold themselves. Otherwise all trees soon branch to the
left, as those are foretold at once.

What makes the tree matter is what the decoder does not see. It has no state but the stack, sees two
cells of it, and a cell has few features. In a left-branching tree everything must pass through one
narrow cell, in a right-branching one all but the last two words are out of sight; what was far is
near, and what is open apart, only in a tree that closes a phrase before what depends on it. With an
LSTM over the stack and wide cells, the decoder is a good language model for any tree, and none is
learned. Nothing else of the sentence is passed on: the tree is the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import minae.ops as ops

from ..backend import Array, asarray, asnumpy, expect, numpy, quiet, xp
from ..engine import entries, no_grad
from ..functional import cross_entropy, log_sigmoid, segment_sum
from ..nn import LSTM, Embedding, LayerNorm, Linear, Module
from ..random import normal, uniform_noise
from ..seq import (
    REDUCE,
    SHIFT,
    BinaryTrees,
    Cells,
    NaryTreeLSTM,
    Stacks,
    Tree,
    actions_of_spans,
    leave_one_out,
)
from ..tensor import Tensor
from .saving import Saved
from .tokens import embedded, read_ids


class Bounds(NamedTuple):
    """What is known of log p of each sentence, (batch,) each, in float64."""

    elbo: Any  # the mean of log p(x, z) over trees of q, and the entropy of q
    importance: Any  # log of the mean of p(x, z) / q(z | x): on average, above the ELBO
    words: Any  # the part of the ELBO that is of words, each given the stack
    entropy: Any  # of q


class ChartReader(Module):
    """Sentences to distributions over their binary trees, for a ``vocabulary`` of words.

    Words become vectors of ``features``, read from both sides by LSTMs with ``hidden`` features. A
    span is scored by what each has read in it, a difference of two states (Wang & Chang 2016).
    """

    def __init__(self, vocabulary: int, features: int, hidden: int, *, rng: Any = None) -> None:
        self.table = Embedding(vocabulary, features, rng=rng)
        self.lstm = LSTM(features, hidden, bidirectional=True, rng=rng)
        self.project = Linear(2 * hidden, hidden, rng=rng)
        self.norm = LayerNorm(hidden)
        self.score = Linear(hidden, 1, bias=False, rng=rng)

    def forward(self, ids: Array, lengths: Array) -> BinaryTrees:
        """``ids`` (batch, words), of which ``lengths`` (batch,) are each sentence's own."""
        states, _ = self.lstm(embedded(self.table, ids), lengths=lengths)
        half = states.shape[2] // 2
        # what has been read at each gap between words: forwards before it, backwards behind it
        ahead = ops.pad(states[:, :, :half], width=((0, 0), (1, 0), (0, 0)))
        back = ops.pad(states[:, :, half:], width=((0, 0), (0, 1), (0, 0)))
        gaps = ops.concatenate(ahead, back, axis=2) @ self.project.weight
        spans = gaps[:, None, 1:] - gaps[:, :-1, None] + self.project.bias  # (batch, n, n, hidden)
        scores = self.score(ops.relu(self.norm(spans)))
        return BinaryTrees(ops.reshape(scores, shape=scores.shape[:3]), lengths)


class StackWriter(Module):
    """Trees and texts to log p(x, z): see above; also writes them.

    Words of the ``vocabulary`` are vectors of ``features`` at the leaves of a TreeLSTM whose
    states have ``cell`` features, and ``hidden`` is the size of h.
    """

    def __init__(
        self, vocabulary: int, features: int, cell: int, hidden: int, *, rng: Any = None
    ) -> None:
        self.table = Embedding(vocabulary, features, rng=rng)
        self.tree = NaryTreeLSTM(features, cell, rng=rng)
        self.nothing = Tensor(normal((1, cell), 0.3, rng=rng), requires_grad=True)
        self.look = Linear(2 * cell, hidden, rng=rng)
        self.reduce = Linear(hidden, 1, rng=rng)
        self.word = Linear(hidden, vocabulary, rng=rng)

    def forward(self, words: Array, actions: Any, lengths: Any) -> tuple[Any, Any]:
        """Of each tree log p of its actions and of its words given these, (rows,) each.

        ``words`` are those of all rows, one row after the other; ``actions`` (rows, steps) build a
        tree of ``lengths`` (rows,) words in each.
        """
        walk = walked(actions, lengths)
        states, _ = self.tree(walk.forest, embedded(self.table, words), walk.leaves)
        states = ops.concatenate(states, self.nothing, axis=0)
        seen = ops.getitem(states, index=asarray(walk.top))
        h = self._look(seen[:, 0], seen[:, 1])
        shifts, rows = walk.action == SHIFT, len(lengths)
        sign = asarray(numpy.where(shifts, -1.0, 1.0).astype(str(h.dtype)))
        empty = asarray(walk.top[:, 1] == len(walk.forest))
        action = ops.where(empty, 0.0, log_sigmoid(self.reduce(h)[:, 0] * sign))
        at_shifts = ops.getitem(h, index=asarray(numpy.flatnonzero(shifts)))
        word = -cross_entropy(self.word(at_shifts), words, reduction="none")
        return (
            segment_sum(action, asarray(walk.row), rows),
            segment_sum(word, asarray(walk.row[shifts]), rows),
        )

    def write(
        self, longest: Any, actions: Any = None, rng: Any = None
    ) -> tuple[Array, list[list[int]]]:
        """Draw texts and trees, step by step: actions (rows, steps) of the host, and ids of words.

        Of trees whose ``actions`` (rows, steps) are given only the words are drawn, each as the
        stack foretells it, whatever the actions to come. A text has at most ``longest`` (rows,)
        words. ``rng`` draws.
        """
        stacks, rows = Stacks(longest), len(longest)
        rest = xp.zeros((rows, self.tree.hidden), self.nothing.dtype)
        cells = Cells(ops.concatenate(entries(self.nothing) + rest, rest, axis=1))
        leaves = Tree(numpy.full(rows, -1))
        taken: list = []
        texts: list = [[] for _ in range(rows)]
        while not stacks.done.all():
            below, top = (self._halves(cells.read(stacks.at(depth)))[0] for depth in (2, 1))
            h = self._look(below, top)
            legal = stacks.legal
            if actions is None:
                logits = ops.concatenate(0.0 * self.reduce(h), self.reduce(h), axis=1)
                reduce = _drawn(logits, rng) == REDUCE
                reduce = (reduce | ~legal[:, SHIFT]) & (stacks.height > 0)
                ends = reduce & (stacks.height == 1)
                stacks.lengths = numpy.where(ends, stacks.shifted, stacks.lengths)
                action = numpy.where(reduce, REDUCE, SHIFT)
            else:
                action = numpy.asarray(actions)[:, len(taken)]
            if stacks.done.all():
                break
            passed = stacks.done
            words = _drawn(self.word(h), rng)
            move = stacks.step(action)
            leaf = self.tree(leaves, embedded(self.table, asarray(words)), leaves.leaves)
            left, right = (self._halves(cells.read(cell)) for cell in (move.left, move.right))
            kept = asarray(move.reduce[:, None])
            made = zip(self.tree.compose(left, right), leaf)
            cells.write(ops.concatenate([ops.where(kept, a, b) for a, b in made], axis=1))
            taken.append(numpy.where(passed, SHIFT, action))
            for row in numpy.flatnonzero(~passed & ~move.reduce).tolist():
                texts[row].append(int(words[row]))
        return numpy.stack(taken, 1), texts

    def _look(self, below: Any, top: Any) -> Any:
        return ops.tanh(self.look(ops.concatenate(below, top, axis=1)))

    def _halves(self, cell: Any) -> tuple[Any, Any]:
        """The state and the memory of a TreeLSTM, which are one cell."""
        return cell[:, : self.tree.hidden], cell[:, self.tree.hidden :]


def _drawn(logits: Any, rng: Any) -> Any:
    """A choice by each row of ``logits``, on the host (Gumbel's way to draw)."""
    noise = -xp.log1p(-uniform_noise(logits.shape, "float64", rng))
    with quiet():  # of a noise of 0
        return asnumpy((entries(logits) - xp.log(noise)).argmax(axis=1))


class Walk(NamedTuple):
    """All that a writer does for trees that are known, in flat arrays of the host.

    Of each row come its nodes, one for each action, in one ``forest``; ``leaves`` are those of
    SHIFT. Of each row come its decisions: an ``action``, seen the two nodes at the ``top``
    (decisions, 2), the upper one second, where the number of nodes stands for nothing; ``row``
    tells whose they are. The last one of a row ends it.
    """

    forest: Tree
    leaves: Array
    row: Array
    top: Array
    action: Array


def walked(actions: Any, lengths: Any) -> Walk:
    """The walk of ``actions`` (rows, steps), which build a tree of ``lengths`` (rows,) words each.

    Raises ValueError for actions that do not, and for a length of 0.
    """
    actions, stacks = numpy.asarray(actions), Stacks(lengths)
    if not (stacks.lengths > 0).all():
        raise ValueError("a tree has one word or more: leave out empty sentences")
    steps, made = actions.shape[1], 2 * stacks.lengths - 1
    tops, pairs = [], []
    for step in range(steps + 1):
        tops.append(numpy.stack([stacks.at(2), stacks.at(1)], 1))
        if step < steps:
            move = stacks.step(actions[:, step])
            pairs.append(numpy.stack([move.left, move.right], 1))
    if not stacks.done.all():
        raise ValueError(expect("2 n - 1 actions for n words", actions, stacks.lengths))
    starts = numpy.cumsum(made) - made
    row, time = numpy.nonzero(numpy.arange(steps) < made[:, None])
    parts = numpy.stack(pairs, 1)[row, time]  # (nodes, 2), 0 for leaves
    nodes = len(parts)
    parent = numpy.full(nodes, -1)
    inner = parts[:, 0] > 0
    parent[starts[row[inner], None] + parts[inner] - 1] = numpy.flatnonzero(inner)[:, None]
    action = numpy.pad(actions, ((0, 0), (0, 1)))
    action[numpy.arange(len(action)), made] = REDUCE
    row, time = numpy.nonzero(numpy.arange(steps + 1) <= made[:, None])
    top = numpy.stack(tops, 1)[row, time]
    top = numpy.where(top > 0, starts[row, None] + top - 1, nodes)
    return Walk(Tree(parent), numpy.flatnonzero(~inner), row, top, action[row, time])


class TreeAutoencoder(Saved):
    """Sentences (batch, words), integers in [0, vocabulary), to trees and back: see above.

    ``features`` are those of the vectors of words, ``hidden`` those of the encoder's LSTMs and of
    the decoder's h, ``cell`` those of a cell of the stack. The loss draws ``samples`` trees of each
    sentence; the weight of the KL divergence grows in the first ``warm_up`` steps.
    """

    def __init__(
        self, vocabulary: int, features: int = 48, hidden: int = 64, cell: int = 10,
        samples: int = 5, warm_up: int = 300, *, rng: Any = None,
    ) -> None:
        if min(vocabulary, samples - 1, warm_up) < 1:
            raise ValueError(f"impossible {vocabulary=}, {samples=} (2 or more), {warm_up=}")
        self.config = {
            "vocabulary": vocabulary, "features": features, "hidden": hidden, "cell": cell,
            "samples": samples, "warm_up": warm_up,
        }  # fmt: skip
        self.vocabulary, self.samples, self.warm_up = vocabulary, samples, warm_up
        self.reader = ChartReader(vocabulary, features, hidden, rng=rng)
        self.writer = StackWriter(vocabulary, features, cell, hidden, rng=rng)
        self.steps = xp.zeros((), "int64")  # of training, taken so far

    def forward(self, text: Any) -> BinaryTrees:
        """q: the distribution over the trees of each sentence.

        ``text`` is an array (batch, words), or a ``seq.Padded``.
        """
        return self.reader(*self._read(text))

    def log_joint(self, text: Any, spans: Any) -> tuple[Any, Any]:
        """log p of trees, and of the ``text`` given them: their sum is log p(x, z).

        ``spans`` (batch, n, n) or (samples, batch, n, n) are those of ``BinaryTrees``, n the words
        of the longest sentence. Returns two of (batch,) or (samples, batch).
        """
        ids, lengths = self._read(text)
        if tuple(spans.shape[-3:]) != (*ids.shape, ids.shape[1]):
            wanted = f"spans (..., {len(ids)}, {ids.shape[1]}, {ids.shape[1]})"
            raise ValueError(expect(wanted, spans))
        times = int(numpy.prod(spans.shape[:-3]))
        own = xp.arange(ids.shape[1]) < lengths[:, None]
        actions = actions_of_spans(spans)
        both = self.writer(
            xp.tile(ids[own], times), actions.reshape(-1, actions.shape[-1]),
            numpy.tile(asnumpy(lengths), times),
        )  # fmt: skip
        tree, words = (ops.reshape(part, shape=spans.shape[:-2]) for part in both)
        return tree, words

    def loss(self, text: Any) -> tuple[Any, dict[str, Any]]:
        """What to minimise, and of the bound the perplexity, the nats of words and of trees for
        each word and end, and the entropy of q for each sentence."""
        q = self(text)
        spans = q.sample(self.samples)
        tree, words = self.log_joint(text, spans)
        weight = xp.minimum((self.steps + 1) / self.warm_up, 1.0).astype(tree.dtype)
        if self.training:
            self.steps += 1
        entropy = q.entropy()
        reward = weight * entries(tree) + entries(words)
        chosen = leave_one_out(ops.swapaxes(q.log_prob(spans), first=0, second=1), reward.T)
        loss = chosen - (tree + words).mean() - weight * entropy.mean()
        count = (q.lengths + 1).mean()
        nats = -entries(words).mean() / count
        cost = -(entries(tree).mean() + entries(entropy).mean()) / count
        return loss, {
            "perplexity": xp.exp(nats + cost), "words": nats, "trees": cost,
            "entropy": entries(entropy).mean(),
        }  # fmt: skip

    # --- Use -----------------------------------------------------------------------------------

    @no_grad()
    def parse(self, text: Any) -> Array:
        """The most probable tree of each sentence by q, as its spans (batch, n, n)."""
        return self(text).best()[1]

    @no_grad()
    def bounds(self, text: Any, samples: int = 50, rng: Any = None) -> Bounds:
        """Lower bounds of log p of each sentence, from ``samples`` trees that ``rng`` draws."""
        q = self(text)
        spans = q.sample(samples, rng)
        tree, words = (asnumpy(entries(x)).astype("float64") for x in self.log_joint(text, spans))
        entropy = asnumpy(entries(q.entropy())).astype("float64")
        ratio = tree + words - asnumpy(entries(q.log_prob(spans)))
        most = ratio.max(axis=0)
        importance = most + numpy.log(numpy.exp(ratio - most).mean(axis=0))
        elbo = (tree + words).mean(axis=0) + entropy
        return Bounds(elbo, importance, words.mean(axis=0), entropy)

    @no_grad()
    def write(
        self, count: int = 1, *, longest: int = 30, rng: Any = None
    ) -> tuple[list[list[int]], list[list[int]]]:
        """``count`` texts of up to ``longest`` words, as ids, and the actions of their trees: both
        drawn by ``rng``. Raises ValueError for a count or a length below 1."""
        if min(count, longest) < 1:
            raise ValueError(f"impossible {count=}, {longest=}")
        taken, texts = self.writer.write(numpy.full(count, longest), None, rng)
        return texts, [row[: 2 * len(text) - 1] for row, text in zip(taken.tolist(), texts)]

    @no_grad()
    def write_along(
        self, actions: Any, lengths: Any, *, candidates: int = 20, likely: bool = False,
        rng: Any = None,
    ) -> list[list[int]]:
        """A text, as ids, for each tree that is given by ``actions`` (rows, steps), such as those
        of ``actions_of_spans``, with ``lengths`` (rows,) words.

        Of some ``candidates``, whose words are drawn by ``rng`` as they come, one is taken with the
        probability that its actions then have: the more there are, the closer to p(x | z). If
        ``likely``, it is the one with the highest p(x, z). Raises ValueError for actions that make
        no such tree, and for less than one candidate.
        """
        if candidates < 1:
            raise ValueError(f"impossible {candidates=}")
        actions, lengths = numpy.asarray(asnumpy(actions)), numpy.asarray(asnumpy(lengths))
        walked(actions, lengths)  # which knows what is wrong with them
        actions, most = actions.repeat(candidates, axis=0), lengths.repeat(candidates)
        _, texts = self.writer.write(most, actions, rng)
        tree, words = self.writer(asarray(numpy.concatenate(texts)), actions, most)
        scores = entries(tree + words if likely else tree)
        shape = len(lengths), candidates
        if likely:
            chosen = asnumpy(scores.reshape(shape).argmax(axis=1))
        else:
            chosen = _drawn(scores.reshape(shape), rng)
        return [texts[row * candidates + choice] for row, choice in enumerate(chosen.tolist())]

    def _read(self, text: Any) -> tuple[Array, Array]:
        ids, mask = read_ids(text, self.vocabulary, None, "words")
        lengths = xp.full(len(ids), ids.shape[1]) if mask is None else mask.sum(axis=1)
        return ids, lengths

    @staticmethod
    def _shapes(
        vocabulary: int, features: int, hidden: int, cell: int, **others: Any
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield "reader.project.weight", (2 * hidden, hidden)
        yield "writer.table.weight", (vocabulary, features)
        yield "writer.look.weight", (2 * cell, hidden)
