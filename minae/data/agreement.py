"""Sentences of a small grammar, each with its tree: what a verb agrees with stands far before it.

    S  -> NP VP              NP -> noun | NP (prep NP) | NP (that VP) | NP (that (NP verb))
    VP -> verb | verb NP | VP (and VP)

A noun is of one of six classes, the singular or plural of an animal, a person or a machine, and a
verb has subjects of one class only. Relative clauses stand between subject and verb, with subjects
and verbs of their own; of two nouns before such a clause, its verb tells to which it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ..random import generator
from ..seq import Tree, read_brackets

NOUNS = (("dog", "cat", "horse", "bird"), ("girl", "king", "cook", "clerk"),
         ("truck", "train", "clock", "robot"))  # fmt: skip
ALONE = (("growl", "graze", "breed"), ("sing", "laugh", "pray"), ("rust", "stall", "hum"))
OTHERS = (("bite", "smell", "follow"), ("call", "paint", "greet"), ("pull", "haul", "warm"))
PREPOSITIONS = ("near", "behind", "under")
MORE = 0.55  # the probability that something stands behind a noun or verb; less, further down


def draw_sentences(count: int, rng: Any = None, longest: int = 14) -> list[Tree]:
    """``count`` trees of 2 to ``longest`` words.

    ``rng`` is a ``numpy.random.Generator``; without one the default generator draws. Raises
    ValueError for a ``longest`` below 2.
    """
    if longest < 2:
        raise ValueError(f"the grammar has no sentences of {longest} words: allow 2 or more")
    rng = generator(rng)
    trees: list[Tree] = []
    while len(trees) < count:
        kind = _kind(rng)
        text = f"(S {_noun_phrase(kind, rng, MORE)} {_verb_phrase(kind, rng, MORE)})"
        trees += (tree for tree in read_brackets([text]) if len(tree.leaves) <= longest)
    return trees


def _kind(rng: Any) -> tuple[int, bool]:
    """What a noun is of, and whether it is many."""
    return int(rng.integers(len(NOUNS))), bool(rng.integers(2))


def _noun_phrase(kind: tuple[int, bool], rng: Any, more: float) -> str:
    which, many = kind
    text = f"(NP (N {_one(NOUNS[which], rng)}{'s' if many else ''}))"
    while rng.random() < more:
        more /= 2
        other, form = _kind(rng), rng.random()
        if form < 0.4:
            behind = f"(PP (P {_one(PREPOSITIONS, rng)}) {_noun_phrase(other, rng, more)})"
        elif form < 0.6:
            behind = f"(RC (C that) {_verb_phrase(kind, rng, more)})"
        else:
            clause = f"(S {_noun_phrase(other, rng, more)} {_verb(OTHERS, other, rng)})"
            behind = f"(RC (C that) {clause})"
        text = f"(NP {text} {behind})"
    return text


def _verb_phrase(kind: tuple[int, bool], rng: Any, more: float) -> str:
    if rng.random() < 0.5:
        text = f"(VP {_verb(ALONE, kind, rng)})"
    else:
        text = f"(VP {_verb(OTHERS, kind, rng)} {_noun_phrase(_kind(rng), rng, more)})"
    if rng.random() < more / 2:
        text = f"(VP {text} (AP (A and) {_verb_phrase(kind, rng, more / 2)}))"
    return text


def _verb(verbs: Any, kind: tuple[int, bool], rng: Any) -> str:
    which, many = kind
    return f"(V {_one(verbs[which], rng)}{'' if many else 's'})"


def _one(words: Any, rng: Any) -> str:
    return words[rng.integers(len(words))]


# --- Is it a sentence? ---------------------------------------------------------------------------


def is_sentence(words: Sequence[str]) -> bool:
    """Whether the grammar has a tree for ``words``, with all verbs in agreement."""
    n, known = len(words), _lexicon()
    chart: dict[tuple[int, int], set[Any]] = {}  # what can stand from a word to before another
    for width in range(1, n + 1):
        for start in range(n - width + 1):
            found = set(known.get(words[start], ())) if width == 1 else set()
            for cut in range(start + 1, start + width):
                for left in chart[start, cut]:
                    found |= {_joined(left, right) for right in chart[cut, start + width]}
            chart[start, start + width] = found - {None}
    return n > 0 and ("S", None) in chart[0, n]


@cache
def _lexicon() -> dict[str, list[Any]]:
    """What each word is, and of which class."""
    found: dict[str, list[Any]] = {word: [("P", None)] for word in PREPOSITIONS}
    found |= {"that": [("C", None)], "and": [("A", None)]}
    for which in range(len(NOUNS)):
        for many in (False, True):
            kind = which, many
            noun, verb = ("s", "") if many else ("", "s")
            found |= {word + noun: [("NP", kind)] for word in NOUNS[which]}
            found |= {word + verb: [("VP", kind)] for word in ALONE[which]}
            found |= {word + verb: [("V", kind)] for word in OTHERS[which]}
    return found


def _joined(left: Any, right: Any) -> Any:
    """What two neighbours are together, None if nothing: a name and a class, if it has one."""
    (a, kind), (b, other) = left, right
    if a == "NP":
        same = kind == other
        whole = {"VP": "S", "V": "gap"}.get(b) if same else None  # a clause without its object
        if whole:
            return whole, None
        fits = b in ("PP", "RC") or (b == "RC of" and same)
        return ("NP", kind) if fits else None
    rules = {
        ("P", "NP"): ("PP", None), ("C", "VP"): ("RC of", other), ("C", "gap"): ("RC", None),
        ("V", "NP"): ("VP", kind), ("A", "VP"): ("AP", other),
    }  # fmt: skip
    if (a, b) == ("VP", "AP"):
        return ("VP", kind) if kind == other else None
    return rules.get((a, b))
