"""Trees as flat arrays: which node hangs below which, and what follows from that. Nothing recurses,
so that a tree may be as deep as it is large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..backend import describe, numpy

Array = Any  # of the host: trees are NumPy's, whatever the backend is


class Tree:
    """A tree of numbered nodes: node ``i`` hangs below node ``parent[i]``, a root below -1.

    ``labels`` has a str for each node, by default ""; ``words`` the token that stands at it, or
    None. The children of a node are in the order of their numbers, which may be any: readers of
    brackets number the nodes as their brackets open, those of dependencies as the words stand.
    There may be several roots. Trees are equal if their arrays are. Raises ValueError for a parent
    that is no node, and for a cycle.
    """

    def __init__(
        self, parent: Any, labels: Sequence[str] | None = None,
        words: Sequence[str | None] | None = None,
    ) -> None:
        self.parent: Array = numpy.asarray(parent, "int64")
        count = self.parent.size
        self.labels = [""] * count if labels is None else list(labels)
        self.words = [None] * count if words is None else list(words)
        if self.parent.ndim != 1 or len(self.labels) != count or len(self.words) != count:
            sizes = f"{describe(self.parent)}, {len(self.labels)} and {len(self.words)}"
            raise ValueError(f"a tree needs parent, label and word for each node, got {sizes}")
        outside = (self.parent < -1) | (self.parent >= count)
        if outside.any():
            node = int(outside.argmax())
            raise ValueError(f"the parent of node {node} is {self.parent[node]}, of {count} nodes")
        if (self.parent >= numpy.arange(count)).any() and len(self.preorder) < count:
            missed = numpy.ones(count, bool)
            missed[self.preorder] = False
            raise ValueError(f"node {int(missed.argmax())} hangs below itself: a cycle is no tree")

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tree):
            return NotImplemented
        same = self.labels == other.labels and self.words == other.words
        return same and numpy.array_equal(self.parent, other.parent)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} nodes, {len(self.leaves)} leaves)"

    # --- What follows ----------------------------------------------------------------------------

    @cached_property
    def roots(self) -> Array:
        """The nodes that hang below none."""
        return numpy.flatnonzero(self.parent < 0)

    @cached_property
    def child(self) -> Array:
        """All nodes but the roots, those of one parent side by side; see ``first``."""
        return numpy.argsort(self.parent, kind="stable")[len(self.roots) :]

    @cached_property
    def first(self) -> Array:
        """Where the children of each node begin: they are ``child[first[i]:first[i + 1]]``."""
        return numpy.bincount(self.parent + 1, minlength=len(self) + 1).cumsum() - len(self.roots)

    def children(self, node: int) -> Array:
        """The nodes that hang below ``node``, in order."""
        return self.child[self.first[node] : self.first[node + 1]]

    @cached_property
    def left(self) -> Array:
        """The first child of each node, -1 for a leaf."""
        return self._end(0)

    @cached_property
    def right(self) -> Array:
        """The last child of each node, -1 for a leaf: of a binary node its second."""
        return self._end(1)

    def _end(self, side: int) -> Array:
        places = self.first[1:] - 1 if side else self.first[:-1]
        nodes = numpy.append(self.child, -1)  # so that there is one to pick, for a leaf too
        return numpy.where(self.degree > 0, nodes[places], -1)

    @cached_property
    def degree(self) -> Array:
        """How many children each node has."""
        return self.first[1:] - self.first[:-1]

    @cached_property
    def preorder(self) -> Array:
        """The nodes, each before what hangs below it: as their brackets open."""
        return self._visited(-1)

    @cached_property
    def postorder(self) -> Array:
        """The nodes, each after what hangs below it: as their brackets close."""
        return self._visited(1)[::-1]

    def _visited(self, direction: int) -> Array:
        """Each node before its children, which come from the first (-1) or from the last (1)."""
        child, first = self.child.tolist(), self.first.tolist()
        stack = self.roots[::direction].tolist()
        found = []
        while stack:
            node = stack.pop()
            found.append(node)
            start, end = first[node], first[node + 1]
            if start < end:
                stack += child[start:end][::direction]
        return numpy.array(found, "int64")

    @cached_property
    def leaves(self) -> Array:
        """The nodes without children, from left to right."""
        return self.preorder[self.degree[self.preorder] == 0]

    @cached_property
    def depth(self) -> Array:
        """How many nodes stand above each."""
        depths, parent = [0] * (len(self) + 1), self.parent.tolist()
        depths[-1] = -1  # above a root
        for node in self.preorder.tolist():
            depths[node] = depths[parent[node]] + 1
        return numpy.array(depths[:-1], "int64")

    @cached_property
    def level(self) -> Array:
        """The height of each node above the lowest leaf below it; 0 for a leaf."""
        levels, parent = [0] * (len(self) + 1), self.parent.tolist()
        for node in reversed(self.preorder.tolist()):
            above = parent[node]
            if levels[above] <= levels[node]:
                levels[above] = levels[node] + 1
        return numpy.array(levels[:-1], "int64")

    @cached_property
    def spans(self) -> Array:
        """The leaves below each node, (nodes, 2): from the first of a pair to before its second.

        They count from left to right. A leaf has a span of one.
        """
        sizes, parent = [1] * (len(self) + 1), self.parent.tolist()
        for node in reversed(self.preorder.tolist()):
            sizes[parent[node]] += sizes[node]
        before = numpy.cumsum([0, *(self.degree[self.preorder] == 0)])
        place = numpy.empty(len(self), "int64")
        place[self.preorder] = numpy.arange(len(self))
        ends = place + numpy.array(sizes[:-1], "int64")
        return numpy.stack([before[place], before[ends]], 1)

    @cached_property
    def levels(self) -> Levels:
        """The nodes by level, which is how to compute from the leaves up, a level at a time."""
        order = numpy.argsort(self.level, kind="stable")
        rank = numpy.empty(len(self), "int64")
        rank[order] = numpy.arange(len(self))
        starts = numpy.append(0, numpy.bincount(self.level, minlength=1).cumsum())
        parent = rank[self.parent[self.child]]
        by_parent = numpy.argsort(parent, kind="stable")
        parent, child = parent[by_parent], rank[self.child][by_parent]
        heads = parent.searchsorted(numpy.arange(starts[1], len(self)))
        return Levels(order, rank, starts, child, parent, heads, parent.searchsorted(starts))


def preordered(
    parent: Any, labels: Sequence[str] | None = None, words: Sequence[str | None] | None = None
) -> Tree:
    """A Tree whose nodes are known to be in preorder, so that it need not find that out."""
    tree = Tree(parent, labels, words)
    tree.preorder = numpy.arange(len(tree))
    return tree


class Levels(NamedTuple):
    """The nodes of a tree or forest sorted by level, and which of them hang below which.

    ``order`` lists the nodes, the leaves first, and ``rank[i]`` is the place of node ``i`` in it;
    level ``l`` has the places ``starts[l]`` to ``starts[l + 1]``. Edge ``e`` is from place
    ``child[e]`` up to place ``parent[e]``. Edges are sorted by parent: ``heads`` has the first of
    each node that is no leaf, and those up to level ``l`` are ``edges[l]`` to ``edges[l + 1]``.
    """

    order: Array
    rank: Array
    starts: Array
    child: Array
    parent: Array
    heads: Array
    edges: Array

    def slots(self, arity: int) -> Array:
        """The places of the children of each node that has some, (those nodes, ``arity``).

        Where there is no child is the number of nodes: a place behind the last. Raises ValueError
        for a node with more children than ``arity``.
        """
        row = self.parent - self.starts[1]
        slot = numpy.arange(len(row)) - self.heads[row]
        if (slot >= arity).any():
            node, count = self.order[self.parent[slot.argmax()]], slot.max() + 1
            raise ValueError(f"node {node} has {count} children, more than {arity}: binarize it")
        places = numpy.full((len(self.heads), arity), len(self.order))
        places[row, slot] = self.child
        return places


class Forest(Tree):
    """Trees side by side, as one: the nodes of each of ``trees`` after those of the one before.

    ``starts[t]`` is the first node of tree ``t``, and ``starts[-1]`` the number of nodes.
    """

    def __init__(self, trees: Iterable[Tree]) -> None:
        if isinstance(trees, Tree):
            raise TypeError("trees must be several, as a list; put the one into [...]")
        self.trees = list(trees)
        self.starts: Array = numpy.cumsum([0, *map(len, self.trees)])
        above = self._joined([tree.parent for tree in self.trees])
        self.parent = numpy.where(above < 0, -1, above + self.starts[self.tree])
        self.labels = [label for tree in self.trees for label in tree.labels]
        self.words = [word for tree in self.trees for word in tree.words]

    @cached_property
    def tree(self) -> Array:
        """The number of the tree that each node is of."""
        return numpy.repeat(numpy.arange(len(self.trees)), numpy.diff(self.starts))

    # What a tree has once found out serves every forest that it is in.

    @cached_property
    def preorder(self) -> Array:
        """As of a Tree: the trees one after the other."""
        starts = zip(self.trees, self.starts.tolist())
        return self._joined([tree.preorder + start for tree, start in starts])

    @cached_property
    def level(self) -> Array:
        """As of a Tree."""
        return self._joined([tree.level for tree in self.trees])

    def _joined(self, parts: list[Array]) -> Array:
        return numpy.concatenate([numpy.empty(0, "int64"), *parts])


def select(tree: Tree, keep: Any) -> Tree:
    """``tree`` without the nodes where the mask ``keep`` (nodes,) is False.

    What hung below one that goes hangs below the next above it that stays, in its place. The nodes
    of the result are in preorder. Raises ValueError for a mask of another length.
    """
    kept = numpy.asarray(keep, bool).tolist()
    if len(kept) != len(tree):
        raise ValueError(f"a mask of {len(kept)} does not fit {tree}")
    stands: list[int] = [-1] * (len(tree) + 1)  # the number of the node, or of what it hangs below
    parent = tree.parent.tolist()
    nodes: list[int] = []
    above: list[int] = []
    for node in tree.preorder.tolist():
        place = stands[parent[node]]
        if kept[node]:
            above.append(place)
            place = len(nodes)
            nodes.append(node)
        stands[node] = place
    return preordered(above, [tree.labels[i] for i in nodes], [tree.words[i] for i in nodes])
