"""What is done to the trees of a treebank before they are used: traces, punctuation, function tags
and unary chains removed; nodes of many children made binary, and back."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ..backend import numpy
from .trees import Tree, preordered, select

TRACE = "-NONE-"
PUNCTUATION = frozenset({",", ".", ":", "``", "''", "-LRB-", "-RRB-"})
"""The tags of the Penn Treebank for what is not spoken."""


def without_leaves(tree: Tree, tags: Collection[str]) -> Tree:
    """``tree`` without the leaves whose label is one of ``tags``, nor what they leave empty.

    Nothing may be left: a tree of no nodes, which is false.
    """
    kept = [tree.labels[i] not in tags for i in tree.leaves.tolist()]
    before = numpy.cumsum([0, *kept])[tree.spans]
    return select(tree, before[:, 1] > before[:, 0])


def without_traces(tree: Tree) -> Tree:
    """``tree`` without the empty elements of the Penn Treebank (``-NONE-``), nor what holds nothing
    else."""
    return without_leaves(tree, {TRACE})


def without_punctuation(tree: Tree, tags: Collection[str] = PUNCTUATION) -> Tree:
    """``tree`` without leaves of the ``tags`` of punctuation, nor what holds nothing else."""
    return without_leaves(tree, tags)


def without_functions(tree: Tree) -> Tree:
    """``tree`` with the bare category as label: ``NP-SBJ-1`` and ``NP=2`` become ``NP``.

    Labels that begin with a dash, as -NONE- and -LRB- do, stay.
    """
    labels = [re.split("[-=]", label, maxsplit=1)[0] or label for label in tree.labels]
    return Tree(tree.parent, labels, tree.words)


# --- Unary chains --------------------------------------------------------------------------------


def without_unaries(tree: Tree, join: str | None = "+") -> Tree:
    """``tree`` with each chain of only children as one node, whose label is theirs by ``join``.

    ``(S (VP (VB go)))`` becomes ``(S+VP+VB go)``, and ``with_unaries`` undoes it. With
    ``join=None`` the uppermost label stays alone, and of a chain down to a leaf the leaf's.
    Raises ValueError where a label has the joint in it already.
    """
    only = numpy.append(tree.degree == 1, False)[tree.parent]  # a root's parent is the last
    labels, words = list(tree.labels), list(tree.words)
    if join is not None and (bad := [label for label in labels if join in label]):
        raise ValueError(f"the label {bad[0]!r} has the joint in it: choose another join=")
    chain: list[list[str]] = [[] for _ in labels]
    head = list(range(len(labels)))
    for node in tree.preorder[only[tree.preorder]].tolist():
        top = head[node] = head[tree.parent[node]]
        chain[top].append(tree.labels[node])
        words[top] = words[top] if tree.words[node] is None else tree.words[node]
        if join is None and tree.degree[node] == 0:
            labels[top] = tree.labels[node]
    if join is not None:
        labels = [join.join([label, *below]) for label, below in zip(labels, chain)]
    return select(Tree(tree.parent, labels, words), ~only)


def with_unaries(tree: Tree, join: str = "+") -> Tree:
    """``tree`` with the chains again that ``without_unaries`` made one node each by ``join``."""
    labels: list[str] = []
    words: list[str | None] = []
    parent: list[int] = []
    last = [-1] * (len(tree) + 1)  # the lowest node of each chain
    for node in tree.preorder.tolist():
        above = last[tree.parent[node]]
        for label in tree.labels[node].split(join):
            parent.append(above)
            above = len(labels)
            labels.append(label)
            words.append(None)
        words[-1] = tree.words[node]
        last[node] = above
    return preordered(parent, labels, words)


# --- Binary trees --------------------------------------------------------------------------------


def binarize(tree: Tree, side: str = "right", mark: str = "@") -> Tree:
    """``tree`` with at most two children to a node: those of more are put below new nodes.

    New nodes are on the ``side`` "right", (a (b (c d))), or "left", (((a b) c) d). Their label is
    that of the node they help, behind the ``mark`` by which ``unbinarize`` knows them. The nodes of
    the result are in preorder. Raises ValueError for another side, for an empty mark, and where a
    label begins with the mark already.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side must be 'left' or 'right', got {side!r}")
    if not mark or (bad := [label for label in tree.labels if label.startswith(mark)]):
        what = f"the label {bad[0]!r} begins with it" if mark else "it is empty"
        raise ValueError(f"the mark {mark!r} cannot tell new nodes: {what}; choose another mark=")
    labels: list[str] = []
    words: list[str | None] = []
    parent: list[int] = []
    right, degree, above = side == "right", tree.degree.tolist(), tree.parent.tolist()
    seen, place = [0] * (len(tree) + 1), [-1] * (len(tree) + 1)
    helpers: list[Any] = [()] * (len(tree) + 1)  # the new nodes below each, the upper ones first

    def add(below: int, label: str, word: str | None = None) -> int:
        parent.append(below)
        labels.append(label)
        words.append(word)
        return len(labels) - 1

    for node in tree.preorder.tolist():
        top = above[node]
        below, slot = place[top], seen[top]
        seen[top] += 1
        many = degree[top] - 2 if top >= 0 else 0  # how many new nodes the parent needs
        if many > 0:
            label = mark + tree.labels[top]
            if right:
                if 0 < slot <= many:  # place[top] moves down, to the new node below
                    below = place[top] = add(below, label)
            else:
                if not slot:
                    helpers[top] = chain = [below]
                    for _ in range(many):
                        chain.append(add(chain[-1], label))
                below = helpers[top][min(many + 1 - slot, many)]
        place[node] = add(below, tree.labels[node], tree.words[node])
    return preordered(parent, labels, words)


def unbinarize(tree: Tree, mark: str = "@") -> Tree:
    """``tree`` without the nodes whose labels begin with ``mark``; their children take their place.
    """
    return select(tree, [not label.startswith(mark) for label in tree.labels])
