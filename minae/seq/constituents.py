"""F1 of constituents: how well predicted trees agree with those of a treebank, and what trees reach
that know nothing. Figures differ by conventions more than by parsers: each is an option here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from ..backend import numpy
from ..random import generator
from .metrics import Scores
from .treebank import PUNCTUATION, TRACE, binarize, without_leaves, without_unaries
from .trees import Forest, Tree, preordered

UNSPOKEN = PUNCTUATION | {TRACE}


def tree_f1(
    gold: Iterable[Tree], predicted: Iterable[Tree], *, mean: str = "corpus",
    labeled: bool = False, duplicates: bool = False, whole: bool = False, words: bool = False,
    without: Collection[str] = UNSPOKEN,
) -> Scores:
    """How well the spans of ``predicted`` trees agree with those of the ``gold`` trees.

    ``mean`` is "corpus", where spans are counted over all sentences before they are divided, or
    "sentence", the mean of each one's figures. If ``labeled``, a span is right only with its label
    (PARSEVAL). With ``duplicates``, a span that several nodes have, as in unary chains, counts
    as often; else once. Trivial spans count if ``whole`` (the whole sentence) or ``words`` (nodes
    over a single word, but for the leaf itself) are set. Leaves whose gold label is one of
    ``without`` are left out, by default those of traces and punctuation (then nodes without a leaf
    are too); ``()`` keeps all. A predicted tree may have all leaves, or only those that are kept.

    A sentence of which no span counts on one side has there a precision, or a recall, of 1. Raises
    ValueError for another ``mean``, for trees whose leaves do not match, and for as many trees as
    predictions, or none.
    """
    if mean not in ("corpus", "sentence"):
        raise ValueError(f"mean must be 'corpus' or 'sentence', got {mean!r}")
    ours, theirs = Forest(gold), Forest(predicted)
    if not ours.trees or len(ours.trees) != len(theirs.trees):
        numbers = f"{len(ours.trees)} and {len(theirs.trees)}"
        raise ValueError(f"F1 is of as many trees as predictions, one or more; got {numbers}")
    kept = numpy.array([ours.labels[i] not in without for i in ours.leaves.tolist()], bool)
    sizes = _sizes(ours, kept)  # of the sentences
    ids = {label: i for i, label in enumerate({*ours.labels, *theirs.labels})} if labeled else {}
    found = []
    for forest, mask in ((theirs, _aligned(ours, theirs, kept)), (ours, kept)):
        spans = numpy.append(0, mask.cumsum())[forest.spans]
        lengths = spans[:, 1] - spans[:, 0]
        counted = (forest.degree > 0) & (lengths > (0 if words else 1))
        if not whole:
            counted &= lengths < sizes[forest.tree]
        label = numpy.array([ids.get(label, 0) for label in forest.labels], "int64")
        keys = (spans[:, 0] * (sizes.sum() + 1) + spans[:, 1]) * max(len(ids), 1) + label
        keys, first, times = numpy.unique(keys[counted], return_index=True, return_counts=True)
        tree = forest.tree[counted][first]
        found.append((keys, tree, times if duplicates else numpy.ones_like(times)))
    (keys, tree, times), (gold_keys, gold_tree, gold_times) = found
    _, place, gold_place = numpy.intersect1d(keys, gold_keys, True, return_indices=True)
    common = numpy.minimum(times[place], gold_times[gold_place])
    of = len(ours.trees)
    counts = numpy.stack([
        numpy.bincount(which, weights=number, minlength=of)
        for which, number in ((tree[place], common), (tree, times), (gold_tree, gold_times))
    ])  # fmt: skip
    if mean == "corpus":
        counts = counts.sum(1, keepdims=True)
    right, predictions, wanted = counts
    precision = numpy.where(predictions > 0, right / numpy.maximum(predictions, 1), 1.0)
    recall = numpy.where(wanted > 0, right / numpy.maximum(wanted, 1), 1.0)
    both = precision + recall
    f1 = 2 * precision * recall / numpy.where(both > 0, both, 1.0)
    return Scores(float(precision.mean()), float(recall.mean()), float(f1.mean()))


def _sizes(forest: Forest, kept: Any) -> Any:
    """How many of its leaves are kept of each tree."""
    return numpy.bincount(forest.tree[forest.leaves][kept], minlength=len(forest.trees))


def _aligned(gold: Forest, predicted: Forest, kept: Any) -> Any:
    """Which leaves of the predicted trees are those of the gold trees that are kept."""
    masks = numpy.split(kept, _sizes(gold, numpy.ones_like(kept)).cumsum()[:-1])
    sizes = _sizes(predicted, numpy.ones(len(predicted.leaves), bool)).tolist()
    for number, (mask, size) in enumerate(zip(masks, sizes)):
        words = int(numpy.count_nonzero(mask))
        if size == words:
            masks[number] = numpy.ones(size, bool)
        elif size != len(mask):
            what = f"a prediction with {len(mask)} leaves, or with the {words} that are kept"
            raise ValueError(f"tree {number} needs {what}; got {size}")
    return numpy.concatenate(masks)


# --- What trees reach that know nothing ----------------------------------------------------------


def right_branching(words: int) -> Tree:
    """The tree (a (b (c d))) over a number of ``words``."""
    return _split(words, lambda start, end: start + 1)


def left_branching(words: int) -> Tree:
    """The tree (((a b) c) d) over a number of ``words``."""
    return _split(words, lambda start, end: end - 1)


def balanced(words: int) -> Tree:
    """The tree over ``words`` that is halved again and again; of an odd number more is on the left.
    """
    return _split(words, lambda start, end: (start + end + 1) // 2)


def random_tree(words: int, *, rng: Any = None) -> Tree:
    """A binary tree over ``words``, each part of which is split anywhere with even chances."""
    draw = generator(rng)
    return _split(words, lambda start, end: int(draw.integers(start + 1, end)))


def best_binary(gold: Tree) -> Tree:
    """A binary tree with all spans of ``gold``: no binary tree has a higher F1."""
    mark = "@"
    while any(label.startswith(mark) for label in gold.labels):
        mark += "@"
    return binarize(without_unaries(gold, None), mark=mark)


def tree_over(spans: Any, words: Sequence[str | None] | None = None) -> Tree:
    """The tree of ``spans`` (count, 2), each from a word to before another, in any order.

    ``words`` stand at the spans of one, which are the leaves: each word must have one. Two spans
    that are alike become one node. Labels are those of ``right_branching``. Raises ValueError where
    two spans cross, for an empty one, and for other leaves than the words.
    """
    spans = numpy.unique(numpy.asarray(spans, "int64").reshape(-1, 2), axis=0)
    spans = spans[numpy.lexsort((-spans[:, 1], spans[:, 0]))]
    parent: list[int] = []
    open_: list[tuple[int, int]] = []  # the nodes that hold the next one, and where they end
    leaves = []
    for node, (start, end) in enumerate(spans.tolist()):
        while open_ and open_[-1][1] <= start:
            open_.pop()
        if start >= end or (open_ and open_[-1][1] < end):
            raise ValueError(f"the span from {start} to {end} is empty, or crosses another")
        parent.append(open_[-1][0] if open_ else -1)
        open_.append((node, end))
        leaves += [start] * (end - start == 1)
    tree = preordered(parent)
    count = spans[:, 1].max(initial=0) if words is None else len(words)
    if leaves != list(range(count)):
        raise ValueError(f"each word needs a span of its own; of {count}, {len(leaves)} have one")
    for node, start in zip(tree.leaves.tolist(), leaves):
        tree.words[node] = None if words is None else words[start]
    tree.labels = ["X" if degree else "" for degree in tree.degree.tolist()]
    return tree


def _split(words: int, cut: Callable[[int, int], int]) -> Tree:
    """The binary tree whose parts from ``start`` to before ``end`` are cut in two."""
    if words < 1:
        raise ValueError(f"a tree is over 1 word or more, got {words}")
    parent: list[int] = []
    labels: list[str] = []
    parts = [(0, words, -1)]
    while parts:
        start, end, above = parts.pop()
        node = len(parent)
        parent.append(above)
        labels.append("" if end - start == 1 else "X")
        if end - start > 1:
            middle = cut(start, end)
            parts += [(middle, end, node), (start, middle, node)]
    return preordered(parent, labels)


def baselines(gold: Iterable[Tree], *, rng: Any = None, **conventions: Any) -> dict[str, Scores]:
    """What trees that know nothing reach on ``gold``, to be shown beside a parser: left, right,
    balanced, random; and the limit of all binary trees. ``conventions`` are those of ``tree_f1``.
    """
    gold = list(gold)
    kept = [without_leaves(tree, conventions.get("without", UNSPOKEN)) for tree in gold]
    draw = generator(rng)
    kinds: dict[str, Callable[[Tree], Tree]] = {
        "left": lambda tree: left_branching(len(tree.leaves)),
        "right": lambda tree: right_branching(len(tree.leaves)),
        "balanced": lambda tree: balanced(len(tree.leaves)),
        "random": lambda tree: random_tree(len(tree.leaves), rng=draw),
        "best binary": best_binary,
    }
    return {
        kind: tree_f1(gold, [make(tree) if tree else tree for tree in kept], **conventions)
        for kind, make in kinds.items()
    }
