"""Sentences to learn trees from: of the built-in grammar, of a file, or logical forms of ATIS."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..backend import numpy
from ..io import FormatError
from ..seq import Tree, bracketed, lines, read_brackets, without_punctuation, without_traces
from .agreement import draw_sentences


class Sentences(NamedTuple):
    """Sentences, what they are called, and where they are from."""

    name: str
    words: list[list[str]]
    trees: list[Tree] | None  # those that a grammar or an annotator has given them
    source: str


def load_sentences(
    name: str = "agreement", path: Any = None, data_dir: Any = None, *, longest: int = 14,
    count: int = 12000, report: Callable[[str], Any] = print,
) -> Sentences:
    """Sentences of 2 to ``longest`` words; ``report`` gets a line on them.

    Those of the file ``path``, one a line, words between spaces, or, where the file begins with a
    bracket, trees in brackets, without punctuation and traces. Else ``name`` is "agreement", for
    ``count`` of ``draw_sentences``, always the same; or "atis", for the distinct logical forms of
    ATIS in ``data_dir``, or ``$MINAE_DATA/atis`` (``train.txt``, ``dev.txt``, ``test.txt``, perhaps
    ``.gz``), whose brackets are the trees. Raises FileNotFoundError where that is not, TextError
    for what is no text, FormatError where there are fewer than 20 sentences or a tree has a leaf
    without a word, ValueError for another ``name`` and for a ``data_dir`` that has nothing to hold.
    """
    trees: list[Tree] | None = None
    if data_dir is not None and (path is not None or name != "atis"):
        raise ValueError("--data-dir holds the files of --sentences atis: leave it out")
    if path is not None:
        source = str(path)
        name = Path(path).name
        first = next((line for line in lines(path) if line.strip()), "")
        if first.lstrip().startswith("("):
            spoken = (without_punctuation(without_traces(tree)) for tree in read_brackets(path))
            trees = [tree for tree in spoken if len(tree)]
        else:
            words = [line.split() for line in lines(path)]
    elif name == "atis":
        folder = _atis(data_dir)
        source, trees = str(folder), _forms(folder)
    elif name == "agreement":
        source = "drawn from the built-in grammar"
        trees = draw_sentences(count, numpy.random.default_rng(0), longest)
    else:
        raise ValueError(f"name is {name!r}; choose agreement or atis, or give a path")
    if trees is not None:
        words = [_words(tree, source) for tree in trees]
    kept = [1 < len(sentence) <= longest for sentence in words]
    words = list(itertools.compress(words, kept))
    trees = trees and list(itertools.compress(trees, kept))
    if len(words) < 20:
        raise FormatError(f"{source} has {len(words)} sentences of 2 to {longest} words: 20 or more"
                          " are needed; allow longer ones by --longest")
    shape = "with their trees" if trees else "without trees"
    report(f"sentences: {source}, {len(words):,} of up to {longest} words, {shape}")
    return Sentences(name, words, trees, source)


def _words(tree: Tree, source: str) -> list[str]:
    words = [tree.words[i] for i in tree.leaves.tolist()]
    if None in words:
        raise FormatError(f"{source}: a leaf has no word in the tree {bracketed(tree):.60}")
    return [str(word) for word in words]


def _atis(data_dir: Any) -> Path:
    root = os.environ.get("MINAE_DATA")
    folder = Path(data_dir) if data_dir else Path(root) / "atis" if root else None
    if folder is None or not _parts(folder):
        where = folder or "$MINAE_DATA, which is not set,"
        cure = "give its folder by --data-dir"
        raise FileNotFoundError(f"{where} holds no train.txt of ATIS: {cure}")
    return folder


def _parts(folder: Path) -> list[Path]:
    names = [f"{part}.txt{end}" for part in ("train", "dev", "test") for end in ("", ".gz")]
    return [folder / name for name in names if (folder / name).is_file()]


def _forms(folder: Path) -> list[Tree]:
    """The distinct logical forms; what stands first in a bracket is a word like any other."""
    forms = {line.partition("\t")[2]: None for path in _parts(folder) for line in lines(path)}
    return list(read_brackets(form.replace("(", "(X ") for form in forms if "(" in form))
