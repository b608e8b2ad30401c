"""A batch of stacks that SHIFT words and REDUCE pairs, as arrays of indices: how a recurrent neural
network grammar (Dyer et al. 2016) reads or writes a binary tree from left to right.

What a model computes at each step is written to a row of ``Cells`` once, and never moves. A stack
holds numbers of cells, so that all stacks of a batch take a step at once, whatever each one does::

    stacks, cells = Stacks(lengths), Cells(nothing)
    for t in range(actions.shape[1]):
        move = stacks.step(actions[:, t])
        shifted = words[rows, move.word]
        reduced = compose(cells.read(move.left), cells.read(move.right))
        cells.write(where(move.reduce[:, None], reduced, shifted))
    roots = cells.read(stacks.top)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..backend import asarray, asnumpy, expect, numpy
from ..ops import concatenate, getitem
from .trees import Tree, preordered

Array = Any  # of the host: what decides which cells are read next is NumPy's
SHIFT = 0
"""The action that puts the next word on the stack."""
REDUCE = 1
"""The action that makes one of the two nodes on top of the stack."""
NAMES = ("SHIFT", "REDUCE")


def actions_of(tree: Tree) -> Array:
    """The actions that build a binary ``tree``, (nodes,): SHIFT for a leaf, REDUCE for a pair.

    Action ``t`` makes node ``tree.postorder[t]``. Raises ValueError for a node that has another
    number of children than two, and unless there is one root.
    """
    degree = tree.degree[tree.postorder]
    if len(tree.roots) != 1 or not ((degree == 0) | (degree == 2)).all():
        raise ValueError(
            f"{tree} is not one binary tree: take without_unaries(tree), and of that binarize(...)"
        )
    return numpy.where(degree == 0, SHIFT, REDUCE)


def actions_of_spans(spans: Any) -> Array:
    """The actions that build binary trees given as ``spans`` (..., n, n), as ``BinaryTrees`` has
    them: (..., 2n - 1), SHIFT behind the last one.

    Raises ValueError for another shape.
    """
    spans = asnumpy(spans)
    if spans.ndim < 2 or spans.shape[-1] != spans.shape[-2]:
        raise ValueError(expect("spans (..., n, n)", spans))
    *leading, n, _ = spans.shape
    rows, count = spans.reshape(math.prod(leading), n, n), max(2 * n - 1, 0)
    # words in order, and after each what ends with it, the shorter first
    row, last, back = numpy.nonzero(rows.swapaxes(1, 2)[:, :, ::-1])
    starts = numpy.cumsum(rows.sum(axis=(1, 2)))[:-1]
    actions = numpy.full((len(rows), count), SHIFT)
    place = numpy.arange(len(row)) - numpy.append(0, starts)[row] if len(row) else row
    actions[row, place] = numpy.where(n - 1 - back < last, REDUCE, SHIFT)
    return actions.reshape(*leading, count)


def tree_of(
    actions: Iterable[int], labels: Sequence[str] | None = None,
    words: Sequence[str | None] | None = None,
) -> Tree:
    """The tree that ``actions`` build, its nodes in preorder.

    ``labels`` and ``words`` are those of the nodes that each action makes, one for each. Raises
    ValueError for actions that build no tree.
    """
    stack: list[int] = []
    above: list[int] = []
    for time, action in enumerate(actions):
        if action == REDUCE and len(stack) > 1:
            for _ in range(2):
                above[stack.pop()] = time
        elif action != SHIFT:
            raise ValueError(f"action {time}, {_name(action)}, finds {len(stack)} on the stack")
        stack.append(time)
        above.append(-1)
    if len(stack) != 1:
        raise ValueError(f"a tree ends with one node on the stack, these actions with {len(stack)}")
    built = Tree(above, labels, words)
    order, rank = built.preorder, numpy.empty(len(built) + 1, "int64")
    rank[order], rank[-1] = numpy.arange(len(built)), -1
    labels, words = [built.labels[i] for i in order], [built.words[i] for i in order]
    return preordered(rank[built.parent[order]], labels, words)


def _name(action: Any) -> str:
    return NAMES[int(action)] if action in (SHIFT, REDUCE) else str(action)


class Move(NamedTuple):
    """What a step does, (batch,) each.

    Where ``reduce`` is True the cells ``left`` and ``right`` become one, else ``word`` is shifted;
    the new cell lies on the cell ``below``. A cell that a row does not need is cell 0, a word 0.
    """

    reduce: Array
    word: Array
    left: Array
    right: Array
    below: Array


class Stacks:
    """Stacks of cells, one for each sentence of a batch; ``lengths`` (batch,) has their words.

    Cell 0 is nothing, step ``t`` makes cell ``t + 1``. ``cells`` (batch, depth) has the numbers of
    the cells on each stack, from column 1 on, ``height`` (batch,) how many those are, and
    ``shifted`` (batch,) how many words were shifted.
    """

    def __init__(self, lengths: Any) -> None:
        self.lengths = numpy.asarray(lengths)
        whole = self.lengths.ndim == 1 and self.lengths.dtype.kind in "iu"
        if not whole or (self.lengths < 0).any():
            raise ValueError(expect("lengths (batch,), integers of 0 or more", self.lengths))
        batch = len(self.lengths)
        self.cells = numpy.zeros((batch, int(self.lengths.max(initial=0)) + 1), "int64")
        self.height = numpy.zeros(batch, "int64")
        self.shifted = numpy.zeros(batch, "int64")
        self.time = 0

    @property
    def legal(self) -> Array:
        """Which actions are possible, (batch, 2): SHIFT while there are words, REDUCE of two cells.
        """
        return numpy.stack([self.shifted < self.lengths, self.height > 1], 1)

    @property
    def done(self) -> Array:
        """Which sentences are whole trees, (batch,): no action is possible any more."""
        return ~self.legal.any(1)

    @property
    def top(self) -> Array:
        """The cell on top of each stack, (batch,); 0 of an empty one."""
        return self.at(1)

    def at(self, depth: int) -> Array:
        """The cell that is the ``depth``-th from the top of each stack, (batch,); else 0."""
        places = numpy.maximum(self.height + 1 - depth, 0)
        return self.cells[numpy.arange(len(places)), places]

    def step(self, actions: Any) -> Move:
        """Let each sentence take its one of the ``actions`` (batch,), SHIFT or REDUCE.

        Those that are done pass, whatever their action. Raises ValueError for an action that is not
        possible, and for a number that is none.
        """
        actions, legal = numpy.asarray(actions), self.legal
        active = legal.any(1)
        if actions.shape != active.shape or actions.dtype.kind not in "iub":
            raise ValueError(expect(f"actions [{len(active)}], integers", actions))
        known = (actions == SHIFT) | (actions == REDUCE)
        chosen = numpy.where(active & known, actions, 0).astype("int64")
        wrong = active & ~(known & legal[numpy.arange(len(chosen)), chosen])
        if wrong.any():
            row = int(wrong.argmax())
            left = self.lengths[row] - self.shifted[row]
            raise ValueError(
                f"{_name(actions[row])} is not possible for sentence {row} at step {self.time}: "
                f"it has {left} words left, and {self.height[row]} cells on its stack"
            )
        self.time += 1
        reduce, shift = active & (chosen == REDUCE), active & (chosen == SHIFT)
        move = Move(
            reduce, numpy.where(shift, self.shifted, 0), numpy.where(reduce, self.at(2), 0),
            numpy.where(reduce, self.at(1), 0),
            numpy.where(reduce, self.at(3), numpy.where(shift, self.at(1), 0)),
        )  # fmt: skip
        self.shifted += shift
        self.height += shift
        self.height -= reduce
        self.cells[active, self.height[active]] = self.time
        return move


class Cells:
    """What a batch has written, step by step, from which each of its rows reads where it needs to.

    Cell 0 is ``nothing`` (batch, features), for a row that has no cell to read.
    """

    def __init__(self, nothing: Any) -> None:
        self.written = [nothing]

    def write(self, values: Any) -> None:
        """Keep ``values`` (batch, features) as the next cell. Raises ValueError for other shapes.
        """
        if values.shape != self.written[0].shape:
            raise ValueError(expect(f"{list(self.written[0].shape)}, as cell 0 is", values))
        self.written.append(values)

    def read(self, index: Any) -> Any:
        """Of each row its own cell: row ``b`` of cell ``index[b]``, (batch, features).

        Only the cells that are named are touched, so that the time of a step does not grow with the
        number of steps before.
        """
        cells, place = numpy.unique(index, return_inverse=True)
        if len(cells) == 1:
            return self.written[cells[0]]
        batch = len(place)
        rows = asarray(place.ravel() * batch + numpy.arange(batch))
        return getitem(concatenate([self.written[cell] for cell in cells]), index=rows)
