"""Opinions in a tiny language, each a binary tree with the sentiment of every part: they stand in
for a treebank of sentiment.

A word is good or bad, much or little. What a phrase says follows from its parts and their order:

    not A       the opposite of A              very A     A made stronger
    A but B     B                              A yet B    A
    A beats B   the best if A is better than B, the worst if B is, else neutral

so that the same words mean one thing or another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..random import generator
from ..seq import Tree

WORDS = ("awful dreadful horrid", "bad dull weak", "plain usual brown", "good fresh kind",
         "great superb lovely")  # fmt: skip
GRADES = {word: grade for grade, words in enumerate(WORDS) for word in words.split()}
JOINTS = ("but", "yet", "beats")


def draw_opinions(count: int, rng: Any = None, longest: int = 15) -> list[Tree]:
    """``count`` trees of 2 to ``longest`` words; labels are "0" (the worst) to "4" (the best).

    ``rng`` is a ``numpy.random.Generator``; without one the default generator draws. Raises
    ValueError for a ``longest`` below 2.
    """
    if longest < 2:
        raise ValueError(f"there are no opinions of {longest} words: allow 2 or more")
    draw = generator(rng)
    return [_drawn(int(draw.integers(2, longest + 1)), draw) for _ in range(count)]


def _drawn(size: int, rng: Any) -> Tree:
    """A tree of ``size`` words, its nodes in preorder."""
    parent: list[int] = []
    words: list[str | None] = []

    def add(above: int, word: str | None = None) -> int:
        parent.append(above)
        words.append(word)
        return len(parent) - 1

    waiting = [(size, -1, "")]  # how many words, below which node, and the first one, if it is set
    while waiting:
        size, above, first = waiting.pop()
        if size == 1:
            add(above, _one([*GRADES], rng))
            continue
        node = add(above)
        if not first and size > 2 and rng.random() < 0.6:
            left = int(rng.integers(1, size - 1))
            waiting += [(size - left, node, _one(JOINTS, rng)), (left, node, "")]
        else:
            add(node, first or ("not" if rng.random() < 0.6 else "very"))
            waiting.append((size - 1, node, ""))
    return _graded(Tree(parent, None, words))


def _one(words: Sequence[str], rng: Any) -> str:
    return words[rng.integers(len(words))]


def _graded(tree: Tree) -> Tree:
    """``tree`` with the sentiment of each node as its label, from the last to the first."""
    grades = [GRADES.get(word or "", 2) for word in tree.words]
    for node in reversed(range(len(tree))):
        if tree.degree[node]:
            first, second = tree.children(node).tolist()
            a, b = grades[first], grades[second]
            word = tree.words[first] or ""
            joint = tree.words[tree.left[second]] or ""
            if word == "not":
                grades[node] = 4 - b
            elif word == "very":
                grades[node] = 2 + 2 * ((b > 2) - (b < 2))
            elif joint == "beats" and word not in JOINTS:
                grades[node] = 2 + 2 * ((a > b) - (a < b))
            else:
                grades[node] = a if joint == "yet" and word not in JOINTS else b
    tree.labels = [str(grade) for grade in grades]
    return tree
