"""Sentences of a small grammar, drawn with their trees: they stand in for a treebank.

Most rules branch to the right, as English does, but subjects carry phrases and clauses too, some
nodes have three children, and of two prepositional phrases only the preposition tells what each
belongs to: "of" and "near" follow nouns, "with" and "after" verbs.
"""

from __future__ import annotations

from typing import Any

from ..random import generator
from ..seq import Tree

RULES: dict[str, list[tuple[float, str]]] = {  # what each label becomes, and how probably
    "S": [(0.8, "NP VP"), (0.1, "VPP NP VP"), (0.1, "S CC S")],
    "NP": [(0.3, "DT NN"), (0.2, "DT JJ NN"), (0.2, "NNP"), (0.2, "NP NPP"), (0.1, "NP SBAR")],
    "NPP": [(1.0, "OF NP")],
    "SBAR": [(0.6, "WP VP"), (0.4, "WP NP VBT")],
    "VP": [(0.2, "VBI"), (0.35, "VBT NP"), (0.2, "VBT NP VPP"), (0.15, "VBI VPP"), (0.1, "VBS S")],
    "VPP": [(1.0, "WITH NP")],
}
WORDS = {
    "DT": "the a this every some", "JJ": "old small green loud quiet clever broken",
    "NN": "captain baker garden river letter engine dog window teacher market story bridge",
    "NNP": "Ada Boris Clara Dora Emil", "OF": "of near beside", "WITH": "with after during without",
    "WP": "that who", "CC": "and but", "VBI": "slept waited laughed left vanished",
    "VBT": "saw painted followed repaired praised found", "VBS": "said thought believed",
}  # fmt: skip
TAGS = {"NPP": "PP", "VPP": "PP", "OF": "IN", "WITH": "IN", "VBI": "VBD", "VBT": "VBD",
        "VBS": "VBD"}  # fmt: skip


def draw_parses(count: int, rng: Any = None, longest: int = 20) -> list[Tree]:
    """``count`` trees over 3 to ``longest`` words.

    ``rng`` is a ``numpy.random.Generator``; without one the default generator draws. Raises
    ValueError for a ``longest`` below 3.
    """
    if longest < 3:
        raise ValueError(f"the grammar has no sentences of {longest} words: allow 3 or more")
    draw = generator(rng)
    trees: list[Tree] = []
    while len(trees) < count:
        tree = _drawn(draw, longest)
        if tree and len(tree.leaves) > 2:
            trees.append(tree)
    return trees


def _drawn(rng: Any, longest: int) -> Tree | None:
    """A tree, or None where it has become too long."""
    parent: list[int] = []
    labels: list[str] = []
    words: list[str | None] = []
    waiting, spoken = [("S", -1)], 0
    while waiting:
        symbol, above = waiting.pop()
        node = len(labels)
        parent.append(above)
        labels.append(TAGS.get(symbol, symbol))
        words.append(None if symbol in RULES else _one(WORDS[symbol].split(), rng))
        if symbol in RULES:
            chances, sides = zip(*RULES[symbol])
            below = sides[rng.choice(len(sides), p=chances)].split()
            waiting += [(each, node) for each in reversed(below)]
        else:
            spoken += 1
        if spoken + len(waiting) > longest:
            return None
    return Tree(parent, labels, words)


def _one(words: list[str], rng: Any) -> str:
    return words[rng.integers(len(words))]
