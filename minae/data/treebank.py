"""Trees to learn from: those of a treebank, with sentiment, of any file in brackets, or drawn."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..backend import numpy
from ..io import FormatError
from ..seq import Tree, read_brackets, without_functions, without_punctuation, without_traces
from .grammar import draw_parses
from .opinions import draw_opinions

LEAST = 10  # trees of a file, for there to be some in each part
WSJ = "wsj_sample.trees"
WSJ_CURE = (f"give by --data-dir a folder with {WSJ}, the trees of NLTK's treebank sample in one"
            " file, or by --trees any file of bracketed trees")

SST_CURE = ("give by --data-dir the folder trees of the Stanford Sentiment Treebank (train.txt,"
            " dev.txt, test.txt), or by --trees a file of such trees")
GRADES = ("0", "1", "2", "3", "4")  # of sentiment, from very negative to very positive


class Treebank(NamedTuple):
    """Trees in three parts: to learn from, to choose by, to test with."""

    name: str
    source: str  # where it is from, in words
    train: list[Tree]
    dev: list[Tree]
    test: list[Tree]


def load_parses(
    trees: Any = None, data_dir: Any = None, longest: int = 20, encoding: str = "utf-8",
    report: Callable[[str], Any] = print,
) -> Treebank:  # fmt: skip
    """Sentences of 2 to ``longest`` words with their trees, without punctuation and traces.

    They are those of the file ``trees``, in ``encoding``; or else of the WSJ sample of the Penn
    Treebank, ``wsj_sample.trees`` or ``.gz``, in ``data_dir`` or its folder ``treebank_sample``, by
    default that of ``$MINAE_DATA``. Where neither is named nor at hand, they are drawn from a
    grammar. The first eight tenths of a file are to train on, then a tenth each for dev and test.
    ``report`` gets a line that says so. Raises FileNotFoundError for what is not there, FormatError
    for what cannot be read.
    """
    folder = _folder(data_dir, "treebank_sample")
    if trees is None and folder is None:
        rng = numpy.random.default_rng(0)
        parts = [draw_parses(count, rng, min(longest, 20)) for count in (1600, 200, 200)]
        found = Treebank("grammar", "drawn by minae", *parts)
        report(f"sentences of a small grammar: {_sizes(found)}, drawn. For the WSJ, {WSJ_CURE}")
        return found
    if trees is not None:
        name, title, path = "file", "trees", Path(trees)
    else:
        name, title, path = "wsj", "WSJ sample of the Penn Treebank", _either(folder, WSJ, WSJ_CURE)
        encoding = "latin-1"
    plain = [without_functions(without_punctuation(without_traces(tree)))
             for tree in read_trees(path, encoding)]
    short = [tree for tree in plain if 2 <= len(tree.leaves) <= longest]
    found = Treebank(name, f"from {path}", *_split(short, path, f" of 2 to {longest} words"))
    report(f"{title}, at most {longest} words, no punctuation: {_sizes(found)}, {found.source}")
    return found


def load_sentiment(
    trees: Any = None, data_dir: Any = None, encoding: str = "utf-8",
    report: Callable[[str], Any] = print,
) -> Treebank:  # fmt: skip
    """Trees whose labels are sentiments, "0" (very negative) to "4" (very positive).

    They are those of the file ``trees``, in ``encoding``, in parts as in ``load_parses``; or else
    of the Stanford Sentiment Treebank, ``train.txt``, ``dev.txt`` and ``test.txt``, plain or
    ``.gz``, in ``data_dir`` or its folder ``sst``, by default that of ``$MINAE_DATA``. Where
    neither is named nor at hand, opinions in a tiny language are drawn. ``report`` gets a line that
    says so. Raises FileNotFoundError for what is not there, FormatError for what cannot be read,
    and for other labels.
    """
    folder = _folder(data_dir, "sst")
    if trees is not None:
        split = _split(_graded(trees, encoding), trees, "")
        found, title = Treebank("file", f"from {trees}", *split), "trees"
    elif folder is None:
        rng = numpy.random.default_rng(0)
        drawn = [draw_opinions(count, rng) for count in (3000, 300, 600)]
        found = Treebank("opinions", "drawn by minae", *drawn)
        title = "opinions in a tiny language"
    else:
        paths = [_either(folder, f"{part}.txt", SST_CURE) for part in ("train", "dev", "test")]
        found = Treebank("sst", f"from {folder}", *(_graded(path, encoding) for path in paths))
        title = "Stanford Sentiment Treebank"
    after = f". For SST, {SST_CURE}" if found.name == "opinions" else ""
    report(f"{title}: {_sizes(found)}, {found.source}{after}")
    return found


def _graded(path: Any, encoding: str) -> list[Tree]:
    """The trees of a file, checked to have a sentiment at each node."""
    found = read_trees(path, encoding)
    for number, tree in enumerate(found, 1):
        if wrong := {*tree.labels} - {*GRADES}:
            raise FormatError(f"{path}: tree {number} has the label {min(wrong)!r} where a"
                              " sentiment from 0 to 4 should stand at each node")
    if not found:
        raise FormatError(f"{path} holds no tree")
    return found


def read_trees(path: Any, encoding: str = "utf-8") -> list[Tree]:
    """The trees in the file ``path``, plain or ``.gz``: see ``seq.read_brackets``, also for the
    ``encoding``. Raises OSError where there is none, FormatError for a damaged one."""
    try:
        return list(read_brackets(path, encoding=encoding))
    except LookupError as error:
        raise ValueError(f"{error}: choose one that Python knows, as latin-1") from error


def _split(trees: list[Tree], path: Any, which: str) -> tuple[list[Tree], ...]:
    """Eight tenths, one, and one, in the order of the file: neighbours are often of one text."""
    if len(trees) < LEAST:
        raise FormatError(f"{path} has {len(trees)} trees{which}: at least {LEAST} are needed")
    a, b = len(trees) * 8 // 10, len(trees) * 9 // 10
    return trees[:a], trees[a:b], trees[b:]


def _folder(data_dir: Any, name: str) -> Path | None:
    """The folder that was named, or its inner one; else that of ``$MINAE_DATA``, if it is there."""
    if data_dir is not None:
        inner = Path(data_dir) / name
        return inner if inner.is_dir() else Path(data_dir)
    shared = os.environ.get("MINAE_DATA")
    return Path(shared) / name if shared and (Path(shared) / name).is_dir() else None


def _either(folder: Any, stem: str, cure: str) -> Path:
    """The file of that name, or the packed one."""
    for name in (stem, f"{stem}.gz"):
        if (folder / name).is_file():
            return folder / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: {cure}")
    raise FileNotFoundError(f"{folder} lacks {stem} (plain or .gz): {cure}")


def _sizes(found: Treebank) -> str:
    """How many trees each part has, in words."""
    return (f"{len(found.train)} to train on, {len(found.dev)} and {len(found.test)} to test with")
