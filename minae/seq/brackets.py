"""Trees in brackets, as in the Penn Treebank: ``(S (NP (DT the) (NN dog)) (VP (VBZ barks)))``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..io import replacing
from .text import TextError, lines
from .trees import Tree, preordered

LARGEST = 1 << 22  # nodes of a tree; with more, a bracket was never closed
PLAIN = re.compile(r"[^()\s\0]+", re.ASCII)  # a no-break space is part of a word
TOKEN = re.compile(r"\)|(\()\s*([^()\s]*)|[^()\s]+", re.ASCII)  # a bracket goes with its label


def read_brackets(
    source: Any, *, encoding: str = "utf-8", largest: int = LARGEST
) -> Iterator[Tree]:
    """The trees of ``source``, one by one, their nodes in preorder.

    ``source`` and ``encoding`` are those of ``lines``; treebanks of the nineties are latin-1. A
    tree may go over several lines, and a line hold several trees. What comes first in a bracket is
    its label. A single word after it stands at the same node; where there is more, each word is a
    node of its own, without a label. The outermost bracket may lack a label, as in the files of the
    Penn Treebank: then it is passed over, or if it holds more than one tree is a root labelled "".
    Raises TextError for brackets that do not match, for one without a label, for a word outside of
    them, for a tree of more than ``largest`` nodes, and as ``lines`` does.
    """
    labels: list[Any] = []
    words: list[str | None] = []
    parent: list[int] = []
    above: list[int] = []  # the nodes whose brackets are open
    began = opened = (0, 0)  # where the outermost of them and the last one were opened
    for number, line in enumerate(lines(source, encoding=encoding), 1):
        for match in TOKEN.finditer(line):
            token, place = match[0], (number, match.start() + 1)
            opens = match[1] is not None
            if not above and not opens:
                what = "closes no bracket" if token == ")" else "stands outside of brackets"
                raise TextError(f"{token[:40]!r} {what}", source, *place)
            top = above[-1] if above else -1
            if token == ")":
                above.pop()
                if labels[top] is None:
                    raise TextError("a bracket without a label", source, *opened)
                if not above:
                    yield _finished(parent, labels, words)
                continue
            if opens:
                if top < 0:
                    labels, words, parent, began = [], [], [], place
                elif labels[top] is None:
                    if top:
                        raise TextError("a bracket without a label", source, *opened)
                    labels[0] = ""
                opened = place
            elif labels[top] is None:
                labels[top] = token
                continue
            elif words[top] is None and len(labels) == top + 1:
                words[top] = token
                continue
            if top >= 0 and words[top] is not None:  # it has company now, and is a node of its own
                parent.append(top)
                labels.append("")
                words.append(words[top])
                words[top] = None
            parent.append(top)
            if opens:
                above.append(len(labels))
                labels.append(match[2] or None)  # or it stands on another line
                words.append(None)
            else:
                labels.append("")
                words.append(token)
            if len(labels) > largest:
                what = f"a tree of more than {largest} nodes; allow it by largest="
                raise TextError(what, source, *began)
    if above:
        what = f"the text ends within this tree; brackets open: {len(above)}"
        raise TextError(what, source, *began)


def _finished(parent: list[int], labels: list[str], words: list[str | None]) -> Tree:
    if labels[0] == "" and parent.count(0) == 1:
        return preordered([p - 1 for p in parent[1:]], labels[1:], words[1:])
    return preordered(parent, labels, words)


def bracketed(tree: Tree) -> str:
    """``tree`` in brackets, on one line: what ``read_brackets`` reads it from.

    There, several roots are as many trees; a root "" above a single node is passed over; and an
    only child that is a bare word stands at its parent. Raises ValueError for what brackets cannot
    hold: no node, a label or word that is empty or has a space, a bracket or NUL in it (treebanks
    write -LRB- and -RRB-), a word above other nodes.
    """
    if not len(tree):
        raise ValueError("a tree without a node cannot be written in brackets")
    parts, open_ = [], 0
    inner, depths = (tree.degree > 0).tolist(), tree.depth.tolist()
    for node in tree.preorder.tolist():
        label, word, depth = tree.labels[node], tree.words[node], depths[node]
        if word is not None and inner[node]:
            raise ValueError(f"the word {word!r} has nodes below it: give it a node of its own")
        parts.append(")" * (open_ - depth) + " ")
        open_ = depth
        if word is not None and depth and not label:
            parts.append(_plain(word))
            continue
        open_ += 1
        parts.append("(" + ("" if not (label or depth) and inner[node] else _plain(label)))
        if word is not None:
            parts.append(" " + _plain(word))
    return "".join(parts)[1:] + ")" * open_


def _plain(token: str) -> str:
    if not PLAIN.fullmatch(token):
        raise ValueError(f"brackets hold no label or word {token!r}: replace it, as by -LRB-")
    return token


def write_brackets(path: Any, trees: Iterable[Tree], *, encoding: str = "utf-8") -> None:
    """Put ``trees`` into the file ``path``, one a line, in ``encoding``: whole or not at all.

    Raises as ``bracketed`` does.
    """
    with replacing(path) as file:
        for tree in trees:
            file.write((bracketed(tree) + "\n").encode(encoding))
